import type { AppendOutcome, BatchToAppend } from '../../../broker/append/outcomes.ts';
import { CRC_MISMATCH } from '../../../log/batch/record-batch.ts';
import { EventLogError } from '../../../log/errors.ts';
import { BATCHES_PER_REQUEST_MAX } from '../../../log/limits.ts';
import { KAFKA_ERRORS, type KafkaErrorNumber, kafkaError } from '../../error-codes.ts';
import { type Call, ConnectionEnd, handler } from '../../handler.ts';
import type { RequestOf, ResponseOf } from '../../protocol/api.ts';
import { PRODUCE } from '../../protocol/messages/records/produce.ts';
import { knownTopicError } from '../topic-errors.ts';
import { FirstBatches } from './first-batches.ts';

type ProducedPartition = ResponseOf<typeof PRODUCE>['responses'][number]['partitionResponses'][number];
interface Refusal {
  readonly errorCode: KafkaErrorNumber;
  readonly message: string;
}
type Outcome = ({ readonly ok: false } & Refusal) | AppendOutcome;

const TOPIC_IDS_FROM = 13;
/** From this version on a transaction takes in the partitions by itself (transaction.version 2, KIP-890). */
const ENLISTS_FROM = 12;
const ACKS = [-1, 0, 1];

/**
 * Appends record batches. A batch is answered when it is durable, whatever `acks` says; with `acks=0` nothing is answered.
 * The next request of the connection begins when the batches of this one have their place in the order.
 */
export const produce = handler(
  PRODUCE,
  [
    { action: 'produce', on: 'topic' },
    { action: 'produce', on: 'transactional id' },
  ],
  async (call, request) => {
    const batches = await batchesOf(call, request);
    const outcomes = await appendAll(call, request, batches);
    if (request.acks === 0) {
      // The only way to tell such a client that something failed, as with Kafka.
      if (outcomes.some(({ ok }) => !ok)) throw new ConnectionEnd();
      return undefined;
    }
    let next = 0;
    return {
      responses: request.topicData.map(({ name, topicId, partitionData }) => ({
        name,
        topicId,
        partitionResponses: partitionData.map(({ index }) =>
          answerOf(index, outcomes[next++] as Outcome, call.version),
        ),
      })),
    };
  },
);

/** What is to be appended, or why not, in the order of the request. */
type Produced = ProducedBatch | Refusal;
type ProducedBatch = BatchToAppend & { readonly batch: Uint8Array };

/** What all batches of a request have in common. */
interface Common {
  readonly untilMs: number;
  /** `null`: no batch belongs to a transaction. */
  readonly transactionalId: string | null;
}

async function batchesOf(call: Call, { topicData }: RequestOf<typeof PRODUCE>): Promise<Produced[]> {
  const produced: Produced[] = [];
  for (const { name, topicId, partitionData } of topicData) {
    const isById = call.version >= TOPIC_IDS_FROM;
    const topic = isById ? await topicNamed(call, topicId) : name;
    for (const { index, records } of partitionData) {
      const [batch] = records;
      const refusal = refusalOf(call, topic, batch);
      if (refusal === undefined)
        produced.push({
          topic: topic as string,
          topicId: isById ? topicId : undefined,
          partition: index,
          batch: batch as Uint8Array,
        });
      else {
        produced.push(refusal);
        if (batch !== undefined)
          firstBatchesOf(call).refused({ topic: name, topicId: isById ? topicId : undefined, partition: index, batch });
      }
    }
  }
  return produced;
}

/** The name of a topic, or why it has none. */
async function topicNamed({ gateway: { broker } }: Call, topicId: string): Promise<string | Refusal> {
  try {
    const topic = await broker.topicById(topicId);
    if (topic !== undefined) return topic.name;
    return { errorCode: KAFKA_ERRORS.UNKNOWN_TOPIC_ID, message: `There is no topic with the id ${topicId}.` };
  } catch (error) {
    if (!(error instanceof EventLogError)) throw error;
    return { errorCode: kafkaError(error.code), message: error.message };
  }
}

function refusalOf(call: Call, topic: string | Refusal, batch: Uint8Array | undefined): Refusal | undefined {
  if (typeof topic !== 'string') return topic;
  if (!call.rights.onTopic('produce', topic))
    return {
      errorCode: KAFKA_ERRORS.TOPIC_AUTHORIZATION_FAILED,
      message: 'There is no right to append to this topic.',
    };
  if (batch === undefined) return { errorCode: KAFKA_ERRORS.INVALID_RECORD, message: 'There is no record batch.' };
  return undefined;
}

/** Why nothing of a request can be appended. */
function refusalOfAll({ rights }: Call, { acks, transactionalId }: RequestOf<typeof PRODUCE>): Refusal | undefined {
  if (!ACKS.includes(acks))
    return { errorCode: KAFKA_ERRORS.INVALID_REQUIRED_ACKS, message: `acks is -1, 0 or 1, not ${acks}.` };
  if (transactionalId !== null && !rights.onTransactionalId('produce', transactionalId))
    return {
      errorCode: KAFKA_ERRORS.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
      message: 'There is no right to this transactional id.',
    };
  return undefined;
}

