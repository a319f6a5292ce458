import { PARTITIONS_PER_HEAD_DEFAULT, PRODUCER_BATCHES_KEPT } from '../../../shared/log/limits.ts';
import { PARTITION_COUNT } from '../world/world.ts';
import { type Appended, type Client, type ClientAppend, LASTING_TOPIC } from './client.ts';

/**
 * What clients do. A workload is one client's doing, in its own time, among others; it ends by itself once all requests
 * are answered. It checks nothing but what only it can know: the history is judged by `check-history.ts`. Another part of
 * the log gets its workload by a line in `WORKLOADS`.
 */
export interface Workload {
  readonly name: string;
  /** How often it is chosen, against the others. */
  readonly weight: number;
  /** Beginnings of the keys whose requests matter most to it. */
  readonly keys: readonly string[];
  /** `operations` is how much it is to do, about. */
  run(client: Client, operations: number): Promise<void>;
  /** What others of the same run do where this one is chosen. */
  readonly company?: Workload;
}

function sameHead(client: Client): number[] {
  return client.partitions.filter((partition) => partition < PARTITIONS_PER_HEAD_DEFAULT);
}

function values(client: Client, max: number): string[] {
  return Array.from({ length: 1 + client.chance.below(max) }, () => client.value());
}

/** Sends again, also where the answer was a refusal for now, until it is settled for good. */
async function insist(client: Client, append: ClientAppend, slot?: number): Promise<Appended> {
  for (let tries = 0; ; tries++) {
    const appended = await client.append(append, slot);
    const forNow = appended.codes.every((code) => code === 'throttled' || code === 'storage_unavailable');
    if (appended.type === 'ok' || (appended.codes.length > 0 && !forNow)) return appended;
    if (tries > 0) client.mark('appended by a third try or later');
    // Now and then so late that the head has gone far since.
    for (let rests = client.chance.chance(0.1) ? 20 : 1; rests > 0; rests--) await client.rest();
  }
}

async function write(client: Client, operations: number): Promise<void> {
  for (let i = 0; i < operations; i++) {
    const { chance } = client;
    const atomic = chance.chance(0.3);
    const one = chance.pick(client.partitions);
    const spread = chance.chance(0.5);
    const records = values(client, 3).map((value) => ({
      value,
      partition: spread ? chance.pick(atomic ? sameHead(client) : client.partitions) : one,
    }));
    await client.append({ topic: LASTING_TOPIC, records, ...(atomic ? { atomic } : {}) });
    if (chance.chance(0.5)) await client.rest();
  }
}

/** Many at once, so that they share group commits. */
async function writeAtOnce(client: Client, operations: number): Promise<void> {
  const partition = client.chance.pick(client.partitions);
  const one = () =>
    client.append({
      topic: LASTING_TOPIC,
      records: values(client, 2).map((value) => ({ value, partition: client.chance.chance(0.8) ? partition : 0 })),
    });
  await Promise.all(Array.from({ length: operations }, one));
}

/**
 * An idempotent producer: each batch is sent until it is settled, up to five at once, and from time to time it starts
 * anew with the next epoch, while what it sent before may still be under way. Its first batch in a partition goes alone:
 * of a producer that is not known any sequence is accepted, as in Kafka.
 */
async function produce(client: Client, operations: number): Promise<void> {
  const { chance } = client;
  const id = await allocate(client);
  const partitions = chance.chance(0.7) ? [chance.pick(client.partitions)] : client.partitions;
  const windowMax = chance.pick([1, 1, 2, 5]);
  let epoch = 0;
  if (chance.chance(0.3)) {
    // Two first batches at once, of which either may be refused for the other's sake; then it starts anew.
    await Promise.all(
      [0, 1].map((sequence) => {
        const records = [{ value: client.value(), partition: partitions[0] as number }];
        return insist(client, { topic: LASTING_TOPIC, records, producer: { id, epoch: 0, sequence } });
      }),
    );
    epoch = 1;
  }
  let sequences = new Map<number, number>();
  let sending: Promise<void>[] = [];
  /** Of this epoch, by partition, in their order. */
  const sent = new Map<number, ClientAppend[]>();
  const batches = 3 * operations;
  const restartRate = chance.pick([0, 0.1, 0.4]);
  for (let i = 0; i < batches; i++) {
    const partition = chance.pick(partitions);
    const sequence = sequences.get(partition) ?? 0;
    const records = values(client, 2).map((value) => ({ value, partition }));
    sequences.set(partition, sequence + records.length);
    const append = { topic: LASTING_TOPIC, records, producer: { id, epoch, sequence } };
    const pipelined = windowMax > 1 && sequence > 0;
    const isLastOfEpoch = i + 1 < batches && chance.chance(restartRate);
    const zombie = isLastOfEpoch && chance.chance(0.6);
    sent.set(partition, [...(sent.get(partition) ?? []), append].slice(-PRODUCER_BATCHES_KEPT));
    sending.push(deliver(client, append, pipelined, zombie));
    if (zombie) {
      // Starts anew while this is under way.
      client.mark('producer left a zombie');
      await Promise.all(sending.slice(0, -1));
      await client.rest();
      sending = [];
    } else if (sequence === 0 || sending.length >= windowMax || isLastOfEpoch) {
      await Promise.all(sending);
      sending = [];
    }
    if (sending.length === 0 && !zombie && chance.chance(0.2)) await sendAgain(client, chance.pick([...sent.values()]));
    if (isLastOfEpoch) {
      epoch += 1 + chance.below(2) * chance.below(40);
      sequences = new Map();
      sent.clear();
    }
  }
  await Promise.all(sending);
}

