import { ALONE, EXPIRES_AT, paddedNumber } from './key-parts.ts';
import type { ItemKey } from './ports.ts';

/** The keys of transactions in the table; see `keys.ts`. */

/**
 * pk `txn#<transactional id, percent-encoded>`: the state of a transactional id (`log/transaction/transaction.ts`). Updated
 * in place, each time on the condition of its number, phase and epoch.
 */
export function transactionKey(transactionalId: string): ItemKey {
  return { pk: `txn#${encodeURIComponent(transactionalId)}`, sk: ALONE };
}
export const TRANSACTION = {
  producerId: 'p',
  producerEpoch: 'c',
  /** The producer and epoch before the last change; absent if nothing can be repeated. */
  previousProducerId: 'lp',
  previousEpoch: 'lc',
  number: 'k',
  /** 0 empty, 1 open, 2 committing, 3 aborting. */
  phase: 's',
  /** Packed (`log/transaction/participants.ts`); absent: none. */
  participants: 'h',
  /** How many participants there are. It only rises until the transaction ends, so it names their set. */
  participantCount: 'n',
  /** Of the transaction before: 1 committed, 2 aborted. Absent: none since a producer was initialised. */
  lastOutcome: 'r',
  timeoutMs: 't',
  startedAtMs: 'b',
  deadlineMs: 'd',
  /** When the item last became empty. */
  usedAtMs: 'u',
  /** 1: nobody used the transactional id for a week. No producer of the item can go on. */
  retired: 'x',
  /** What a request under an idempotency key is answered again. */
  answer: 'a',
  /** Only of a retired item (seconds): every other one stays until it is retired. */
  expiresAt: EXPIRES_AT,
} as const;

/**
 * pk `transactions`, sk the transactional id: it exists. Written before its `txn#` item is made, and deleted after the item
 * was retired.
 */
export const TRANSACTIONS = 'transactions';
export function transactionListingKey(transactionalId: string): ItemKey {
  return { pk: TRANSACTIONS, sk: transactionalId };
}
export const TRANSACTION_LISTING = {
  /** The producer id for which the item was to be made. */
  producerId: 'p',
  writtenAtMs: 'w',
} as const;

/** pk `producer-name#<producer id>`: the transactional id of a producer. Written before the producer id is given out. */
export function producerNameKey(producerId: number): ItemKey {
  return { pk: `producer-name#${producerId}`, sk: ALONE };
}
export const PRODUCER_NAME = { transactionalId: 'n' } as const;

/**
 * pk `aborted#<topicId>#<head number>`, sk the number of the first entry of a tail node in 16 digits: the transactions
 * whose abort markers are in the node (`log/head/open-transactions.ts`). Written by the mover before the node's entries
 * leave the tail; absent if there are none.
 */
export function abortedPartitionKey(topicId: string, headNumber: number): string {
  return `aborted#${topicId}#${headNumber}`;
}
export function abortedKey(topicId: string, headNumber: number, firstEntry: number): ItemKey {
  return { pk: abortedPartitionKey(topicId, headNumber), sk: paddedNumber(firstEntry) };
}
export const ABORTED = { transactions: 'a' } as const;
