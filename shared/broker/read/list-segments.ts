import { invalidField } from '../../log/errors.ts';
import { type PlacedPart, writtenAtMs } from '../../log/head/head.ts';
import { checkTopicName } from '../../log/topic/topic.ts';
import type { BrokerContext } from '../context.ts';
import { dataName } from '../data/read-part.ts';
import { decodePageToken, encodePageToken, type Page, type PageRequest, pageLimit } from '../page.ts';
import { locateParts } from './locate-parts.ts';
import { type PartitionView, viewPartition } from './view-partitions.ts';

/** Where some consecutive records of a partition lie. */
export interface SegmentDescription {
  readonly partition: number;
  readonly startOffset: number;
  readonly endOffset: number;
  /** `inline`: in the table; `hot`: in an object as it was appended, not merged yet. */
  readonly storage: 'inline' | 'hot';
  /** The object's key, or the item's keys. */
  readonly storedAs: string;
  readonly position: number;
  readonly bytes: number;
  readonly maxTimestampMs: number;
  readonly writtenAtMs: number;
}

/**
 * Where every offset of a topic lies, in the order of partitions and offsets. Costs 1 read of the head for each partition
 * of the page, and reads of its tail nodes. @throws EventLogError `unknown_topic`, `unknown_partition`, `invalid_request`
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
  for (let partition = position?.partition ?? request.partition ?? 0; partition <= last; partition++) {
    const view = await viewPartition(context, topicName, partition);
    let offset = Math.max(view.logStartOffset, position?.partition === partition ? position.offset : 0);
    while (offset < view.highWatermark) {
      if (items.length === limit) return { items, nextPageToken: encodePageToken(`${partition}:${offset}`) };
      const parts = await locateParts(context, view, offset, Number.POSITIVE_INFINITY, limit - items.length);
      for (const placed of parts) items.push(describePart(view, placed));
      offset = items.at(-1)?.endOffset ?? view.highWatermark;
    }
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

function describePart(view: PartitionView, { entry, part, baseOffset }: PlacedPart): SegmentDescription {
  return {
    partition: view.partition,
    startOffset: baseOffset,
    endOffset: baseOffset + part.records,
    storage: entry.location === 'inline' ? 'inline' : 'hot',
    storedAs: dataName(view.name, entry),
    position: part.position,
    bytes: part.bytes,
    maxTimestampMs: part.maxTimestampMs,
    writtenAtMs: writtenAtMs(entry),
  };
}
