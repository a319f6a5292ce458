import type { StoredRecord } from '../../batch/record.ts';
import { decodeRecords, type RecordBatchHeader, readBatchHeader, retainRecords } from '../../batch/record-batch.ts';
import { laterMs } from '../../time.ts';
import type { OffsetMap } from './offset-map.ts';

export interface CompactOptions {
  /** The last offsets of the keys of all records below `belowOffset` that were not compacted before. */
  readonly map: Pick<OffsetMap, 'latestOffset'>;
  /** Where the map ends: records from here on are kept, whatever they are. */
  readonly belowOffset: number;
  readonly nowMs: number;
  /** The topic's `delete.retention.ms`. */
  readonly deleteRetentionMs: number;
}

export interface CompactedBatch {
  /** The given bytes if the batch stays as it is; `undefined` if no record is left. */
  readonly bytes: Uint8Array | undefined;
  readonly kept: number;
  readonly dropped: number;
  /** When the tombstones of the batch may go; absent if it keeps none whose time is set. */
  readonly deleteHorizonMs?: number | undefined;
}

/**
 * Compacts one batch with its absolute base offset, by the rules of Kafka's cleaner (`Cleaner.shouldRetainRecord`,
 * `MemoryRecords.filterTo`): a record stays if no later one has its key. A record without a key goes: nothing could ever
 * supersede it. A tombstone stays until its delete horizon, so that readers who saw the value see that it was deleted.
 * The horizon is set when the batch is first compacted, and never moves (KIP-534).
 *
 * We differ from Kafka in two places. A batch without records is not kept for its producer's sequence: producers have
 * their own items. And a batch that reaches beyond `belowOffset` gets no horizon yet: the older values of its last
 * tombstones still exist, and the tombstones must outlive them by `delete.retention.ms`. For the same reason a pass must
 * cover all older segments of the partition before `compactedOffset` moves.
 * `header` is that of the batch, if it was read already. Batches of aborted transactions and markers are not for this
 * function: see `compact-transactions.ts`. @throws EventLogError `invalid_batch`
 */
export function compactBatch(
  bytes: Uint8Array,
  options: CompactOptions,
  header: RecordBatchHeader = readBatchHeader(bytes),
): CompactedBatch {
  const records = decodeRecords(bytes, 0, header);
  const kept = records.filter((record) => isKept(record, header, options));
  const dropped = records.length - kept.length;
  if (kept.length === 0) return { bytes: undefined, kept: 0, dropped };
  const hasTombstones = kept.some(({ value }) => value === null);
  const horizon = header.deleteHorizonMs ?? (hasTombstones ? deleteHorizon(header, options) : undefined);
  const deleteHorizonMs = hasTombstones ? horizon : undefined;
  if (dropped === 0 && horizon === header.deleteHorizonMs)
    return { bytes, kept: kept.length, dropped, deleteHorizonMs };
  const compacted = retainRecords(bytes, header, kept, horizon);
  // The old batch is right too, only larger than it must be.
  if (compacted === undefined)
    return { bytes, kept: records.length, dropped: 0, deleteHorizonMs: header.deleteHorizonMs };
  return { bytes: compacted, kept: kept.length, dropped, deleteHorizonMs };
}

function isKept(record: StoredRecord, header: RecordBatchHeader, options: CompactOptions): boolean {
  if (record.offset >= options.belowOffset) return true;
  if (record.key === null) return false;
  const latest = options.map.latestOffset(record.key);
  if (latest !== undefined && latest > record.offset) return false;
  return record.value !== null || header.deleteHorizonMs === undefined || options.nowMs < header.deleteHorizonMs;
}

/** The delete horizon of a batch that has none yet; `undefined` if the batch reaches beyond what the pass compacts. */
export function deleteHorizon(header: RecordBatchHeader, options: CompactOptions): number | undefined {
  if (header.baseOffset + header.lastOffsetDelta >= options.belowOffset) return undefined;
  return laterMs(options.nowMs, options.deleteRetentionMs);
}
