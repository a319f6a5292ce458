import { decodeRecords, retainRecords } from '../../batch/record-batch.ts';
import type { StoredBatch } from '../../batch/stored-batch.ts';
import type { AbortedBatches } from '../aborted.ts';
import { type CompactedBatch, type CompactOptions, compactBatch, deleteHorizon } from './compact-batch.ts';

/**
 * Compacts the batches of a partition one after another, from the oldest on, by the rules of Kafka's cleaner for transactions
 * (`CleanedTransactionMetadata`). Batches of aborted transactions go at once. A marker stays as long as a batch of its
 * transaction does, and `delete.retention.ms` longer, so that a reader who saw such a batch sees how the transaction ended.
 *
 * We differ from Kafka in two places. A marker gets its delete horizon by the pass that drops the last batch of its
 * transaction, not by the next one: a partition without new records would never see a next one. And the last batch or marker
 * of a producer is not kept for its sequence and epoch: producers have their own items.
 */
export class CompactedTransactions {
  /** The producers whose transaction has a batch that stays, and whose marker has not come yet. */
  readonly #withBatches: Set<number>;

  constructor(withBatches: Iterable<number> = []) {
    this.#withBatches = new Set(withBatches);
  }

  /** The same state, for batches that may have to be read again. */
  copy(): CompactedTransactions {
    return new CompactedTransactions(this.#withBatches);
  }

  /** `aborted`: those of the batch's segment. @throws EventLogError `invalid_batch` */
  compact(batch: StoredBatch, aborted: AbortedBatches, options: CompactOptions): CompactedBatch {
    const { bytes, header, baseOffset } = batch;
    const isCompacted = baseOffset < options.belowOffset;
    const unchanged = { bytes, kept: header.recordCount, dropped: 0 };
    if (header.control) {
      const hasBatches = this.#withBatches.delete(header.producerId);
      return isCompacted && !hasBatches ? compactMarker(batch, options) : unchanged;
    }
    if (!header.transactional) return isCompacted ? compactBatch(bytes, options, header) : unchanged;
    if (isCompacted && aborted.of(header.producerId, baseOffset) !== undefined)
      return { bytes: undefined, kept: 0, dropped: header.recordCount };
    const result = isCompacted ? compactBatch(bytes, options, header) : unchanged;
    if (result.bytes !== undefined) this.#withBatches.add(header.producerId);
    return result;
  }
}

/** A marker whose transaction has no batch left. */
function compactMarker({ bytes, header }: StoredBatch, options: CompactOptions): CompactedBatch {
  const { recordCount } = header;
  const deleteHorizonMs = header.deleteHorizonMs ?? deleteHorizon(header, options);
  if (header.deleteHorizonMs !== undefined)
    return options.nowMs < header.deleteHorizonMs
      ? { bytes, kept: recordCount, dropped: 0, deleteHorizonMs }
      : { bytes: undefined, kept: 0, dropped: recordCount };
  const stamped = retainRecords(bytes, header, decodeRecords(bytes, 0, header), deleteHorizonMs);
  return { bytes: stamped ?? bytes, kept: recordCount, dropped: 0, deleteHorizonMs };
}
