import type { StoredBatch } from '../../log/batch/stored-batch.ts';
import { invalidField } from '../../log/errors.ts';
import { OFFSET_MAX, READ_BYTES_DEFAULT, READ_BYTES_MAX, READ_WAIT_MS_MAX } from '../../log/limits.ts';
import type { AbortedRange } from '../../log/segment/aborted.ts';
import { checkTopicName } from '../../log/topic/topic.ts';
import type { BrokerContext } from '../context.ts';
import { abortedIn, endFor, type Isolation, isHeldUp, noteHeldUp, withoutAborted } from './isolation.ts';
import { lookAgainMs, lookUntil } from './look-until.ts';
import { planRead } from './plan-read.ts';
import { takeBatches } from './take-batches.ts';
import { findTime } from './times/find-time.ts';
import { checkInRange, lookingAgain, type PartitionView, viewPartition } from './view-partitions.ts';

/** Where a read begins: at an offset, at the first record of a time or later, or so many records before the end. */
export type ReadFrom = { readonly offset: number } | { readonly timestampMs: number } | { readonly tail: number };

export interface ReadRequest {
  readonly topic: string;
  readonly partition: number;
  readonly from: ReadFrom;
  /**
   * A part (up to 1 MiB, or one batch) or a block of a segment (64 KiB, or up to its last batch) is never cut, and one is
   * always given, so more may come. Default 1 MiB.
   */
  readonly maxBytes?: number | undefined;
  /** At the end, wait so long for records to come; default 0. */
  readonly waitMs?: number | undefined;
  /** Default `read_committed`. */
  readonly isolation?: Isolation | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ReadResult {
  /** The offset that the read began at; records of the first batch may lie before it. */
  readonly offset: number;
  /**
   * Where the next read goes on, once all batches were taken. It passes over offsets that have no record any more, so it can
   * be further on although there are no batches.
   */
  readonly nextOffset: number;
  readonly logStartOffset: number;
  readonly highWatermark: number;
  readonly lastStableOffset: number;
  /**
   * Whole batches in order, without markers of transactions and, for `read_committed`, without what was aborted. Each is
   * fetched a little before it is taken, so that a slow taker holds little in memory. Can be taken once, and as slowly as the
   * taker likes: what a job has moved meanwhile is read from its new place.
   * @throws EventLogError `corrupt_data`, `storage_unavailable` while it is taken; `offset_out_of_range` if retention has
   * dropped what was not taken yet
   */
  readonly batches: AsyncIterable<StoredBatch>;
}

/** A read whose batches are all that is stored. */
export interface SharedReadResult extends ReadResult {
  /** Those that have records in the batches, for `read_committed`. */
  readonly aborted: readonly AbortedRange[];
}

/**
 * Reads record batches from a partition. Sees every record acknowledged before the call, or with `read_committed` every record
 * of each transaction that had ended. At the end of the partition, or at the last stable offset, it
 * waits for up to `waitMs`, and is woken at once by appends of the same process. Costs 1 read of the head, and 1 GetItem or
 * GetObject for each part that is not in memory; for records out of the tail see `planRead`, and for segments
 * `readSegment`. A wait costs 1 read of the head for each look: one every `pollIntervalMs`. If no other process can
 * append, there is none between, or one a second while an open transaction holds the read up.
 * @throws EventLogError `unknown_topic`, `unknown_partition`, `offset_out_of_range` with both ends, `invalid_request`
 */
export async function read(context: BrokerContext, request: ReadRequest): Promise<ReadResult> {
  const { topic, partition, isolation = 'read_committed', signal } = request;
  checkTopicName(topic);
  checkFrom(request.from);
  const maxBytes = bounded('maxBytes', request.maxBytes ?? READ_BYTES_DEFAULT, 1, READ_BYTES_MAX);
  const waitMs = bounded('waitMs', request.waitMs ?? 0, 0, READ_WAIT_MS_MAX);
  const listener = waitMs > 0 ? context.signals.listen() : undefined;
  let from = request.from;
  const look = async (): Promise<ReadResult> => {
    // A topic that was made again has another id, so every look asks for it.
    if (listener !== undefined) listener.add((await context.topics.get(topic)).topicId, partition);
    const { offset, view } = await resolveFrom(
      context,
      await viewPartition(context, topic, partition),
      from,
      isolation,
    );
    from = { offset };
    return readView(context, view, offset, maxBytes, isolation);
  };
  try {
    return await lookUntil(context, {
      listener,
      look,
      isEnough: ({ offset, nextOffset }) => nextOffset > offset,
      untilMs: context.clock.nowMs() + waitMs,
      lookMs: (result) => lookAgainMs(context, isHeldUp(result, result.nextOffset, isolation)),
      signal,
    });
  } finally {
    listener?.close();
  }
}

/**
 * The records of a partition from an offset on, as far as the view has them, or a newer view if it had to look again. Costs
 * what `planRead` does. @throws EventLogError `offset_out_of_range` with both ends
 */
export async function readView(
  context: BrokerContext,
  view: PartitionView,
  offset: number,
  maxBytes: number,
  isolation: Isolation,
): Promise<ReadResult> {
  const result = await readSharedView(context, view, offset, maxBytes, isolation);
  return { ...result, batches: copied(withoutAborted(result.batches, result.aborted)) };
}

/** What is kept in memory serves other readers too. */
async function* copied(batches: AsyncIterable<StoredBatch>): AsyncGenerator<StoredBatch> {
  for await (const batch of batches) yield { ...batch, bytes: batch.bytes.slice() };
}

/**
 * As `readView`, but the batches are all that is stored, and they are views on memory that others use too: callers must not
 * change them.
 */
export async function readSharedView(
  context: BrokerContext,
  view: PartitionView,
  offset: number,
  maxBytes: number,
  isolation: Isolation,
): Promise<SharedReadResult> {
  return lookingAgain(context, view, async (seen) => {
    checkInRange(seen, offset);
    const isCommitted = isolation === 'read_committed';
    const plan = await planRead(context, seen, offset, { bytesMax: maxBytes, endOffset: endFor(seen, isolation) });
    if (isCommitted) await noteHeldUp(context, seen, plan.nextOffset);
    return {
      offset,
      nextOffset: plan.nextOffset,
      logStartOffset: seen.logStartOffset,
      highWatermark: seen.highWatermark,
      lastStableOffset: seen.lastStableOffset,
      aborted: isCommitted ? await abortedIn(context, seen, plan, offset) : [],
      batches: context.traffic.counted(seen.topic.name, takeBatches(context, seen, plan, offset)),
    };
  });
}

/**
 * The offset that a read begins at, not checked to be in range, and the view that it was found in: a newer one if the search
 * for a time had to look again. A time costs what `findTime` does.
 */
export async function resolveFrom(
  context: BrokerContext,
  view: PartitionView,
  from: ReadFrom,
  isolation: Isolation,
): Promise<{ readonly offset: number; readonly view: PartitionView }> {
  if ('offset' in from) return { offset: from.offset, view };
  if ('tail' in from) return { offset: Math.max(view.logStartOffset, endFor(view, isolation) - from.tail), view };
  return lookingAgain(context, view, async (seen) => ({
    offset: (await findTime(context, seen, from.timestampMs))?.offset ?? endFor(seen, isolation),
    view: seen,
  }));
}

export interface OffsetForTime {
  /** Of the first record of that time or later; the high watermark where there is none. */
  readonly offset: number;
  /** That record's time; `null` where there is none. */
  readonly timestampMs: number | null;
  readonly logStartOffset: number;
  readonly highWatermark: number;
}

/**
 * The offset of the first record whose timestamp is `timestampMs` or later, in order of offsets, as Kafka's ListOffsets
 * tells it. Costs 1 read of the head and what `findTime` does.
 * @throws EventLogError `unknown_topic`, `unknown_partition`, `invalid_request`
 */
export async function offsetForTime(
  context: BrokerContext,
  topic: string,
  partition: number,
  timestampMs: number,
): Promise<OffsetForTime> {
  checkTopicName(topic);
  checkFrom({ timestampMs });
  return lookingAgain(context, await viewPartition(context, topic, partition), async (view) => {
    const { logStartOffset, highWatermark } = view;
    const found = await findTime(context, view, timestampMs);
    return {
      offset: found?.offset ?? highWatermark,
      timestampMs: found?.timestampMs ?? null,
      logStartOffset,
      highWatermark,
    };
  });
}

/** @throws EventLogError `invalid_request` */
export function checkFrom(from: ReadFrom): void {
  if ('offset' in from) bounded('offset', from.offset, 0, OFFSET_MAX);
  else if ('tail' in from) bounded('tail', from.tail, 0, OFFSET_MAX);
  else bounded('timestamp', from.timestampMs, 0, OFFSET_MAX);
}

/** @throws EventLogError `invalid_request` */
export function bounded(field: string, value: number, min: number, max: number): number {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value;
  throw invalidField(field, `${field} takes a whole number from ${min} to ${max}.`, { min, max });
}
