import { emptyBatch, type StoredBatch } from '../../log/batch/stored-batch.ts';
import { EventLogError } from '../../log/errors.ts';
import type { AbortedRange } from '../../log/segment/aborted.ts';
import { checkTopicName, type Topic } from '../../log/topic/topic.ts';
import type { BrokerContext } from '../context.ts';
import { unknownTopic } from '../memory/topic-cache.ts';
import { eachOf } from '../topics/each-head.ts';
import { endFor, type Isolation, inOrder, isHeldUp, noteHeldUp } from './isolation.ts';
import { lookAgainMs, lookUntil } from './look-until.ts';
import { readSharedView } from './read.ts';
import { checkInRange, type PartitionView, viewPartitions } from './view-partitions.ts';

/** Reading many partitions at once, as Kafka's Fetch does: what each has, within limits over all of them. */
export interface PartitionToFetch {
  readonly topic: string;
  /** The topic must have this id. */
  readonly topicId?: string | undefined;
  readonly partition: number;
  readonly offset: number;
  /** As `maxBytes` of a read. */
  readonly bytesMax: number;
}

export interface FetchPartitionsRequest {
  /** Those named first are read first. */
  readonly partitions: readonly PartitionToFetch[];
  /** Wait until there are so many bytes; 0: do not wait. */
  readonly bytesMin: number;
  /** Of all partitions together. One batch is always given. */
  readonly bytesMax: number;
  readonly waitMs: number;
  /** Default `read_committed`. */
  readonly isolation?: Isolation | undefined;
  readonly signal?: AbortSignal | undefined;
}

export type FetchedPartition =
  | {
      readonly ok: true;
      readonly logStartOffset: number;
      readonly highWatermark: number;
      readonly lastStableOffset: number;
      /** For `read_committed`: those that have records in `batches`, in the order of their first offsets. */
      readonly aborted: readonly AbortedRange[];
      /**
       * Whole batches in order; the first may begin before the offset that was asked for. Their bytes are views on memory that
       * others use too, and must not be changed. Where only offsets without records were found, it is one batch without
       * records, of these offsets: nothing else tells a consumer of Kafka to go on.
       */
      readonly batches: readonly StoredBatch[];
    }
  | { readonly ok: false; readonly error: EventLogError };

/** So many partitions are read at once. */
const READS_AT_ONCE = 8;
/** What a look holds for each partition, about: its view, and its share of a head that is read. */
const LOOK_BYTES = 2_560;

/**
 * A partition on the way: where its next read begins, and what the reads before gave. A million of them may wait at once, so
 * no view is kept between two looks: it holds a whole head.
 */
interface Fetching {
  readonly wanted: PartitionToFetch;
  nextOffset: number;
  bytes: number;
  batches: readonly StoredBatch[];
  /** Several reads can meet one of them. */
  aborted: readonly AbortedRange[];
  error: EventLogError | undefined;
  /** What the last look saw. */
  topicId: string | undefined;
  logStartOffset: number;
  highWatermark: number;
  lastStableOffset: number;
}

/** A partition of which a look found more. */
interface Behind {
  readonly one: Fetching;
  readonly view: PartitionView;
}

const NO_BATCHES: readonly StoredBatch[] = [];
const NONE_ABORTED: readonly AbortedRange[] = [];

/**
 * Reads from all these partitions what they have, in the order of the request. A partition that can't be read has an error of
 * its own, and ends the wait. Sees every record that was acknowledged before the call. Costs 1 GetItem for each head, again
 * for each look while it waits, and for each partition that has more what `readView` costs.
 * @throws EventLogError of the storage
 */
