import type { StoredBatch } from '../../log/batch/stored-batch.ts';
import { MissingDataError } from '../../log/errors.ts';
import { TAIL_NODE_ENTRIES } from '../../log/head/head.ts';
import { AbortedBatches, type AbortedRange } from '../../log/segment/aborted.ts';
import type { BrokerContext } from '../context.ts';
import { abortedInNodes } from '../heads/aborted-items.ts';
import { transactionsOf } from '../heads/known-nodes.ts';
import { abortedInSegment } from '../segments/read-segment.ts';
import type { ReadPlan } from './plan-read.ts';
import type { PartitionView } from './view-partitions.ts';

/**
 * Whether a read shows records of transactions that are open or were aborted. `read_committed` shows neither: it ends at the
 * last stable offset, and leaves out what was aborted.
 */
export type Isolation = (typeof ISOLATIONS)[number];
export const ISOLATIONS = ['read_committed', 'read_uncommitted'] as const;

/** Half of what merged data is kept for (`GRACE_MS` of the jobs). */
const VIEW_MS_MAX = 15 * 60_000;

/** Where a read of the view ends. */
export function endFor(
  { highWatermark, lastStableOffset }: Pick<PartitionView, 'highWatermark' | 'lastStableOffset'>,
  isolation: Isolation,
): number {
  return isolation === 'read_committed' ? lastStableOffset : highWatermark;
}

/** Whether a read has come to the last stable offset, and an open transaction has records there. Costs no request. */
export function isHeldUp(
  { highWatermark, lastStableOffset }: Pick<PartitionView, 'highWatermark' | 'lastStableOffset'>,
  offset: number,
  isolation: Isolation = 'read_committed',
): boolean {
  return isolation === 'read_committed' && offset >= lastStableOffset && lastStableOffset < highWatermark;
}

/** Tells which transactions a read of committed records waits for, if it has come to the last stable offset. Costs no request. */
export async function noteHeldUp(context: BrokerContext, view: PartitionView, offset: number): Promise<void> {
  if (!isHeldUp(view, offset)) return;
  const { open } = await transactionsOf(context, view.stores.items, view.name, view.head);
  const oldest = open.filter(
    ({ firstOffsets }) => (firstOffsets.get(view.slot) ?? view.highWatermark) <= view.lastStableOffset,
  );
  context.heldUp.metByReader(oldest, context.clock.nowMs());
}

/**
 * The aborted transactions that have records between `offset` and the end of a plan that ends at the last stable offset.
 * Each is given once, in the order of their first offsets. Costs nothing if the plan lies in the tail, and what
 * `abortedInNodes` and `abortedInSegment` do if it begins before.
 * @throws MissingDataError; EventLogError `corrupt_data`
 */
export async function abortedIn(
  context: BrokerContext,
  view: PartitionView,
  { pieces, nextOffset }: ReadPlan,
  offset: number,
): Promise<readonly AbortedRange[]> {
  const { name, head, slot, stores } = view;
  const aborted: AbortedRange[] = [];
  for (const piece of pieces)
    if (piece.type === 'segment') aborted.push(...(await abortedInSegment(context, stores.objects, piece.place)));
  const firstAppended = pieces.find((piece) => piece.type === 'appended');
  if (firstAppended !== undefined) {
    const { entryNumber } = firstAppended.placed;
    if (entryNumber < head.firstEntry) {
      const fromEntry = entryNumber - (entryNumber % TAIL_NODE_ENTRIES);
      const wanted = { slot, fromEntry, toOffset: nextOffset };
      aborted.push(...(await abortedInNodes(context, stores.items, name, head, wanted)));
      // A list that lacks what was swept would show aborted records as committed.
      if (context.clock.nowMs() - view.seenAtMs > VIEW_MS_MAX)
        throw new MissingDataError('The read stood still, and what it read about may have been merged and swept.', {});
    }
    const inTail = await transactionsOf(context, stores.items, name, head);
    aborted.push(...inTail.aborted.filter((one) => one.slot === slot));
  }
  const inRange = aborted.filter(({ firstOffset, lastOffset }) => lastOffset >= offset && firstOffset < nextOffset);
  return inRange.length < 2 ? inRange : inOrder(inRange);
}

/** Each once, by first offset: a transaction can be in several segments, and in tail nodes too. */
export function inOrder(aborted: readonly AbortedRange[]): readonly AbortedRange[] {
  const byName = new Map(aborted.map((one) => [`${one.producerId}@${one.firstOffset}`, one]));
  return [...byName.values()].sort((a, b) => a.firstOffset - b.firstOffset);
}

/** Leaves out markers and the batches of aborted transactions. */
export async function* withoutAborted(
  batches: AsyncIterable<StoredBatch>,
  aborted: readonly AbortedRange[],
): AsyncGenerator<StoredBatch> {
  const abortedBatches = new AbortedBatches(aborted);
  for await (const batch of batches) {
    const { header, baseOffset } = batch;
    if (header.control) continue;
    if (!header.transactional || abortedBatches.of(header.producerId, baseOffset) === undefined) yield batch;
  }
}
