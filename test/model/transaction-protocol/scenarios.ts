import type { TransactionOutcome } from '../../../shared/log/transaction/transaction.ts';

/** The heads and slots of the model: two in the first head, one in the second. */
export const HEADS = 2;
export const SLOTS = 2;
export const PLACES = {
  a: { head: 0, slot: 0 },
  b: { head: 0, slot: 1 },
  c: { head: 1, slot: 0 },
} as const;
export type Place = keyof typeof PLACES;

/** What a producer does: one transaction after the other, each with a batch for each of its places, in this order. */
export interface Client {
  readonly name: string;
  /** `held`: it has initialised itself before, under epoch 0. */
  readonly begins: 'held' | 'initialises';
  readonly transactions: readonly ClientTransaction[];
}

export interface ClientTransaction {
  readonly places: readonly Place[];
  /** How it may end it once all batches were acknowledged. Otherwise it aborts it. */
  readonly ends: readonly TransactionOutcome[];
}

/** The bounds of one search. */
export interface Scenario {
  readonly name: string;
  readonly clients: readonly Client[];
  /** How often a client sends a request. */
  readonly tries: number;
  /** Requests that are at work at once, but for those of who is held up. */
  readonly workers: number;
  /** How many who are held up are at work at once. */
  readonly helpers: number;
  /** How many processes die. */
  readonly failures: number;
  /** The heads' tails are moved, so that their once keys go. */
  readonly moves?: boolean;
  /** Heads are planned from any state that they had, not only the present one. */
  readonly remembers?: boolean;
  /** Leaves out what a process remembers of the item where it shows nothing else than a look at it. */
  readonly reduced?: boolean;
}

export interface NumberedBatch {
  readonly name: string;
  readonly client: number;
  readonly transaction: number;
  readonly head: number;
  readonly slot: number;
  /** In its transaction's epoch. */
  readonly sequence: number;
}

/** All batches of the clients, in the order in which each client sends its own. */
export function numberBatches(clients: readonly Client[]): NumberedBatch[] {
  return clients.flatMap(({ name, transactions }, client) =>
    transactions.flatMap(({ places }, transaction) =>
      places.map((place, i) => ({
        name: `${name}${transaction + 1}${place}${places.indexOf(place) === i ? '' : "'"}`,
        client,
        transaction,
        ...PLACES[place],
        sequence: places.slice(0, i).filter((before) => before === place).length,
      })),
    ),
  );
}