export async function fetchPartitions(
  context: BrokerContext,
  { partitions, bytesMin, bytesMax, waitMs, isolation = 'read_committed', signal }: FetchPartitionsRequest,
): Promise<FetchedPartition[]> {
  const fetching: Fetching[] = partitions.map((wanted) => ({
    wanted,
    nextOffset: wanted.offset,
    bytes: 0,
    batches: NO_BATCHES,
    aborted: NONE_ABORTED,
    error: undefined,
    topicId: undefined,
    logStartOffset: 0,
    highWatermark: 0,
    lastStableOffset: 0,
  }));
  const listener = waitMs > 0 ? context.signals.listen() : undefined;
  const look = async (): Promise<number> => {
    const behind = await context.lookBytes.use(fetching.length * LOOK_BYTES, () =>
      viewAll(context, fetching, isolation, (topicId, partition) => listener?.add(topicId, partition)),
    );
    return readAll(context, fetching, behind, { bytesMax, isolation });
  };
  try {
    await lookUntil(context, {
      listener,
      look,
      isEnough: (bytes) => bytes >= Math.min(bytesMin, bytesMax) || fetching.some(({ error }) => error !== undefined),
      untilMs: context.clock.nowMs() + waitMs,
      lookMs: () =>
        lookAgainMs(
          context,
          fetching.some((one) => isHeldUp(one, one.nextOffset, isolation)),
        ),
      signal,
    });
  } finally {
    listener?.close();
  }
  return fetching.map(outcomeOf);
}

/** Looks where the partitions begin and end now, and returns those that have more, in the order of the request. */
async function viewAll(
  context: BrokerContext,
  fetching: readonly Fetching[],
  isolation: Isolation,
  listen: (topicId: string, partition: number) => void,
): Promise<readonly Behind[]> {
  const behind = new Map<Fetching, PartitionView>();
  const byTopic = Map.groupBy(
    fetching.filter(({ error }) => error === undefined),
    ({ wanted }) => wanted.topic,
  );
  await eachOf([...byTopic.values()], async (ofTopic) => {
    const { topic: name } = (ofTopic[0] as Fetching).wanted;
    try {
      checkTopicName(name);
      const topic = await topicWith(context, name, ofTopic);
      const known = ofTopic.filter((one) => isKnown(one, topic));
      // Listening comes first, so that no append after the look is missed.
      for (const { wanted } of known) listen(topic.topicId, wanted.partition);
      const views = await viewPartitions(
        context,
        topic,
        known.map(({ wanted }) => wanted.partition),
      );
      for (const [i, one] of known.entries()) {
        const view = views[i] as PartitionView;
        if (see(one, view, isolation)) behind.set(one, view);
        else if (isolation === 'read_committed') await noteHeldUp(context, view, one.nextOffset);
      }
    } catch (error) {
      if (!(error instanceof EventLogError)) throw error;
      for (const one of ofTopic) one.error ??= error;
    }
  });
  return fetching.flatMap((one) => {
    const view = behind.get(one);
    return view === undefined ? [] : { one, view };
  });
}

/** The topic from memory, unless a partition is asked for that it did not have then. */
async function topicWith(context: BrokerContext, name: string, wanted: readonly Fetching[]): Promise<Topic> {
  const known = await context.topics.get(name);
  return wanted.every(({ wanted: { partition } }) => partition < known.partitions)
    ? known
    : context.topics.refresh(name);
}

/** Whether the topic has the partition; if not, that is its error. */
function isKnown(one: Fetching, topic: Topic): boolean {
  const { partition } = one.wanted;
  if (Number.isSafeInteger(partition) && partition >= 0 && partition < topic.partitions) return true;
  one.error = new EventLogError('unknown_partition', `Topic '${topic.name}' has no partition ${partition}.`, {
    details: { topic: topic.name, partition, partitions: topic.partitions },
  });
  return false;
}

/** Whether there is more to read. */
function see(one: Fetching, view: PartitionView, isolation: Isolation): boolean {
  const { topicId, topic, bytesMax } = one.wanted;
  const isOther = topicId !== undefined && view.topic.topicId !== topicId;
  const isMadeAgain = one.topicId !== undefined && one.topicId !== view.topic.topicId;
  if (isOther || isMadeAgain) {
    one.error = unknownTopic(topic);
    return false;
  }
  one.topicId = view.topic.topicId;
  one.logStartOffset = view.logStartOffset;
  one.highWatermark = view.highWatermark;
  one.lastStableOffset = view.lastStableOffset;
  try {
    if (one.batches.length === 0) checkInRange(view, one.nextOffset);
  } catch (error) {
    if (!(error instanceof EventLogError)) throw error;
    one.error = error;
    return false;
  }
  return one.nextOffset < endFor(view, isolation) && one.bytes < bytesMax;
}

