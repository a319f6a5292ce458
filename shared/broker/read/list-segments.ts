import { EventLogError, invalidField } from '../../log/errors.ts';
import { type PlacedPart, writtenAtMs } from '../../log/head/head.ts';
import {
  FETCH_PLAN_LIFETIME_MS,
  FETCH_PLAN_PARTITIONS_MAX,
  READ_BYTES_DEFAULT,
  READ_BYTES_MAX,
} from '../../log/limits.ts';
import { checkTopicName } from '../../log/topic/topic.ts';
import { hotObjectKey, INLINE_BATCH, inlineBatchKey } from '../../storage/keys.ts';
import type { BrokerContext } from '../context.ts';
import { dataName } from '../data/read-part.ts';
import { decodePageToken, encodePageToken, type Page, type PageRequest, pageLimit } from '../page.ts';
import { locateParts, type PartitionView, viewPartition } from './locate-parts.ts';
import { checkInRange } from './read.ts';

/** Where some consecutive records of a partition lie. */
export interface SegmentDescription {
  readonly partition: number;
  readonly startOffset: number;
  readonly endOffset: number;
  /** `inline`: in the table; `hot`: in an object as it was appended, not merged yet. */
  readonly storage: 'inline' | 'hot';
  /** The object's key, or the item's partition key. */
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
    storage: entry.location,
    storedAs: dataName(entry),
    position: part.position,
    bytes: part.bytes,
    maxTimestampMs: part.maxTimestampMs,
    writtenAtMs: writtenAtMs(entry),
  };
}

export interface FetchPlanRequest {
  readonly topic: string;
  readonly partitions: readonly {
    readonly partition: number;
    readonly offset: number;
    readonly maxBytes?: number | undefined;
  }[];
}

export interface FetchPlan {
  /** The URLs are good until then. */
  readonly expiresAtMs: number;
  readonly partitions: readonly PartitionFetchPlan[];
}

export interface PartitionFetchPlan {
  readonly partition: number;
  readonly logStartOffset: number;
  readonly highWatermark: number;
  readonly nextOffset: number;
  readonly parts: readonly FetchPlanPart[];
}

/**
 * Kafka record batches, back to back, of the offsets `[startOffset, endOffset)`. Their own base offset fields are not set:
 * the first batch begins at `startOffset`, each next one where the one before ends (by its lastOffsetDelta).
 */
export type FetchPlanPart = {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly bytes: number;
} & (
  | { readonly storage: 'hot'; readonly url: string; readonly headers: Readonly<Record<string, string>> }
  | { readonly storage: 'inline'; readonly data: Uint8Array }
);

/**
 * What a reader needs to take records straight from where they lie, without passing through this process: signed URLs of
 * byte ranges, and the bytes of inline batches. Costs 1 read of the head for each partition, reads of tail nodes where the
 * offset is out of the tail, and 1 GetItem for each inline batch.
 * @throws EventLogError `unknown_topic`, `unknown_partition`, `offset_out_of_range`, `invalid_request`
 */
export async function planFetch(context: BrokerContext, request: FetchPlanRequest): Promise<FetchPlan> {
  checkTopicName(request.topic);
  if (request.partitions.length === 0 || request.partitions.length > FETCH_PLAN_PARTITIONS_MAX) {
    throw invalidField('partitions', `A fetch plan names 1 to ${FETCH_PLAN_PARTITIONS_MAX} partitions.`);
  }
  // Inline batches come with the plan, so its size is bounded as a whole.
  const share = Math.floor(READ_BYTES_MAX / request.partitions.length);
  const expiresAtMs = context.clock.nowMs() + FETCH_PLAN_LIFETIME_MS;
  const partitions = await Promise.all(
    request.partitions.map(
      async ({ partition, offset, maxBytes = Math.min(READ_BYTES_DEFAULT, share) }): Promise<PartitionFetchPlan> => {
        if (!(maxBytes >= 1 && maxBytes <= share))
          throw invalidField('maxBytes', `With so many partitions, maxBytes takes a whole number from 1 to ${share}.`);
        const view = await viewPartition(context, request.topic, partition);
        checkInRange(view, offset);
        const placed = offset < view.highWatermark ? await locateParts(context, view, offset, maxBytes) : [];
        const parts = await Promise.all(placed.map((part) => planPart(view, part, expiresAtMs)));
        const { logStartOffset, highWatermark } = view;
        return { partition, logStartOffset, highWatermark, nextOffset: parts.at(-1)?.endOffset ?? offset, parts };
      },
    ),
  );
  return { expiresAtMs, partitions };
}

async function planPart(
  view: PartitionView,
  { entry, part, baseOffset }: PlacedPart,
  expiresAtMs: number,
): Promise<FetchPlanPart> {
  const range = { start: part.position, end: part.position + part.bytes };
  const offsets = { startOffset: baseOffset, endOffset: baseOffset + part.records, bytes: part.bytes };
  if (entry.location === 'hot') {
    return {
      ...offsets,
      storage: 'hot',
      ...(await view.stores.objects.presign(hotObjectKey(entry.batchId), range, expiresAtMs)),
    };
  }
  const { attributes } = await view.stores.items.get(inlineBatchKey(entry.batchId));
  const data = attributes?.[INLINE_BATCH.data];
  if (!(data instanceof Uint8Array)) {
    throw new EventLogError('corrupt_data', `The stored data '${dataName(entry)}' is missing.`, {
      details: { storedAs: dataName(entry) },
    });
  }
  return { ...offsets, storage: 'inline', data: data.slice(range.start, range.end) };
}
