import { describe, expect, it } from 'vitest';
import type { AppendOutcome } from '../../../../shared/broker/append/outcomes.ts';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { encodeBatch, placeBatch, readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { TIMESTAMP_MAX } from '../../../../shared/log/limits.ts';
import { edited } from '../../../support/batch-edit.ts';
import { faultyStores } from '../../../support/faulty-stores.ts';
import {
  appendTo,
  bytes,
  codeOf,
  memoryBroker,
  memoryStores,
  readAll,
  record,
  valuesOf,
} from '../../../support/memory-broker.ts';
import { turn } from '../../../support/simulated-clock.ts';

const T = 1_700_000_000_000;

function batchOf(...values: string[]): Uint8Array {
  return encodeBatch(values.map((value) => ({ timestampMs: T, key: null, value: bytes(value), headers: [] })));
}

function summary(outcomes: readonly (AppendOutcome | { ok: boolean; error?: EventLogError })[]): unknown[] {
  return outcomes.map((outcome) => {
    if (!outcome.ok)
      return 'error' in outcome && outcome.error instanceof EventLogError ? outcome.error.code : 'failed';
    if ('baseOffset' in outcome) return outcome.baseOffset;
    return 'ok';
  });
}

async function brokerWithTopic(partitions = 20): Promise<Broker> {
  const broker = memoryBroker();
  await broker.putTopic({ name: 't', partitions });
  return broker;
}

describe('an append of batches', () => {
  it('gives consecutive offsets per partition, in the order of the request', async () => {
    const broker = await brokerWithTopic();
    const batches = [
      { topic: 't', partition: 0, batch: batchOf('a', 'b') },
      { topic: 't', partition: 17, batch: batchOf('x') },
      { topic: 't', partition: 0, batch: batchOf('c') },
      { topic: 't', partition: 1, batch: batchOf('y') },
      { topic: 't', partition: 0, batch: batchOf('d', 'e') },
    ];
    expect(summary(await broker.append({ batches }))).toEqual([0, 0, 2, 0, 3]);
    expect(summary(await broker.append({ batches }))).toEqual([5, 1, 7, 1, 8]);
    expect(await valuesOf(broker, 't', 0)).toEqual(['a', 'b', 'c', 'd', 'e', 'a', 'b', 'c', 'd', 'e']);
    expect(await valuesOf(broker, 't', 17)).toEqual(['x', 'x']);
  });

  it('has an outcome for each batch: those that are wrong hurt no other', async () => {
    const broker = await brokerWithTopic();
    const good = batchOf('good');
    const outcomes = await broker.append({
      batches: [
        { topic: 't', partition: 0, batch: good },
        { topic: 'none', partition: 0, batch: good },
        { topic: 'no name', partition: 0, batch: good },
        { topic: 't', partition: 20, batch: good },
        { topic: 't', partition: 0, batch: good.subarray(0, 70) },
        { topic: 't', partition: 0, batch: new Uint8Array([...good, ...good]) },
        { topic: 't', partition: 0, batch: edited(good, (view) => view.setInt16(21, 0x20)) },
        { topic: 't', partition: 0, batch: edited(good, (view) => view.setInt16(21, 0x10)) },
        { topic: 't', partition: 0, batch: edited(good, (view) => view.setInt16(21, 0x08)) },
        { topic: 't', partition: 0, batch: edited(good, (view) => view.setInt32(23, 7)) },
        { topic: 't', partition: 0, batch: edited(good, (view) => view.setBigInt64(43, -2n)) },
        { topic: 't', partition: 0, batch: edited(good, (view) => view.setBigInt64(43, 5n)) },
        { topic: 't', partition: 0, batch: edited(good, (view) => view.setBigInt64(27, BigInt(T + 4_000_000))) },
        { topic: 't', partition: 0, batch: good },
      ],
    });
    const invalid = Array<string>(8).fill('invalid_batch');
    expect(summary(outcomes)).toEqual([
      0,
      'unknown_topic',
      'invalid_request',
      'unknown_partition',
      ...invalid,
      'invalid_request',
      1,
    ]);
  });

  it('refuses the batch that follows another in one part’s bytes with a wrong record inside', async () => {
    const broker = await brokerWithTopic();
    // Offset deltas 0 and 0 in place of 0 and 1.
    const two = batchOf('a', 'b');
    const at = two.lastIndexOf(2, two.length - 4);
    const lied = edited(two, (_view, all) => {
      all[at] = 0;
    });
    expect(summary(await broker.append({ batches: [{ topic: 't', partition: 0, batch: lied }] }))).toEqual([
      'invalid_batch',
    ]);
  });

  it('ignores the base offset and leader epoch of the client, and keeps every byte that the CRC covers', async () => {
    const broker = await brokerWithTopic();
    const batch = batchOf('a', 'b', 'c');
    placeBatch(batch, 0, 123_456);
    await broker.append({ batches: [{ topic: 't', partition: 0, batch }] });
    await broker.append({ batches: [{ topic: 't', partition: 0, batch }] });
    const { batches } = await broker.read({ topic: 't', partition: 0, from: { offset: 0 } });
    const read: number[] = [];
    for await (const stored of batches) {
      read.push(stored.baseOffset, readBatchHeader(stored.bytes).baseOffset);
      expect(Buffer.from(stored.bytes.subarray(16)).equals(batch.subarray(16))).toBe(true);
    }
    expect(read).toEqual([0, 0, 3, 3]);
  });

  it('sets a wrong max timestamp right, and the time and codec that the topic asks for', async () => {
    const broker = memoryBroker();
    await broker.putTopic({ name: 't' });
    await broker.putTopic({ name: 'stamped', config: { 'message.timestamp.type': 'LogAppendTime' } });
    await broker.putTopic({ name: 'zstd', config: { 'compression.type': 'zstd' } });
    const lied = edited(batchOf('a'), (view) => view.setBigInt64(35, 1n));
    for (const topic of ['t', 'stamped', 'zstd'])
      await broker.append({ batches: [{ topic, partition: 0, batch: lied }] });
    const headers = await Promise.all(
      ['t', 'stamped', 'zstd'].map(async (topic) => {
        const { batches } = await broker.read({ topic, partition: 0, from: { offset: 0 } });
        for await (const stored of batches) return readBatchHeader(stored.bytes);
        return undefined;
      }),
    );
    expect(headers[0]).toMatchObject({ maxTimestamp: T, timestampType: 'create_time', compression: 'none' });
    expect(headers[1]).toMatchObject({ maxTimestamp: T, timestampType: 'log_append_time' });
    expect(headers[2]).toMatchObject({ maxTimestamp: T, compression: 'zstd' });
  });

  it('keeps the largest timestamps that there are, and goes on afterwards', async () => {
    const broker = memoryBroker();
    await broker.putTopic({ name: 't', config: { 'message.timestamp.after.max.ms': Number.MAX_SAFE_INTEGER } });
    const at = (timestampMs: number) => ({ topic: 't', records: [record('far', { timestampMs })] });
    for (const timestampMs of [0, TIMESTAMP_MAX, 1, 2 ** 52 + 2 ** 50, T, 5])
      await broker.appendRecords(at(timestampMs));
    for (let i = 0; i < 10; i++) await broker.appendRecords(at(i));
    await broker.idle();
    const read = await readAll(broker, 't', 0);
    expect(read.map((each) => each.timestampMs)).toEqual([
      0,
      TIMESTAMP_MAX,
      1,
      2 ** 52 + 2 ** 50,
      T,
      5,
      ...Array(10).keys(),
    ]);
    expect((await broker.offsetForTime('t', 0, T + 1)).offset).toBe(1);
  });

  it('refuses a batch over max.message.bytes, and a request with too many', async () => {
    const broker = memoryBroker();
    await broker.putTopic({ name: 't', config: { 'max.message.bytes': 200 } });
    const batch = batchOf('x'.repeat(200));
    expect(summary(await broker.append({ batches: [{ topic: 't', partition: 0, batch }] }))).toEqual([
      'record_too_large',
    ]);
    const many = Array.from({ length: 1_001 }, () => ({ topic: 't', partition: 0, batch: batchOf('v') }));
    expect(await codeOf(broker.append({ batches: many }))).toBe('request_too_large');
    expect(summary(await broker.append({ batches: many.slice(1) }))).toEqual([...Array(1_000).keys()]);
  });

  it('is all or nothing where it says so', async () => {
    const broker = await brokerWithTopic();
    const good = { topic: 't', partition: 0, batch: batchOf('good') };
    const bad = { topic: 't', partition: 1, batch: new Uint8Array(3) };
    expect(summary(await broker.append({ batches: [good, bad], atomic: true }))).toEqual([
      'atomic_append_refused',
      'invalid_batch',
    ]);
    const wrong = { topic: 't', partition: 1, batch: batchOf('v'), expectedOffset: 9 };
    expect(summary(await broker.append({ batches: [good, wrong], atomic: true }))).toEqual([
      'atomic_append_refused',
      'offset_mismatch',
    ]);
    expect(await codeOf(broker.append({ batches: [good, { ...good, partition: 16 }], atomic: true }))).toBe(
      'invalid_request',
    );
    expect(await valuesOf(broker, 't', 0)).toEqual([]);
    expect(summary(await broker.append({ batches: [good, { ...good, partition: 15 }], atomic: true }))).toEqual([0, 0]);
  });

  it('takes nothing more once it is closed, and finishes what it had', async () => {
    const broker = await brokerWithTopic();
    const appending = appendTo(broker, 't', 0, ['a']);
    await Promise.resolve();
    await appending;
    const closing = broker.close();
    expect(await codeOf(appendTo(broker, 't', 0, ['b']))).toBe('shutting_down');
    await closing;
    expect(await valuesOf(broker, 't', 0)).toEqual(['a']);
  });

  it('tells what it appended where it cannot go on with a topic that was made again meanwhile', async () => {
    const stores = memoryStores();
    const broker = memoryBroker(stores);
    for (const name of ['kept', 'made-again']) {
      await broker.putTopic({ name });
      await appendTo(broker, name, 0, ['before']);
    }
    const other = memoryBroker(stores);
    await other.deleteTopic('made-again');
    await other.putTopic({ name: 'made-again' });
    const closing: Promise<void>[] = [];
    const outcomes = await broker.append({
      batches: ['kept', 'made-again'].map((topic) => ({ topic, partition: 0, batch: batchOf('a') })),
      onPlaced: () => closing.push(broker.close()),
    });
    expect(summary(outcomes)).toEqual([1, 'shutting_down']);
    await Promise.all(closing);
    expect(await valuesOf(other, 'kept', 0)).toEqual(['before', 'a']);
    expect(await valuesOf(other, 'made-again', 0)).toEqual([]);
  });
});

describe('throttling', () => {
  it('refuses an append as a whole: what is told to be sent again was not appended in part', async () => {
    const stores = memoryStores();
    let hold = true;
    const slow = faultyStores(stores, ({ method }) => ({ delayMs: hold && method === 'update' ? 5_000 : 0 }));
    const broker = memoryBroker(slow, { pendingBytesMax: 400 });
    await broker.putTopic({ name: 't', partitions: 48 });
    const first = appendTo(broker, 't', 0, ['x'.repeat(100)]);
    await turn();
    const code = codeOf(
      broker.append({
        batches: [0, 16, 32].map((partition) => ({ topic: 't', partition, batch: batchOf('y'.repeat(20)) })),
      }),
    );
    expect(await stores.clock.run(code)).toBe('throttled');
    await stores.clock.run(first);
    hold = false;
    await stores.clock.run(broker.idle());
    for (const partition of [16, 32]) expect(await valuesOf(broker, 't', partition)).toEqual([]);
    expect(await valuesOf(broker, 't', 0)).toEqual(['x'.repeat(100)]);
  });

  it('lets a single append through that is larger than the bound', async () => {
    const broker = memoryBroker(memoryStores(), { pendingBytesMax: 100 });
    await broker.putTopic({ name: 't' });
    expect(await appendTo(broker, 't', 0, ['x'.repeat(5_000)])).toBe(0);
  });
});

describe('an append of records', () => {
  it('puts keys where Kafka does, and records without a key together, in turn', async () => {
    const broker = await brokerWithTopic(7);
    const keys = ['21', 'foobar', 'abc', 'k1', 'k2'];
    const outcomes = await broker.appendRecords({
      topic: 't',
      records: keys.map((key) => record('v', { key: bytes(key) })),
    });
    const partitions = outcomes.map((outcome) => (outcome.ok ? outcome.partition : -1));
    expect(partitions.slice(0, 3)).toEqual([-973932308, -790332482, 479470107].map((hash) => (hash & 0x7fffffff) % 7));
    const seen = new Set<number>();
    for (let i = 0; i < 7; i++) {
      const put = await broker.appendRecords({ topic: 't', records: [record('a'), record('b'), record('c')] });
      const places = new Set(put.map((outcome) => (outcome.ok ? outcome.partition : -1)));
      expect(places.size).toBe(1);
      for (const place of places) seen.add(place);
    }
    expect(seen.size).toBe(7);
  });

  it('splits at max.message.bytes and keeps the order', async () => {
    const broker = memoryBroker();
    await broker.putTopic({ name: 't', config: { 'max.message.bytes': 300 } });
    const values = Array.from({ length: 40 }, (_, i) => `${i}`.padEnd(50, '.'));
    const outcomes = await broker.appendRecords({ topic: 't', records: values.map((value) => record(value)) });
    expect(outcomes.map((outcome) => (outcome.ok ? outcome.offset : -1))).toEqual([...values.keys()]);
    expect(await valuesOf(broker, 't', 0)).toEqual(values);
    const { batches } = await broker.read({ topic: 't', partition: 0, from: { offset: 0 } });
    for await (const batch of batches) expect(batch.bytes.length).toBeLessThanOrEqual(300);
  });

  it('tells of each record what is wrong with it, and appends the others', async () => {
    const broker = memoryBroker();
    await broker.putTopic({ name: 't', partitions: 2, config: { 'max.message.bytes': 1_000 } });
    const header = { key: 'h', value: null };
    const records = [
      record('a', { partition: 0 }),
      record('b', { partition: 2 }),
      record('c'.repeat(1_000), { partition: 0 }),
      record('d', { partition: 0, timestampMs: T + 3_600_001 }),
      record('e', { partition: 0, headers: Array(1_001).fill(header) }),
      record('f', { partition: 0 }),
    ];
    const expected = ['ok', 'unknown_partition', 'record_too_large', 'invalid_request', 'invalid_request', 'ok'];
    expect(summary(await broker.appendRecords({ topic: 't', records }))).toEqual(expected);
    expect(await valuesOf(broker, 't', 0)).toEqual(['a', 'f']);
    const together = summary(await broker.appendRecords({ topic: 't', records, atomic: true }));
    expect(together).toEqual(expected.map((code) => (code === 'ok' ? 'atomic_append_refused' : code)));
    expect(await valuesOf(broker, 't', 0)).toEqual(['a', 'f']);
  });

  it('takes no time that is not a whole number, which would make a head that no one can read', async () => {
    const broker = await brokerWithTopic();
    for (const timestampMs of [T + 0.5, -0.5, Number.NaN, Number.POSITIVE_INFINITY, -1, 2 ** 53]) {
      const records = [record('x', { partition: 0, timestampMs })];
      expect(summary(await broker.appendRecords({ topic: 't', records }))).toEqual(['invalid_request']);
    }
    expect(await appendTo(broker, 't', 0, ['fine'])).toBe(0);
    expect(await valuesOf(broker, 't', 0)).toEqual(['fine']);
  });

  it('under a producer or an expected offset goes to one partition', async () => {
    const broker = await brokerWithTopic();
    const records = [record('a', { partition: 0 }), record('b', { partition: 1 })];
    const producer = { producerId: 1, producerEpoch: 0, baseSequence: 0 };
    expect(await codeOf(broker.appendRecords({ topic: 't', records, producer }))).toBe('invalid_request');
    expect(await codeOf(broker.appendRecords({ topic: 't', records, expectedOffset: 0 }))).toBe('invalid_request');
    expect(await codeOf(broker.appendRecords({ topic: 't', records, idempotencyKey: 'k', producer }))).toBe(
      'invalid_request',
    );
  });
});

describe('a conditional append', () => {
  it('is done where the offset is the next one, and else tells which that is', async () => {
    const broker = await brokerWithTopic();
    expect(await appendTo(broker, 't', 3, ['a', 'b'], { expectedOffset: 0 })).toBe(0);
    expect(await appendTo(broker, 't', 3, ['c'], { expectedOffset: 2 })).toBe(2);
    for (const expectedOffset of [0, 2, 4]) {
      const [outcome] = await broker.appendRecords({
        topic: 't',
        records: [record('x', { partition: 3 })],
        expectedOffset,
      });
      expect(outcome).toMatchObject({
        ok: false,
        error: { code: 'offset_mismatch', outcome: 'not_applied', details: { nextOffset: 3, expectedOffset } },
      });
    }
    expect(await codeOf(appendTo(broker, 't', 3, ['x'], { expectedOffset: -1 }))).toBe('invalid_request');
    expect(await valuesOf(broker, 't', 3)).toEqual(['a', 'b', 'c']);
  });

  it('holds the first batch of a partition, and the others follow it', async () => {
    const broker = await brokerWithTopic();
    const batches = [
      { topic: 't', partition: 0, batch: batchOf('a'), expectedOffset: 0 },
      { topic: 't', partition: 0, batch: batchOf('b') },
      { topic: 't', partition: 1, batch: batchOf('c'), expectedOffset: 5 },
      { topic: 't', partition: 1, batch: batchOf('d') },
      { topic: 't', partition: 2, batch: batchOf('e') },
    ];
    const outcomes = await broker.append({ batches });
    expect(summary(outcomes)).toEqual([0, 1, 'offset_mismatch', 'atomic_append_refused', 0]);
    const second = { topic: 't', partition: 0, batch: batchOf('z'), expectedOffset: 3 };
    expect(await codeOf(broker.append({ batches: [batches[1] as (typeof batches)[number], second] }))).toBe(
      'invalid_request',
    );
  });

  it('waits for the others of its group, where what it expects depends on them', async () => {
    const broker = await brokerWithTopic();
    const appends = [0, 1, 2, 3].map((offset) => appendTo(broker, 't', 5, [`${offset}`], { expectedOffset: offset }));
    expect(await Promise.all(appends)).toEqual([0, 1, 2, 3]);
    expect(await valuesOf(broker, 't', 5)).toEqual(['0', '1', '2', '3']);
  });

  it('is not refused by what the broker remembers from before others wrote', async () => {
    const stores = memoryStores();
    const [a, b] = [memoryBroker(stores), memoryBroker(stores)];
    await a.putTopic({ name: 't' });
    for (let i = 0; i < 6; i++) {
      expect(await appendTo(i % 2 === 0 ? a : b, 't', 0, [`${i}`], { expectedOffset: i })).toBe(i);
    }
  });

  it.each([1, 3])('of which 32 race: each offset goes to exactly one (%d brokers)', async (count) => {
    const stores = memoryStores();
    const brokers = Array.from({ length: count }, () => memoryBroker(stores));
    await (brokers[0] as Broker).putTopic({ name: 't', partitions: 16 });
    const won: string[] = [];
    for (let offset = 0; offset < 12; offset++) {
      const codes = await Promise.all(
        Array.from({ length: 32 }, (_, i) =>
          codeOf(appendTo(brokers[i % count] as Broker, 't', 5, [`${offset}/${i}`], { expectedOffset: offset })),
        ),
      );
      const winners = codes.flatMap((code, i) => (code === offset ? [i] : []));
      expect(winners).toHaveLength(1);
      expect(codes.filter((code) => code === 'offset_mismatch')).toHaveLength(31);
      won.push(`${offset}/${winners[0]}`);
    }
    expect(await valuesOf(brokers[0] as Broker, 't', 5)).toEqual(won);
  });
});
