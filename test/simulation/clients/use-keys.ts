import { type Client, type ClientAppend, LASTING_TOPIC, recordBefore } from './client.ts';
import { insist, values, type Workload } from './workload.ts';
import { WRITE } from './write.ts';

/**
 * Appends under idempotency keys, to several partitions and heads, by any process. The first key was used more than a day
 * before, for something else.
 */
async function writeUnderKeys(client: Client, operations: number): Promise<void> {
  const { chance } = client;
  for (let i = 0; i < operations; i++) {
    const idempotencyKey = keyOf(client.name, i);
    const records = (): ClientAppend['records'] =>
      values(client, 3).map((value) =>
        chance.chance(0.7) ? { value, partition: chance.pick(client.partitions) } : { value },
      );
    const append: ClientAppend = { topic: LASTING_TOPIC, records: records(), idempotencyKey };
    const twice = chance.chance(0.3);
    const [appended] = await Promise.all([
      insist(client, append),
      ...(twice ? [insist(client, append, chance.pick(client.slots))] : []),
    ]);
    if (appended.type !== 'ok') client.surprise(`a keyed append was refused: ${appended.codes.join(', ')}`);
    if (chance.chance(0.2)) {
      const other = await insist(client, { ...append, records: records() });
      if (other.type === 'ok') client.surprise('a key that had been used was used for something else');
      else client.mark('idempotency key refused for something else');
    }
    await client.pause();
    if (chance.chance(0.5)) await client.rest();
  }
}

/**
 * Appends on a condition that does not hold, under a key; then corrects the request, or repeats it, under the same key,
 * while other tries of the first one may still be under way.
 */
async function correctUnderKeys(client: Client, operations: number): Promise<void> {
  const { chance } = client;
  const partition = chance.pick(client.partitions);
  for (let i = 0; i < operations; i++) {
    const idempotencyKey = keyOf(client.name, i + 1);
    const request = (expectedOffset: number): ClientAppend => {
      const records = values(client, 2).map((value) => ({ value, partition }));
      return { topic: LASTING_TOPIC, records, expectedOffset, idempotencyKey };
    };
    const end = (await client.end(LASTING_TOPIC, partition)) ?? 1;
    // Mostly one that the partition has not reached: a late try of it can still be applied.
    let asked = request(chance.chance(0.8) ? end + 1 + chance.below(2) : Math.max(0, end - 1));
    for (let rounds = 0; rounds < 4; rounds++) {
      if (chance.chance(0.6)) client.tracks(insist(client, asked, chance.pick(client.slots)).then(() => {}));
      const { type, codes, nextOffset } = await insist(client, asked);
      if (type === 'ok' || nextOffset === undefined) {
        if (codes.includes('idempotency_key_reused')) client.mark('idempotency key not free yet');
        else if (rounds > 0) client.mark('corrected under the same key');
        if (type === 'ok' && chance.chance(0.5)) await repeat(client, asked);
        break;
      }
      if (chance.chance(0.3)) await client.rest();
      if (chance.chance(0.75)) asked = request(nextOffset);
    }
    await client.pause();
    if (chance.chance(0.5)) await client.rest();
  }
  await client.tracked();
}

/** What was appended under a key is known by it from then on. */
async function repeat(client: Client, append: ClientAppend): Promise<void> {
  await client.rest();
  await client.pause();
  const { type, codes } = await insist(client, append);
  if (type !== 'ok') client.surprise(`a keyed append that had been acknowledged was refused: ${codes.join(', ')}`);
}

function keyOf(client: string, i: number): string {
  return `${client} ${i}`;
}

export const WRITE_UNDER_KEYS: Workload = {
  name: 'write-under-keys',
  weight: 3,
  keys: ['head#', 'idempotency#'],
  run: writeUnderKeys,
  company: WRITE,
  prepare: (world, broker, client) => recordBefore(world, broker, 0, `yesterday-${client}`, keyOf(client, 0)),
};

export const CORRECT_UNDER_KEYS: Workload = {
  name: 'correct-under-keys',
  weight: 4,
  keys: ['head#', 'idempotency#'],
  run: correctUnderKeys,
  company: WRITE,
};
