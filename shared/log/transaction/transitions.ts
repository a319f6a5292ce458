import { EventLogError } from '../errors.ts';
import { IDEMPOTENCY_KEY_LIFETIME_MS, TRANSACTIONAL_EPOCH_MAX } from '../limits.ts';
import { addParticipants, missingParticipants, participantCount } from './participants.ts';
import {
  NO_PARTICIPANTS,
  PARTICIPANTS_MAX,
  type Participants,
  type ProducerName,
  type Transaction,
  type TransactionOutcome,
} from './transaction.ts';

/**
 * Which update leaves which state of a transactional id. Each decision is made from the state as it was seen, and is carried
 * out by one update on the condition that the item is still in it. If it is not, the caller decides again from what the
 * update met.
 */

/** A transactional id as it is stored. */
export interface StoredTransaction extends Transaction {
  /** When it last became empty. */
  readonly usedAtMs: number;
  /** Nobody used it for a week: its producers cannot go on, and whoever initialises it gets another producer id. */
  readonly isRetired: boolean;
  /** What the transaction before, or this one once it has its outcome, answers to a request that is repeated under a key. */
  readonly answer?: Uint8Array | undefined;
}

export type Decision =
  /** The update leaves this state. `isDone`: it is all that the request asks for. */
  | { readonly do: 'write'; readonly next: StoredTransaction; readonly isDone: boolean }
  /** The transaction has its outcome: somebody must complete it. `isDone`: then the request has its answer. */
  | { readonly do: 'complete'; readonly isDone: boolean }
  /** Only with a new producer id can it be decided. */
  | { readonly do: 'allocate' }
  /** There is no item, or a retired one. */
  | { readonly do: 'create' }
  /** Nothing is left to do. */
  | { readonly do: 'answer' }
  | { readonly do: 'refuse'; readonly error: EventLogError };

const FIRST_NUMBER = 1;
/** How long after its deadline others abort an open transaction: clocks differ a little. */
const GRACE_MS = 5_000;
/** A transactional id is kept for so long after its last transaction. Kafka's default for `transactional.id.expiration.ms`. */
export const UNUSED_KEPT_MS = 7 * 86_400_000;

export interface NewTransaction {
  readonly timeoutMs: number;
  readonly nowMs: number;
  /** The retired state that it replaces. */
  readonly before: StoredTransaction | undefined;
}

/** The first state of a transactional id, or of one that was retired. */
export function newTransaction(
  transactionalId: string,
  producerId: number,
  { timeoutMs, nowMs, before }: NewTransaction,
): StoredTransaction {
  return {
    transactionalId,
    producer: { producerId, producerEpoch: 0 },
    previous: undefined,
    number: before === undefined ? FIRST_NUMBER : before.number + 1,
    phase: 'empty',
    participants: NO_PARTICIPANTS,
    lastOutcome: undefined,
    timeoutMs,
    startedAtMs: 0,
    deadlineMs: 0,
    usedAtMs: nowMs,
    isRetired: false,
  };
}

export interface Initialisation {
  readonly timeoutMs: number;
  readonly nowMs: number;
  /** The producer that goes on after an error (KIP-360); without it a new one takes over, and the old one is fenced. */
  readonly producer: ProducerName | undefined;
  readonly newProducerId: number | undefined;
  /** Where a transaction of the id was committed within a day under an idempotency key, nothing is left to do. */
  readonly once?: boolean | undefined;
}

