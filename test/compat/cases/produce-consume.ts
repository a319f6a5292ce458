import { expect } from 'vitest';
import type { AgentRecord, Codec, ReadRecord } from '../clients/contract.ts';
import type { Case } from './case.ts';
import { base64, largeValue, numbered, numberOf, sorted, type World } from './world.ts';

const TIMEOUT_MS = 20_000;

/** Within each key, and each key in one partition. */
function expectOrderPerKey(records: readonly ReadRecord[]): void {
  const last = new Map<string, { partition: number; number: number }>();
  for (const record of records) {
    const before = last.get(record.key ?? '');
    if (before !== undefined) {
      expect(record.partition).toBe(before.partition);
      expect(numberOf(record)).toBeGreaterThan(before.number);
    }
    last.set(record.key ?? '', { partition: record.partition, number: numberOf(record) });
  }
}

function expectNumbers(records: readonly ReadRecord[], count: number): void {
  expect(sorted(records.map(numberOf))).toEqual(Array.from({ length: count }, (_, i) => i));
}

async function perKeyOrder(world: World): Promise<void> {
  const topic = await world.topic(3);
  await world.produce({ topic, records: numbered(300, 20) });
  const read = await world.consume({
    topic,
    partitions: [0, 1, 2],
    from: 'earliest',
    count: 300,
    timeoutMs: TIMEOUT_MS,
  });
  for (const records of [read.records, await world.readAll(topic, 3, 300)]) {
    expectNumbers(records, 300);
    expectOrderPerKey(records);
  }
}

/** One partition, written and read by the client, and read by the Java client too. */
async function roundTrip(world: World, records: readonly AgentRecord[], codec?: Codec): Promise<void> {
  const topic = await world.topic(1);
  const placed = records.map((record) => ({ ...record, partition: 0 }));
  const { acked = [] } = await world.produce({ topic, records: placed, ...(codec === undefined ? {} : { codec }) });
  expect(acked).toHaveLength(records.length);
  for (const [i, { offset }] of acked.entries()) if (offset >= 0) expect(offset).toBe(i);
  const request = { topic, partitions: [0], from: 'earliest', count: records.length, timeoutMs: TIMEOUT_MS } as const;
  for (const read of [await world.consume(request), await world.referenceConsume(request)]) {
    expect(read.records.map(({ offset }) => offset)).toEqual(records.map((_, i) => i));
    for (const [i, found] of read.records.entries()) {
      const { key, value, headers = [], timestampMs } = records[i] as AgentRecord;
      expect({ key: found.key, value: found.value, headers: found.headers }).toEqual({ key, value, headers });
      if (timestampMs !== undefined) expect(found.timestampMs).toBe(timestampMs);
    }
  }
}

async function readFromJava(world: World, codec: Codec): Promise<void> {
  const topic = await world.topic(1);
  const records = numbered(500, 7).map((record) => ({ ...record, partition: 0 }));
  await world.referenceProduce({ topic, records, codec });
  const read = await world.consume({ topic, partitions: [0], from: 'earliest', count: 500, timeoutMs: TIMEOUT_MS });
  expect(read.records.map(numberOf)).toEqual(records.map(numberOf));
}

async function longPoll(world: World): Promise<void> {
  const topic = await world.topic(1);
  await world.referenceProduce({ topic, records: numbered(3) });
  const reader = world.begin({
    command: 'consume',
    topic,
    partitions: [0],
    from: 'latest',
    count: 1,
    timeoutMs: 30_000,
  });
  await reader.until('ready', (events) => events.some(({ event }) => event === 'ready'));
  // Those that tell `ready` before they have looked for the end get a little time for it.
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  await world.referenceProduce({ topic, records: [{ key: null, value: base64('99') }] });
  expect((await reader.finish()).records.map(numberOf)).toEqual([99]);
}

async function offsetsByTime(world: World): Promise<void> {
  const topic = await world.topic(1);
  const records = numbered(5).map((record, i) => ({
    ...record,
    partition: 0,
    timestampMs: 1_700_000_000_000 + i * 1_000,
  }));
  await world.referenceProduce({ topic, records });
  const from = { timestampMs: 1_700_000_001_500 };
  const read = await world.consume({ topic, partitions: [0], from, count: 3, timeoutMs: TIMEOUT_MS });
  expect(read.records.map(numberOf)).toEqual([2, 3, 4]);
}

