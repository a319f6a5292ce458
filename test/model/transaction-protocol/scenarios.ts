import type { TransactionOutcome } from '../../../shared/log/transaction/transaction.ts';

/** The heads and slots of the model: two in the first head, one in each of the others. */
export const HEADS = 3;
export const SLOTS = 2;
export const PLACES = {
  a: { head: 0, slot: 0 },
  b: { head: 0, slot: 1 },
  c: { head: 1, slot: 0 },
  d: { head: 2, slot: 0 },
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
  /** How many processes and producers die. */
  readonly failures: number;
  /** With how many updates that are rejected an operation gives up. The product's `TRIES` is 32. */
  readonly rejections: number;
  /** The heads' tails are moved, so that their once keys go. */
  readonly moves?: boolean;
  /** Heads are planned from any state that they had, not only the present one. */
  readonly remembers?: boolean;
  /**
   * Forgets requests once they can have no effect any more, and leaves out what a process remembers of the item where it shows
   * nothing else than a look at it.
   */
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

function held(places: readonly Place[], ...ends: readonly TransactionOutcome[]): Client {
  return { name: 'Z', begins: 'held', transactions: [{ places, ends }] };
}

/** The next producer of the transactional id, by which the first one becomes a zombie. */
function next(places: readonly Place[]): Client {
  const transactions: ClientTransaction[] = places.length === 0 ? [] : [{ places, ends: ['committed'] }];
  return { name: 'P', begins: 'initialises', transactions };
}

const BOUNDS = { tries: 1, workers: 2, helpers: 1, failures: 0, rejections: 2, reduced: true } as const;

/** Each shows something else. Transactions are aborted by time-out in all of them. */
export const SCENARIOS = {
  alone: { name: 'one producer', clients: [held(['a', 'c'], 'committed', 'aborted')], ...BOUNDS },
  zombie: { name: 'zombie', clients: [held(['a', 'c'], 'committed'), next(['c'])], ...BOUNDS },
  oneHead: { name: 'zombie in one head', clients: [held(['a'], 'committed'), next(['a'])], ...BOUNDS },
  slots: { name: 'three slots', clients: [held(['a', 'b', 'c'], 'committed'), next([])], ...BOUNDS },
  deaths: { name: 'two die', clients: [held(['a', 'c'], 'committed')], ...BOUNDS, failures: 2 },
  deathsOfTwo: { name: 'zombie, one dies', clients: [held(['a'], 'committed'), next([])], ...BOUNDS, failures: 1 },
  retries: { name: 'retries', clients: [held(['a', 'c'], 'committed')], ...BOUNDS, tries: 2 },
  again: { name: 'two batches in a slot', clients: [held(['a', 'a'], 'committed')], ...BOUNDS, tries: 2 },
  heads: { name: 'three heads', clients: [held(['a', 'c', 'd'], 'committed')], ...BOUNDS },
  two: {
    name: 'two transactions',
    clients: [
      {
        name: 'Z',
        begins: 'held',
        transactions: [
          { places: ['a'], ends: ['committed', 'aborted'] },
          { places: ['a', 'c'], ends: ['committed'] },
        ],
      },
    ],
    ...BOUNDS,
  },
  moves: { name: 'tails are moved', clients: [held(['a', 'b'], 'committed'), next([])], ...BOUNDS, moves: true },
  memory: {
    name: 'heads from memory',
    clients: [held(['a', 'b'], 'committed'), next([])],
    ...BOUNDS,
    moves: true,
    remembers: true,
  },
} as const satisfies Record<string, Scenario>;

/** What takes minutes. */
export const LARGE_SCENARIOS: readonly Scenario[] = [
  { ...SCENARIOS.zombie, name: 'zombie, two heads each', clients: [held(['a', 'c'], 'committed'), next(['a', 'c'])] },
  {
    ...SCENARIOS.slots,
    name: 'two heads, one dies',
    clients: [held(['a', 'c'], 'committed'), next([])],
    failures: 1,
  },
  { ...SCENARIOS.oneHead, name: 'zombie in one head, one dies', failures: 1 },
  { ...SCENARIOS.retries, name: 'retries, then another', clients: [held(['a', 'c'], 'committed'), next([])] },
  { ...SCENARIOS.oneHead, name: 'zombie, two held up', helpers: 2 },
  { ...SCENARIOS.moves, name: 'zombie, tails are moved', clients: [held(['a', 'b'], 'committed'), next(['a'])] },
];
