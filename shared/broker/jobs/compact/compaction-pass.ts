import { recordsOf, type StoredBatch } from '../../../log/batch/stored-batch.ts';
import { invariant } from '../../../log/errors.ts';
import { AbortedBatches } from '../../../log/segment/aborted.ts';
import { type Compaction, nextGroup } from '../../../log/segment/compact/cleanable.ts';
import { CompactedTransactions } from '../../../log/segment/compact/compact-transactions.ts';
import type { OffsetMap } from '../../../log/segment/compact/offset-map.ts';
import { endCompaction } from '../../../log/segment/list-changes.ts';
import type { Segment } from '../../../log/segment/segment.ts';
import type { SegmentList } from '../../../log/segment/segment-list.ts';
import { numberSetting } from '../../../log/topic/topic-config.ts';
import { updateSegmentList } from '../../heads/segment-list-store.ts';
import { corrupt } from '../../segments/read-batches.ts';
import type { SlotPart } from '../../segments/slot-parts.ts';
import {
  compactGroup,
  countedBatches,
  currentList,
  earlier,
  type Group,
  listedAborted,
  placeOf,
  type SlotJob,
} from './compact-group.ts';

/** A slot as it was read. */
export interface SlotView {
  readonly list: SegmentList;
  readonly parts: readonly SlotPart[];
}

/** After as many groups that other jobs were faster to change, a pass is left to the next run. */
const LOST_MAX = 8;

/**
 * One pass of compaction. Remembers the last offset of each key of the dirty part, up to `due.upToOffset` or to the offset
 * where the map is full. Then compacts all segments of the partition below that offset, from the oldest on, and only then
 * raises `compactedOffset`. A pass that ends early leaves groups that are compacted and groups that are not, both right: a
 * record is dropped only if a later one of its key is in a segment, and a tombstone only after all that is older was
 * compacted with it. So the next pass simply starts again.
 *
 * As in Kafka, `delete.retention.ms` counts from the beginning of the pass, so that all tombstones of a pass go together.
 * Returns false if another pass of the slot was faster.
 *
 * Costs the reading of the dirty part, the costs of `compactGroup` for each group of all segments (`nextGroup`), 1 GetItem
 * for the list for each group, and 2 GetItem and 1 PutItem at the end.
 * @throws what `compactGroup` throws
 */
export async function runPass(job: SlotJob, view: SlotView, due: Compaction, map: OffsetMap): Promise<boolean> {
  const { context, stores, topic, name, slot, signal } = job;
  const nowMs = context.clock.nowMs();
  const { compactedOffset = 0, tombstonesDueAtMs } = view.list.slots[slot] ?? {};
  const belowOffset = await fillMap(job, segmentsOf(view, slot), { compactedOffset, ...due }, map);
  invariant(belowOffset > compactedOffset || due.upToOffset === compactedOffset, 'a pass gets on');
  const deleteRetentionMs = numberSetting(topic.config, 'delete.retention.ms');
  const options = { map, belowOffset, nowMs, deleteRetentionMs };
  let transactions = new CompactedTransactions();
  const bytesMax = Math.min(context.settings.compactionOutputBytes, numberSetting(topic.config, 'segment.bytes'));
  let horizonMs: number | undefined;
  let fromOffset = 0;
  for (let lost = 0; ; ) {
    signal?.throwIfAborted();
    const list = await currentList(job);
    const now = { list, parts: await job.parts.of(list) };
    const group = groupOf(now, slot, { fromOffset, belowOffset, bytesMax });
    if (group === undefined) break;
    const outcome = await compactGroup(job, group, { ...options, transactions });
    if (outcome.type === 'too_late') {
      if (++lost === LOST_MAX) return false;
      continue;
    }
    horizonMs = earlier(horizonMs, outcome.deleteHorizonMs);
    transactions = outcome.transactions;
    fromOffset = (group.sources.at(-1) as Segment).endOffset;
  }
  const began = { compactedOffset, tombstonesDueAtMs };
  const reached = { compactedOffset: belowOffset, tombstonesDueAtMs: horizonMs };
  const { result: isApplied } = await updateSegmentList(context, stores.items, name, (list) => {
    const changed = endCompaction(list, { slot, began, reached });
    return { list: changed, result: changed !== undefined };
  });
  return isApplied;
}

/** All segments of the slot that are still needed, in order. */
export function segmentsOf({ list, parts }: SlotView, slot: number): readonly Segment[] {
  return parts.flatMap((part) => neededOf(list, part, slot));
}

function neededOf(list: SegmentList, { segments }: SlotPart, slot: number): readonly Segment[] {
  const droppedOffset = list.slots[slot]?.droppedOffset ?? 0;
  return segments.filter(({ endOffset }) => endOffset > droppedOffset);
}

function groupOf({ list, parts }: SlotView, slot: number, limits: Parameters<typeof nextGroup>[1]): Group | undefined {
  for (const part of parts) {
    const sources = nextGroup(neededOf(list, part, slot), limits);
    if (sources.length > 0) return { part, sources };
  }
  return undefined;
}

/**
 * Puts the keys of `[compactedOffset, upToOffset)` into the map. Returns the end of what the map has: `upToOffset`, or the
 * offset of the first record that it had no room for. Records of aborted transactions are left out: what does not count must
 * not take the place of anything.
 */
async function fillMap(
  job: SlotJob,
  segments: readonly Segment[],
  { compactedOffset, upToOffset }: Compaction & { readonly compactedOffset: number },
  map: OffsetMap,
): Promise<number> {
  map.clear();
  let belowOffset = upToOffset;
  for (const segment of segments) {
    if (segment.endOffset <= compactedOffset || segment.startOffset >= belowOffset) continue;
    // The segment is read to its end even if the map is full: only then is it known to be undamaged.
    const aborted = new AbortedBatches(await listedAborted(job, segment));
    for await (const batch of countedBatches(job, placeOf(job, segment))) {
      const { control, transactional, producerId } = batch.header;
      if (control || batch.endOffset <= compactedOffset || batch.baseOffset >= belowOffset) continue;
      if (transactional && aborted.of(producerId, batch.baseOffset) !== undefined) continue;
      belowOffset = putKeys(job, segment, batch, { compactedOffset, belowOffset }, map);
    }
  }
  return belowOffset;
}

function putKeys(
  job: SlotJob,
  segment: Segment,
  batch: StoredBatch,
  { compactedOffset, belowOffset }: { readonly compactedOffset: number; readonly belowOffset: number },
  map: OffsetMap,
): number {
  let records: ReturnType<typeof recordsOf>;
  try {
    records = recordsOf(batch);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw corrupt(
      placeOf(job, segment),
      `has records that cannot be read, at offset ${batch.baseOffset}: ${why}`,
      cause,
    );
  }
  for (const { key, offset } of records) {
    if (key === null || offset < compactedOffset || offset >= belowOffset) continue;
    if (!map.put(key, offset)) return offset;
  }
  return belowOffset;
}
