import { EventLogError, invalidField } from '../../log/errors.ts';
import {
  type BatchOutcome,
  type CheckedBatch,
  fitsCommit,
  type HeadAppend,
  IDEMPOTENT_BATCHES_PER_APPEND_MAX,
  keysDemanded,
  type PlacedBatch,
} from '../../log/head/head-append.ts';
import { atomicRefused } from '../../log/head/plan-commit.ts';
import { BATCHES_PER_REQUEST_MAX, OFFSET_MAX } from '../../log/limits.ts';
import { checkProducedBatch } from '../../log/topic/check-batch.ts';
import { checkPartition, checkTopicName, headOf, type Topic } from '../../log/topic/topic.ts';
import type { BrokerContext } from '../context.ts';
import type { GroupCommit } from './group-commit.ts';
import type { AppendIdentity, AppendOutcome, AppendRequest, AppendTransaction, BatchToAppend } from './outcomes.ts';

/**
 * Appends record batches to any number of topics and partitions. Every batch has its own outcome, in the order of the
 * request; batches of one partition keep their order. A batch that is acknowledged is durable, at its offset, once.
 * Any number of callers and processes may append to the same partitions at the same time.
 *
 * Costs, for each head concerned, 1 PutItem (or a share of 1 PutObject) and 1 UpdateItem, shared with the appends of other
 * requests that are committed together, and 1 PutItem + 1 UpdateItem for every eighth commit. Also costs 1 GetItem for each
 * topic or head that was not read within the last second, and for each head that rejects something.
 *
 * @throws EventLogError `throttled`, `shutting_down`, and `invalid_request` if the request as a whole is invalid: then nothing
 * was appended
 */
export async function appendBatches(
  context: BrokerContext,
  groupCommit: GroupCommit,
  request: AppendRequest,
  identity?: AppendIdentity,
): Promise<AppendOutcome[]> {
  const { batches } = request;
  checkBatchCount(batches.length);
  checkExpectedOffsets(batches);
  const outcomes: (AppendOutcome | undefined)[] = batches.map(() => undefined);
  let prepared = await Promise.all(
    batches.map((batch, index) => prepare(context, batch, index, identity, request.transaction)),
  );
  // A second round only for batches whose topic was deleted, and perhaps made again, a moment ago.
  for (let round = 0; prepared.length > 0; round++) {
    const usable = prepared.filter((item): item is PreparedBatch => item.error === undefined);
    for (const item of prepared) if (item.error !== undefined) outcomes[item.index] = { ok: false, error: item.error };
    if (request.atomic && usable.length < batches.length) return refuseAll(outcomes);
    // Batches under a key are committed as a whole in each head: otherwise a retry would not recognise them.
    const error = identity === undefined ? undefined : prepared.find((item) => item.error !== undefined)?.error;
    if (error !== undefined) return batches.map(() => ({ ok: false, error }));
    let closed: PreparedBatch[];
    try {
      closed = await appendPrepared(groupCommit, request, usable, identity, outcomes);
    } catch (error) {
      if (round === 0 || !(error instanceof EventLogError)) throw error;
      // The first round may have appended other batches, so the request as a whole was not rejected.
      for (const { index } of usable) outcomes[index] = { ok: false, error };
      break;
    }
    for (const { topic } of closed) context.topics.forget(topic.name);
    if (round === 1 || identity !== undefined) {
      for (const { index, topic } of closed) outcomes[index] = { ok: false, error: deletedMeanwhile(topic.name) };
      break;
    }
    prepared = await Promise.all(
      closed.map(({ index }) =>
        prepare(context, batches[index] as BatchToAppend, index, identity, request.transaction),
      ),
    );
  }
  return outcomes.map(
    (outcome) => outcome ?? { ok: false, error: new EventLogError('internal', 'A batch was left without an outcome.') },
  );
}

/** A batch that can be appended, with its index in the request. */
interface PreparedBatch {
  readonly index: number;
  readonly topic: Topic;
  readonly batch: PlacedBatch;
  readonly error?: undefined;
}