/** As Kafka's clients do: a batch that came before its predecessor is sent again. */
async function deliver(client: Client, append: ClientAppend, pipelined: boolean, zombie: boolean): Promise<void> {
  for (let early = 1; ; early++) {
    const { type, codes } = await insist(client, append);
    if (type === 'ok') return;
    if (zombie && codes.includes('producer_fenced')) {
      client.mark('zombie fenced');
      return;
    }
    if (pipelined && codes.includes('out_of_order_sequence')) {
      client.mark('pipelined batch out of order');
      for (let i = 0; i < early; i++) await client.rest();
      continue;
    }
    client.surprise(`a batch of an idempotent producer was refused: ${codes.join(', ')}`);
    return;
  }
}

/**
 * The oldest of the last five batches of a partition once more, though it was acknowledged, to every process: all of them
 * know it still.
 */
async function sendAgain(client: Client, [oldest]: readonly ClientAppend[]): Promise<void> {
  for (const slot of client.slots) {
    const { type, codes } = await insist(client, oldest as ClientAppend, slot);
    if (type !== 'ok') client.surprise(`a batch that had been acknowledged was refused: ${codes.join(', ')}`);
  }
}

async function allocate(client: Client): Promise<number> {
  for (;;) {
    const id = await client.ask((broker) => broker.allocateProducerId(), LASTING_TOPIC);
    if (id !== undefined) return id;
    await client.rest();
  }
}

/** Appends on condition that nothing came in between, and decides anew where something did. */
async function writeConditionally(client: Client, operations: number): Promise<void> {
  const partition = client.chance.pick(client.partitions);
  let end = await client.end(LASTING_TOPIC, partition);
  for (let i = 0; i < operations; i++) {
    end ??= await client.end(LASTING_TOPIC, partition);
    const records = values(client, 2).map((value) => ({ value, partition }));
    const expectedOffset = end ?? client.chance.below(8);
    const { type, nextOffset } = await client.append({ topic: LASTING_TOPIC, records, expectedOffset });
    end = type === 'ok' ? expectedOffset + records.length : nextOffset;
    if (client.chance.chance(0.5)) await client.rest();
  }
}

/** Under idempotency keys, to several partitions and heads, by whichever process. */
async function writeUnderKeys(client: Client, operations: number): Promise<void> {
  for (let i = 0; i < operations; i++) {
    const { chance } = client;
    const records = values(client, 3).map((value) =>
      chance.chance(0.7) ? { value, partition: chance.pick(client.partitions) } : { value },
    );
    const appended = await insist(client, {
      topic: LASTING_TOPIC,
      records,
      idempotencyKey: `${client.name} ${i}`,
    });
    if (appended.type !== 'ok') client.surprise(`a keyed append was refused: ${appended.codes.join(', ')}`);
    if (chance.chance(0.5)) await client.rest();
  }
}

/** Follows a partition by small reads, at its own pace, waiting at its end. */
async function follow(client: Client, operations: number): Promise<void> {
  const { chance } = client;
  const partition = chance.pick(client.partitions);
  const slow = chance.chance(0.3);
  const maxBytes = chance.pick([1, 300, 100_000]);
  let from = 0;
  for (let i = 0; i < operations * 2; i++) {
    const waitMs = chance.chance(0.4) ? 1 + chance.below(2_000) : 0;
    const answer = await client.read(LASTING_TOPIC, partition, from, { maxBytes, waitMs, slow });
    if (answer !== undefined && answer.nextOffset < from) client.surprise('a read went backwards');
    from = answer?.nextOffset ?? from;
    if (chance.chance(0.2)) from = 0;
    await client.rest();
  }
}

