import { encodeBatch } from '../../log/batch/record-batch.ts';
import { BATCH_HEADER_BYTES, recordBytesBound } from '../../log/batch/write-batch.ts';
import { EventLogError, invalidField } from '../../log/errors.ts';
import { addSequence } from '../../log/head/producer.ts';
import { HEADERS_PER_RECORD_MAX, RECORDS_PER_BATCH_MAX } from '../../log/limits.ts';
import { checkTimestamp } from '../../log/topic/check-batch.ts';
import { partitionForKey } from '../../log/topic/partitioner.ts';
import { checkPartition, checkTopicName, headOf, type Topic } from '../../log/topic/topic.ts';
import { choiceSetting, isCompacted, numberSetting, requiredCompression } from '../../log/topic/topic-config.ts';
import type { BrokerContext } from '../context.ts';
import { notSettledInTime } from '../heads/commit/send-until-certain.ts';
import { appendBatches, checkAtomic, checkBatchCount } from './append-batches.ts';
import type { GroupCommit } from './group-commit.ts';
import {
  isShutOut,
  type KeyedAppend,
  type OpenKeyRequest,
  openKey,
  settleKey,
  shutOut,
  stickyOfKey,
} from './idempotency-key.ts';
import type {
  AppendIdentity,
  AppendOutcome,
  AppendRecordsRequest,
  BatchToAppend,
  RecordOutcome,
  RecordToAppend,
} from './outcomes.ts';

/** Chooses the sticky partition of each request without keys; consecutive requests get different partitions. */
export class StickyPartitions {
  readonly #next = new Map<string, number>();