async function fromOffset(world: World): Promise<void> {
  const topic = await world.topic(1);
  await world.referenceProduce({ topic, records: numbered(10) });
  const read = await world.consume({ topic, partitions: [0], from: { offset: 7 }, count: 3, timeoutMs: TIMEOUT_MS });
  expect(read.records.map(({ offset }) => offset)).toEqual([7, 8, 9]);
}

async function outOfRange(world: World): Promise<void> {
  const topic = await world.topic(1);
  await world.referenceProduce({ topic, records: numbered(4) });
  const request = { topic, partitions: [0], from: { offset: 1_000 }, reset: 'earliest', count: 4 } as const;
  const read = await world.consume({ ...request, timeoutMs: TIMEOUT_MS });
  expect(read.records.map(numberOf)).toEqual([0, 1, 2, 3]);
}

async function idempotent(world: World): Promise<void> {
  const topic = await world.topic(3);
  await world.produce({ topic, records: numbered(2_000, 50), idempotent: true });
  await world.produce({ topic, records: numbered(10, 50), idempotent: true });
  const records = await world.readAll(topic, 3, 2_010);
  expect(records).toHaveLength(2_010);
  expectOrderPerKey(records.filter(({ offset, partition }) => offset < lastOffset(records, partition) - 10));
}

function lastOffset(records: readonly ReadRecord[], partition: number): number {
  return Math.max(...records.filter((each) => each.partition === partition).map(({ offset }) => offset));
}

async function acks(world: World, wanted: 0 | 1): Promise<void> {
  const topic = await world.topic(1);
  await world.produce({ topic, acks: wanted, records: numbered(20).map((record) => ({ ...record, partition: 0 })) });
  expectNumbers(await world.readAll(topic, 1, 20), 20);
}

const CODECS: readonly Codec[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd'];

export const PRODUCE_CONSUME: readonly Case[] = [
  { name: 'per-key-order', isCore: true, run: perKeyOrder },
  ...CODECS.map(
    (codec): Case => ({
      name: `codec-${codec}`,
      isCore: codec === 'lz4',
      run: (world) => roundTrip(world, numbered(500, 7), codec),
    }),
  ),
  ...CODECS.map((codec): Case => ({ name: `reads-java-${codec}`, run: (world) => readFromJava(world, codec) })),
  {
    name: 'headers',
    isCore: true,
    run: (world) => {
      const headers = [
        ['first', base64('one')],
        ['second', base64('two')],
      ] as const;
      return roundTrip(world, [
        { key: base64('k'), value: base64('v'), headers },
        { key: null, value: base64('plain') },
      ]);
    },
  },
  {
    name: 'header-null-value',
    run: (world) => roundTrip(world, [{ key: null, value: base64('v'), headers: [['none', null]] }]),
  },
  {
    name: 'header-twice',
    run: (world) =>
      roundTrip(world, [
        {
          key: null,
          value: base64('v'),
          headers: [
            ['h', base64('1')],
            ['h', base64('2')],
          ],
        },
      ]),
  },
  { name: 'null-key', run: (world) => roundTrip(world, [{ key: null, value: base64('v') }]) },
  { name: 'null-value', isCore: true, run: (world) => roundTrip(world, [{ key: base64('k'), value: null }]) },
  { name: 'null-key-and-value', run: (world) => roundTrip(world, [{ key: null, value: null }]) },
  { name: 'empty-key-and-value', run: (world) => roundTrip(world, [{ key: '', value: '' }]) },
  {
    name: 'large-records',
    isCore: true,
    run: (world) =>
      roundTrip(
        world,
        [1, 2, 3].map((i) => ({ key: base64(`k${i}`), value: largeValue(900 * 1_024) })),
      ),
  },
  {
    name: 'timestamps',
    run: (world) =>
      roundTrip(
        world,
        [5, 3, 4].map((i) => ({ key: null, value: base64(`${i}`), timestampMs: 1_600_000_000_000 + i })),
      ),
  },
  { name: 'offsets-by-time', isCore: true, run: offsetsByTime },
  { name: 'from-offset', run: fromOffset },
  { name: 'out-of-range-resets', isCore: true, run: outOfRange },
  { name: 'long-poll', isCore: true, run: longPoll },
  { name: 'idempotent', isCore: true, run: idempotent },
  { name: 'acks-0', run: (world) => acks(world, 0) },
  { name: 'acks-1', run: (world) => acks(world, 1) },
];