/** A new epoch, or a new producer id after the last one. An open transaction is aborted before. */
export function decideInitialise(seen: StoredTransaction | undefined, request: Initialisation): Decision {
  const { producer: given, timeoutMs, nowMs, newProducerId, once = false } = request;
  if (seen === undefined || seen.isRetired) return { do: 'create' };
  const isCurrent = given !== undefined && isSame(given, seen.producer);
  const isRepeated = given !== undefined && seen.previous !== undefined && isSame(given, seen.previous);
  if (given !== undefined && !isCurrent && !isRepeated) return { do: 'refuse', error: fenced(seen, given) };
  switch (seen.phase) {
    case 'committing':
    case 'aborting':
      return { do: 'complete', isDone: false };
    case 'open':
      // A repeated request that finds an open transaction is late: its producer has gone on with the answer.
      if (isRepeated) return { do: 'answer' };
      return { do: 'write', next: ended(seen, 'aborted', { raisesEpoch: true, by: given }), isDone: false };
    case 'empty': {
      if (isRepeated || (once && answerOf(seen, nowMs) !== undefined)) return { do: 'answer' };
      const producer = nextProducer(seen.producer, newProducerId);
      if (producer === undefined) return { do: 'allocate' };
      const next = { ...emptied(seen, producer, nowMs), previous: given, lastOutcome: undefined, timeoutMs };
      return { do: 'write', next, isDone: true };
    }
  }
}

/** The answer of the id's last transaction, for a day after it. */
export function answerOf({ phase, answer, usedAtMs }: StoredTransaction, nowMs: number): Uint8Array | undefined {
  return phase === 'empty' && nowMs - usedAtMs < IDEMPOTENCY_KEY_LIFETIME_MS ? answer : undefined;
}

export interface Enlistment {
  readonly producer: ProducerName;
  readonly participants: Participants;
  readonly nowMs: number;
  /** The number that the request belongs to, once it is known. */
  readonly number: number | undefined;
  /** A group that must have been added before. */
  readonly requiredGroup?: string | undefined;
}

/** Adds participants, and opens the transaction with the first ones. */
export function decideEnlist(seen: StoredTransaction | undefined, request: Enlistment): Decision {
  const { producer, participants, nowMs, number, requiredGroup } = request;
  const error = refusalOf(seen, producer);
  if (error !== undefined) return { do: 'refuse', error };
  const transaction = seen as StoredTransaction;
  if (number !== undefined && number !== transaction.number)
    return { do: 'refuse', error: invalidState(transaction, 'the transaction of the request has ended') };
  if (isCompleting(transaction))
    return { do: 'refuse', error: concurrent(transaction, 'the transaction before is being completed') };
  if (requiredGroup !== undefined && !transaction.participants.groups.includes(requiredGroup))
    return {
      do: 'refuse',
      error: invalidState(transaction, `group '${requiredGroup}' was not added to an open transaction`),
    };
  const missing = missingParticipants(transaction.participants, participants);
  const count = participantCount(missing);
  if (count === 0) return { do: 'answer' };
  if (participantCount(transaction.participants) + count > PARTICIPANTS_MAX)
    return {
      do: 'refuse',
      error: concurrent(
        transaction,
        `the transaction would have more than ${PARTICIPANTS_MAX} heads, pages of offsets and groups; end it first`,
      ),
    };
  const isFirst = transaction.phase === 'empty';
  return {
    do: 'write',
    next: {
      ...transaction,
      phase: 'open',
      participants: addParticipants(transaction.participants, missing),
      startedAtMs: isFirst ? nowMs : transaction.startedAtMs,
      deadlineMs: isFirst ? nowMs + transaction.timeoutMs : transaction.deadlineMs,
    },
    isDone: true,
  };
}

export interface End {
  readonly producer: ProducerName;
  readonly outcome: TransactionOutcome;
  /** Kafka's transaction.version 2: every end raises the epoch, so an epoch belongs to one transaction. */
  readonly raisesEpoch: boolean;
  readonly nowMs: number;
  readonly newProducerId: number | undefined;
  /** The number that the request belongs to, once it is known. */
  readonly number: number | undefined;
  /** Kept by the commit. */
  readonly answer?: Uint8Array | undefined;
}

