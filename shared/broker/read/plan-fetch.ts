import { invalidField } from '../../log/errors.ts';
import {
  FETCH_PLAN_LIFETIME_MS,
  FETCH_PLAN_PARTITIONS_MAX,
  READ_BYTES_DEFAULT,
  READ_BYTES_MAX,
} from '../../log/limits.ts';
import type { AbortedRange } from '../../log/segment/aborted.ts';
import { chunkAt } from '../../log/segment/segment-index.ts';
import { checkTopicName } from '../../log/topic/topic.ts';
import type { BrokerContext } from '../context.ts';
import { dataObjectKey, readStored } from '../data/read-part.ts';
import { openSegment, WHOLE_BYTES_MAX } from '../segments/read-segment.ts';
import { blockAt, blockOffset, blockPosition, segmentKey } from '../segments/segment-blocks.ts';
import { CHUNK_BYTES } from '../settings.ts';
import { abortedIn, endFor, type Isolation, noteHeldUp } from './isolation.ts';
import { planRead, type ReadPiece, type SegmentPiece } from './plan-read.ts';
import { checkInRange, lookingAgain, type PartitionView, viewPartition } from './view-partitions.ts';

export interface FetchPlanRequest {
  readonly topic: string;
  /** Default `read_committed`. */
  readonly isolation?: Isolation | undefined;
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
  readonly lastStableOffset: number;
  /** For `read_committed`: those that have records in the parts. Their batches are to be left out. */
  readonly abortedTransactions: readonly AbortedRange[];
  /** Where the next plan begins. Offsets before it that no part has do not exist any more. */
  readonly nextOffset: number;
  readonly parts: readonly FetchPlanPart[];
}

/**
 * Kafka record batches, back to back, of the offsets `[startOffset, endOffset)`.
 *
 * `inline` and `hot`: the data is as it was appended. Its own base offset fields are not set: the first batch begins at
 * `startOffset`, each next one where the one before ends (by its lastOffsetDelta).
 *
 * `segment`: the data was merged. Its base offset fields are set, and must be used: there need not be a batch for each
 * offset, and the last batches can be past the high watermark of the plan.
 */
export type FetchPlanPart = {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly bytes: number;
} & (
  | { readonly storage: 'hot' | 'segment'; readonly url: string; readonly headers: Readonly<Record<string, string>> }
  | { readonly storage: 'inline'; readonly data: Uint8Array }
);

/**
 * What a reader needs to take records straight from where they lie, without passing through this process: signed URLs of
 * byte ranges, and the bytes of inline batches. Segments are given as ranges of whole blocks. All data stays for at least 15
 * minutes, also if a job replaces it meanwhile. Markers of transactions, which are control batches, are in the parts. Costs 1 read of the head for each partition, what `planRead` does where the
 * offset is out of the tail, 1 GetItem for each inline batch that is not in memory, and 1 GetObject for the index of each
 * segment of more than 16 MiB.
 * @throws EventLogError `unknown_topic`, `unknown_partition`, `offset_out_of_range`, `invalid_request`
 */
export async function planFetch(context: BrokerContext, request: FetchPlanRequest): Promise<FetchPlan> {
  checkTopicName(request.topic);
  const { isolation = 'read_committed' } = request;
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
        return lookingAgain(context, await viewPartition(context, request.topic, partition), async (view) => {
          checkInRange(view, offset);
          const endOffset = endFor(view, isolation);
          const plan = await planRead(context, view, offset, { bytesMax: maxBytes, endOffset, isForOthers: true });
          const isCommitted = isolation === 'read_committed';
          if (isCommitted) await noteHeldUp(context, view, plan.nextOffset);
          const aborted = isCommitted ? await abortedIn(context, view, plan, offset) : [];
          const abortedTransactions = aborted.map(({ producerId, firstOffset, lastOffset }) => ({
            ...{ producerId, firstOffset, lastOffset },
          }));
          const parts = await Promise.all(plan.pieces.map((piece) => planPiece(context, view, piece, expiresAtMs)));
          const { logStartOffset, highWatermark, lastStableOffset } = view;
          const ends = { logStartOffset, highWatermark, lastStableOffset, nextOffset: plan.nextOffset };
          return { partition, ...ends, abortedTransactions, parts: parts.flat() };
        });
      },
    ),
  );
  return { expiresAtMs, partitions };
}

async function planPiece(
  context: BrokerContext,
  view: PartitionView,
  piece: ReadPiece,
  expiresAtMs: number,
): Promise<FetchPlanPart[]> {
  if (piece.type === 'segment') return planSegment(context, view, piece, expiresAtMs);
  const { entry, part, baseOffset } = piece.placed;
  const offsets = { startOffset: baseOffset, endOffset: baseOffset + part.records, bytes: part.bytes };
  if (entry.location === 'inline' || part.marker !== undefined)
    return [{ ...offsets, storage: 'inline', data: await readStored(context, view.stores, view.name, piece.placed) }];
  const range = { start: part.position, end: part.position + part.bytes };
  const signed = await view.stores.objects.presign(dataObjectKey(view.name, entry), range, expiresAtMs);
  return [{ ...offsets, storage: 'hot', ...signed }];
}

/** In chunks, so that a client can hold each answer in memory, and fetch several at once. */
async function planSegment(
  context: BrokerContext,
  { stores: { objects } }: PartitionView,
  { place, blocks, bytes, startOffset, endOffset }: SegmentPiece,
  expiresAtMs: number,
): Promise<FetchPlanPart[]> {
  const key = segmentKey(place);
  const sign = (start: number, end: number) => objects.presign(key, { start, end }, expiresAtMs);
  if (blocks === undefined && bytes <= WHOLE_BYTES_MAX)
    return [{ startOffset, endOffset, bytes, storage: 'segment', ...(await sign(0, bytes)) }];
  const { index } = blocks?.opened ?? (await openSegment(context, objects, { place, isSequential: false }, 0));
  const end = blocks === undefined ? index.bytes : blockPosition(index, blocks.to);
  const parts: FetchPlanPart[] = [];
  for (let start = blockPosition(index, blocks?.from ?? 0); start < end; ) {
    const chunkEnd = Math.min(end, chunkAt(index, start, CHUNK_BYTES)?.end ?? end);
    parts.push({
      startOffset: blockOffset(place, index, blockAt(index, start)),
      endOffset: chunkEnd === end ? endOffset : blockOffset(place, index, blockAt(index, chunkEnd)),
      bytes: chunkEnd - start,
      storage: 'segment',
      ...(await sign(start, chunkEnd)),
    });
    start = chunkEnd;
  }
  return parts;
}
