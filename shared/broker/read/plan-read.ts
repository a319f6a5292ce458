import { MissingDataError } from '../../log/errors.ts';
import { type PlacedPart, partitionState } from '../../log/head/head.ts';
import type { Segment } from '../../log/segment/segment.ts';
import { positionOfOffset } from '../../log/segment/segment-index.ts';
import type { BrokerContext } from '../context.ts';
import { mergedOffset, segmentsFrom } from '../segments/find-segments.ts';
import { knownSegmentList } from '../segments/known-lists.ts';
import { goesOn, type OpenedSegment, openSegment } from '../segments/read-segment.ts';
import { type BlockRange, blockAt, blockOffset, blockPosition, type SegmentPlace } from '../segments/segment-blocks.ts';
import { locateParts } from './locate-parts.ts';
import type { PartitionView } from './view-partitions.ts';

/** Consecutive records of a partition, and where they are. */
export type ReadPiece =
  | { readonly type: 'appended'; readonly bytes: number; readonly placed: PlacedPart }
  | SegmentPiece;

export interface SegmentPiece {
  readonly type: 'segment';
  readonly bytes: number;
  readonly place: SegmentPlace;
  /** The blocks to read; absent for the whole segment, whose index need not be known then. */
  readonly blocks?: (BlockRange & { readonly opened: OpenedSegment }) | undefined;
  /** The piece stands for the offsets `[startOffset, endOffset)`, not each of which has to have a record. */
  readonly startOffset: number;
  readonly endOffset: number;
  /** The segment is being read from its start, or from where an earlier read ended. */
  readonly isSequential: boolean;
}

export interface ReadPlan {
  readonly pieces: readonly ReadPiece[];
  /** Where the next read goes on. Offsets before it that no piece has do not exist any more. */
  readonly nextOffset: number;
}

export interface PlanLimits {
  /** Pieces are added until they have so many bytes; at least one where there are records. */
  readonly bytesMax: number;
  /** The first offset that is not read any more; default: the high watermark. */
  readonly endOffset?: number | undefined;
  /** Only positions are needed: no blocks are fetched together with an index. */
  readonly isForOthers?: boolean;
}

/**
 * Where the records of a partition are from `offset` on. Costs no request if they are in the head's tail. Otherwise it costs
 * 1 GetItem for the segment list, if that was not read within the last minute, 1 GetItem for each page of older segments and
 * 1 GetObject for the index of a segment of which only a part is read, if these are not in memory, and what `locateParts`
 * does. @throws MissingDataError
 */
export async function planRead(
  context: BrokerContext,
  view: PartitionView,
  offset: number,
  limits: PlanLimits,
): Promise<ReadPlan> {
  const { bytesMax, endOffset = view.highWatermark } = limits;
  const pieces: ReadPiece[] = [];
  if (offset >= endOffset) return { pieces, nextOffset: offset };
  let bytes = 0;
  let next = offset;
  // The list can be newer than the head: what was appended since does not belong to this read.
  const planned = (): ReadPlan => ({ pieces, nextOffset: Math.min(next, endOffset) });
  let merged = { mergedEntry: 0, mergedOffset: 0 };
  if (offset < partitionState(view.head, view.slot).totalsBeforeTail.nextOffset) {
    const { name, slot, stores } = view;
    const list = await knownSegmentList(context, stores.items, name);
    merged = { mergedEntry: list.mergedEntry, mergedOffset: mergedOffset({ name, list, slot }) };
    const droppedOffset = list.slots[slot]?.droppedOffset ?? 0;
    // Retention raises the log start offset first: the head was read before that, and the list after it.
    if (offset < droppedOffset)
      throw new MissingDataError(`The offsets below ${droppedOffset} were dropped.`, { offset, droppedOffset });
    if (offset < merged.mergedOffset) {
      for await (const segment of segmentsFrom(context, stores.items, { name, list, slot }, offset)) {
        if (segment.startOffset >= endOffset) break;
        if (segment.bytes === 0) continue;
        if (bytes >= bytesMax) return planned();
        const piece = await planSegment(context, view, segment, offset, {
          ...limits,
          bytesMax: bytesMax - bytes,
          endOffset,
        });
        pieces.push(piece);
        bytes += piece.bytes;
        next = piece.endOffset;
        if (next < segment.endOffset) return planned();
      }
      next = Math.max(next, merged.mergedOffset);
    }
    if (bytes >= bytesMax || next >= endOffset) return planned();
  }
  for (const placed of await locateParts(context, view, next, { bytesMax: bytesMax - bytes, ...merged })) {
    if (placed.baseOffset >= endOffset) break;
    pieces.push({ type: 'appended', bytes: placed.part.bytes, placed });
    next = placed.baseOffset + placed.part.records;
  }
  return planned();
}

async function planSegment(
  context: BrokerContext,
  view: PartitionView,
  segment: Segment,
  offset: number,
  { bytesMax, endOffset, isForOthers = false }: PlanLimits & { readonly endOffset: number },
): Promise<SegmentPiece> {
  const place = { topicId: view.name.topicId, partition: view.partition, segment };
  const startsHere = offset <= segment.startOffset;
  const piece = { type: 'segment', place, startOffset: segment.startOffset, endOffset: segment.endOffset } as const;
  if (startsHere && segment.bytes <= bytesMax) return { ...piece, bytes: segment.bytes, isSequential: true };
  const opened = await openSegment(
    context,
    view.stores.objects,
    { place, isSequential: startsHere && !isForOthers },
    isForOthers ? 0 : Math.min(bytesMax, segment.bytes),
  );
  const { index } = opened;
  const from = blockAt(index, positionOfOffset(index, offset));
  const start = blockPosition(index, from);
  let to = from + 1;
  while (
    to < index.entries.length &&
    blockPosition(index, to) - start < bytesMax &&
    blockOffset(place, index, to) < endOffset
  )
    to++;
  const blocks = new Map([...opened.blocks].filter(([block]) => block >= from && block < to));
  return {
    ...piece,
    bytes: blockPosition(index, to) - start,
    blocks: { from, to, opened: { index, blocks } },
    startOffset: blockOffset(place, index, from),
    endOffset: blockOffset(place, index, to),
    isSequential: startsHere || goesOn(context, place, index, from),
  };
}
