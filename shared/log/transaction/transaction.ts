/**
 * The state of one transactional id. A producer under it has one transaction at a time. `number` and `phase` only move
 * forward: (k, empty), (k, open), (k, committing) or (k, aborting), (k + 1, empty). See `docs/design/0014-transactions.md`.
 */
export interface Transaction {
  readonly transactionalId: string;
  readonly producer: ProducerName;
  /** The producer and epoch before the last change of either by its own producer, whose request may be repeated. */
  readonly previous: ProducerName | undefined;
  /** The number of the transaction: each transaction of the id has a higher one. */
  readonly number: number;
  readonly phase: TransactionPhase;
  readonly participants: Participants;
  /** Of the transaction before this one; `undefined` if there was none. */
  readonly lastOutcome: TransactionOutcome | undefined;
  readonly timeoutMs: number;
  /** When the transaction was opened; 0 in phase `empty`. */
  readonly startedAtMs: number;
  /** From then on, anybody may abort the open transaction; 0 in phase `empty`. */
  readonly deadlineMs: number;
}

export interface ProducerName {
  readonly producerId: number;
  readonly producerEpoch: number;
}

/** In the order in which a transaction comes to them. The places are persisted. */
export const TRANSACTION_PHASES = ['empty', 'open', 'committing', 'aborting'] as const;
export type TransactionPhase = (typeof TRANSACTION_PHASES)[number];
export type TransactionOutcome = 'committed' | 'aborted';

/** What a transaction has touched, or may have touched: each of them gets its outcome. */
export interface Participants {
  readonly heads: readonly HeadParticipant[];
  readonly pages: readonly PageParticipant[];
  /** Groups that were named by Kafka's AddOffsetsToTxn, and whose pages can be enlisted. */
  readonly groups: readonly string[];
}

export interface HeadParticipant {
  readonly topicId: string;
  /** The topic's name: if the topic was deleted, nothing is left to mark. */
  readonly topic: string;
  readonly headNumber: number;
}

/** A page of offsets: 16 partitions of a topic in a group. */
export interface PageParticipant {
  readonly group: string;
  readonly topicId: string;
  readonly page: number;
}

export const NO_PARTICIPANTS: Participants = { heads: [], pages: [], groups: [] };

/** The maximum number of heads, pages and groups of one transaction. */
export const PARTICIPANTS_MAX = 1_000;
