import { describe, expect, it } from 'vitest';
import { EventLogError } from '../../../../shared/log/errors.ts';
import {
  NO_PARTICIPANTS,
  PARTICIPANTS_MAX,
  type ProducerName,
} from '../../../../shared/log/transaction/transaction.ts';
import {
  type Decision,
  decideEnd,
  decideEnlist,
  decideInitialise,
  decideOverdue,
  type End,
  finished,
  newTransaction,
  retired,
  type StoredTransaction,
} from '../../../../shared/log/transaction/transitions.ts';

const NOW = 1_000_000;
const MADE = newTransaction('sums', 7, { timeoutMs: 60_000, nowMs: NOW, before: undefined });
const at = (producerEpoch: number, producerId = 7): ProducerName => ({ producerId, producerEpoch });
const head = (headNumber: number) => ({ topicId: 'a', topic: 'a', headNumber });
const heads = (...numbers: number[]) => ({ ...NO_PARTICIPANTS, heads: numbers.map(head) });

/** What a decision comes to: the code of a refusal, or what it does. */
function outcome(decision: Decision): string {
  return decision.do === 'refuse' ? decision.error.code : decision.do;
}

function written(decision: Decision): StoredTransaction {
  if (decision.do === 'write') return decision.next;
  throw decision.do === 'refuse' ? decision.error : new Error(`It is to ${decision.do}.`);
}

function enlist(seen: StoredTransaction, producerEpoch: number, ...numbers: number[]): Decision {
  const request = { producer: at(producerEpoch), participants: heads(...numbers), nowMs: NOW, number: undefined };
  return decideEnlist(seen, request);
}

function end(seen: StoredTransaction | undefined, producerEpoch: number, more: Partial<End> = {}): Decision {
  return decideEnd(seen, {
    producer: at(producerEpoch),
    outcome: 'committed',
    raisesEpoch: true,
    nowMs: NOW,
    newProducerId: undefined,
    number: undefined,
    ...more,
  });
}

function initialise(seen: StoredTransaction | undefined, producer?: ProducerName, newProducerId?: number): Decision {
  return decideInitialise(seen, { timeoutMs: 60_000, nowMs: NOW, producer, newProducerId });
}

function finish(seen: StoredTransaction, newProducerId?: number): StoredTransaction {
  return finished(seen, NOW, newProducerId) as StoredTransaction;
}

const OPEN = written(enlist(MADE, 0, 1, 2));
const V1 = { raisesEpoch: false };
const ABORT = { outcome: 'aborted' } as const;

