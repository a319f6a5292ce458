import { EventLogError, invalidField } from '../../log/errors.ts';
import type { EntryProducer } from '../../log/head/entry.ts';
import { PRODUCER_EPOCH_MAX, SEQUENCE_MAX } from '../../log/limits.ts';
import { checkTopicName, headOf, type Topic } from '../../log/topic/topic.ts';
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
import type { AppendIdentity, AppendRecordsRequest, RecordOutcome } from './outcomes.ts';
import { checkRepeatable, encodeBatches, planBatches, type RecordPlan, recordOutcomes } from './plan-records.ts';

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
 * @throws EventLogError `unknown_topic`, `invalid_request`, `request_too_large`, `idempotency_key_reused`, `throttled`,
 * `shutting_down`
 */
export async function appendRecords(
  context: BrokerContext,
  groupCommit: GroupCommit,
  sticky: StickyPartitions,
  request: AppendRecordsRequest,
): Promise<RecordOutcome[]> {
  checkTopicName(request.topic);
  if (request.producer !== undefined) checkProducer(request.producer);
  const topic = await context.topics.get(request.topic);
  const nowMs = context.clock.nowMs();
  const { idempotencyKey } = request;
  if (idempotencyKey !== undefined) return appendUnderKey(context, groupCommit, request, topic, idempotencyKey);
  const stickyPartition = sticky.take(topic, (length) => context.random.bytes(length));
  return appendPlanned(context, groupCommit, request, topic, planRequest(request, topic, stickyPartition, nowMs));
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
  const plan = planRequest(request, topic, stickyOfKey(key, topic.partitions), context.clock.nowMs());
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
  const planned = planRequest(request, keyed.topic, stickyOfKey(key, keyed.topic.partitions), undefined);
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

/** The batches of the request's records: of one partition, if the append has a producer sequence or an expected offset. */
function planRequest(
  request: AppendRecordsRequest,
  topic: Topic,
  sticky: number,
  nowMs: number | undefined,
): RecordPlan {
  const plan = planBatches(request.records, topic, sticky, nowMs);
  checkOnePartition(request, topic, new Set(plan.batches.map(({ partition }) => partition)).size);
  if (request.producer !== undefined) checkRepeatable('Producer-Seq', plan.batches.length);
  return plan;
}

/** Whoever calls the broker in its process can give any numbers. Others would not fit the fields of a batch, nor once keys. */
function checkProducer({ producerId, producerEpoch, baseSequence }: EntryProducer): void {
  const fits = (number: number, max: number): boolean => Number.isSafeInteger(number) && number >= 0 && number <= max;
  if (!fits(producerId, Number.MAX_SAFE_INTEGER))
    throw invalidField('Producer-Id', 'A producer id is a whole number from 0 to 2^53 − 1.');
  if (!fits(producerEpoch, PRODUCER_EPOCH_MAX))
    throw invalidField('Producer-Epoch', `A producer epoch is a whole number from 0 to ${PRODUCER_EPOCH_MAX}.`);
  if (!fits(baseSequence, SEQUENCE_MAX))
    throw invalidField('Producer-Seq', `A sequence is a whole number from 0 to ${SEQUENCE_MAX}.`);
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
  plan: RecordPlan,
  identity?: AppendIdentity,
): Promise<RecordOutcome[]> {
  const { records, producer, atomic, expectedOffset } = request;
  const isWhole = atomic || producer !== undefined || expectedOffset !== undefined || identity !== undefined;
  if (isWhole && plan.errors.size > 0) return refuseOthers(records.length, plan.errors);
  const nowMs = context.clock.nowMs();
  const batches = encodeBatches(records, topic, plan, { producer, nowMs }).map((batch, i) => ({
    ...batch,
    expectedOffset: i === 0 ? expectedOffset : undefined,
  }));
  const appended = batches.length === 0 ? [] : await appendBatches(context, groupCommit, { batches, atomic }, identity);
  return recordOutcomes(records, plan, appended, nowMs);
}

function refuseOthers(count: number, errors: ReadonlyMap<number, EventLogError>): RecordOutcome[] {
  const refused = new EventLogError(
    'atomic_append_refused',
    'Another record of this append was rejected, so nothing was appended.',
  );
  return Array.from({ length: count }, (_, place) => ({ ok: false, error: errors.get(place) ?? refused }));
}
