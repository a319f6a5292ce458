import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import type { Connection } from '../clients/contract.ts';
import type { CompatServer, Sasl } from '../server/server.ts';
import type { Case } from './case.ts';
import { numbered, numberOf, type World } from './world.ts';

const ALREADY_EXISTS = 36;

async function topics(world: World): Promise<void> {
  const topic = `compat-${randomUUID()}`;
  await world.admin({ op: 'create-topic', topic, partitions: 3 });
  await expect(world.admin({ op: 'create-topic', topic, partitions: 3 })).rejects.toMatchObject({
    code: ALREADY_EXISTS,
  });
  expect((await world.referenceAdmin({ op: 'describe-topic', topic })).partitions).toBe(3);
  await world.admin({ op: 'delete-topic', topic });
  await expect(world.referenceAdmin({ op: 'describe-topic', topic })).rejects.toThrow();
}

async function described(world: World): Promise<void> {
  const topic = await world.topic(3);
  expect((await world.admin({ op: 'describe-topic', topic })).partitions).toBe(3);
  expect((await world.admin({ op: 'list-topics' })).topics).toContain(topic);
  await expect(world.admin({ op: 'describe-topic', topic: `${topic}-missing` })).rejects.toThrow();
}

async function configs(world: World): Promise<void> {
  const topic = await world.topic(1, { 'retention.ms': '3600000' });
  const of = async () => (await world.admin({ op: 'describe-configs', topic })).configs ?? {};
  expect((await of())['retention.ms']).toBe('3600000');
  await world.admin({ op: 'alter-configs', topic, configs: { 'retention.ms': '7200000' } });
  expect((await of())['retention.ms']).toBe('7200000');
}

async function partitionsAdded(world: World): Promise<void> {
  const topic = await world.topic(1);
  await world.admin({ op: 'create-partitions', topic, count: 4 });
  expect((await world.referenceAdmin({ op: 'describe-topic', topic })).partitions).toBe(4);
  const records = [{ key: null, value: null, partition: 3 }];
  expect((await world.referenceProduce({ topic, records })).acked).toEqual([{ partition: 3, offset: 0 }]);
}

async function recordsDeleted(world: World): Promise<void> {
  const topic = await world.topic(1);
  await world.referenceProduce({ topic, records: numbered(10) });
  await world.admin({ op: 'delete-records', topic, partition: 0, offset: 4 });
  const at = { op: 'list-offsets', topic, partition: 0 } as const;
  expect((await world.referenceAdmin({ ...at, at: 'earliest' })).offset).toBe(4);
  expect((await world.readAll(topic, 1, 6)).map(numberOf)).toEqual([4, 5, 6, 7, 8, 9]);
}

async function offsets(world: World): Promise<void> {
  const topic = await world.topic(1);
  const times = [10, 30, 20].map((ms) => 1_700_000_000_000 + ms);
  const records = times.map((timestampMs) => ({ key: null, value: null, partition: 0, timestampMs }));
  await world.referenceProduce({ topic, records });
  const at = { op: 'list-offsets', topic, partition: 0 } as const;
  expect((await world.admin({ ...at, at: 'earliest' })).offset).toBe(0);
  expect((await world.admin({ ...at, at: 'latest' })).offset).toBe(3);
  expect((await world.admin({ ...at, at: 1_700_000_000_015 })).offset).toBe(1);
}

async function maxTimestamp(world: World): Promise<void> {
  const topic = await world.topic(1);
  // Each in a batch of its own: of a batch it is the last offset that some versions tell.
  for (const ms of [10, 30, 20]) {
    const records = [{ key: null, value: null, partition: 0, timestampMs: 1_700_000_000_000 + ms }];
    await world.referenceProduce({ topic, records });
  }
  expect((await world.admin({ op: 'list-offsets', topic, partition: 0, at: 'max-timestamp' })).offset).toBe(1);
}

async function authenticated(world: World, connection: Connection): Promise<void> {
  const topic = await world.topic(1);
  const records = numbered(5).map((record) => ({ ...record, partition: 0 }));
  await world.produce({ topic, records }, connection);
  const read = { topic, partitions: [0], from: 'earliest', count: 5, timeoutMs: 20_000 } as const;
  const { records: found } = await world.consume(read, connection);
  expect(found.map(numberOf)).toEqual([0, 1, 2, 3, 4]);
}

function byPassword(world: World, mechanism: Sasl['mechanism']): Promise<void> {
  const { bootstrap, username, password } = world.server.sasl as Required<CompatServer>['sasl'];
  return authenticated(world, { bootstrap, sasl: { mechanism, username, password } });
}

function byToken(world: World): Promise<void> {
  const { bootstrap, username, token } = world.server.tokens as Required<CompatServer>['tokens'];
  return authenticated(world, { bootstrap, sasl: { mechanism: 'OAUTHBEARER', username, password: token } });
}

function encrypted(world: World): Promise<void> {
  const { bootstrap, username, password, ca } = world.server.tls as Required<CompatServer>['tls'];
  return authenticated(world, { bootstrap, sasl: { mechanism: 'PLAIN', username, password }, tls: { ca } });
}

export const ADMIN: readonly Case[] = [
  { name: 'topic-create-delete', isCore: true, run: topics },
  { name: 'topic-describe', isCore: true, run: described },
  { name: 'topic-configs', isCore: true, run: configs },
  { name: 'topic-add-partitions', isCore: true, run: partitionsAdded },
  { name: 'delete-records', isCore: true, run: recordsDeleted },
  { name: 'list-offsets', isCore: true, run: offsets },
  { name: 'list-offsets-max-timestamp', run: maxTimestamp },
  {
    name: 'describe-cluster',
    run: async (world) => expect((await world.admin({ op: 'describe-cluster' })).nodes).toBeGreaterThan(0),
  },
  ...(['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'] as const).map(
    (mechanism): Case => ({
      name: `sasl-${mechanism.toLowerCase()}`,
      isCore: mechanism === 'SCRAM-SHA-512',
      needs: 'sasl',
      run: (world) => byPassword(world, mechanism),
    }),
  ),
  { name: 'sasl-oauthbearer', isCore: true, needs: 'tokens', run: byToken },
  { name: 'sasl-plain-over-tls', isCore: true, needs: 'tls', run: encrypted },
];