/** Gives the transaction its outcome: the commit point. A repeated request gets the outcome again. */
export function decideEnd(seen: StoredTransaction | undefined, request: End): Decision {
  const { producer, outcome, raisesEpoch, nowMs, newProducerId, number, answer } = request;
  if (seen === undefined || seen.isRetired) return { do: 'refuse', error: unknownId(seen, producer) };
  if (seen.previous !== undefined && isSame(producer, seen.previous)) return decideRepeatedEnd(seen, request);
  const error = refusalOf(seen, producer);
  if (error !== undefined) return { do: 'refuse', error };
  // The epoch does not tell the transactions of transaction.version 1 apart. The one of the request has ended meanwhile.
  if (number !== undefined && number !== seen.number) return answerIf(seen, number + 1 === seen.number, outcome);
  switch (seen.phase) {
    case 'open':
      return { do: 'write', next: ended(seen, outcome, { raisesEpoch, by: producer, answer }), isDone: false };
    case 'committing':
    case 'aborting':
      if (outcomeOf(seen) === outcome) return { do: 'complete', isDone: true };
      return { do: 'refuse', error: endedOtherwise(seen) };
    case 'empty': {
      if (!raisesEpoch) return answerIf(seen, true, outcome);
      if (outcome === 'committed')
        return { do: 'refuse', error: invalidState(seen, 'nothing was added to the transaction') };
      // The producer cannot know that nothing of the transaction arrived. Whatever is late finds a newer epoch.
      const next = nextProducer(seen.producer, newProducerId);
      if (next === undefined) return { do: 'allocate' };
      return {
        do: 'write',
        next: { ...emptied(seen, next, nowMs), previous: seen.producer, lastOutcome: 'aborted' },
        isDone: true,
      };
    }
  }
}

/** The epoch is the one before the last change: this producer has ended a transaction, or initialised itself, with it. */
function decideRepeatedEnd(seen: StoredTransaction, { outcome, producer }: End): Decision {
  switch (seen.phase) {
    case 'committing':
    case 'aborting':
      if (outcomeOf(seen) === outcome) return { do: 'complete', isDone: true };
      return { do: 'refuse', error: endedOtherwise(seen) };
    default:
      if (seen.lastOutcome === undefined) return { do: 'refuse', error: fenced(seen, producer) };
      return answerIf(seen, true, outcome);
  }
}

function answerIf(seen: StoredTransaction, isLast: boolean, outcome: TransactionOutcome): Decision {
  if (isLast && seen.lastOutcome === outcome) return { do: 'answer' };
  return { do: 'refuse', error: isLast ? endedOtherwise(seen) : invalidState(seen, 'the transaction has ended') };
}

/** What somebody does who is held up by the producer's transaction. */
export function decideOverdue(seen: StoredTransaction | undefined, producerId: number, nowMs: number): Decision {
  // A producer id is given up only when all of its transactions were completed.
  if (seen === undefined || seen.isRetired || seen.producer.producerId !== producerId) return { do: 'answer' };
  switch (seen.phase) {
    case 'committing':
    case 'aborting':
      return { do: 'complete', isDone: true };
    case 'open':
      if (nowMs <= seen.deadlineMs + GRACE_MS) return { do: 'answer' };
      return { do: 'write', next: ended(seen, 'aborted', { raisesEpoch: true, by: undefined }), isDone: false };
    case 'empty':
      return { do: 'answer' };
  }
}

/** The state after every participant has the outcome; `undefined`: only with a new producer id. */
export function finished(
  seen: StoredTransaction,
  nowMs: number,
  newProducerId: number | undefined,
): StoredTransaction | undefined {
  const isOver = seen.producer.producerEpoch > TRANSACTIONAL_EPOCH_MAX;
  const producer = isOver ? nextProducer(seen.producer, newProducerId) : seen.producer;
  if (producer === undefined) return undefined;
  return { ...emptied(seen, producer, nowMs), lastOutcome: outcomeOf(seen), answer: seen.answer };
}

/** Nobody can go on from here but an initialisation, which begins with another producer id. Only in phase `empty`. */
export function retired(seen: StoredTransaction, nowMs: number): StoredTransaction {
  return { ...seen, number: seen.number + 1, usedAtMs: nowMs, isRetired: true, answer: undefined };
}

export function isCompleting({ phase }: Transaction): boolean {
  return phase === 'committing' || phase === 'aborting';
}