async function appendAll(
  call: Call,
  request: RequestOf<typeof PRODUCE>,
  produced: readonly Produced[],
): Promise<Outcome[]> {
  const refusal = refusalOfAll(call, request);
  if (refusal !== undefined) return produced.map(() => ({ ok: false, ...refusal }));
  const { timeoutMs, transactionalId } = request;
  const batches = produced.filter((one): one is ProducedBatch => 'batch' in one);
  const common = { untilMs: call.gateway.clock.nowMs() + timeoutMs, transactionalId };
  const appended: Outcome[] = [];
  for (let i = 0; i < batches.length || i === 0; i += BATCHES_PER_REQUEST_MAX) {
    const isLast = i + BATCHES_PER_REQUEST_MAX >= batches.length;
    const some = batches.slice(i, i + BATCHES_PER_REQUEST_MAX);
    appended.push(...(await appendInOrder(call, some, common, isLast ? call.letNextBegin : undefined)));
  }
  let next = 0;
  return produced.map((one) => ('batch' in one ? (appended[next++] as Outcome) : { ok: false, ...one }));
}

/** Appends the batches but for those behind a first batch of their producer that failed. */
async function appendInOrder(
  call: Call,
  batches: readonly ProducedBatch[],
  common: Common,
  onPlaced: (() => void) | undefined,
): Promise<Outcome[]> {
  const inOrder = await firstBatchesOf(call).admit(batches);
  const admitted = batches.filter((_, i) => inOrder.isAdmitted[i]);
  let next = 0;
  const appended = admitted.length === 0 ? [] : await appendWithin(call, admitted, common, onPlaced);
  const outcomes = batches.map((_, i): Outcome => {
    if (inOrder.isAdmitted[i]) return appended[next++] as Outcome;
    const message = 'A batch before this one failed, or its outcome is unknown: this one was not tried.';
    return { ok: false, errorCode: KAFKA_ERRORS.OUT_OF_ORDER_SEQUENCE_NUMBER, message };
  });
  inOrder.settle(outcomes.map(({ ok }) => ok));
  return outcomes;
}

/** While too many appends wait, this one waits until it may join them. */
async function appendWithin(
  { gateway: { broker, clock }, signal, version }: Call,
  batches: readonly ProducedBatch[],
  { untilMs, transactionalId }: Common,
  onPlaced: (() => void) | undefined,
): Promise<Outcome[]> {
  for (;;) {
    try {
      if (transactionalId === null) return await broker.append({ batches, onPlaced });
      const enlists = version >= ENLISTS_FROM;
      return await broker.appendInTransaction({ transactionalId, enlists, batches, onPlaced });
    } catch (error) {
      if (!(error instanceof EventLogError)) throw error;
      const mayWait = error.code === 'throttled' && clock.nowMs() < untilMs && !signal.aborted;
      if (!mayWait) return batches.map(() => ({ ok: false, error }));
      await clock.sleep(THROTTLED_MS, signal);
    }
  }
}

const THROTTLED_MS = 20;

function firstBatchesOf({ connection }: Call): FirstBatches {
  return connection.of(makeFirstBatches);
}

function makeFirstBatches(): FirstBatches {
  return new FirstBatches();
}

function answerOf(index: number, outcome: Outcome, version: number): ProducedPartition {
  if (outcome.ok) {
    const { baseOffset, logStartOffset, logAppendTimeMs } = outcome;
    return { index, errorCode: KAFKA_ERRORS.NONE, baseOffset, logStartOffset, logAppendTimeMs, recordErrors: [] };
  }
  if (!('error' in outcome))
    return { index, errorCode: outcome.errorCode, baseOffset: NONE, recordErrors: [], errorMessage: outcome.message };
  const { error } = outcome;
  return {
    ...{ index, errorCode: errorOf(error, version), baseOffset: NONE, recordErrors: [], errorMessage: error.message },
    // What was refused before it came to its partition does not know it.
    logStartOffset: Number(error.details.logStartOffset ?? NONE),
  };
}

const NONE = -1;

/** Older versions do not know the error of invalid records. */
const INVALID_RECORD_FROM = 8;

function errorOf(error: EventLogError, version: number): KafkaErrorNumber {
  if (error.code === 'invalid_batch' && (version < INVALID_RECORD_FROM || error.details.reason === CRC_MISMATCH))
    return KAFKA_ERRORS.CORRUPT_MESSAGE;
  // As Kafka: clients of older versions do not expect the error here, and this one they all retry.
  if (error.code === 'concurrent_transactions' && version < ENLISTS_FROM) return KAFKA_ERRORS.NOT_ENOUGH_REPLICAS;
  const isTimestamp = error.code === 'invalid_request' && error.details.timestampMs !== undefined;
  return isTimestamp ? KAFKA_ERRORS.INVALID_TIMESTAMP : knownTopicError(error);
}
