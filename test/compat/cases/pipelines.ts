import { expect } from 'vitest';
import type { AgentRecord } from '../clients/contract.ts';
import type { Case } from './case.ts';
import { base64, numberOf, type World } from './world.ts';

/** All of one head. */
const PARTITIONS = 6;
const RECORDS = 6_000;
/** So that there are some hundreds of batches. */
const BATCH_BYTES = 4_000;
const PADDING = 'x'.repeat(200);
/** The proxy lets two connections in a row carry some 300 KB at most, and 1.4 MB have to go through. */
const CUTS_MIN = 6;
/** Numbers of records that the topic refuses: the first of its partition, one further on, and two in a row. */
const REFUSED = [1, 301, 1_501, 1_507];

/** Values tell their number; partitions take turns, and keys never repeat. */
function inTurn(count: number): AgentRecord[] {
  return Array.from({ length: count }, (_, i) => ({
    partition: i % PARTITIONS,
    key: base64(`${i} ${PADDING}`),
    value: base64(String(i)),
  }));
}

/** Each partition holds the records with these numbers, in this order, and nothing else. */
async function expectStored(world: World, topic: string, numbers: readonly number[]): Promise<void> {
  const records = await world.readAll(topic, PARTITIONS, numbers.length);
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const expected = numbers.filter((number) => number % PARTITIONS === partition);
    const found = records.filter((record) => record.partition === partition).map(numberOf);
    expect(found, `partition ${partition}`).toEqual(expected);
    const { offset } = await world.referenceAdmin({ op: 'list-offsets', topic, partition, at: 'latest' });
    expect(offset, `the end of partition ${partition}`).toBe(expected.length);
  }
}

/** Connections end in the middle of requests and of answers. */
async function cut(world: World): Promise<void> {
  const topic = await world.topic(PARTITIONS);
  const proxy = await world.cuttingProxy();
  const records = inTurn(RECORDS);
  const { acked = [] } = await world.produceThrough(proxy, {
    ...{ topic, records, idempotent: true, batchBytes: BATCH_BYTES },
  });
  expect(proxy.cuts()).toBeGreaterThan(CUTS_MIN);
  expect(acked).toHaveLength(RECORDS);
  for (const [i, { offset }] of acked.entries()) if (offset >= 0) expect(offset).toBe(Math.floor(i / PARTITIONS));
  await expectStored(
    world,
    topic,
    records.map((_, i) => i),
  );
}

/** A topic that is compacted takes no record without a key: the batches of one partition are refused, others go on. */
async function refused(world: World): Promise<void> {
  const topic = await world.topic(PARTITIONS, { 'cleanup.policy': 'compact' });
  const records = inTurn(RECORDS).map((record, i) => (REFUSED.includes(i) ? { ...record, key: null } : record));
  const { acked = [] } = await world.produce({
    ...{ topic, records, idempotent: true, batchBytes: BATCH_BYTES, mayFail: true },
  });
  const failed = acked.flatMap(({ isFailed }, i) => (isFailed ? [i] : []));
  expect(failed).toEqual(expect.arrayContaining(REFUSED));
  // Clients give up what comes behind a refused batch in its partition, on Kafka too; other partitions go on.
  expect(failed.every((i) => i % PARTITIONS === 1)).toBe(true);
  const stored = acked.flatMap(({ isFailed }, i) => (isFailed ? [] : [i]));
  await expectStored(world, topic, stored);
}

/** A producer that lives goes on in a topic that was deleted and made again under its name. */
async function topicMadeAgain(world: World): Promise<void> {
  const topic = await world.topic(PARTITIONS);
  const records = inTurn(RECORDS / 10);
  const send = () => world.produce({ topic, records, idempotent: true, keepsProducer: true, batchBytes: BATCH_BYTES });
  await send();
  await world.referenceAdmin({ op: 'delete-topic', topic });
  await world.createAgain(topic, PARTITIONS);
  const { acked = [] } = await send();
  expect(acked).toHaveLength(records.length);
  await expectStored(
    world,
    topic,
    records.map((_, i) => i),
  );
}

export const PIPELINES: readonly Case[] = [
  { name: 'idempotent-cuts', isCore: true, needs: 'behindProxy', run: cut },
  { name: 'idempotent-refused', isCore: true, run: refused },
  { name: 'idempotent-topic-made-again', isCore: true, run: topicMadeAgain },
];
