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
  /** The producer's id is young: a partition that does not know it accepts only sequence 0. */
  readonly young?: boolean;
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
  /** Each batch corrects the one before it, under the same idempotency key: it is sent when that one was rejected. */
  readonly corrects?: boolean;
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

interface ProducerBounds {
  readonly tries: number;
  readonly inFlight?: number;
  readonly slot?: number;
  readonly expectedOffset?: number;
}

/** Named by epoch and sequence, and by partition where there are two. */
function producer(epoch: number, sequences: number, bounds: ProducerBounds): Client {
  const { tries, inFlight = 1, slot = 0, expectedOffset } = bounds;
  const batches = Array.from({ length: sequences }, (_, sequence) => ({
    name: `e${epoch}s${sequence}${slot === 0 ? '' : `p${slot}`}`,
    slot,
    producer: { epoch, sequence },
    ...(expectedOffset === undefined ? {} : { expectedOffset }),
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

/** A request under an idempotency key that expects an offset, and the one that corrects it. */
function corrected(expectedOffset: number, correctedOffset: number, tries: number): Client {
  const batches = [expectedOffset, correctedOffset].map((offset, i) => ({
    name: i === 0 ? 'k' : 'corrected k',
    slot: 0,
    keyed: true,
    expectedOffset: offset,
  }));
  return { batches, inFlight: 1, tries, corrects: true };
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
  /**
   * As Kafka's clients do after they lost a batch of one partition: it begins epoch 1 there, while the other partition
   * finishes under epoch 0, retries included, and then begins epoch 1 too. Late batches of epoch 0 are under way in both.
   */
  apart: {
    name: 'epochs apart',
    clients: [
      producer(1, 1, { tries: 1 }),
      producer(0, 1, { tries: 1 }),
      {
        batches: [...producer(0, 1, { tries: 2, slot: 1 }).batches, ...producer(1, 1, { tries: 2, slot: 1 }).batches],
        inFlight: 1,
        tries: 2,
      },
    ],
    ...PROCESSES,
    failures: 0,
    reduced: true,
  },
  /** Both partitions go up to epoch 1, and a process that is left writes on under epoch 0 in one of them. */
  partitions: {
    name: 'two partitions',
    clients: [
      producer(1, 1, { tries: 1 }),
      producer(1, 1, { tries: 1, slot: 1 }),
      producer(0, 2, { tries: 1, slot: 1 }),
    ],
    ...PROCESSES,
    reduced: true,
  },
  /** Of first batches in flight, the second never comes before the first. A stale epoch races them. */
  young: {
    name: 'young id',
    clients: [producer(1, 2, { tries: 2, inFlight: 2 }), producer(0, 1, { tries: 1 })],
    ...PROCESSES,
    young: true,
    reduced: true,
  },
  /** A retry with a sequence that also expects an offset. */
  sequenced: {
    name: 'sequence and expected offset',
    clients: [producer(0, 1, { tries: 3, expectedOffset: 0 }), plain('x')],
    ...PROCESSES,
  },
  /** A request under a key is rejected since the partition has not reached its offset; attempts of it are still under way. */
  correctedLater: {
    name: 'corrected, too early',
    clients: [corrected(1, 0, 2), plain('x')],
    ...PROCESSES,
    reduced: true,
  },
  /** The same, rejected since the partition has passed its offset. */
  correctedEarlier: {
    name: 'corrected, too late',
    clients: [corrected(0, 1, 2), plain('x')],
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
  { ...SCENARIOS.apart, name: 'epochs apart, one failure', failures: 1 },
  { ...SCENARIOS.young, name: 'young id, in full', reduced: false },
  { ...SCENARIOS.correctedLater, name: 'corrected, in full', reduced: false },
  {
    ...SCENARIOS.correctedLater,
    name: 'corrected, and two others',
    clients: [corrected(1, 0, 2), plain('x'), plain('y')],
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