describe('a transactional id', () => {
  it('opens its transaction with the first participant, and adds only what is new', () => {
    expect(OPEN).toMatchObject({ phase: 'open', number: 1, startedAtMs: NOW, deadlineMs: NOW + 60_000 });
    expect(outcome(enlist(OPEN, 0, 2, 1))).toBe('answer');
    const more = written(decideEnlist(OPEN, { producer: at(0), participants: heads(2, 3), nowMs: NOW + 9, number: 1 }));
    expect(more).toEqual({ ...OPEN, participants: heads(1, 2, 3) });
  });

  it('enlists for its producer and epoch alone', () => {
    expect(outcome(enlist(OPEN, 1, 1))).toBe('producer_fenced');
    expect(outcome(enlist({ ...OPEN, producer: at(2) }, 1, 1))).toBe('producer_fenced');
    const request = { producer: at(0, 8), participants: heads(1), nowMs: NOW, number: undefined };
    expect(outcome(decideEnlist(OPEN, request))).toBe('unknown_transactional_id');
    expect(outcome(decideEnlist(undefined, request))).toBe('unknown_transactional_id');
    expect(outcome(enlist(retired(MADE, NOW), 0, 1))).toBe('unknown_transactional_id');
    // Clients take over only an id that nobody has.
    const holders = [OPEN, undefined, retired(MADE, NOW)].map((seen) => {
      const decision = decideEnlist(seen, request);
      return decision.do === 'refuse' && decision.error.details.currentProducerId;
    });
    expect(holders).toEqual([7, undefined, undefined]);
  });

  it('enlists nothing while it is completed, in another transaction than that of the request, or beyond its limit', () => {
    expect(outcome(enlist(written(end(OPEN, 0, V1)), 0, 1))).toBe('concurrent_transactions');
    const late = { producer: at(0), participants: heads(1), nowMs: NOW, number: 0 };
    expect(outcome(decideEnlist(OPEN, late))).toBe('invalid_transaction_state');
    const full = written(enlist(MADE, 0, ...Array.from({ length: PARTICIPANTS_MAX }, (_, i) => i)));
    expect(outcome(enlist(full, 0, 5))).toBe('answer');
    expect(outcome(enlist(full, 0, PARTICIPANTS_MAX))).toBe('concurrent_transactions');
  });

  it('enlists after a group alone where the group must have been added, and opens nothing', () => {
    const request = { producer: at(0), participants: heads(3), nowMs: NOW, number: undefined, requiredGroup: 'g' };
    for (const seen of [MADE, OPEN]) expect(outcome(decideEnlist(seen, request))).toBe('invalid_transaction_state');
    const withGroup = { ...OPEN, participants: { ...OPEN.participants, groups: ['g'] } };
    expect(written(decideEnlist(withGroup, request)).participants.heads).toHaveLength(3);
  });

  it('commits, completes and answers again under the epoch before (transaction.version 2)', () => {
    const committing = written(end(OPEN, 0));
    expect(committing).toMatchObject({ phase: 'committing', number: 1, producer: at(1), previous: at(0) });
    expect(end(committing, 0)).toEqual({ do: 'complete', isDone: true });
    expect(outcome(end(committing, 0, ABORT))).toBe('invalid_transaction_state');
    expect(outcome(end(committing, 2))).toBe('producer_fenced');
    const empty = finish(committing);
    expect(empty).toMatchObject({
      phase: 'empty',
      number: 2,
      producer: at(1),
      lastOutcome: 'committed',
      deadlineMs: 0,
    });
    expect(empty.participants).toEqual(NO_PARTICIPANTS);
    expect(outcome(end(empty, 0))).toBe('answer');
    expect(outcome(end(empty, 0, ABORT))).toBe('invalid_transaction_state');
    const next = written(enlist(empty, 1, 5));
    expect(outcome(end(next, 0))).toBe('answer');
    expect(outcome(end(written(end(next, 1)), 0))).toBe('producer_fenced');
  });

  it('answers again under the same epoch, for the transaction of the request alone (transaction.version 1)', () => {
    const committing = written(end(OPEN, 0, V1));
    expect(committing).toMatchObject({ phase: 'committing', producer: at(0), previous: undefined });
    expect(end(committing, 0, V1)).toEqual({ do: 'complete', isDone: true });
    const empty = finish(committing);
    expect(outcome(end(empty, 0, V1))).toBe('answer');
    expect(outcome(end(empty, 0, { ...V1, ...ABORT }))).toBe('invalid_transaction_state');
    const next = written(enlist(empty, 0, 5));
    expect(outcome(end(next, 0, { ...V1, number: 1 }))).toBe('answer');
    expect(outcome(end(next, 0, { ...V1, ...ABORT, number: 1 }))).toBe('invalid_transaction_state');
    expect(written(end(next, 0, V1))).toMatchObject({ phase: 'committing', number: 2 });
    const later = written(enlist(finish(written(end(next, 0, V1))), 0, 5));
    expect(outcome(end(later, 0, { ...V1, number: 1 }))).toBe('invalid_transaction_state');
  });

  it('without a transaction aborts under version 2 with a new epoch, and else has nothing to end', () => {
    const aborted = written(end(MADE, 0, ABORT));
    expect(aborted).toMatchObject({
      phase: 'empty',
      number: 2,
      producer: at(1),
      previous: at(0),
      lastOutcome: 'aborted',
    });
    expect(outcome(end(aborted, 0, ABORT))).toBe('answer');
    expect(outcome(end(MADE, 0))).toBe('invalid_transaction_state');
    expect(outcome(end(MADE, 0, V1))).toBe('invalid_transaction_state');
    expect(outcome(end(MADE, 0, { ...V1, ...ABORT }))).toBe('invalid_transaction_state');
    expect(outcome(end(undefined, 0))).toBe('unknown_transactional_id');
    expect(outcome(end(retired(MADE, NOW), 0))).toBe('unknown_transactional_id');
  });

  it('gives a new producer the next epoch, which fences the one before', () => {
    expect(outcome(initialise(undefined))).toBe('create');
    expect(outcome(initialise(undefined, at(3)))).toBe('create');
    const next = written(initialise(finish(written(end(OPEN, 0)))));
    expect(next).toMatchObject({
      phase: 'empty',
      number: 3,
      producer: at(2),
      previous: undefined,
      lastOutcome: undefined,
    });
    expect(outcome(end(next, 1))).toBe('producer_fenced');
    expect(outcome(end(next, 0))).toBe('producer_fenced');
    expect(outcome(end(next, 2, V1))).toBe('invalid_transaction_state');
  });

  it('aborts an open transaction for a new producer first', () => {
    const aborting = written(initialise(OPEN));
    expect(aborting).toMatchObject({ phase: 'aborting', number: 1, producer: at(1), previous: undefined });
    expect(aborting.participants).toEqual(OPEN.participants);
    expect(outcome(end(aborting, 0, ABORT))).toBe('producer_fenced');
    expect(initialise(aborting)).toEqual({ do: 'complete', isDone: false });
    expect(written(initialise(finish(aborting)))).toMatchObject({ number: 3, producer: at(2) });
  });

  it('lets its last producer go on, and answers it again (KIP-360)', () => {
    const next = written(initialise(MADE, at(0)));
    expect(next).toMatchObject({ producer: at(1), previous: at(0), number: 2 });
    expect(outcome(initialise(next, at(0)))).toBe('answer');
    expect(outcome(initialise(written(initialise(next)), at(0)))).toBe('producer_fenced');
    expect(outcome(initialise(next, at(2)))).toBe('producer_fenced');
    expect(outcome(initialise(next, at(1, 8)))).toBe('producer_fenced');
    // It has ended nothing.
    expect(outcome(end(next, 0))).toBe('producer_fenced');
    expect(outcome(end(next, 0, ABORT))).toBe('producer_fenced');
    // Its own open transaction is aborted, and that gives the answer.
    const aborting = written(initialise(OPEN, at(0)));
    expect(aborting).toMatchObject({ phase: 'aborting', producer: at(1), previous: at(0) });
    const empty = finish(aborting);
    expect(outcome(initialise(empty, at(0)))).toBe('answer');
    expect(outcome(end(empty, 0))).toBe('invalid_transaction_state');
    expect(outcome(initialise(written(enlist(empty, 1, 9)), at(0)))).toBe('answer');
  });

  it('gets a new producer id after epoch 32,766', () => {
    const last = { ...MADE, producer: at(32_766) };
    expect(outcome(initialise({ ...MADE, producer: at(32_765) }))).toBe('write');
    expect(outcome(initialise(last))).toBe('allocate');
    expect(written(initialise(last, at(32_766), 8))).toMatchObject({ producer: at(0, 8), previous: at(32_766) });
    expect(outcome(end(last, 32_766, ABORT))).toBe('allocate');
    expect(written(end(last, 32_766, { ...ABORT, newProducerId: 8 }))).toMatchObject({ producer: at(0, 8) });
    const committing = written(end(written(enlist(last, 32_766, 1)), 32_766));
    expect(committing.producer).toEqual(at(32_767));
    expect(finished(committing, NOW, undefined)).toBeUndefined();
    const empty = finish(committing, 8);
    expect(empty).toMatchObject({ producer: at(0, 8), previous: at(32_766), lastOutcome: 'committed' });
    expect(outcome(end(empty, 32_766))).toBe('answer');
    expect(outcome(initialise(empty, at(32_766)))).toBe('answer');
    expect(outcome(enlist(empty, 32_766, 1))).toBe('unknown_transactional_id');
    const aborting = written(decideOverdue(written(enlist(last, 32_766, 1)), 7, NOW + 70_000));
    expect(finish(aborting, 9).producer).toEqual(at(0, 9));
    const v1 = written(end(written(enlist(last, 32_766, 1)), 32_766, V1));
    expect(finish(v1).producer).toEqual(at(32_766));
  });

  it('is ended by others five seconds after its deadline, under a higher epoch', () => {
    const atDeadline = OPEN.deadlineMs + 5_000;
    expect(outcome(decideOverdue(OPEN, 7, atDeadline))).toBe('answer');
    const aborting = written(decideOverdue(OPEN, 7, atDeadline + 1));
    expect(aborting).toMatchObject({ phase: 'aborting', producer: at(1), previous: undefined });
    for (const by of [V1, { raisesEpoch: true }]) {
      expect(outcome(end(aborting, 0, by))).toBe('producer_fenced');
      expect(outcome(end(finish(aborting), 0, by))).toBe('producer_fenced');
    }
    expect(outcome(enlist(finish(aborting), 0, 1))).toBe('producer_fenced');
    expect(decideOverdue(aborting, 7, NOW)).toEqual({ do: 'complete', isDone: true });
    expect(decideOverdue(written(end(OPEN, 0)), 7, NOW)).toEqual({ do: 'complete', isDone: true });
    for (const seen of [undefined, MADE, finish(aborting), retired(MADE, NOW)])
      expect(outcome(decideOverdue(seen, 7, NOW + 9_999_999))).toBe('answer');
    expect(outcome(decideOverdue(OPEN, 8, NOW + 9_999_999))).toBe('answer');
  });

  it('that is retired is made again with another producer id and a higher number', () => {
    const gone = retired(MADE, NOW + 5);
    expect(gone).toMatchObject({ isRetired: true, number: 2, usedAtMs: NOW + 5 });
    expect(outcome(initialise(gone, at(0)))).toBe('create');
    expect(newTransaction('sums', 9, { timeoutMs: 1, nowMs: NOW, before: gone })).toMatchObject({
      isRetired: false,
      number: 3,
      producer: at(0, 9),
    });
  });

  it('names what it refused', () => {
    const decision = enlist(OPEN, 1, 1);
    expect(decision.do === 'refuse' && decision.error).toBeInstanceOf(EventLogError);
    expect(decision.do === 'refuse' && decision.error.details).toEqual({
      transactionalId: 'sums',
      producerId: 7,
      producerEpoch: 1,
    });
  });
});
