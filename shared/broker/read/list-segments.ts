import { invalidField } from '../../log/errors.ts';
import { type PlacedPart, partitionState, TAIL_NODE_ENTRIES, writtenAtMs } from '../../log/head/head.ts';
import type { Segment } from '../../log/segment/segment.ts';
import { checkTopicName, headOf, headPartitions, type Topic } from '../../log/topic/topic.ts';
import { headKey } from '../../storage/keys.ts';
import type { BrokerContext } from '../context.ts';
import { dataName } from '../data/read-part.ts';
import { nodeKey } from '../heads/items.ts';
import { decodePageToken, encodePageToken, type Page, type PageRequest, pageLimit } from '../page.ts';
import { mergedOffset, segmentsFrom } from '../segments/find-segments.ts';
import { currentSegmentList } from '../segments/known-lists.ts';
import { segmentKey } from '../segments/segment-blocks.ts';
import { locateParts } from './locate-parts.ts';
import { lookingAgain, type PartitionView, viewPartitions } from './view-partitions.ts';

/** Where some consecutive records of a partition are stored. */
export interface SegmentDescription {
  readonly partition: number;
  readonly startOffset: number;
  readonly endOffset: number;
  /**
   * `inline`: in the table; `hot`: in an object as it was appended; `segment`: in an object of this partition; `marker`: a marker
   * of a transaction, which is stored only in the head's tail or in a tail node.
   */
  readonly storage: 'inline' | 'hot' | 'segment' | 'marker';
  /**
   * `tail`: the head names it; `unmerged`: a tail node does; `merged`: the segment list does, and there need not be a record
   * for each offset; `compacted`: likewise, and compaction has been there.
   */
  readonly state: 'tail' | 'unmerged' | 'merged' | 'compacted';
  /** The object's key, or the item's keys; for a marker those of the head or the tail node. */
  readonly storedAs: string;
  readonly position: number;
  readonly bytes: number;
  readonly maxTimestampMs: number;
  /** When it was appended; for a segment, when its oldest data was. */
  readonly writtenAtMs: number;
}

/**
 * Where every offset of a topic is stored, in the order of partitions and offsets. Jobs can replace segments between two
 * pages, so a segment can begin below the end of the page before. Costs 1 read of each head (16 partitions), 1 GetItem for the
 * segment list for each partition with records of the page, 1 GetItem for each page of older segments that is not in memory,
 * and reads of its tail nodes. @throws EventLogError `unknown_topic`, `unknown_partition`, `invalid_request`
 */
export async function listSegments(
  context: BrokerContext,
  topicName: string,
  request: PageRequest & { partition?: number | undefined } = {},
): Promise<Page<SegmentDescription>> {
  checkTopicName(topicName);
  const limit = pageLimit(request.limit);
  const topic = await context.topics.get(topicName);
  const position = request.pageToken === undefined ? undefined : parsePosition(request.pageToken);
  const last = request.partition ?? topic.partitions - 1;
  const items: SegmentDescription[] = [];
  let views = new Map<number, PartitionView>();
  for (let partition = position?.partition ?? request.partition ?? 0; partition <= last; partition++) {
    const from = position?.partition === partition ? position.offset : 0;
    if (!views.has(partition)) views = await viewHead(context, topic, partition, last);
    const view = views.get(partition) as PartitionView;
    const listed = await lookingAgain(context, view, (seen) =>
      listPartition(context, seen, from, limit - items.length),
    );
    items.push(...listed.items);
    if (listed.nextOffset !== undefined)
      return { items, nextPageToken: encodePageToken(`${partition}:${listed.nextOffset}`) };
  }
  return { items };
}

/** This partition and the later ones of its head, up to `last`. @throws EventLogError `unknown_topic`, `unknown_partition` */
async function viewHead(
  context: BrokerContext,
  topic: Topic,
  partition: number,
  last: number,
): Promise<Map<number, PartitionView>> {
  const { headNumber } = headOf(topic, partition);
  const later = headPartitions(topic, headNumber).filter((other) => other > partition && other <= last);
  const views = await viewPartitions(context, topic, [partition, ...later]);
  return new Map(views.map((view) => [view.partition, view]));
}

