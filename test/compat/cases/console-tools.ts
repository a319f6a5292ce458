import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Case } from './case.ts';
import { numbered, type World } from './world.ts';

const TOPICS = 'org.apache.kafka.tools.TopicCommand';
const CONFIGS = 'kafka.admin.ConfigCommand';
const GROUPS = 'org.apache.kafka.tools.consumer.group.ConsumerGroupCommand';
const OFFSETS = 'org.apache.kafka.tools.GetOffsetShell';
const PRODUCER = 'org.apache.kafka.tools.ConsoleProducer';
const CONSUMER = 'org.apache.kafka.tools.consumer.ConsoleConsumer';
const DELETE_RECORDS = 'org.apache.kafka.tools.DeleteRecordsCommand';
const API_VERSIONS = 'org.apache.kafka.tools.BrokerApiVersionsCommand';
const TRANSACTIONS = 'org.apache.kafka.tools.TransactionsCommand';
const CLUSTER = 'org.apache.kafka.tools.ClusterTool';

/** How long a reader waits for what should not come. */
const QUIET_MS = 2_000;

async function topics(world: World): Promise<void> {
  const topic = world.group();
  await world.tool(TOPICS, ['--create', '--topic', topic, '--partitions', '2']);
  expect(await world.tool(TOPICS, ['--list'])).toContain(topic);
  expect(await world.tool(TOPICS, ['--describe', '--topic', topic])).toMatch(/PartitionCount: 2/);
  await world.tool(TOPICS, ['--alter', '--topic', topic, '--partitions', '3']);
  expect(await world.tool(TOPICS, ['--describe', '--topic', topic])).toMatch(/PartitionCount: 3/);
  await world.tool(TOPICS, ['--delete', '--topic', topic]);
  expect(await world.tool(TOPICS, ['--list'])).not.toContain(topic);
}

async function configs(world: World): Promise<void> {
  const entity = ['--entity-type', 'topics', '--entity-name', await world.topic(1)];
  await world.tool(CONFIGS, ['--alter', ...entity, '--add-config', 'retention.ms=7200000']);
  expect(await world.tool(CONFIGS, ['--describe', ...entity])).toContain('retention.ms=7200000');
  await world.tool(CONFIGS, ['--alter', ...entity, '--delete-config', 'retention.ms']);
  expect(await world.tool(CONFIGS, ['--describe', ...entity])).not.toContain('retention.ms=7200000');
}

async function produceAndConsume(world: World): Promise<void> {
  const topic = await world.topic(1);
  const properties = ['--reader-property', 'parse.key=true', '--reader-property', 'key.separator=:'];
  await world.tool(PRODUCER, ['--topic', topic, ...properties], { input: 'a:one\nb:two\n' });
  const shown = ['--formatter-property', 'print.key=true', '--formatter-property', 'print.offset=true'];
  const read = ['--topic', topic, '--from-beginning', '--max-messages', '2', '--timeout-ms', '20000', ...shown];
  expect(await world.tool(CONSUMER, read)).toMatch(/Offset:0\ta\tone\nOffset:1\tb\ttwo\n/);
}

async function groups(world: World): Promise<void> {
  const [topic, group] = [await world.topic(1), world.group()];
  await world.referenceProduce({ topic, records: numbered(10) });
  const read = ['--topic', topic, '--group', group, '--from-beginning', '--max-messages', '4', '--timeout-ms', '20000'];
  await world.tool(CONSUMER, read);
  const lag = async (): Promise<(string | undefined)[]> => {
    const lines = (await world.tool(GROUPS, ['--describe', '--group', group])).split('\n');
    const [, , , current, end, behind] = lines.find((line) => line.includes(topic))?.split(/\s+/) ?? [];
    return [current, end, behind];
  };
  expect(await world.tool(GROUPS, ['--list'])).toContain(group);
  expect(await lag()).toEqual(['4', '10', '6']);
  const reset = ['--reset-offsets', '--group', group, '--topic', topic, '--execute'];
  await world.tool(GROUPS, [...reset, '--to-offset', '2']);
  expect(await lag()).toEqual(['2', '10', '8']);
  await world.tool(GROUPS, [...reset, '--to-latest']);
  expect(await lag()).toEqual(['10', '10', '0']);
  await world.tool(GROUPS, ['--delete', '--group', group]);
  expect(await world.tool(GROUPS, ['--list'])).not.toContain(group);
}

