import type { RecordToAppend } from '../../../../shared/broker/append/outcomes.ts';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { TAIL_NODE_ENTRIES } from '../../../../shared/log/head/head.ts';
import { toRecord } from '../../../history/history-records.ts';
import { Chance } from '../../world/chance.ts';
import { EPOCH_MS, STREAM } from '../../world/simulated-process.ts';
import type { World } from '../../world/world.ts';
import type { Client } from '../client.ts';
import type { Workload } from '../workload.ts';
import {
  attempt,
  HOUR_MS,
  LATEST_TOPIC,
  makeTopic,
  PARTITIONS_USED,
  readSome,
  type TopicSettings,
  trueLogOf,
} from './removing-topics.ts';

/** Some have few keys, so that nearly everything is superseded. */
const KEYS = [1, 3, 8];

export function drawCompaction(chance: Chance): TopicSettings {
  const lagMs = chance.pick([0, 0, HOUR_MS, 4 * HOUR_MS]);
  return {
    'cleanup.policy': chance.pick(['compact', 'compact', 'compact,delete']),
    'retention.ms': chance.pick([-1, 12 * HOUR_MS]),
    'min.cleanable.dirty.ratio': chance.pick([0, 0, 0.5]),
    'min.compaction.lag.ms': lagMs,
    'max.compaction.lag.ms': 12 * HOUR_MS,
    'delete.retention.ms': chance.pick([0, HOUR_MS, 12 * HOUR_MS]),
    'segment.ms': chance.pick([1, HOUR_MS, 24 * HOUR_MS]),
  };
}

/** Makes the topic, and merges what is appended to it, over stores of which nothing fails. */
export async function fillLatestTopic(world: World, merges: number): Promise<void> {
  const chance = new Chance(world.seed, STREAM.topics);
  const broker = world.plainBroker({ agoMs: 1 });
  await broker.putTopic({ name: LATEST_TOPIC, partitions: 2, config: drawCompaction(chance) });
  const keys = chance.pick(KEYS);
  for (let i = 0; i < merges; i++) {
    for (let entry = 0; entry < TAIL_NODE_ENTRIES; entry++) {
      const value = chance.chance(0.2) ? null : `before-${i}-${entry}`;
      await broker.appendRecords({ topic: LATEST_TOPIC, records: [keyedRecord(value, chance.below(keys), 0)] });
    }
    await broker.idle();
    await broker.mergeHead(world.watch.topicId(LATEST_TOPIC) as string, 0, { force: true });
  }
}

/** Appends newer and newer values under a few keys, deletes some, and reads, over hours. */
async function useLatestTopic(client: Client, operations: number): Promise<void> {
  const { chance, world } = client;
  if (
    world.watch.topicId(LATEST_TOPIC) === undefined &&
    !(await makeTopic(client, LATEST_TOPIC, drawCompaction(chance)))
  )
    return;
  const keys = chance.pick(KEYS);
  for (let i = 0; i < operations * 4; i++) {
    const partition = chance.pick(PARTITIONS_USED);
    if (chance.chance(0.7))
      for (let more = chance.below(8); more >= 0; more--) await appendUnderKeys(client, partition, keys);
    else await readSome(client, LATEST_TOPIC, partition);
    if (chance.chance(0.05)) await changePolicy(client);
    await client.pause();
  }
}

async function changePolicy(client: Client): Promise<void> {
  const policy = client.chance.pick(['compact', 'compact,delete']);
  await attempt(client, (broker) => broker.putTopic({ name: LATEST_TOPIC, config: { 'cleanup.policy': policy } }));
}

export async function appendUnderKeys(client: Client, partition: number, keys: number): Promise<void> {
  const { chance } = client;
  // What is older than others that came before it, and what is of the future, is as new.
  const timestampMs = chance.chance(0.3)
    ? EPOCH_MS + Math.floor(client.nowMs + (0.8 - chance.next() * 8) * HOUR_MS)
    : undefined;
  const records = Array.from({ length: 1 + chance.below(3) }, () =>
    keyedRecord(chance.chance(0.25) ? null : client.value(), chance.below(keys), partition, timestampMs),
  );
  const outcomes = await attempt(client, (broker: Broker) => broker.appendRecords({ topic: LATEST_TOPIC, records }));
  outcomes?.forEach((outcome, i) => {
    if (outcome.ok) checkThere(client, partition, outcome.offset, records[i] as RecordToAppend);
  });
}

function checkThere(client: Client, partition: number, offset: number, { value }: RecordToAppend): void {
  const is = trueLogOf(client.world, LATEST_TOPIC, partition)[offset]?.value;
  const expected = value === null ? 'null' : new TextDecoder().decode(value);
  if (is !== expected) client.surprise(`a record was acknowledged at the offset ${offset}, where there is ${is}`);
}

function keyedRecord(value: string | null, key: number, partition: number, timestampMs?: number): RecordToAppend {
  const record = toRecord({
    value: value ?? '',
    partition,
    key: `k${key}`,
    ...(timestampMs === undefined ? {} : { timestampMs }),
  });
  return value === null ? { ...record, value: null } : record;
}

export const USE_LATEST_TOPIC: Workload = {
  name: 'use-latest-topic',
  weight: 2,
  keys: ['head#', 'segments#', 'segments/'],
  run: useLatestTopic,
};
