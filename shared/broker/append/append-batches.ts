import { EventLogError, invalidField } from '../../log/errors.ts';
import {
  type AppendUnit,
  atomicRefused,
  fitsCommit,
  keysDemanded,
  type PartOutcome,
  type UnitPart,
} from '../../log/head/plan-commit.ts';
import { BATCHES_PER_REQUEST_MAX, OFFSET_MAX } from '../../log/limits.ts';
import { type CheckedBatch, checkProducedBatch } from '../../log/topic/check-batch.ts';
import { checkPartition, checkTopicName, headOf, type Topic } from '../../log/topic/topic.ts';
import type { BrokerContext } from '../context.ts';
import type { Committer } from './group-commit.ts';

export interface AppendRequest {
  readonly batches: readonly BatchToAppend[];
  /** All batches by one commit, or none: they must be of one topic and of partitions that one head decides. */
  readonly atomic?: boolean | undefined;
}

export interface BatchToAppend {
  readonly topic: string;
  readonly partition: number;
  /**
   * One Kafka RecordBatch, magic 2, or one that was made and checked here. Its base offset is ignored; its producer id,
   * epoch and sequence are honoured.
   */
  readonly batch: Uint8Array | CheckedBatch;
  /** Append only if the batch gets this offset. On the first batch of a partition, for all its batches in the request. */
  readonly expectedOffset?: number | undefined;
}

export type AppendOutcome =
  | {
      readonly ok: true;
      readonly baseOffset: number;
      readonly records: number;
      readonly logStartOffset: number;
      /** An earlier try had appended it, at this offset. */
      readonly duplicate: boolean;
      /** What LogAppendTime gave the records. */
      readonly logAppendTimeMs: number | undefined;
    }
  | { readonly ok: false; readonly error: EventLogError };

/** How a whole append of one topic is made once: see `idempotency.ts`. */
export interface AppendIdentity {
  /** Of the topic that the key was used on; the append belongs to no other, not even of the same name. */
  readonly topicId: string;
  /** Of the key and of its use, as a key may be used anew when it has expired. */
  readonly hash: Uint8Array;
  /** By head number: a sequence from before the first try. */
  readonly observedEntry: ReadonlyMap<number, number>;
}

/**
 * Appends record batches to any number of topics and partitions. Every batch has its own outcome, in the order of the
 * request; batches of one partition keep their order. A batch that is acknowledged is durable, at its offset, once.
 * Any number of callers and processes may append to the same partitions at the same time.
 *
 * Costs, for each head concerned, 1 PutItem (or a share of 1 PutObject) and 1 UpdateItem, shared with the appends of other
 * requests that are committed together, and 1 PutItem + 1 UpdateItem for every eighth commit. 1 GetItem for a topic, and
 * for a head, that was not met within the last second, and for a head that refuses something.
 *
 * @throws EventLogError `throttled`, `shutting_down`, and `invalid_request` where the request as a whole makes no sense.
 */
export async function append(
  context: BrokerContext,
  committer: Committer,
  request: AppendRequest,
  identity?: AppendIdentity,
): Promise<AppendOutcome[]> {
  const { batches } = request;
  if (batches.length > BATCHES_PER_REQUEST_MAX) {
    throw new EventLogError(
      'request_too_large',
      `An append carries at most ${BATCHES_PER_REQUEST_MAX} batches; this one has ${batches.length}.`,
      {
        details: { batchesMax: BATCHES_PER_REQUEST_MAX },
      },
    );
  }
  checkExpectedOffsets(batches);
  const outcomes: (AppendOutcome | undefined)[] = batches.map(() => undefined);
  let prepared = await Promise.all(batches.map((batch, index) => prepare(context, batch, index, identity)));
  // A second round only for batches that met a topic which was deleted, and perhaps made again, a moment ago.
  for (let round = 0; prepared.length > 0; round++) {
    const usable = prepared.filter((item): item is PreparedBatch => !(item.error instanceof EventLogError));
    for (const item of prepared) if (item.error !== undefined) outcomes[item.index] = { ok: false, error: item.error };
    if (request.atomic && usable.length < batches.length) return refuseAll(outcomes);
    // What a key stands for is committed whole in each head, or a retry would not know it again.
    const error = identity === undefined ? undefined : prepared.find((item) => item.error !== undefined)?.error;
    if (error !== undefined) return batches.map(() => ({ ok: false, error }));
    const closed = await appendPrepared(committer, usable, request.atomic ?? false, identity, outcomes);
    for (const { topic } of closed) context.topics.forget(topic.name);
    if (round === 1 || identity !== undefined) {
      for (const { index, topic } of closed) outcomes[index] = { ok: false, error: deletedMeanwhile(topic.name) };
      break;
    }
    prepared = await Promise.all(
      closed.map(({ index }) => prepare(context, batches[index] as BatchToAppend, index, identity)),
    );
  }
  return outcomes.map(
    (outcome) => outcome ?? { ok: false, error: new EventLogError('internal', 'A batch was left without an outcome.') },
  );
}

type PreparedBatch = {
  readonly index: number;
  readonly topic: Topic;
  readonly part: UnitPart;
  readonly logAppendTimeMs: number | undefined;
  readonly error?: undefined;
};

async function prepare(
  context: BrokerContext,
  given: BatchToAppend,
  index: number,
  identity: AppendIdentity | undefined,
): Promise<PreparedBatch | { readonly index: number; readonly error: EventLogError }> {
  try {
    checkTopicName(given.topic);
    const topic = await context.topics.get(given.topic);
    if (identity !== undefined && topic.topicId !== identity.topicId) throw deletedMeanwhile(given.topic);
    checkPartition(topic, given.partition);
    const { batch } = given;
    const checked =
      batch instanceof Uint8Array ? checkProducedBatch(batch, topic.config, context.clock.nowMs()) : batch;
    const { partition, expectedOffset } = given;
    const part: UnitPart = { ...checked, partition, slot: headOf(topic, partition).slot, expectedOffset };
    return { index, topic, part, logAppendTimeMs: checked.logAppendTimeMs };
  } catch (error) {
    if (error instanceof EventLogError) return { index, error };
    throw error;
  }
}