async function watchEnds(client: Client, operations: number): Promise<void> {
  for (let i = 0; i < operations; i++) {
    await client.end(LASTING_TOPIC, client.chance.pick(client.partitions));
    await client.rest();
  }
}

export const PASSING_TOPIC = 'passing';

/** Makes a topic, deletes it, and makes it again, while others use it. */
async function comeAndGo(client: Client, operations: number): Promise<void> {
  const { chance } = client;
  const first = chance.below(2);
  for (let i = first; i < first + 2 * operations; i++) {
    if (chance.chance(0.1)) await client.ask((broker) => broker.resumeDeletions(), PASSING_TOPIC);
    const what = i % 2 === 0 ? 'create_topic' : 'delete_topic';
    for (let tries = 0; tries < 3 && !(await client.change(what, PASSING_TOPIC, PARTITION_COUNT)); tries++) {
      await client.rest();
    }
    // It is there for a while, so that others have time for a few appends.
    for (let rests = what === 'create_topic' ? 1 + chance.below(10) : 1; rests > 0; rests--) await client.rest();
  }
}

/** Writes to and reads from a topic that comes and goes. */
async function useWhatPasses(client: Client, operations: number): Promise<void> {
  const { chance } = client;
  for (let i = 0; i < operations * 3; i++) {
    const partition = chance.pick(client.partitions);
    const what = chance.below(5);
    if (what === 0) await client.read(PASSING_TOPIC, partition, 0);
    else if (what < 3) await client.end(PASSING_TOPIC, partition);
    else {
      const records = values(client, 2).map((value) => ({ value, partition }));
      const idempotencyKey = `${client.name} ${i}`;
      await client.append({ topic: PASSING_TOPIC, records, ...(chance.chance(0.3) ? { idempotencyKey } : {}) });
    }
    if (chance.chance(0.5)) await client.rest();
  }
}

const DATA = ['batch#', 'hot/'];

const WRITE: Workload = { name: 'write', weight: 2, keys: ['head#', 'node#', ...DATA], run: write };

export const WORKLOADS: readonly Workload[] = [
  WRITE,
  { name: 'write-at-once', weight: 1, keys: ['head#', 'node#', ...DATA], run: writeAtOnce },
  { name: 'produce', weight: 5, keys: ['head#', 'node#', 'checkpoint#', 'producer#'], run: produce },
  { name: 'write-conditionally', weight: 2, keys: ['head#', 'node#'], run: writeConditionally },
  { name: 'write-under-keys', weight: 3, keys: ['head#', 'idempotency#'], run: writeUnderKeys, company: WRITE },
  {
    name: 'come-and-go',
    weight: 4,
    keys: ['topics'],
    run: comeAndGo,
    company: { name: 'use-what-passes', weight: 1, keys: ['topics', 'head#'], run: useWhatPasses },
  },
];

/** What reads beside those who write. */
export const READERS: readonly Workload[] = [
  { name: 'follow', weight: 2, keys: ['head#', 'node#', ...DATA], run: follow },
  { name: 'watch-ends', weight: 1, keys: ['head#'], run: watchEnds },
];

/** What must be possible again soon after the faults are over. */
export interface FirstSuccess {
  readonly name: string;
  /** Answers whether it was done. */
  attempt(client: Client): Promise<boolean>;
}

export const FIRST_SUCCESSES: readonly FirstSuccess[] = [
  {
    name: 'append',
    attempt: (client) => appended(client, { records: [{ value: client.value(), partition: 0 }] }),
  },
  {
    name: 'keyed append',
    attempt: (client) => {
      const value = client.value();
      return appended(client, { records: [{ value, partition: 1 }], idempotencyKey: value.slice(0, 40) });
    },
  },
  {
    name: 'idempotent append',
    attempt: async (client) => {
      const id = await client.ask((broker) => broker.allocateProducerId(), LASTING_TOPIC);
      if (id === undefined) return false;
      const records = [{ value: client.value(), partition: PARTITIONS_PER_HEAD_DEFAULT }];
      return appended(client, { records, producer: { id, epoch: 0, sequence: 0 } });
    },
  },
  { name: 'read', attempt: async (client) => (await client.read(LASTING_TOPIC, 0, 0)) !== undefined },
  { name: 'end', attempt: async (client) => (await client.end(LASTING_TOPIC, 1)) !== undefined },
  { name: 'create topic', attempt: (client) => client.change('create_topic', 'another') },
];

async function appended(client: Client, append: Omit<ClientAppend, 'topic'>): Promise<boolean> {
  return (await client.append({ topic: LASTING_TOPIC, ...append })).type === 'ok';
}
