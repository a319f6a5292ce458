import type { Segment } from '../../log/segment/segment.ts';
import type { SegmentList, SlotSegments } from '../../log/segment/segment-list.ts';
import type { ItemStore } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import type { HeadName } from '../heads/items.ts';
import { readPage } from './known-lists.ts';

/** The slot of one partition in the segment list of its head. */
export interface ListedSlot {
  readonly name: HeadName;
  readonly list: SegmentList;
  readonly slot: number;
}

/** Offsets below this one are in segments, or nowhere. */
export function mergedOffset({ list, slot }: ListedSlot): number {
  return list.totals[slot]?.nextOffset ?? 0;
}

/**
 * Yields the segments of a partition that have offsets from `offset` on, in order; given `timestampMs`, only those that can
 * have a record of that time or later. Costs 1 GetItem for each page of older segments that is not in memory.
 * @throws MissingDataError
 */
export async function* segmentsFrom(
  context: BrokerContext,
  items: ItemStore,
  { name, list, slot }: ListedSlot,
  offset: number,
  timestampMs = Number.NEGATIVE_INFINITY,
): AsyncGenerator<Segment> {
  const { pages, segments, droppedOffset } = list.slots[slot] ?? NO_SEGMENTS;
  const from = Math.max(offset, droppedOffset);
  const isWanted = ({ maxTimestampMs }: { readonly maxTimestampMs: number }): boolean => maxTimestampMs >= timestampMs;
  for (const page of above(pages, from)) {
    if (!isWanted(page)) continue;
    const inPage = await readPage(context, items, name, slot, page);
    yield* above(inPage, from).filter(isWanted);
  }
  yield* above(segments, from).filter(isWanted);
}

const NO_SEGMENTS: Pick<SlotSegments, 'pages' | 'segments' | 'droppedOffset'> = {
  pages: [],
  segments: [],
  droppedOffset: 0,
};

/** The bytes of the segments that retention has not dropped. 1 GetItem if it has dropped a part of a page that is not in memory. */
export async function segmentBytes(context: BrokerContext, items: ItemStore, listed: ListedSlot): Promise<number> {
  const { pages, segments, droppedOffset } = listed.list.slots[listed.slot] ?? NO_SEGMENTS;
  let bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0);
  for (const page of pages) {
    if (page.startOffset >= droppedOffset) bytes += page.bytes;
    else {
      const inPage = await readPage(context, items, listed.name, listed.slot, page);
      bytes += above(inPage, droppedOffset).reduce((sum, segment) => sum + segment.bytes, 0);
    }
  }
  return bytes;
}

/** The end of the run that has offsets from `offset` on. */
function above<Part extends { readonly endOffset: number }>(run: readonly Part[], offset: number): readonly Part[] {
  let low = 0;
  let high = run.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((run[middle] as Part).endOffset > offset) high = middle;
    else low = middle + 1;
  }
  return run.slice(low);
}