export function outcomeOf({ phase }: Transaction): TransactionOutcome {
  return phase === 'committing' ? 'committed' : 'aborted';
}

function isSame(a: ProducerName, b: ProducerName): boolean {
  return a.producerId === b.producerId && a.producerEpoch === b.producerEpoch;
}

function ended(
  seen: StoredTransaction,
  outcome: TransactionOutcome,
  { raisesEpoch, by, answer }: Ending,
): StoredTransaction {
  const { producerId, producerEpoch } = seen.producer;
  return {
    ...seen,
    phase: outcome === 'committed' ? 'committing' : 'aborting',
    producer: { producerId, producerEpoch: producerEpoch + (raisesEpoch ? 1 : 0) },
    previous: raisesEpoch ? by : undefined,
    // It is in the phase until the transaction is finished. An earlier one must not answer a repeated end.
    lastOutcome: undefined,
    answer,
  };
}

interface Ending extends Pick<End, 'raisesEpoch' | 'answer'> {
  /** The producer that ended it; `undefined`: others did. */
  readonly by: ProducerName | undefined;
}

function emptied(seen: StoredTransaction, producer: ProducerName, nowMs: number): StoredTransaction {
  return {
    ...seen,
    producer,
    number: seen.number + 1,
    phase: 'empty',
    participants: NO_PARTICIPANTS,
    startedAtMs: 0,
    deadlineMs: 0,
    usedAtMs: nowMs,
    answer: undefined,
  };
}

function nextProducer(
  { producerId, producerEpoch }: ProducerName,
  newProducerId: number | undefined,
): ProducerName | undefined {
  if (producerEpoch < TRANSACTIONAL_EPOCH_MAX) return { producerId, producerEpoch: producerEpoch + 1 };
  return newProducerId === undefined ? undefined : { producerId: newProducerId, producerEpoch: 0 };
}

/** Why the producer may not use the transactional id; `undefined` if it may. */
function refusalOf(seen: StoredTransaction | undefined, producer: ProducerName): EventLogError | undefined {
  if (seen === undefined || seen.isRetired || seen.producer.producerId !== producer.producerId)
    return unknownId(seen, producer);
  return isSame(seen.producer, producer) ? undefined : fenced(seen, producer);
}

/** `currentProducerId`: somebody else has the transactional id. */
function unknownId(seen: StoredTransaction | undefined, { producerId }: ProducerName): EventLogError {
  if (seen === undefined || seen.isRetired)
    return new EventLogError(
      'unknown_transactional_id',
      'No producer was initialised under the transactional id, or nobody used it for a week. Initialise a producer.',
      { details: { producerId } },
    );
  return new EventLogError(
    'unknown_transactional_id',
    `Producer id ${producerId} is not the one of transactional id '${seen.transactionalId}'. Initialise a producer.`,
    { details: { producerId, currentProducerId: seen.producer.producerId } },
  );
}

function fenced({ transactionalId }: Transaction, { producerId, producerEpoch }: ProducerName): EventLogError {
  return new EventLogError(
    'producer_fenced',
    `Epoch ${producerEpoch} of producer ${producerId} is not the current one of transactional id '${transactionalId}': another producer uses it, or the transaction was aborted when its time was up.`,
    { details: { transactionalId, producerId, producerEpoch } },
  );
}

function concurrent({ transactionalId }: Transaction, why: string): EventLogError {
  return new EventLogError('concurrent_transactions', `Transactional id '${transactionalId}': ${why}.`, {
    details: { transactionalId },
  });
}

function invalidState({ transactionalId }: Transaction, why: string): EventLogError {
  return new EventLogError('invalid_transaction_state', `Transactional id '${transactionalId}': ${why}.`, {
    details: { transactionalId },
  });
}

function endedOtherwise(seen: Transaction): EventLogError {
  const outcome = isCompleting(seen) ? outcomeOf(seen) : seen.lastOutcome;
  return invalidState(seen, outcome === undefined ? 'no transaction is open' : `the transaction was ${outcome}`);
}