/** Reads on where there is more, and returns the bytes that are together now. */
async function readAll(
  context: BrokerContext,
  fetching: readonly Fetching[],
  behind: readonly Behind[],
  { bytesMax, isolation }: { readonly bytesMax: number; readonly isolation: Isolation },
): Promise<number> {
  let total = bytesOf(fetching);
  for (let next = 0; next < behind.length && total < bytesMax; ) {
    const largest = Math.max(...behind.slice(next, next + READS_AT_ONCE).map(({ one: { wanted } }) => wanted.bytesMax));
    const count = Math.min(READS_AT_ONCE, Math.max(1, Math.floor((bytesMax - total) / largest)));
    const turn = behind.slice(next, next + count);
    const left = bytesMax - total;
    await Promise.all(turn.map((each) => readOne(context, each, left, isolation)));
    total = bytesOf(fetching);
    next += count;
  }
  return total;
}

function bytesOf(fetching: readonly Fetching[]): number {
  return fetching.reduce((sum, { bytes }) => sum + bytes, 0);
}

async function readOne(
  context: BrokerContext,
  { one, view }: Behind,
  bytesLeft: number,
  isolation: Isolation,
): Promise<void> {
  const bytesMax = Math.max(1, Math.min(one.wanted.bytesMax - one.bytes, bytesLeft));
  try {
    // A read may find only offsets whose records are gone. Whoever gets nothing asks for the same again and again.
    do one.bytes += await readOnce(context, { one, view }, bytesMax, isolation);
    while (one.batches.length === 0 && one.nextOffset < endFor(view, isolation));
    if (one.batches.length === 0) passGap(one);
  } catch (error) {
    if (!(error instanceof EventLogError)) throw error;
    // What was read before is good.
    if (one.batches.length === 0) one.error = error;
  }
}

/**
 * Without a batch a consumer would stay where it is, below the end for ever, and never hear that it has read everything. The
 * batch does not end a wait: kafkajs stays where it is nevertheless, and would ask without a pause.
 */
function passGap(one: Fetching): void {
  const batch = emptyBatch(one.wanted.offset, one.nextOffset);
  one.batches = [batch];
  one.nextOffset = batch.endOffset;
}

/** Returns the bytes that were taken. */
async function readOnce(
  context: BrokerContext,
  { one, view }: Behind,
  bytesMax: number,
  isolation: Isolation,
): Promise<number> {
  const result = await readSharedView(context, view, one.nextOffset, bytesMax, isolation);
  const batches: StoredBatch[] = [];
  let taken = 0;
  let isCut = false;
  for await (const batch of result.batches) {
    isCut = one.batches.length + batches.length > 0 && taken + batch.bytes.length > bytesMax;
    if (isCut) break;
    batches.push(batch);
    taken += batch.bytes.length;
    one.nextOffset = batch.endOffset;
  }
  if (!isCut) one.nextOffset = result.nextOffset;
  if (batches.length > 0) one.batches = [...one.batches, ...holdingLittle(batches, taken)];
  if (result.aborted.length > 0) one.aborted = [...one.aborted, ...result.aborted];
  return taken;
}

/** An answer may hold so many times its bytes until it is sent. */
const HELD_FOR_TAKEN_MAX = 4;

/** Copies batches that are a small part of the memory that they are views on. */
function holdingLittle(batches: readonly StoredBatch[], bytes: number): readonly StoredBatch[] {
  let held = 0;
  for (const buffer of new Set(batches.map((batch) => batch.bytes.buffer))) held += buffer.byteLength;
  return bytes * HELD_FOR_TAKEN_MAX >= held
    ? batches
    : batches.map((batch) => ({ ...batch, bytes: batch.bytes.slice() }));
}

function outcomeOf(one: Fetching): FetchedPartition {
  const { error, logStartOffset, highWatermark, lastStableOffset, batches } = one;
  if (error !== undefined) return { ok: false, error };
  const aborted = one.aborted.length === 0 ? NONE_ABORTED : inOrder(one.aborted);
  return { ok: true, logStartOffset, highWatermark, lastStableOffset, aborted, batches };
}
