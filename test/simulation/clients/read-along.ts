import { PARTITIONS_PER_HEAD_DEFAULT } from '../../../shared/log/limits.ts';
import { type Client, LASTING_TOPIC } from './client.ts';
import { DATA_KEYS, type Workload } from './workload.ts';

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
    await client.pause();
    await client.rest();
  }
}

async function watchEnds(client: Client, operations: number): Promise<void> {
  for (let i = 0; i < operations; i++) {
    await client.end(LASTING_TOPIC, client.chance.pick(client.partitions));
    await client.rest();
  }
}

/**
 * Waits at the end of partitions of two heads while it appends to both by the same process: mostly so much that the data of
 * both is one object, of which each reader is handed its own.
 */
async function waitForOwnAppends(client: Client, operations: number): Promise<void> {
  const { chance } = client;
  for (let i = 0; i < operations; i++) {
    const slot = chance.pick(client.slots);
    await Promise.all(
      [0, PARTITIONS_PER_HEAD_DEFAULT].map(async (partition) => {
        const from = (await client.end(LASTING_TOPIC, partition, slot)) ?? 0;
        const waits = client.read(LASTING_TOPIC, partition, from, { waitMs: 2_000, slot });
        if (chance.chance(0.7)) await client.rest();
        const isKeyed = chance.chance(0.5);
        const append = () => {
          const value = client.value(chance.chance(0.7));
          const key = isKeyed ? { idempotencyKey: `key ${value.slice(0, 40)}` } : {};
          return client.append({ topic: LASTING_TOPIC, records: [{ value, partition }], ...key }, slot);
        };
        await Promise.all([append(), append(), waits]);
      }),
    );
  }
}

/** What reads beside those who write. */
export const READERS: readonly Workload[] = [
  { name: 'follow', weight: 2, keys: ['head#', 'node#', ...DATA_KEYS], run: follow },
  { name: 'watch-ends', weight: 1, keys: ['head#'], run: watchEnds },
];

export const WAIT_FOR_OWN_APPENDS: Workload = {
  name: 'wait-for-own-appends',
  weight: 1,
  keys: DATA_KEYS,
  run: waitForOwnAppends,
};
