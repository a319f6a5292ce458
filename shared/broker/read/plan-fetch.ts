import { invalidField } from '../../log/errors.ts';
import type { PlacedPart } from '../../log/head/head.ts';
import {
  FETCH_PLAN_LIFETIME_MS,
  FETCH_PLAN_PARTITIONS_MAX,
  READ_BYTES_DEFAULT,
  READ_BYTES_MAX,
} from '../../log/limits.ts';
import { checkTopicName } from '../../log/topic/topic.ts';
import type { BrokerContext } from '../context.ts';
import { dataObjectKey, fetchPart } from '../data/read-part.ts';
import { locateParts } from './locate-parts.ts';
import { checkInRange } from './read.ts';
import { type PartitionView, viewPartition } from './view-partitions.ts';

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

async function planPart(view: PartitionView, placed: PlacedPart, expiresAtMs: number): Promise<FetchPlanPart> {
  const { entry, part, baseOffset } = placed;
  const offsets = { startOffset: baseOffset, endOffset: baseOffset + part.records, bytes: part.bytes };
  if (entry.location === 'inline') {
    return { ...offsets, storage: 'inline', data: await fetchPart(view.stores, view.name, placed) };
  }
  const range = { start: part.position, end: part.position + part.bytes };
  const signed = await view.stores.objects.presign(dataObjectKey(view.name, entry), range, expiresAtMs);
  return { ...offsets, storage: 'hot', ...signed };
}
