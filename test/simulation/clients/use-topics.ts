import { TAIL_NODE_ENTRIES } from '../../../shared/log/head/head.ts';
import { PARTITION_COUNT } from '../world/world.ts';
import { SWEEP_DELETED_TOPICS } from './among-jobs/jobs.ts';
import { type Client, LASTING_TOPIC } from './client.ts';
import { values, type Workload } from './workload.ts';

export const PASSING_TOPIC = 'passing';

/** Makes a topic, deletes it, and makes it again, while others use it. */
async function comeAndGo(client: Client, operations: number): Promise<void> {
  const { chance, passingPartitions } = client;
  const first = chance.below(2);
  for (let i = first; i < first + 2 * operations; i++) {
    if (chance.chance(0.1)) await client.ask((broker) => broker.resumeDeletions(), PASSING_TOPIC);
    const isThere = i % 2 === 0;
    const partitions = chance.chance(0.4) ? 1 : passingPartitions;
    if (!isThere && chance.chance(0.4)) client.tracks(grow(client));
    for (let tries = 0; tries < 3; tries++) {
      const changed = isThere ? client.put(PASSING_TOPIC, { partitions }) : client.remove(PASSING_TOPIC);
      if (await changed) break;
      await client.rest();
    }
    // It is there for a while, so that others have time for a few appends.
    if (client.world.conditions.jobs !== undefined) await (isThere ? fill(client) : sweepAway(client));
    await client.pause();
    for (let rests = isThere ? 1 + chance.below(10) : 1; rests > 0; rests--) await client.rest();
  }
  await client.tracked();
}

/** So much that there is a tail node to merge. */
async function fill(client: Client): Promise<void> {
  const topicId = client.world.watch.topicId(PASSING_TOPIC);
  if (topicId === undefined || client.chance.chance(0.3)) return;
  for (let i = 0; i < TAIL_NODE_ENTRIES + 1; i++)
    await client.append({ topic: PASSING_TOPIC, records: [{ value: client.value(), partition: 0 }] });
  await client.send((broker) => broker.mergeHead(topicId, 0, { force: true }));
}

/** Soon, or after hours. */
async function sweepAway(client: Client): Promise<void> {
  if (client.chance.chance(0.5)) return;
  await client.rest();
  await client.send(SWEEP_DELETED_TOPICS.run);
}

/** At about the time of something else. */
async function grow(client: Client): Promise<void> {
  if (client.chance.chance(0.5)) await client.rest();
  await client.put(PASSING_TOPIC, { partitions: client.passingPartitions });
}

/** Writes to, reads from, and gives more partitions to a topic that comes and goes. */
async function useWhatPasses(client: Client, operations: number): Promise<void> {
  const { chance } = client;
  for (let i = 0; i < operations * 3; i++) {
    const partition = chance.pick(client.partitions);
    const what = chance.below(6);
    if (what === 0) await client.read(PASSING_TOPIC, partition, 0);
    else if (what < 3) await client.end(PASSING_TOPIC, partition);
    else if (what === 3) await client.put(PASSING_TOPIC, { partitions: client.passingPartitions });
    else {
      const records = values(client, 2).map((value) => ({ value, partition }));
      const idempotencyKey = `${client.name} ${i}`;
      await client.append({ topic: PASSING_TOPIC, records, ...(chance.chance(0.5) ? { idempotencyKey } : {}) });
    }
    if (chance.chance(0.5)) await client.rest();
  }
}

/** Settings that change nothing in a run; any text of digits will do for them. */
const SETTINGS = ['retention.ms', 'retention.bytes', 'segment.ms'];
const PARTITIONS_ADDED_MAX = 6;

/** Changes settings of a topic, each time to a value of its own, and adds partitions to it, as others do too. */
async function administer(client: Client, operations: number): Promise<void> {
  const { chance } = client;
  let partitions = PARTITION_COUNT;
  for (let i = 0; i < operations * 2; i++) {
    const slot = chance.pick(client.slots);
    if (chance.chance(0.5)) client.tracks(client.describe(LASTING_TOPIC, slot).then(() => {}));
    if (chance.chance(0.6)) {
      await client.put(LASTING_TOPIC, { config: { [chance.pick(SETTINGS)]: client.uniqueNumber() } }, slot);
    } else {
      const told = await client.describe(LASTING_TOPIC, slot);
      partitions = Math.max(partitions, told?.partitions ?? 0);
      if (partitions < PARTITION_COUNT + PARTITIONS_ADDED_MAX) partitions++;
      if (chance.chance(0.5)) client.tracks(client.describe(LASTING_TOPIC, slot).then(() => {}));
      const adder = await client.put(LASTING_TOPIC, { partitions }, slot);
      if (adder === undefined) continue;
      const records = [{ value: client.value(), partition: partitions - 1 }];
      const { codes, process } = await client.append({ topic: LASTING_TOPIC, records }, slot);
      if (process === adder && codes.includes('unknown_partition'))
        client.surprise(`process ${process} does not know partition ${partitions - 1}, which it has added`);
    }
    if (chance.chance(0.5)) await client.rest();
  }
  await client.tracked();
  await client.describe(LASTING_TOPIC);
}

export const COME_AND_GO: Workload = {
  name: 'come-and-go',
  weight: 6,
  keys: ['topics'],
  run: comeAndGo,
  company: { name: 'use-what-passes', weight: 1, keys: ['topics', 'head#'], run: useWhatPasses },
};

const ADMINISTER_ALONG: Workload = { name: 'administer', weight: 3, keys: ['topics'], run: administer };
export const ADMINISTER: Workload = { ...ADMINISTER_ALONG, company: ADMINISTER_ALONG };