async function offsets(world: World): Promise<void> {
  const topic = await world.topic(2);
  await world.referenceProduce({ topic, records: numbered(5).map((record) => ({ ...record, partition: 1 })) });
  expect(await world.tool(OFFSETS, ['--topic', topic])).toBe(`${topic}:0:0\n${topic}:1:5\n`);
  expect(await world.tool(OFFSETS, ['--topic', topic, '--time', 'earliest'])).toBe(`${topic}:0:0\n${topic}:1:0\n`);
}

async function deleteRecords(world: World): Promise<void> {
  const topic = await world.topic(1);
  await world.referenceProduce({ topic, records: numbered(5) });
  const list = JSON.stringify({ partitions: [{ topic, partition: 0, offset: 3 }], version: 1 });
  const folder = await mkdtemp(join(tmpdir(), 'tailrace-compat-'));
  try {
    await writeFile(join(folder, 'offsets.json'), list);
    const output = await world.tool(DELETE_RECORDS, ['--offset-json-file', join(folder, 'offsets.json')]);
    expect(output).toContain('low_watermark: 3');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function transactions(world: World): Promise<void> {
  const [topic, id] = [await world.topic(1), `transaction-${world.group()}`];
  const run = (...command: string[]): Promise<string> => world.tool(TRANSACTIONS, [], { command });
  const place = ['--topic', topic, '--partition', '0'];
  const row = async (command: string, ...parameters: string[]): Promise<string> =>
    (await run(command, ...parameters)).split('\n')[1] ?? '';
  await world.referenceTransact({ transactionalId: id, topic, records: numbered(5), end: 'none' });

  expect(await run('list')).toMatch(new RegExp(`^${id}\\s.*Ongoing`, 'm'));
  expect(await run('list', '--transactional-id-pattern', `${id}|none`, '--duration-filter', '0')).toContain(id);
  expect(await run('list', '--transactional-id-pattern', 'none')).not.toContain(id);
  expect(await run('list', '--duration-filter', '600000')).not.toContain(id);
  expect(await row('describe', '--transactional-id', id)).toMatch(new RegExp(`${id}.*Ongoing.*${topic}-0`));
  const [, , , sequence, , start] = (await row('describe-producers', ...place)).split(/\s+/);
  expect([sequence, start]).toEqual(['4', '0']);
  // It asks for every open transaction; this one has a coordinator that will end it.
  expect(await row('find-hanging', '--max-transaction-timeout', '0', ...place)).toBe('');

  await run('forceTerminateTransaction', '--transactionalId', id);
  const read = { topic, partitions: [0], from: 'earliest', isolation: 'read_committed', count: 1 } as const;
  expect((await world.referenceConsume({ ...read, timeoutMs: QUIET_MS })).records).toEqual([]);
  expect(await row('describe', '--transactional-id', id)).not.toContain('Ongoing');
  const zombie = world.referenceTransact({ transactionalId: id, topic, records: [], end: 'commit' });
  await expect(zombie).rejects.toThrow(/fenced|epoch/i);
}

export const CONSOLE_TOOLS: readonly Case[] = [
  { name: 'kafka-topics', of: 'console', run: topics },
  { name: 'kafka-configs', of: 'console', run: configs },
  { name: 'kafka-console-producer-and-consumer', of: 'console', run: produceAndConsume },
  { name: 'kafka-consumer-groups', of: 'console', run: groups },
  { name: 'kafka-get-offsets', of: 'console', run: offsets },
  { name: 'kafka-delete-records', of: 'console', run: deleteRecords },
  { name: 'kafka-transactions', of: 'console', run: transactions },
  {
    name: 'kafka-broker-api-versions',
    of: 'console',
    run: async (world) => expect(await world.tool(API_VERSIONS, [])).toMatch(/Produce\(0\): .*usable/),
  },
  {
    name: 'kafka-cluster-id',
    of: 'console',
    run: async (world) => expect(await world.tool(CLUSTER, ['cluster-id'])).toMatch(/Cluster ID: \S+/),
  },
];
