/** As in `shared/log/head/head.ts`, but small, so that nodes are many and tails full. */
export const TAIL_NODE_ENTRIES = 2;
export const TAIL_ENTRIES_MAX = 3;

/** What the clients of the model want, and within what bounds: the size of a search. */
export interface Scenario {
  readonly name: string;
  readonly clients: readonly Client[];
  /** Names of two batches, of which the second comes with the first try of the first, in one group and so in one entry. */
  readonly groups?: readonly (readonly [string, string])[];
  readonly writers: number;
  readonly movers: number;
  /** How many processes die half-way, or give up for lack of time. What they sent is still under way then. */
  readonly failures: number;
  /** The topic is deleted at some time. */
  readonly closes?: boolean;
  /** Leaves out what is under way without effect: see `Storage.forgetRefusedForGood`. */
  readonly reduced?: boolean;
}

/** Sends its batches in their order, each after all but the last few before it were acknowledged. */
export interface Client {
  readonly batches: readonly Batch[];
  /** How many batches may be without an answer at once. */
  readonly inFlight: number;
  /** How often a batch is sent: again when there was no answer, which may be while the former try still goes on. */
  readonly tries: number;
}

/** Batches are numbered through all clients. */
export interface NumberedClient extends Client {
  /** The number of its first batch. */
  readonly first: number;
}

export function numberClients(clients: readonly Client[]): NumberedClient[] {
  let next = 0;
  return clients.map((client) => {
    const first = next;
    next += client.batches.length;
    return { ...client, first };
  });
}

/** One record each, so that offsets count batches. */
export interface Batch {
  readonly name: string;
  /** The partition's place in the head. */
  readonly slot: number;
  /** All idempotent batches are of one producer. */
  readonly producer?: { readonly epoch: number; readonly sequence: number };
  readonly expectedOffset?: number;
  /** Appended under an idempotency key. */
  readonly keyed?: boolean;
}

/** Named by epoch and sequence, and by partition where there are two. */
function producer(
  epoch: number,
  sequences: number,
  bounds: { readonly tries: number; readonly inFlight?: number; readonly slot?: number },
): Client {
  const { tries, inFlight = 1, slot = 0 } = bounds;
  const batches = Array.from({ length: sequences }, (_, sequence) => ({
    name: `e${epoch}s${sequence}${slot === 0 ? '' : `p${slot}`}`,
    slot,
    producer: { epoch, sequence },
  }));
  return { batches, inFlight, tries };
}

/** Neither its sequence nor a key tells one try from another, so it is sent once. */
function plain(name: string): Client {
  return { batches: [{ name, slot: 0 }], inFlight: 1, tries: 1 };
}

function keyed(name: string, tries: number): Client {
  return { batches: [{ name, slot: 0, keyed: true }], inFlight: 1, tries };
}

function conditional(name: string, expectedOffset: number): Client {
  return { batches: [{ name, slot: 0, expectedOffset }], inFlight: 1, tries: 1 };
}

const PROCESSES = { writers: 2, movers: 2, failures: 1 };

/** What every run of the tests goes through. */
export const SCENARIOS = {
  /** A producer retries through both writers while a stale epoch of it still writes. Nothing is left out. */
  staleEpoch: {
    name: 'stale epoch',
    clients: [producer(1, 2, { tries: 2 }), producer(0, 2, { tries: 1 })],
    ...PROCESSES,
  },
  /** Batches are sent before the ones before them are acknowledged, so that they overtake each other. */
  pipelined: {
    name: 'pipelined',
    clients: [producer(1, 2, { tries: 2, inFlight: 2 }), producer(0, 1, { tries: 1 })],
    ...PROCESSES,
    reduced: true,
  },
  /** An entry of two batches, of which another entry may hold one already. */
  grouped: {
    name: 'grouped',
    clients: [producer(0, 2, { tries: 2 }), plain('x')],
    groups: [['e0s0', 'x']],
    ...PROCESSES,
  },
  /** Entries that nothing but their own bytes tells apart. */
  plain: {
    name: 'plain',
    clients: [plain('w'), plain('x'), plain('y'), plain('z')],
    ...PROCESSES,
    failures: 0,
    reduced: true,
  },
  keyed: {
    name: 'idempotency key',
    clients: [keyed('k', 3), plain('x')],
    ...PROCESSES,
  },
  conditional: {
    name: 'expected offsets',
    clients: [conditional('c', 0), conditional('d', 1), conditional('e', 1), plain('x')],
    ...PROCESSES,
  },
  partitions: {
    name: 'two partitions',
    clients: [
      producer(1, 1, { tries: 1 }),
      producer(1, 1, { tries: 1, slot: 1 }),
      producer(0, 1, { tries: 1 }),
      producer(0, 1, { tries: 1, slot: 1 }),
    ],
    ...PROCESSES,
    reduced: true,
  },
  epochs: {
    name: 'three epochs',
    clients: [producer(2, 1, { tries: 2 }), producer(1, 1, { tries: 1 }), producer(0, 2, { tries: 1 })],
    ...PROCESSES,
    reduced: true,
  },
  closing: {
    name: 'topic deleted',
    clients: [producer(0, 2, { tries: 2 }), plain('x')],
    ...PROCESSES,
    failures: 0,
    closes: true,
    reduced: true,
  },
} as const satisfies Record<string, Scenario>;

/** What takes minutes. */
export const LARGE_SCENARIOS: readonly Scenario[] = [
  { ...SCENARIOS.staleEpoch, name: 'stale epoch, two failures', failures: 2 },
  { ...SCENARIOS.pipelined, name: 'pipelined, in full', reduced: false },
  { ...SCENARIOS.epochs, name: 'three epochs, in full', reduced: false },
  {
    name: 'two partitions, retried',
    clients: [
      producer(1, 1, { tries: 1 }),
      producer(1, 1, { tries: 2, slot: 1 }),
      producer(0, 1, { tries: 1 }),
      producer(0, 1, { tries: 1, slot: 1 }),
    ],
    ...PROCESSES,
    reduced: true,
  },
  {
    name: 'three batches',
    clients: [producer(1, 3, { tries: 2 }), producer(0, 2, { tries: 1 })],
    ...PROCESSES,
    reduced: true,
  },
  { name: 'five batches', clients: [producer(1, 5, { tries: 2 })], ...PROCESSES, reduced: true },
  {
    name: 'stale epoch and another',
    clients: [producer(1, 2, { tries: 2 }), producer(0, 2, { tries: 1 }), plain('x')],
    ...PROCESSES,
    reduced: true,
  },
];
