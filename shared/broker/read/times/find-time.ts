import { recordsOf, type StoredBatch } from '../../../log/batch/stored-batch.ts';
import { partitionState } from '../../../log/head/head.ts';
import type { Segment } from '../../../log/segment/segment.ts';
import { positionOfOffset, positionOfTime } from '../../../log/segment/segment-index.ts';
import type { BrokerContext } from '../../context.ts';
import { readPart } from '../../data/read-part.ts';
import { mergedOffset, segmentsFrom } from '../../segments/find-segments.ts';
import { knownSegmentList } from '../../segments/known-lists.ts';
import { openSegment, readSegment } from '../../segments/read-segment.ts';
import { blockAt } from '../../segments/segment-blocks.ts';
import { locateTime } from '../locate-parts.ts';
import type { PartitionView } from '../view-partitions.ts';

export interface FoundTime {
  readonly offset: number;
  readonly timestampMs: number;
}

/**
 * The first record of time `timestampMs` or later, in order of offsets: through segments, then tail nodes, then the tail.
 * Lists, pages and indexes say which of them can have it. Costs nothing but 1 read of a part if it is in the tail. Otherwise
 * 1 GetItem for the segment list, if that was not read within the last minute, 1 GetItem for a page and 1 GetObject for an
 * index that are not in memory, and 1 GetObject for a block; or some reads of tail nodes and 1 read of a part.
 * @throws MissingDataError; EventLogError `corrupt_data`
 */
export async function findTime(
  context: BrokerContext,
  view: PartitionView,
  timestampMs: number,
): Promise<FoundTime | undefined> {
  const { name, slot, stores } = view;
  const { totalsBeforeTail } = partitionState(view.head, slot);
  let startOffset = view.logStartOffset;
  let mergedEntry = 0;
  if (totalsBeforeTail.maxTimestampMs >= timestampMs && startOffset < totalsBeforeTail.nextOffset) {
    const list = await knownSegmentList(context, stores.items, name);
    const listed = { name, list, slot };
    for await (const segment of segmentsFrom(context, stores.items, listed, startOffset, timestampMs)) {
      const found = await findInSegment(context, view, segment, timestampMs, startOffset);
      // The list can be newer than the head: what was appended since does not belong to this view.
      if (found !== undefined) return found.offset < view.highWatermark ? found : undefined;
    }
    startOffset = Math.max(startOffset, mergedOffset(listed));
    mergedEntry = list.mergedEntry;
  }
  for (;;) {
    const placed = await locateTime(context, view, timestampMs, startOffset, mergedEntry);
    if (placed === undefined) return undefined;
    const found = findIn(await readPart(context, stores, name, placed), timestampMs, startOffset);
    if (found !== undefined) return found;
    // The part's newest record is before the log start offset.
    startOffset = placed.baseOffset + placed.part.records;
  }
}

async function findInSegment(
  context: BrokerContext,
  view: PartitionView,
  segment: Segment,
  timestampMs: number,
  startOffset: number,
): Promise<FoundTime | undefined> {
  const { objects } = view.stores;
  const place = { topicId: view.name.topicId, partition: view.partition, segment };
  const read = { place, isSequential: false, isSearch: true };
  // One block, in any case.
  const opened = await openSegment(context, objects, read, 1);
  const { index } = opened;
  const position = positionOfTime(index, timestampMs);
  if (position === undefined) return undefined;
  const first = blockAt(index, Math.max(position, positionOfOffset(index, startOffset)));
  // The first block has the record, unless it is before the log start offset: then any later one can have it.
  for (const range of [
    { from: first, to: first + 1 },
    { from: first + 1, to: index.entries.length },
  ]) {
    for await (const batches of readSegment(context, objects, read, opened, range)) {
      const found = findIn(batches, timestampMs, startOffset);
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

function findIn(batches: readonly StoredBatch[], timestampMs: number, startOffset: number): FoundTime | undefined {
  for (const batch of batches) {
    if (batch.endOffset <= startOffset || batch.header.maxTimestamp < timestampMs) continue;
    for (const record of recordsOf(batch)) {
      if (record.offset >= startOffset && record.timestampMs >= timestampMs)
        return { offset: record.offset, timestampMs: record.timestampMs };
    }
  }
  return undefined;
}