async function prepare(
  context: BrokerContext,
  given: BatchToAppend,
  index: number,
  identity: AppendIdentity | undefined,
  transaction: AppendTransaction | undefined,
): Promise<PreparedBatch | { readonly index: number; readonly error: EventLogError }> {
  try {
    checkTopicName(given.topic);
    const topic = await context.topics.get(given.topic);
    const topicId = identity?.topicId ?? given.topicId;
    if (topicId !== undefined && topic.topicId !== topicId) throw deletedMeanwhile(given.topic);
    checkPartition(topic, given.partition);
    const { partition, expectedOffset } = given;
    const checked =
      given.batch instanceof Uint8Array
        ? checkProducedBatch(given.batch, topic.config, context.clock.nowMs())
        : given.batch;
    // Its sequences go on from those in the topic that had the name before.
    const firstSequence = isFromBefore(topic, checked) ? 'any' : undefined;
    const placed: PlacedBatch = {
      ...checked,
      ...{ partition, slot: headOf(topic, partition).slot, expectedOffset, firstSequence },
    };
    return { index, topic, batch: checked.transactional ? inTransaction(placed, transaction) : placed };
  } catch (error) {
    if (error instanceof EventLogError) return { index, error };
    throw error;
  }
}

/** Whether the producer may have written to a topic that was deleted, and had this one's name. */
function isFromBefore({ producersBefore = 0 }: Topic, { producer }: CheckedBatch): boolean {
  return producer !== undefined && producer.producerId < producersBefore;
}

/** @throws EventLogError `invalid_request` */
function inTransaction(batch: PlacedBatch, transaction: AppendTransaction | undefined): PlacedBatch {
  if (transaction === undefined || batch.producer === undefined)
    throw invalidField(
      'transactionalId',
      'A transactional batch is appended under the transactional id of its producer.',
    );
  const { number, beginsAtZero } = transaction;
  const firstSequence = beginsAtZero ? 'zero' : batch.firstSequence;
  return { ...batch, producer: { ...batch.producer, transaction: number }, firstSequence };
}

/** Commits the batches, head by head, and records their outcomes. Returns the batches whose head is closed. */
async function appendPrepared(
  groupCommit: GroupCommit,
  { atomic = false, onPlaced }: AppendRequest,
  prepared: readonly PreparedBatch[],
  identity: AppendIdentity | undefined,
  outcomes: (AppendOutcome | undefined)[],
): Promise<PreparedBatch[]> {
  const heads = groupByHead(prepared);
  if (atomic) checkAtomic(heads.length);
  const work = heads.map(({ topic, headNumber, batches }) => {
    const idempotency =
      identity === undefined
        ? undefined
        : { use: identity.use, observedEntry: identity.observedEntry.get(headNumber) ?? 0 };
    return { topic, headNumber, made: makeHeadAppends(batches, atomic, idempotency) };
  });
  // This comes before any append: an error thrown here says that nothing was appended.
  groupCommit.admit(prepared.reduce((sum, { batch }) => sum + batch.data.length, 0));
  const closed: PreparedBatch[] = [];
  const placed = work.map(({ topic, headNumber, made }) => {
    const appends = made.map(({ append }) => append);
    return { made, settling: groupCommit.append(topic, headNumber, appends) };
  });
  onPlaced?.();
  await Promise.all(
    placed.map(async ({ made, settling }) => {
      const settled = await settling;
      settled.forEach((result, i) => {
        const members = made[i]?.members ?? [];
        if (result.type === 'head_closed') closed.push(...members);
        else
          for (const [k, member] of members.entries())
            outcomes[member.index] = outcomeOf(member, result.outcomes[k] as BatchOutcome);
      });
    }),
  );
  return closed;
}

