import { PARTITIONS_PER_HEAD_DEFAULT } from '../../../shared/log/limits.ts';
import { type Client, type ClientAppend, LASTING_TOPIC } from './client.ts';
import { DATA_KEYS, values, type Workload } from './workload.ts';

function sameHead(client: Client): number[] {
  return client.partitions.filter((partition) => partition < PARTITIONS_PER_HEAD_DEFAULT);
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
    await client.pause();
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
 * Gives one process several appends at once, as over one connection; some expect the offset that follows from those
 * before.
 */
async function writeInARow(client: Client, operations: number): Promise<void> {
  const { chance } = client;
  const partition = chance.pick(client.partitions);
  for (let i = 0; i < operations; i++) {
    let end = (await client.end(LASTING_TOPIC, partition)) ?? 0;
    const appends = Array.from({ length: 2 + chance.below(4) }, (): ClientAppend => {
      const records = values(client, 2).map((value) => ({ value, partition }));
      const expectedOffset = end;
      end += records.length;
      return { topic: LASTING_TOPIC, records, ...(chance.chance(0.4) ? { expectedOffset } : {}) };
    });
    await client.appendInARow(appends);
    await client.rest();
  }
}

/** Appends on condition that nothing came in between, and decides again if something did. */
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

export const WRITE: Workload = { name: 'write', weight: 2, keys: ['head#', 'node#', ...DATA_KEYS], run: write };
export const WRITE_AT_ONCE: Workload = { ...WRITE, name: 'write-at-once', weight: 1, run: writeAtOnce };
export const WRITE_IN_A_ROW: Workload = {
  name: 'write-in-a-row',
  weight: 1,
  keys: ['head#', ...DATA_KEYS],
  run: writeInARow,
};
export const WRITE_CONDITIONALLY: Workload = {
  name: 'write-conditionally',
  weight: 2,
  keys: ['head#', 'node#'],
  run: writeConditionally,
};
