import { expect } from 'vitest';
import { type Flow, MirrorMaker, SOURCE } from '../connect/mirror-maker.ts';
import { until } from '../connect/until.ts';
import { startKafka } from '../server/start-kafka.ts';
import type { Case } from './case.ts';
import { base64, numbered, numberOf, sorted, type World } from './world.ts';

const TIMEOUT_MS = 240_000;
const MIRRORED_MS = 90_000;
const PARTITIONS = 3;
const ALL = [0, 1, 2];
/** The other cluster has little to do. */
const KAFKA_HEAP = '512m';

/** A real Kafka beside the server of the case. */
async function otherKafka(world: World): Promise<World> {
  const kafka = await startKafka({ heap: KAFKA_HEAP });
  world.atEnd(() => kafka.stop());
  return world.on(kafka);
}

async function records({ from }: Flow, topic: string): Promise<void> {
  await from.referenceProduce({
    topic,
    codec: 'lz4',
    records: [
      ...ALL.map((partition) => ({
        partition,
        key: base64(`key ${partition}`),
        value: base64('with all'),
        headers: [['name', base64('value')] as const, ['name', null] as const],
        timestampMs: 1_700_000_000_000 + partition,
      })),
      { partition: 0, key: null, value: base64('without a key') },
      { partition: 1, key: base64('deleted'), value: null },
    ],
  });
  await from.referenceProduce({ topic, records: numbered(300, 30), idempotent: true });
}

async function mirror(world: World, flow: Flow): Promise<void> {
  const { from, to } = flow;
  const [topic, group] = [
    await from.topic(PARTITIONS, { 'retention.ms': '-1', 'max.message.bytes': '2000000' }),
    from.group(),
  ];
  const copy = `${SOURCE}.${topic}`;
  await records(flow, topic);
  const written = await from.readAll(topic, PARTITIONS, 305);
  // A group that has read to the end: the one place at which MirrorMaker translates offsets exactly, whatever it has seen.
  await from.referenceGroup({ topic, group, count: written.length });

  await new MirrorMaker(world, flow, { topic, group }).start();
  await until(`${copy} on the other side`, MIRRORED_MS, async () =>
    ((await to.referenceAdmin({ op: 'list-topics' })).topics ?? []).includes(copy),
  );
  expect(await byPartition(to, copy, written.length)).toEqual(await byPartition(from, topic, written.length));
  const { configs } = await to.referenceAdmin({ op: 'describe-configs', topic: copy });
  expect(configs).toMatchObject({ 'retention.ms': '-1', 'max.message.bytes': '2000000' });
  expect((await to.referenceAdmin({ op: 'describe-topic', topic: copy })).partitions).toBe(PARTITIONS);

  await untilCommitted(flow, group, topic, copy);
  await from.referenceProduce({ topic, records: numbered(330, 30).slice(300) });
  const read = await to.referenceGroup({ topic: copy, group, count: 30 });
  expect(sorted(read.records.map(numberOf))).toEqual(Array.from({ length: 30 }, (_, i) => 300 + i));

  await from.referenceAdmin({ op: 'create-partitions', topic, count: PARTITIONS + 1 });
  await from.referenceAdmin({ op: 'alter-configs', topic, configs: { 'retention.ms': '7200000' } });
  await until(`a fourth partition of ${copy}`, MIRRORED_MS, async () => {
    const { partitions } = await to.referenceAdmin({ op: 'describe-topic', topic: copy });
    return partitions === PARTITIONS + 1;
  });
  await until(`the new retention of ${copy}`, MIRRORED_MS, async () => {
    const answer = await to.referenceAdmin({ op: 'describe-configs', topic: copy });
    return answer.configs?.['retention.ms'] === '7200000';
  });
}

/** What a copy must have in common with its original. */
async function byPartition(world: World, topic: string, count: number) {
  const read = await world.readAll(topic, PARTITIONS, count);
  return ALL.map((partition) =>
    read
      .filter((record) => record.partition === partition)
      .map(({ offset, timestampMs, key, value, headers }) => ({ offset, timestampMs, key, value, headers })),
  );
}

/** Waits until the group has the end of each partition as its offset on the other side too. */
async function untilCommitted({ from, to }: Flow, group: string, topic: string, copy: string): Promise<void> {
  const { offsets: wanted } = await from.referenceAdmin({ op: 'committed', group, topic });
  let found: unknown;
  await until(`translated offsets of ${group}`, MIRRORED_MS, async () => {
    found = (await to.referenceAdmin({ op: 'committed', group, topic: copy })).offsets;
    return JSON.stringify(found) === JSON.stringify(wanted);
  }).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${JSON.stringify(found)} in place of ${JSON.stringify(wanted)}`);
  });
}

export const MIRROR_MAKER: readonly Case[] = [
  {
    name: 'mirror-from-kafka',
    of: 'mirror-maker',
    timeoutMs: TIMEOUT_MS,
    run: async (world) => mirror(world, { from: await otherKafka(world), to: world }),
  },
  {
    name: 'mirror-to-kafka',
    of: 'mirror-maker',
    timeoutMs: TIMEOUT_MS,
    run: async (world) => mirror(world, { from: world, to: await otherKafka(world) }),
  },
];