/** Makes each batch a separate append, unless batches succeed or fail together: atomic, keyed, or with expected offset. */
function makeHeadAppends(
  batches: readonly PreparedBatch[],
  atomic: boolean,
  idempotency: HeadAppend['idempotency'],
): { readonly append: HeadAppend; readonly members: readonly PreparedBatch[] }[] {
  const together = new Map<string, PreparedBatch[]>();
  const conditional = new Set(
    batches.filter(({ batch }) => batch.expectedOffset !== undefined).map(({ batch }) => batch.partition),
  );
  batches.forEach((prepared, i) => {
    const { partition } = prepared.batch;
    const name =
      atomic || idempotency !== undefined
        ? 'all'
        : conditional.has(partition)
          ? `partition ${partition}`
          : `batch ${i}`;
    const members = together.get(name);
    if (members === undefined) together.set(name, [prepared]);
    else members.push(prepared);
  });
  return [...together.values()].map((members) => {
    const append: HeadAppend = {
      atomic: members.length > 1 || atomic,
      batches: members.map(({ batch }) => batch),
      bytes: members.reduce((sum, { batch }) => sum + batch.data.length, 0),
      idempotency,
    };
    if (!fitsCommit(keysDemanded(append))) {
      throw new EventLogError(
        'request_too_large',
        `An atomic append can have at most ${IDEMPOTENT_BATCHES_PER_APPEND_MAX} batches of idempotent producers, and fewer if they expect offsets. Send fewer at once.`,
      );
    }
    return { append, members };
  });
}

function groupByHead(
  prepared: readonly PreparedBatch[],
): { topic: Topic; headNumber: number; batches: PreparedBatch[] }[] {
  const heads = new Map<string, { topic: Topic; headNumber: number; batches: PreparedBatch[] }>();
  for (const item of prepared) {
    const { topic } = item;
    const { headNumber } = headOf(topic, item.batch.partition);
    const key = `${topic.topicId}#${headNumber}`;
    const head = heads.get(key);
    if (head === undefined) heads.set(key, { topic, headNumber, batches: [item] });
    else head.batches.push(item);
  }
  return [...heads.values()];
}

function outcomeOf({ batch }: PreparedBatch, result: BatchOutcome): AppendOutcome {
  if (result.type === 'failed') return { ok: false, error: result.error };
  const { records, logAppendTimeMs } = batch;
  const { baseOffset, logStartOffset } = result;
  return { ok: true, baseOffset, records, logStartOffset, duplicate: result.type === 'duplicate', logAppendTimeMs };
}

/** @throws EventLogError `request_too_large` */
export function checkBatchCount(batches: number): void {
  if (batches <= BATCHES_PER_REQUEST_MAX) return;
  throw new EventLogError(
    'request_too_large',
    `An append can have at most ${BATCHES_PER_REQUEST_MAX} batches; this one has ${batches}. Send it as several requests.`,
    { details: { batchesMax: BATCHES_PER_REQUEST_MAX } },
  );
}

/** @throws EventLogError `invalid_request` if the batches of an atomic append belong to several heads */
export function checkAtomic(heads: number): void {
  if (heads <= 1) return;
  throw invalidField(
    'atomic',
    'An atomic append needs batches of one topic whose partitions one head decides: 16 in a row, the first being 0, 16, 32 …',
  );
}

function checkExpectedOffsets(batches: readonly BatchToAppend[]): void {
  const seen = new Set<string>();
  batches.forEach(({ topic, partition, expectedOffset }, i) => {
    const key = `${topic}/${partition}`;
    if (expectedOffset !== undefined) {
      const field = `batches[${i}].expectedOffset`;
      if (!Number.isSafeInteger(expectedOffset) || expectedOffset < 0)
        throw invalidField(field, `An expected offset must be a whole number from 0 to ${OFFSET_MAX}.`);
      if (seen.has(key)) throw invalidField(field, 'Only the first batch of a partition can have an expected offset.');
    }
    seen.add(key);
  });
}

/** Rejects all batches of an atomic append: if one batch fails before the commit, the others fail with it. */
function refuseAll(outcomes: readonly (AppendOutcome | undefined)[]): AppendOutcome[] {
  const error = atomicRefused();
  return outcomes.map((outcome) => outcome ?? { ok: false, error });
}

function deletedMeanwhile(name: string): EventLogError {
  return new EventLogError('unknown_topic', `Topic '${name}' was deleted during the append.`, {
    details: { topic: name },
  });
}