/** Hands the batches to the committer, head by head, and notes their outcomes. Answers those whose head is closed. */
async function appendPrepared(
  committer: Committer,
  prepared: readonly PreparedBatch[],
  atomic: boolean,
  identity: AppendIdentity | undefined,
  outcomes: (AppendOutcome | undefined)[],
): Promise<PreparedBatch[]> {
  const heads = groupByHead(prepared);
  if (atomic && heads.length > 1) {
    const message =
      'An atomic append needs batches of one topic whose partitions one head decides (16 in a row, the first being 0, 16, 32 …).';
    throw invalidField('atomic', message);
  }
  const work = heads.map(({ topic, headNumber, batches }) => {
    const observedEntry = identity?.observedEntry.get(headNumber);
    const idempotency = identity === undefined ? undefined : { hash: identity.hash, observedEntry: observedEntry ?? 0 };
    return { topic, headNumber, units: makeUnits(batches, atomic, idempotency) };
  });
  // All or nothing, before anything is appended: what is thrown here says that nothing was.
  committer.admit(prepared.reduce((sum, { part }) => sum + part.data.length, 0));
  const closed: PreparedBatch[] = [];
  await Promise.all(
    work.map(async ({ topic, headNumber, units }) => {
      const settled = await committer.append(
        topic,
        headNumber,
        units.map(({ unit }) => unit),
      );
      settled.forEach((result, i) => {
        const members = units[i]?.members ?? [];
        if (result === 'head_closed') closed.push(...members);
        else
          for (const [k, member] of members.entries())
            outcomes[member.index] = outcomeOf(member, result[k] as PartOutcome);
      });
    }),
  );
  return closed;
}

interface UnitOfBatches {
  readonly unit: AppendUnit;
  readonly members: readonly PreparedBatch[];
}

/** Each batch is a unit by itself, but where all stand or fall together: atomic, keyed, or with an expected offset. */
function makeUnits(
  batches: readonly PreparedBatch[],
  atomic: boolean,
  idempotency: AppendUnit['idempotency'],
): UnitOfBatches[] {
  const together = new Map<string, PreparedBatch[]>();
  const conditional = new Set(
    batches.filter(({ part }) => part.expectedOffset !== undefined).map(({ part }) => part.partition),
  );
  batches.forEach((batch, i) => {
    const { partition } = batch.part;
    const name =
      atomic || idempotency !== undefined
        ? 'all'
        : conditional.has(partition)
          ? `partition ${partition}`
          : `batch ${i}`;
    const members = together.get(name);
    if (members === undefined) together.set(name, [batch]);
    else members.push(batch);
  });
  return [...together.values()].map((members) => {
    const parts = members.map(({ part }) => part);
    const unit: AppendUnit = {
      atomic: members.length > 1 || atomic,
      parts,
      bytes: parts.reduce((sum, part) => sum + part.data.length, 0),
      idempotency,
    };
    if (!fitsCommit(keysDemanded(unit))) {
      throw new EventLogError(
        'request_too_large',
        'Too many batches of idempotent producers for one atomic append; send at most 24.',
      );
    }
    return { unit, members };
  });
}

function groupByHead(
  prepared: readonly PreparedBatch[],
): { topic: Topic; headNumber: number; batches: PreparedBatch[] }[] {
  const heads = new Map<string, { topic: Topic; headNumber: number; batches: PreparedBatch[] }>();
  for (const batch of prepared) {
    const { topic } = batch;
    const { headNumber } = headOf(topic, batch.part.partition);
    const key = `${topic.topicId}#${headNumber}`;
    const head = heads.get(key);
    if (head === undefined) heads.set(key, { topic, headNumber, batches: [batch] });
    else head.batches.push(batch);
  }
  return [...heads.values()];
}

function outcomeOf({ part, logAppendTimeMs }: PreparedBatch, result: PartOutcome): AppendOutcome {
  if (result.type === 'failed') return { ok: false, error: result.error };
  const { baseOffset, logStartOffset } = result;
  return {
    ok: true,
    baseOffset,
    records: part.records,
    logStartOffset,
    duplicate: result.type === 'duplicate',
    logAppendTimeMs,
  };
}

function checkExpectedOffsets(batches: readonly BatchToAppend[]): void {
  const seen = new Set<string>();
  batches.forEach(({ topic, partition, expectedOffset }, i) => {
    const key = `${topic}/${partition}`;
    if (expectedOffset !== undefined) {
      const field = `batches[${i}].expectedOffset`;
      if (!Number.isSafeInteger(expectedOffset) || expectedOffset < 0)
        throw invalidField(field, `An expected offset is a whole number from 0 to ${OFFSET_MAX}.`);
      if (seen.has(key)) throw invalidField(field, 'Only the first batch of a partition can have an expected offset.');
    }
    seen.add(key);
  });
}

/** Where one batch of an atomic append fails before the commit, the others fail for its sake. */
function refuseAll(outcomes: readonly (AppendOutcome | undefined)[]): AppendOutcome[] {
  const error = atomicRefused();
  return outcomes.map((outcome) => outcome ?? { ok: false, error });
}

function deletedMeanwhile(name: string): EventLogError {
  return new EventLogError('unknown_topic', `Topic '${name}' was deleted while this was appended.`, {
    details: { topic: name },
  });
}