/** Up to `limit` of a partition; `nextOffset` if there are more. */
async function listPartition(
  context: BrokerContext,
  view: PartitionView,
  from: number,
  limit: number,
): Promise<{ readonly items: readonly SegmentDescription[]; readonly nextOffset?: number }> {
  const { name, slot, stores } = view;
  const items: SegmentDescription[] = [];
  let offset = Math.max(view.logStartOffset, from);
  if (offset >= view.highWatermark) return { items };
  let merged = { mergedEntry: 0, mergedOffset: 0 };
  if (offset < partitionState(view.head, slot).totalsBeforeTail.nextOffset) {
    const list = await currentSegmentList(context, stores.items, name);
    const listed = { name, list, slot };
    merged = { mergedEntry: list.mergedEntry, mergedOffset: mergedOffset(listed) };
    for await (const segment of segmentsFrom(context, stores.items, listed, offset)) {
      if (items.length === limit) return { items, nextOffset: offset };
      items.push(describeSegment(view, segment, list.slots[slot]?.compactedOffset ?? 0));
      offset = segment.endOffset;
    }
    offset = Math.max(offset, merged.mergedOffset);
  }
  while (offset < view.highWatermark) {
    if (items.length === limit) return { items, nextOffset: offset };
    const limits = { bytesMax: Number.POSITIVE_INFINITY, partsMax: limit - items.length, ...merged };
    const described = (await locateParts(context, view, offset, limits)).map((placed) => describePart(view, placed));
    items.push(...described);
    offset = described.at(-1)?.endOffset ?? view.highWatermark;
  }
  return { items };
}

function parsePosition(token: string): { partition: number; offset: number } {
  const match = /^(\d{1,6}):(\d{1,16})$/.exec(decodePageToken(token));
  if (match === null)
    throw invalidField(
      'pageToken',
      'This is not a page token of this listing; take it from `nextPageToken` of the page before.',
    );
  return { partition: Number(match[1]), offset: Number(match[2]) };
}

function describePart(view: PartitionView, placed: PlacedPart): SegmentDescription {
  const { entryNumber, entry, part, baseOffset } = placed;
  const isInTail = entryNumber >= view.head.firstEntry;
  const isMarker = part.marker !== undefined;
  return {
    partition: view.partition,
    startOffset: baseOffset,
    endOffset: baseOffset + part.records,
    storage: isMarker ? 'marker' : entry.location === 'inline' ? 'inline' : 'hot',
    state: isInTail ? 'tail' : 'unmerged',
    storedAs: isMarker ? entryName(view, entryNumber, isInTail) : dataName(view.name, entry),
    position: part.position,
    bytes: part.bytes,
    maxTimestampMs: part.maxTimestampMs,
    writtenAtMs: writtenAtMs(entry),
  };
}

/** The keys of the item that holds an entry. */
function entryName({ name }: PartitionView, entryNumber: number, isInTail: boolean): string {
  const { pk, sk } = isInTail
    ? headKey(name.topicId, name.headNumber)
    : nodeKey(name, entryNumber - (entryNumber % TAIL_NODE_ENTRIES));
  return `${pk}/${sk}`;
}

function describeSegment(view: PartitionView, segment: Segment, compactedOffset: number): SegmentDescription {
  const { partition, name } = view;
  const { startOffset, endOffset, bytes, maxTimestampMs, writtenAtMs } = segment;
  return {
    partition,
    startOffset,
    endOffset,
    storage: 'segment',
    state: endOffset <= compactedOffset ? 'compacted' : 'merged',
    storedAs: segmentKey({ topicId: name.topicId, partition, segment }),
    position: 0,
    bytes,
    maxTimestampMs,
    writtenAtMs,
  };
}
