import { PARTITIONS_PER_HEAD_DEFAULT } from '../../../shared/log/limits.ts';
import { type Client, type ClientAppend, LASTING_TOPIC } from './client.ts';

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
  { name: 'corrected keyed append', attempt: correct },
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
  { name: 'waiting read', attempt: waitForAppends },
  { name: 'end', attempt: async (client) => (await client.end(LASTING_TOPIC, 1)) !== undefined },
  { name: 'create topic', attempt: async (client) => (await client.put('another', {})) !== undefined },
];

async function appended(client: Client, append: Omit<ClientAppend, 'topic'>): Promise<boolean> {
  return (await client.append({ topic: LASTING_TOPIC, ...append })).type === 'ok';
}

/** A request that is rejected gives its key free for a corrected one. */
async function correct(client: Client): Promise<boolean> {
  const { chance } = client;
  // No one else writes there.
  const partition = 2;
  const idempotencyKey = client.value().slice(0, 40);
  const request = (expectedOffset: number): ClientAppend => ({
    topic: LASTING_TOPIC,
    records: [{ value: client.value(), partition }],
    expectedOffset,
    idempotencyKey,
  });
  const end = await client.end(LASTING_TOPIC, partition);
  if (end === undefined) return false;
  const wrong = request(end + (chance.chance(0.5) ? 1_000 : -1));
  const { nextOffset } = end === 0 ? await client.append(request(1_000)) : await client.append(wrong);
  return nextOffset !== undefined && (await client.append(request(nextOffset))).type === 'ok';
}

/** So many appends find a read that just looked, or is about to. */
const WAITS = 3;
const WAIT_MS = 20_000;

/** A read that waits is woken by an append of the same process, whenever that comes; otherwise this takes too long. */
async function waitForAppends(client: Client): Promise<boolean> {
  const { chance } = client;
  const partition = chance.pick(client.partitions);
  const slot = chance.pick(client.slots);
  for (let i = 0; i < WAITS; i++) {
    const from = await client.end(LASTING_TOPIC, partition, slot);
    if (from === undefined) return false;
    const waits = client.read(LASTING_TOPIC, partition, from, { waitMs: WAIT_MS, slot });
    const records = [{ value: client.value(), partition }];
    const { type } = await client.append({ topic: LASTING_TOPIC, records }, slot);
    if (type !== 'ok') return false;
    if ((await waits) === undefined) return false;
  }
  return true;
}
