import { NO_SEQUENCE } from '../../../log/batch/write-batch.ts';
import { EventLogError, invalidField } from '../../../log/errors.ts';
import { SEQUENCE_MAX } from '../../../log/limits.ts';
import { checkTopicName } from '../../../log/topic/topic.ts';
import type { ProducerName } from '../../../log/transaction/transaction.ts';
import type { StickyPartitions } from '../../append/append-records.ts';
import type { GroupCommit } from '../../append/group-commit.ts';
import type { AppendOutcome, RecordToAppend } from '../../append/outcomes.ts';
import {
  checkRepeatable,
  encodeBatches,
  planBatches,
  type RecordPlan,
  recordOutcomes,
} from '../../append/plan-records.ts';
import type { BrokerContext } from '../../context.ts';
import { appendInTransaction } from './append-in-transaction.ts';

export interface AppendRecordsInTransactionRequest {
  readonly transactionalId: string;
  readonly producer: ProducerName;
  readonly entries: readonly RecordsToAppend[];
}

export interface RecordsToAppend extends RecordsOfTopic {
  /**
   * How many records of the transaction are before these in their partition. All of them must be in one partition, and take at
   * most five batches there with those of the request's other entries. Then a repeated request appends nothing twice, and gets
   * the same answer.
   */
  readonly baseSequence?: number | undefined;
}

export interface RecordsOfTopic {
  readonly topic: string;
  readonly records: readonly RecordToAppend[];
}

export interface AppendedRecord {
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs: number;
}

/**
 * Appends records to any topics in the open transaction of a producer; the first ones open it. Partitions are chosen as by
 * `appendRecords`. Returns where the records of each entry are, in order.
 *
 * Records without a sequence are appended again by a repeated request: if this throws an error with the outcome `unknown`, the
 * transaction must be aborted.
 *
 * Costs what `appendInTransaction` does.
 * @throws EventLogError as `appendRecords` and `enlist`. With the outcome `not_applied` nothing was appended.
 */
export async function appendRecordsInTransaction(
  context: BrokerContext,
  groupCommit: GroupCommit,
  sticky: StickyPartitions,
  { transactionalId, producer, entries }: AppendRecordsInTransactionRequest,
): Promise<AppendedRecord[][]> {
  const nowMs = context.clock.nowMs();
  const planned = await Promise.all(
    entries.map(async ({ topic: name, records, baseSequence = NO_SEQUENCE }, i) => {
      checkTopicName(name);
      const topic = await context.topics.get(name);
      const partition = sticky.take(topic, (length) => context.random.bytes(length));
      const plan = planBatches(records, topic, partition, nowMs);
      const [error] = plan.errors.values();
      if (error !== undefined) throw inEntry(error, i);
      if (baseSequence !== NO_SEQUENCE) checkNumbered(plan, records, baseSequence, i);
      const numbered = { ...producer, baseSequence };
      const batches = encodeBatches(records, topic, plan, { producer: numbered, transactional: true, nowMs });
      return { records, plan, batches };
    }),
  );
  checkBatchesOfEach(entries, planned);
  const outcomes = await appendInTransaction(context, groupCommit, {
    transactionalId,
    enlists: true,
    batches: planned.flatMap(({ batches }) => batches),
  });
  throwIfAnyFailed(outcomes);
  return planned.map(({ records, plan }) => {
    const own = outcomes.splice(0, plan.batches.length);
    return appendedRecords(records, plan, own, nowMs);
  });
}

/** @throws EventLogError `invalid_request` */
function checkNumbered(
  { batches }: RecordPlan,
  records: readonly RecordToAppend[],
  baseSequence: number,
  entry: number,
): void {
  const isChosen = records.every(({ partition }) => partition !== undefined);
  const partitions = new Set(batches.map(({ partition }) => partition)).size;
  const isSequence = Number.isSafeInteger(baseSequence) && baseSequence >= 0 && baseSequence <= SEQUENCE_MAX;
  if (isChosen && partitions === 1 && isSequence) return;
  throw invalidField(
    `entries[${entry}].sequence`,
    `A sequence is a whole number from 0 to ${SEQUENCE_MAX}, and requires the same partition on each record of the entry.`,
  );
}

/** Several entries can be for one partition. @throws EventLogError `request_too_large` */
function checkBatchesOfEach(
  entries: readonly RecordsToAppend[],
  planned: readonly { readonly plan: RecordPlan }[],
): void {
  const counts = new Map<string, number>();
  entries.forEach(({ topic, baseSequence = NO_SEQUENCE }, i) => {
    if (baseSequence === NO_SEQUENCE) return;
    const batches = planned[i]?.plan.batches ?? [];
    const partition = `${topic}/${batches[0]?.partition}`;
    const count = (counts.get(partition) ?? 0) + batches.length;
    counts.set(partition, count);
    checkRepeatable(`entries[${i}].sequence`, count);
  });
}

function appendedRecords(
  records: readonly RecordToAppend[],
  plan: RecordPlan,
  appended: readonly AppendOutcome[],
  nowMs: number,
): AppendedRecord[] {
  return recordOutcomes(records, plan, appended, nowMs).map((outcome) => {
    if (!outcome.ok) throw outcome.error;
    const { partition, offset, timestampMs } = outcome;
    return { partition, offset, timestampMs };
  });
}

/** The error of a record, with the place of its entry in the request. */
function inEntry({ code, message, details, retry, outcome }: EventLogError, entry: number): EventLogError {
  const { field } = details;
  const named = field === undefined ? { entry } : { entry, field: `entries[${entry}].${field}` };
  return new EventLogError(code, message, { details: { ...details, ...named }, retry, outcome });
}

function throwIfAnyFailed(outcomes: readonly AppendOutcome[]): void {
  const errors = outcomes.flatMap((outcome) => (outcome.ok ? [] : [outcome.error]));
  const error = errors.find(({ outcome }) => outcome !== 'not_applied') ?? errors[0];
  if (error === undefined) return;
  if (errors.length === outcomes.length && error.outcome === 'not_applied') throw error;
  throw new EventLogError(
    error.code,
    `${error.message} Other records of the request are in the transaction, or may be: abort it.`,
    { details: error.details, cause: error, retry: 'never', outcome: 'unknown' },
  );
}
