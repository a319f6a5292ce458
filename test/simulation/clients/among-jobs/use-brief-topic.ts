import { TAIL_NODE_ENTRIES } from '../../../../shared/log/head/head.ts';
import { toRecord } from '../../../history/history-records.ts';
import { Chance } from '../../world/chance.ts';
import { EPOCH_MS, STREAM } from '../../world/simulated-process.ts';
import type { World } from '../../world/world.ts';
import type { Client } from '../client.ts';
import type { Workload } from '../workload.ts';
import {
  attempt,
  BRIEF_TOPIC,
  HOUR_MS,
  makeTopic,
  PARTITIONS_USED,
  readSome,
  type TopicSettings,
} from './removing-topics.ts';

/** By retention all is gone at the end of a run, which is some days after the last append. */
const RETENTIONS: readonly TopicSettings[] = [
  { 'retention.ms': HOUR_MS / 2 },
  { 'retention.ms': 3 * HOUR_MS },
  { 'retention.ms': 12 * HOUR_MS },
  { 'retention.ms': 3 * HOUR_MS, 'segment.ms': HOUR_MS },
  { 'retention.ms': -1, 'retention.bytes': 1_000 },
  { 'retention.ms': 12 * HOUR_MS, 'retention.bytes': 500, 'segment.ms': 1 },
  { 'retention.ms': -1 },
];

export function drawRetention(chance: Chance): TopicSettings {
  return chance.pick(RETENTIONS);
}

/** Makes the topic, and merges what is appended to it, over stores of which nothing fails. */
export async function fillBriefTopic(world: World, merges: number): Promise<void> {
  const chance = new Chance(world.seed, STREAM.topics);
  const broker = world.plainBroker({ agoMs: 1 });
  await broker.putTopic({ name: BRIEF_TOPIC, partitions: 2, config: drawRetention(chance) });
  for (let i = 0; i < merges; i++) {
    for (let entry = 0; entry < TAIL_NODE_ENTRIES; entry++) {
      const timestampMs = EPOCH_MS - Math.floor(chance.next() * 6 * HOUR_MS);
      const record = toRecord({ value: `before-${i}-${entry}`, partition: 0, timestampMs });
      await broker.appendRecords({ topic: BRIEF_TOPIC, records: [record] });
    }
    await broker.idle();
    await broker.mergeHead(world.watch.topicId(BRIEF_TOPIC) as string, 0, { force: true });
  }
}

/** Appends records of all ages, deletes some, and reads what is left, over hours. */
async function useBriefTopic(client: Client, operations: number): Promise<void> {
  const { chance } = client;
  const isThere = client.world.watch.topicId(BRIEF_TOPIC) !== undefined;
  if (!isThere && !(await makeTopic(client, BRIEF_TOPIC, drawRetention(chance)))) return;
  for (let i = 0; i < operations * 4; i++) {
    const partition = chance.pick(PARTITIONS_USED);
    const what = chance.below(10);
    if (what < 6) for (let more = chance.below(6); more >= 0; more--) await appendAged(client, partition);
    else if (what < 7) for (let more = chance.below(3); more >= 0; more--) await deleteSome(client, partition);
    else await readSome(client, BRIEF_TOPIC, partition);
    if (chance.chance(0.1))
      await attempt(client, (broker) => broker.putTopic({ name: BRIEF_TOPIC, config: drawRetention(chance) }));
    await client.pause();
  }
}

export async function appendAged(client: Client, partition: number): Promise<void> {
  const { chance } = client;
  // Mostly in the past; a broker whose clock is slow accepts less of the future.
  const timestampMs = EPOCH_MS + Math.floor(client.nowMs + (0.8 - chance.next() ** 2 * 24) * HOUR_MS);
  const isOfNow = chance.chance(0.5);
  const records = Array.from({ length: 1 + chance.below(3) }, () =>
    toRecord({ value: client.value(), partition, ...(isOfNow ? {} : { timestampMs }) }),
  );
  await attempt(client, (broker) => broker.appendRecords({ topic: BRIEF_TOPIC, records }));
}

async function deleteSome(client: Client, partition: number): Promise<void> {
  const topicId = client.world.watch.topicId(BRIEF_TOPIC) as string;
  const ends = await attempt(client, (broker) => broker.describePartitions(BRIEF_TOPIC));
  const before = client.chance.below((ends?.[partition]?.highWatermark ?? 0) + 1);
  client.world.watch.retention.deletesBelow(topicId, partition, before);
  const deleted = await attempt(client, (broker) => broker.deleteRecords({ topic: BRIEF_TOPIC, partition, before }));
  if (deleted === undefined) return;
  if (deleted.logStartOffset < before)
    client.surprise(`records below ${before} were deleted, up to ${deleted.logStartOffset}`);
  const view = await attempt(client, (broker) => broker.describePartitions(BRIEF_TOPIC));
  if ((view?.[partition]?.logStartOffset ?? before) < before) client.surprise(`records below ${before} are back`);
}

export const USE_BRIEF_TOPIC: Workload = {
  name: 'use-brief-topic',
  weight: 4,
  keys: ['head#', 'segments#', 'topics'],
  run: useBriefTopic,
};
