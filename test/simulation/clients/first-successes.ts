import { PARTITIONS_PER_HEAD_DEFAULT } from '../../../shared/log/limits.ts';
import { type Client, type ClientAppend, LASTING_TOPIC } from './client.ts';

/** What must be possible again soon after the faults are over. */
export interface FirstSuccess {
  readonly name: string;
  /** How often it is chosen, against the others. */
  readonly weight: number;
  /** Answers whether it was done. */
  attempt(client: Client): Promise<boolean>;
}

export const FIRST_SUCCESSES: readonly FirstSuccess[] = [
  {
    name: 'append',
    weight: 1,
    attempt: (client) => appended(client, { records: [{ value: client.value(), partition: 0 }] }),
  },
  {
    name: 'keyed append',
    weight: 1,
    attempt: (client) => {
      const value = client.value();
      return appended(client, { records: [{ value, partition: 1 }], idempotencyKey: value.slice(0, 40) });
    },
  },
  { name: 'corrected keyed append', weight: 3, attempt: correct },
  {
    name: 'idempotent append',
    weight: 1,
    attempt: async (client) => {
      const id = await client.ask((broker) => broker.allocateProducerId(), LASTING_TOPIC);
      if (id === undefined) return false;
      const records = [{ value: client.value(), partition: PARTITIONS_PER_HEAD_DEFAULT }];
      return appended(client, { records, producer: { id, epoch: 0, sequence: 0 } });
    },
  },
  { name: 'read', weight: 1, attempt: async (client) => (await client.read(LASTING_TOPIC, 0, 0)) !== undefined },
  { name: 'waiting read', weight: 4, attempt: waitForAppends },
  { name: 'end', weight: 1, attempt: async (client) => (await client.end(LASTING_TOPIC, 1)) !== undefined },
  { name: 'create topic', weight: 1, attempt: async (client) => (await client.put('another', {})) !== undefined },
];

function appended(client: Client, append: Omit<ClientAppend, 'topic'>): Promise<boolean> {
  return isDone(client, { topic: LASTING_TOPIC, ...append });
}

async function isDone(client: Client, append: ClientAppend): Promise<boolean> {
  return (await client.append(append)).type === 'ok';
}

/** A request that is rejected gives its key free: for a corrected one, or for itself once its condition holds. */
async function correct(client: Client): Promise<boolean> {
  const { chance } = client;
  // No one else writes there.
  const partition = 2;
  const append = (more: Partial<ClientAppend> = {}): ClientAppend => {
    return { topic: LASTING_TOPIC, records: [{ value: client.value(), partition }], ...more };
  };
  const idempotencyKey = client.value().slice(0, 40);
  const end = await client.end(LASTING_TOPIC, partition);
  if (end === undefined) return false;
  const early = append({ expectedOffset: end + 1, idempotencyKey });
  const { nextOffset } = await client.append(early);
  if (nextOffset === undefined) return false;
  const isRepeated = chance.chance(0.5);
  if (isRepeated && !(await isDone(client, append()))) return false;
  const again = isRepeated ? early : append({ expectedOffset: nextOffset, idempotencyKey });
  const { type, codes } = await client.append(again);
  if (codes.includes('idempotency_key_reused')) client.surprise('a rejected append has not given its key free');
  return type === 'ok';
}

/** So many appends find a read that just looked, or is about to. */
const WAITS = 3;
const WAIT_MS = 20_000;
/** Longer than an answer takes that the process waits for since before the faults were over. */
const WOKEN_MS = 8_000;

/** A read that waits is woken by an append of the same process, whenever that comes. */
async function waitForAppends(client: Client): Promise<boolean> {
  const { chance } = client;
  const partition = chance.pick(client.partitions);
  const slot = chance.pick(client.slots);
  for (let i = 0; i < WAITS; i++) {
    const from = await client.end(LASTING_TOPIC, partition, slot);
    if (from === undefined) return false;
    const appending = client.append({ topic: LASTING_TOPIC, records: [{ value: client.value(), partition }] }, slot);
    await client.rest();
    let isRead = false;
    const reading = client.read(LASTING_TOPIC, partition, from, { waitMs: WAIT_MS, slot }).finally(() => {
      isRead = true;
    });
    if ((await appending).type !== 'ok') return false;
    await Promise.race([reading, client.sleep(WOKEN_MS)]);
    if (isRead) continue;
    client.surprise('a read that waits was not woken by an append of its process');
  }
  return true;
}