  take(topic: Topic, random: (length: number) => Uint8Array): number {
    const last = this.#next.get(topic.topicId) ?? random(2).reduce((sum, byte) => sum * 256 + byte, 0);
    this.#next.delete(topic.topicId);
    this.#next.set(topic.topicId, last + 1);
    if (this.#next.size > STICKY_TOPICS_MAX) this.#next.delete(this.#next.keys().next().value as string);
    return last % topic.partitions;
  }
}

const STICKY_TOPICS_MAX = 10_000;

/**
 * Appends records to one topic: chooses partitions, makes a batch for each (several if one would exceed the topic's
 * `max.message.bytes`), and appends the batches as `appendBatches` does, at the same cost. Every record has its own
 * outcome, in the order of the request. An idempotency key costs 1 PutItem and 1 UpdateItem more.
 * @throws EventLogError `unknown_topic`, `invalid_request`, `idempotency_key_reused`, `throttled`, `shutting_down`
 */
export async function appendRecords(
  context: BrokerContext,
  groupCommit: GroupCommit,
  sticky: StickyPartitions,
  request: AppendRecordsRequest,
): Promise<RecordOutcome[]> {
  checkTopicName(request.topic);
  const topic = await context.topics.get(request.topic);
  const nowMs = context.clock.nowMs();
  const { idempotencyKey } = request;
  if (idempotencyKey !== undefined) return appendUnderKey(context, groupCommit, request, topic, idempotencyKey);
  const stickyPartition = sticky.take(topic, (length) => context.random.bytes(length));
  return appendPlanned(context, groupCommit, request, topic, planBatches(request, topic, stickyPartition, nowMs));
}

/** Like `appendRecords`, but all attempts together append once: see `idempotency-key.ts`. */
async function appendUnderKey(
  context: BrokerContext,
  groupCommit: GroupCommit,
  request: AppendRecordsRequest,
  topic: Topic,
  key: string,
): Promise<RecordOutcome[]> {
  if (request.producer !== undefined) {
    throw invalidField(
      'Idempotency-Key',
      'An append can have a producer sequence or an idempotency key, not both. Leave out one of them.',
    );
  }
  const plan = planBatches(request, topic, stickyOfKey(key, topic.partitions), context.clock.nowMs());
  const partitions = plan.batches.map(({ partition }) => partition);
  // The request is checked before the key is stored, so that an invalid request leaves the key free.
  checkBatchCount(plan.batches.length);
  if (request.atomic) checkAtomic(new Set(partitions.map((partition) => headOf(topic, partition).headNumber)).size);
  groupCommit.admit(plan.batches.reduce((sum, { bytes }) => sum + bytes, 0));
  const opening: OpenKeyRequest = { topic, key, request, partitions, isValid: plan.errors.size === 0 };
  const opened = await openKey(context, groupCommit, opening);
  if (opened.type === 'answered') return opened.outcomes;
  if (opened.type === 'not_opened') return refuseOthers(request.records.length, plan.errors);
  const { keyed } = opened;
  // The process of the first attempt knew partitions that were added since this one read the topic.
  if (keyed.topic.partitions > topic.partitions) await context.topics.refresh(topic.name);
  // Every retry uses the topic of the first attempt: otherwise a retry would not find the appended records.
  const planned = planBatches(request, keyed.topic, stickyOfKey(key, keyed.topic.partitions), undefined);
  const append = () => appendPlanned(context, groupCommit, request, keyed.topic, planned, keyed.identity);
  const outcomes = await append();
  return settleOutcomes(context, groupCommit, keyed, outcomes, append);
}

/**
 * Stores the answer under the key. If the append was rejected for certain and can no longer be applied, the key is released
 * instead. If the append expects an offset that the partition has not reached, a late attempt could still be applied; so
 * the append is first shut out of its head.
 */
async function settleOutcomes(
  context: BrokerContext,
  groupCommit: GroupCommit,
  keyed: KeyedAppend,
  outcomes: RecordOutcome[],
  append: () => Promise<RecordOutcome[]>,
): Promise<RecordOutcome[]> {
  let settled = outcomes;
  if (mismatchOf(settled) === 'ahead_of_end') {
    await shutOut(context, groupCommit, keyed);
    settled = await append();
    // The append could not be shut out: a late attempt may still be applied, so this attempt must not rule that out.
    if (mismatchOf(settled) === 'ahead_of_end')
      return settled.map(() => ({ ok: false, error: notSettledInTime('unknown') }));
  }
  const isReleased = settled.every(isShutOut) || mismatchOf(settled) === 'for_good';
  await settleKey(context, keyed, isReleased ? 'rejected' : settled);
  return settled.every(isShutOut) ? outcomes : settled;
}

/** Whether a conditional append was rejected for its offset: before the partition reaches it, or after it has passed it. */
function mismatchOf(outcomes: readonly RecordOutcome[]): 'ahead_of_end' | 'for_good' | undefined {
  if (outcomes.some(({ ok }) => ok)) return undefined;
  for (const outcome of outcomes) {
    if (outcome.ok || outcome.error.code !== 'offset_mismatch') continue;
    const { nextOffset, expectedOffset } = outcome.error.details;
    return Number(nextOffset) > Number(expectedOffset) ? 'for_good' : 'ahead_of_end';
  }
  return undefined;
}

/** One batch to be made, with the indexes of its records in the request. */
interface PlannedBatch {
  readonly partition: number;
  readonly places: number[];
  bytes: number;
}

interface Plan {
  readonly batches: readonly PlannedBatch[];
  /** Index -> why the record cannot be appended. These records are in no batch. */
  readonly errors: ReadonlyMap<number, EventLogError>;
}

/** Decides which records go into which batch. Without `nowMs` timestamps and keys are not checked by the topic's settings. */
function planBatches(
  request: AppendRecordsRequest,
  topic: Topic,
  stickyPartition: number,
  nowMs: number | undefined,
): Plan {
  const bytesMax = numberSetting(topic.config, 'max.message.bytes');
  const checksTime = nowMs !== undefined && !usesLogAppendTime(topic);
  const batches: PlannedBatch[] = [];
  const errors = new Map<number, EventLogError>();
  const open = new Map<number, PlannedBatch>();
  request.records.forEach((record, place) => {
    try {
      const partition =
        record.partition ?? (record.key === null ? stickyPartition : partitionForKey(record.key, topic.partitions));
      checkPartition(topic, partition);
      if (record.headers.length > HEADERS_PER_RECORD_MAX) {
        throw invalidField(`records[${place}].headers`, `A record can have at most ${HEADERS_PER_RECORD_MAX} headers.`);
      }
      if (record.key === null && nowMs !== undefined && isCompacted(topic.config)) throw lacksKey(topic, place);
      if (checksTime && record.timestampMs !== undefined) {
        const error = checkTimestamp(record.timestampMs, place, topic.config, nowMs);
        if (error !== undefined) throw error;
      }
      const bytes = recordBytesBound(record);
      if (BATCH_HEADER_BYTES + bytes > bytesMax) throw recordTooLarge(place, bytes, bytesMax);
      const batch = open.get(partition);
      if (batch !== undefined && batch.bytes + bytes <= bytesMax && batch.places.length < RECORDS_PER_BATCH_MAX) {
        batch.places.push(place);
        batch.bytes += bytes;
      } else {
        const started = { partition, places: [place], bytes: BATCH_HEADER_BYTES + bytes };
        open.set(partition, started);
        batches.push(started);
      }
    } catch (error) {
      if (!(error instanceof EventLogError)) throw error;
      errors.set(place, error);
    }
  });
  checkOnePartition(request, topic, open.size);
  return { batches, errors };
}

function lacksKey({ name }: Topic, place: number): EventLogError {
  return invalidField(
    `records[${place}].key`,
    `Topic '${name}' is compacted (cleanup.policy): it keeps the last record of each key, so record ${place} needs a key.`,
  );
}

/** Checks that an append with a producer sequence or an expected offset has only one partition. */
function checkOnePartition(request: AppendRecordsRequest, topic: Topic, partitions: number): void {
  const header =
    request.producer !== undefined ? 'Producer-Seq' : request.expectedOffset !== undefined ? 'If-Match' : undefined;
  if (header === undefined) return;
  const isChosen = request.records.every((record) => record.key !== null || record.partition !== undefined);
  if (partitions <= 1 && (isChosen || topic.partitions === 1)) return;
  throw invalidField(
    header,
    `${header} requires all records to be in one partition. Set the same partition on each record.`,
  );
}

async function appendPlanned(
  context: BrokerContext,
  groupCommit: GroupCommit,
  request: AppendRecordsRequest,
  topic: Topic,
  { batches, errors }: Plan,
  identity?: AppendIdentity,
): Promise<RecordOutcome[]> {
  const isWhole =
    request.atomic || request.producer !== undefined || request.expectedOffset !== undefined || identity !== undefined;
  if (isWhole && errors.size > 0) return refuseOthers(request.records.length, errors);
  const nowMs = context.clock.nowMs();
  const toAppend = encodeBatches(request, topic, batches, nowMs);
  const appended =
    toAppend.length === 0
      ? []
      : await appendBatches(context, groupCommit, { batches: toAppend, atomic: request.atomic }, identity);
  const outcomes: RecordOutcome[] = [];
  for (const [place, error] of errors) outcomes[place] = { ok: false, error };
  batches.forEach(({ partition, places }, i) => {
    const outcome = appended[i] as AppendOutcome;
    places.forEach((place, k) => {
      outcomes[place] = outcome.ok
        ? {
            ok: true,
            partition,
            offset: outcome.baseOffset + k,
            timestampMs: outcome.logAppendTimeMs ?? request.records[place]?.timestampMs ?? nowMs,
            duplicate: outcome.duplicate,
          }
        : { ok: false, error: outcome.error };
    });
  });
  return outcomes;
}

function encodeBatches(
  request: AppendRecordsRequest,
  topic: Topic,
  batches: readonly PlannedBatch[],
  nowMs: number,
): BatchToAppend[] {
  const logAppendTimeMs = usesLogAppendTime(topic) ? nowMs : undefined;
  const compression = requiredCompression(topic.config) ?? 'none';
  let baseSequence = request.producer?.baseSequence ?? 0;
  return batches.map(({ partition, places }, i): BatchToAppend => {
    const records = places.map((place) => {
      const record = request.records[place] as RecordToAppend;
      return { ...record, timestampMs: logAppendTimeMs ?? record.timestampMs ?? nowMs };
    });
    const producer = request.producer === undefined ? undefined : { ...request.producer, baseSequence };
    baseSequence = addSequence(baseSequence, records.length);
    const data = encodeBatch(records, { compression, producer, logAppendTimeMs });
    const maxTimestampMs = records.reduce(
      (max, record) => Math.max(max, record.timestampMs),
      records[0]?.timestampMs ?? nowMs,
    );
    return {
      topic: topic.name,
      partition,
      batch: { data, records: records.length, maxTimestampMs, producer, logAppendTimeMs },
      expectedOffset: i === 0 ? request.expectedOffset : undefined,
    };
  });
}

function usesLogAppendTime(topic: Topic): boolean {
  return choiceSetting(topic.config, 'message.timestamp.type') === 'LogAppendTime';
}

function refuseOthers(count: number, errors: ReadonlyMap<number, EventLogError>): RecordOutcome[] {
  const refused = new EventLogError(
    'atomic_append_refused',
    'Another record of this append was rejected, so nothing was appended.',
  );
  return Array.from({ length: count }, (_, place) => ({ ok: false, error: errors.get(place) ?? refused }));
}

function recordTooLarge(place: number, bytes: number, bytesMax: number): EventLogError {
  return new EventLogError(
    'record_too_large',
    `Record ${place} takes ${bytes} bytes with its batch; the topic's max.message.bytes is ${bytesMax}.`,
    { details: { record: place, bytes, bytesMax } },
  );
}
