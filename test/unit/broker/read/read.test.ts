import { describe, expect, it } from 'vitest';
import type { Broker } from '../../../../shared/broker/broker.ts';
import type { ReadFrom } from '../../../../shared/broker/read/read.ts';
import { DEFAULT_SETTINGS } from '../../../../shared/broker/settings.ts';
import { decodeRecords, readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import type { ItemKey } from '../../../../shared/storage/ports.ts';
import { faultyStores } from '../../../support/faulty-stores.ts';
import {
  appendTo,
  codeOf,
  memoryBroker,
  memoryStores,
  readAll,
  record,
  requestsFor,
  SeededRandom,
  text,
  valuesOf,
} from '../../../support/memory-broker.ts';
import { turn } from '../../../support/simulated-clock.ts';

const T = 1_700_000_000_000;

interface Read {
  readonly offset: number;
  readonly nextOffset: number;
  readonly values: string[];
}

async function readFrom(broker: Broker, from: ReadFrom, partition = 0, maxBytes?: number): Promise<Read> {
  const { offset, nextOffset, batches } = await broker.read({ topic: 't', partition, from, maxBytes });
  const values: string[] = [];
  for await (const { bytes, header, baseOffset } of batches) {
    for (const each of decodeRecords(bytes, 0, header, baseOffset))
      if (each.offset >= offset) values.push(text(each.value));
  }
  return { offset, nextOffset, values };
}

async function setUp(partitions = 16): Promise<{ stores: ReturnType<typeof memoryStores>; broker: Broker }> {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  await broker.putTopic({ name: 't', partitions });
  return { stores, broker };
}

async function details(work: Promise<unknown>): Promise<unknown> {
  return work.catch((error: unknown) => (error instanceof EventLogError ? error.details : error));
}

describe('a read by offset', () => {
  it('begins at any offset, in batches of any size, in the tail and in nodes', async () => {
    const { broker } = await setUp();
    const random = new SeededRandom(3);
    const all: string[] = [];
    for (let i = 0; i < 150; i++) {
      const values = Array.from({ length: 1 + random.below(7) }, (_, k) => `${i}.${k}`.padEnd(random.below(400), '.'));
      await appendTo(broker, 't', 0, values);
      if (i % 3 === 0) await appendTo(broker, 't', 1 + random.below(15), ['other']);
      if (i % 20 === 0) await broker.idle();
      all.push(...values);
    }
    for (let offset = 0; offset <= all.length; offset++) {
      expect((await readFrom(broker, { offset })).values).toEqual(all.slice(offset, offset + 10_000));
    }
    expect(await valuesOf(broker, 't', 0, { maxBytes: 1 })).toEqual(all);
  });

  it('gives at least one part, and stops with the one that reaches maxBytes', async () => {
    const { broker } = await setUp();
    for (let i = 0; i < 30; i++) await appendTo(broker, 't', 0, [`${i}`.padEnd(1_000, '.')]);
    await broker.idle();
    const counts = await Promise.all(
      [1, 1_000, 2_000, 10_000, 1_000_000].map(
        async (maxBytes) => (await readFrom(broker, { offset: 0 }, 0, maxBytes)).values.length,
      ),
    );
    expect(counts).toEqual([1, 1, 2, 10, 30]);
    expect((await readFrom(broker, { offset: 29 }, 0, 1)).nextOffset).toBe(30);
  });

  it('gives large parts piece by piece, from the middle too', async () => {
    const { broker } = await setUp();
    await broker.putTopic({ name: 't', partitions: 16, config: { 'max.message.bytes': 300_000 } });
    const values = Array.from({ length: 40 }, (_, i) => `${i}`.padEnd(100_000, '.'));
    await broker.appendRecords({ topic: 't', records: values.map((value) => record(value, { partition: 2 })) });
    const { items } = await broker.listSegments('t', { partition: 2 });
    expect(items.length).toBeGreaterThanOrEqual(4);
    for (const { bytes } of items) expect(bytes).toBeLessThanOrEqual(1024 * 1024);
    for (const offset of [0, 1, 17, 39]) {
      const read = await readFrom(broker, { offset }, 2, 50_000);
      expect(values.slice(offset, read.nextOffset)).toEqual(read.values);
      expect(read.values.length).toBeGreaterThan(0);
    }
    expect(await valuesOf(broker, 't', 2)).toEqual(values);
  });

  it('is refused out of bounds, and says where they are', async () => {
    const { broker } = await setUp();
    await appendTo(broker, 't', 0, ['a', 'b']);
    expect(await readFrom(broker, { offset: 2 })).toEqual({ offset: 2, nextOffset: 2, values: [] });
    expect(await details(readFrom(broker, { offset: 3 }))).toMatchObject({
      logStartOffset: 0,
      highWatermark: 2,
      offset: 3,
    });
    expect(await codeOf(readFrom(broker, { offset: 3 }))).toBe('offset_out_of_range');
    expect(await codeOf(readFrom(broker, { offset: 1 }, 5))).toBe('offset_out_of_range');
    expect(await codeOf(readFrom(broker, { offset: 0 }, 16))).toBe('unknown_partition');
    for (const from of [{ offset: -1 }, { offset: 0.5 }, { tail: -1 }, { timestampMs: -1 }, { offset: Number.NaN }]) {
      expect(await codeOf(readFrom(broker, from))).toBe('invalid_request');
    }
    for (const maxBytes of [0, -1, 0.5, 64 * 1024 * 1024 + 1]) {
      expect(await codeOf(readFrom(broker, { offset: 0 }, 0, maxBytes))).toBe('invalid_request');
    }
    expect(await codeOf(broker.read({ topic: 't', partition: 0, from: { offset: 0 }, waitMs: 20_001 }))).toBe(
      'invalid_request',
    );
    expect(await codeOf(broker.read({ topic: 'none', partition: 0, from: { offset: 0 } }))).toBe('unknown_topic');
  });

  it('finds every record of sparse partitions among busy ones', async () => {
    const { stores, broker } = await setUp();
    const random = new SeededRandom(5);
    const expected = Array.from({ length: 16 }, (): string[] => []);
    for (let i = 0; i < 900; i++) {
      // Partition p gets one in 2^p or so.
      const partition = Math.min(15, Math.floor(-Math.log2(random.next() + 2 ** -16)));
      await appendTo(broker, 't', partition, [`${i}`]);
      (expected[partition] as string[]).push(`${i}`);
      if (i % 50 === 0) await broker.idle();
    }
    for (const reader of [broker, memoryBroker(stores)]) {
      for (let partition = 0; partition < 16; partition++) {
        expect(await valuesOf(reader, 't', partition)).toEqual(expected[partition]);
        expect(await valuesOf(reader, 't', partition, { maxBytes: 1 })).toEqual(expected[partition]);
      }
    }
  });

  it('passes over no record where it stops looking through nodes that hold nothing of the partition', async () => {
    const { stores, broker } = await setUp();
    const others = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        await appendTo(broker, 't', 1, ['noise']);
        if (i % 8 === 0) await broker.idle();
      }
    };
    await appendTo(broker, 't', 0, ['first'], { records: [record('first', { partition: 0, timestampMs: 5 })] });
    await others(8 * 32 * 34);
    await appendTo(broker, 't', 0, ['second'], { records: [record('second', { partition: 0, timestampMs: 3 })] });
    await others(40);
    await appendTo(broker, 't', 0, ['third'], { records: [record('third', { partition: 0, timestampMs: 9 })] });
    for (const reader of [broker, memoryBroker(stores)]) {
      expect(await valuesOf(reader, 't', 0)).toEqual(['first', 'second', 'third']);
      expect((await readFrom(reader, { timestampMs: 9 })).values).toEqual(['third']);
      expect((await readFrom(reader, { timestampMs: 4 })).offset).toBe(0);
      expect((await reader.listSegments('t', { partition: 0 })).items.map((segment) => segment.startOffset)).toEqual([
        0, 1, 2,
      ]);
    }
  });

  it('from the end counts back', async () => {
    const { broker } = await setUp();
    for (const value of ['a', 'b', 'c']) await appendTo(broker, 't', 0, [value, `${value}+`]);
    expect((await readFrom(broker, { tail: 0 })).values).toEqual([]);
    expect((await readFrom(broker, { tail: 1 })).values).toEqual(['c+']);
    expect((await readFrom(broker, { tail: 4 })).values).toEqual(['b', 'b+', 'c', 'c+']);
    expect((await readFrom(broker, { tail: 99 })).values).toHaveLength(6);
  });
});

describe('a read by time', () => {
  it('begins with the first record of that time or later, in order of offsets, however the times lie', async () => {
    const { stores, broker } = await setUp(3);
    const random = new SeededRandom(8);
    const times: number[][] = [[], [], []];
    for (let i = 0; i < 260; i++) {
      const partition = random.below(3);
      const records = Array.from({ length: 1 + random.below(4) }, () =>
        record('v', { partition, timestampMs: T - 3_600_000 + i * 10_000 + random.below(600_000) - 300_000 }),
      );
      (times[partition] as number[]).push(...records.map((each) => each.timestampMs as number));
      await broker.appendRecords({ topic: 't', records });
      if (i % 25 === 0) await broker.idle();
    }
    for (const reader of [broker, memoryBroker(stores)]) {
      for (let partition = 0; partition < 3; partition++) {
        const own = times[partition] as number[];
        const asked = [
          0,
          ...own.slice(0, 120),
          ...own.map((time) => time + 1).slice(60, 120),
          Math.max(...own),
          Math.max(...own) + 1,
        ];
        for (const timestampMs of asked) {
          const at = own.findIndex((time) => time >= timestampMs);
          const found = await reader.offsetForTime('t', partition, timestampMs);
          expect(found).toMatchObject({
            offset: at < 0 ? own.length : at,
            timestampMs: at < 0 ? null : own[at],
            logStartOffset: 0,
            highWatermark: own.length,
          });
          const read = await reader.read({ topic: 't', partition, from: { timestampMs }, maxBytes: 1 });
          expect(read.offset).toBe(found.offset);
        }
      }
    }
  });
});

describe('a read that waits', () => {
  it('is woken at once by an append of the same process', async () => {
    const { stores, broker } = await setUp();
    const startMs = stores.clock.nowMs();
    const waiting = readWaiting(broker, 0);
    await turn();
    expect(stores.clock.sleeping).toBe(1);
    await appendTo(broker, 't', 0, ['news']);
    expect(await waiting).toEqual(['news']);
    expect(stores.clock.nowMs()).toBe(startMs);
    expect(stores.clock.sleeping).toBe(0);
  });

  it('is not woken by other partitions, and ends in time with nothing', async () => {
    const { stores, broker } = await setUp();
    const startMs = stores.clock.nowMs();
    const waiting = readWaiting(broker, 0, 5_000);
    await turn();
    await appendTo(broker, 't', 1, ['other']);
    expect(await stores.clock.run(waiting)).toEqual([]);
    expect(stores.clock.nowMs() - startMs).toBe(5_000);
  });

  it('sees appends of other processes by looking again', async () => {
    const { stores, broker } = await setUp();
    const other = memoryBroker(stores);
    const startMs = stores.clock.nowMs();
    const waiting = readWaiting(broker, 0, 20_000);
    await stores.clock.advance(3_010);
    const before = requestsFor(broker, 'read').getItem;
    expect(before).toBeLessThanOrEqual(14);
    await appendTo(other, 't', 0, ['news']);
    expect(await stores.clock.run(waiting)).toEqual(['news']);
    expect(stores.clock.nowMs() - startMs).toBeLessThanOrEqual(3_010 + (DEFAULT_SETTINGS.pollIntervalMs ?? 0));
  });

  it('misses no append that falls between its look and its wait', async () => {
    for (let steps = 0; steps < 40; steps++) {
      const { stores, broker } = await setUp();
      const waiting = readWaiting(broker, 0, 10_000);
      for (let i = 0; i < steps; i++) await Promise.resolve();
      const appended = appendTo(broker, 't', 0, ['news']);
      await appended;
      await turn();
      // Without the clock moving at all.
      expect(await waiting).toEqual(['news']);
      expect(stores.clock.sleeping).toBe(0);
    }
  });

  it('ends at once when it is aborted, and leaves nothing behind', async () => {
    const { stores, broker } = await setUp();
    const stop = new AbortController();
    const waiting = broker.read({ topic: 't', partition: 0, from: { offset: 0 }, waitMs: 20_000, signal: stop.signal });
    await turn();
    stop.abort();
    expect((await waiting).nextOffset).toBe(0);
    expect(stores.clock.sleeping).toBe(0);
  });

  it('resolves a time once, and then waits there', async () => {
    const { stores, broker } = await setUp();
    const waiting = broker.read({ topic: 't', partition: 0, from: { timestampMs: T + 500_000 }, waitMs: 1_000 });
    await turn();
    await broker.appendRecords({ topic: 't', records: [record('older', { partition: 0, timestampMs: T })] });
    expect((await stores.clock.run(waiting)).offset).toBe(0);
  });

  async function readWaiting(broker: Broker, partition: number, waitMs = 10_000): Promise<string[]> {
    const { batches } = await broker.read({ topic: 't', partition, from: { offset: 0 }, waitMs });
    const values: string[] = [];
    for await (const { bytes, header, baseOffset } of batches) {
      values.push(...decodeRecords(bytes, 0, header, baseOffset).map((each) => text(each.value)));
    }
    return values;
  }
});

describe('data that is damaged or gone', () => {
  const large = 'x'.repeat(20_000);

  it.each([
    ['inline', 'v', 'batch#'],
    ['hot', large, 'hot/'],
  ])('of an %s batch is corrupt_data naming it, and hurts no other batch', async (_name, value, prefix) => {
    for (const damage of ['missing', 'short', 'flipped', 'longer'] as const) {
      const { stores, broker } = await setUp();
      await appendTo(broker, 't', 0, [`0${value}`]);
      await appendTo(broker, 't', 0, [`1${value}`]);
      await appendTo(broker, 't', 1, [`2${value}`]);
      const { items } = await broker.listSegments('t', { partition: 0 });
      const damaged = items[1]?.storedAs as string;
      expect(damaged.startsWith(prefix)).toBe(true);
      const broken = damageReads(stores, damaged, damage);
      const reader = memoryBroker(broken);
      expect((await readFrom(reader, { offset: 0 }, 0, 1)).values).toEqual([`0${value}`]);
      expect(await codeOf(readFrom(reader, { offset: 1 }))).toBe('corrupt_data');
      expect(await details(readFrom(reader, { offset: 1 }))).toMatchObject({ storedAs: damaged });
      expect(await codeOf(readFrom(reader, { offset: 0 }))).toBe('corrupt_data');
      expect((await readFrom(reader, { offset: 0 }, 1)).values).toEqual([`2${value}`]);
      expect(await appendTo(reader, 't', 0, ['on'])).toBe(2);
      expect((await readFrom(reader, { offset: 2 })).values).toEqual(['on']);
      // Nothing damaged was kept in memory.
      expect(await codeOf(readFrom(reader, { offset: 1 }))).toBe('corrupt_data');
      // A fetch plan has inline data itself, unchecked.
      if (prefix === 'batch#' && damage === 'missing') {
        const plan = reader.planFetch({ topic: 't', partitions: [{ partition: 0, offset: 1 }] });
        expect(await details(plan)).toMatchObject({ storedAs: damaged });
      }
    }
  });

  it('of a batch whose header lies about its records is corrupt_data', async () => {
    const { stores, broker } = await setUp();
    // Batches of the same length: two records, and one.
    await appendTo(broker, 't', 0, ['a', 'b']);
    await appendTo(broker, 't', 1, ['123456789']);
    const keyOf = async (partition: number): Promise<ItemKey> => {
      const { items } = await broker.listSegments('t', { partition });
      const [pk = '', sk = ''] = items[0]?.storedAs.split('/') ?? [];
      return { pk, sk };
    };
    const other = await stores.items.get(await keyOf(1));
    await stores.items.put(await keyOf(0), other.attributes as NonNullable<typeof other.attributes>);
    expect(await codeOf(readFrom(memoryBroker(stores), { offset: 0 }))).toBe('corrupt_data');
  });

  it('is not what a reader did to the bytes that it was given', async () => {
    const { broker } = await setUp();
    for (const value of ['v', large]) {
      const offset = await appendTo(broker, 't', 0, [value]);
      for (let i = 0; i < 3; i++) {
        const { batches } = await broker.read({ topic: 't', partition: 0, from: { offset } });
        for await (const batch of batches) {
          expect(decodeRecords(batch.bytes, 0, readBatchHeader(batch.bytes))[0]?.offset).toBe(offset);
          batch.bytes.fill(0);
        }
      }
      expect(await valuesOf(broker, 't', 0, { from: offset })).toEqual([value]);
    }
  });

  it('of a tail node is corrupt_data, and the tail can be read and appended to', async () => {
    for (const damage of ['missing', 'flipped'] as const) {
      const { stores, broker } = await setUp();
      for (let i = 0; i < 40; i++) {
        await appendTo(broker, 't', i % 2, [`${i}`]);
        await broker.idle();
      }
      const { topicId } = await broker.describeTopic('t');
      const node = { pk: `node#${topicId}#0`, sk: '0000000000000016' };
      const { attributes } = await stores.items.get(node);
      if (damage === 'missing') await stores.items.delete(node);
      else await stores.items.put(node, { ...attributes, m: Uint8Array.of(99) });
      const reader = memoryBroker(stores);
      expect(await codeOf(readFrom(reader, { offset: 8 }))).toBe('corrupt_data');
      expect(await codeOf(readFrom(reader, { offset: 0 }))).toBe('corrupt_data');
      expect((await readFrom(reader, { tail: 1 })).values).toEqual(['38']);
      expect(await appendTo(reader, 't', 0, ['on'])).toBe(20);
    }
  });

  function damageReads<S extends ReturnType<typeof memoryStores>>(
    stores: S,
    key: string,
    damage: 'missing' | 'short' | 'flipped' | 'longer',
  ): S {
    const change = (bytes: Uint8Array): Uint8Array => {
      if (damage === 'short') return bytes.slice(0, -1);
      if (damage === 'longer') return Uint8Array.from([...bytes, 0]).subarray(1);
      return bytes.map((byte, i) => (i === bytes.length - 1 ? byte ^ 1 : byte));
    };
    const damaged = faultyStores(stores, () => undefined);
    const { items, objects } = damaged;
    const getItem = items.get.bind(items);
    items.get = async (itemKey) => {
      const read = await getItem(itemKey);
      if (`${itemKey.pk}/${itemKey.sk}` !== key || read.attributes === undefined) return read;
      if (damage === 'missing') return { ...read, attributes: undefined };
      return { ...read, attributes: { ...read.attributes, d: change(read.attributes.d as Uint8Array) } };
    };
    const getObject = objects.get.bind(objects);
    objects.get = async (objectKey, range) => {
      const bytes = await getObject(objectKey, range);
      if (objectKey !== key || bytes === undefined) return bytes;
      return damage === 'missing' ? undefined : change(bytes);
    };
    return damaged;
  }
});

describe('the segment map', () => {
  it('reads each head once, so that a topic of many partitions without records can be listed in time', async () => {
    const { stores, broker } = await setUp();
    await broker.putTopic({ name: 'wide', partitions: 10_000 });
    await appendTo(broker, 'wide', 9_999, ['v']);
    const reader = memoryBroker(stores);
    const { items } = await reader.listSegments('wide');
    expect(items).toMatchObject([{ partition: 9_999, startOffset: 0, endOffset: 1 }]);
    expect(requestsFor(reader, 'read')).toMatchObject({ getItem: 625, query: 0 });
  });

  it('names where every offset lies, page by page, over partitions', async () => {
    const { stores, broker } = await setUp(3);
    for (let i = 0; i < 60; i++) {
      await appendTo(
        broker,
        't',
        i % 3,
        Array.from({ length: 1 + (i % 4) }, () => (i % 5 === 0 ? 'x'.repeat(9_000) : 'v')),
      );
      await broker.idle();
    }
    const reader = memoryBroker(stores);
    for (const limit of [1, 7, 1_000]) {
      const segments: { partition: number; startOffset: number; endOffset: number; storage: string; bytes: number }[] =
        [];
      let pageToken: string | undefined;
      do {
        const page = await reader.listSegments('t', { limit, pageToken });
        expect(page.items.length).toBeLessThanOrEqual(limit);
        segments.push(...page.items);
        pageToken = page.nextPageToken;
      } while (pageToken !== undefined);
      const described = await reader.describePartitions('t');
      for (const { partition, highWatermark, bytes } of described) {
        const own = segments.filter((segment) => segment.partition === partition);
        let next = 0;
        for (const { startOffset, endOffset } of own) {
          expect(startOffset).toBe(next);
          next = endOffset;
        }
        expect(next).toBe(highWatermark);
        expect(own.reduce((sum, segment) => sum + segment.bytes, 0)).toBe(bytes);
      }
      expect(new Set(segments.map((segment) => segment.storage))).toEqual(new Set(['inline', 'hot']));
    }
    expect(await codeOf(reader.listSegments('t', { pageToken: 'bm9uc2Vuc2U' }))).toBe('invalid_request');
    expect(await codeOf(reader.listSegments('t', { partition: 3 }))).toBe('unknown_partition');
  });

  it('plans a fetch whose bytes are the records', async () => {
    const { broker } = await setUp(2);
    for (let i = 0; i < 20; i++) await appendTo(broker, 't', 0, [`${i}`, `${i}+`]);
    await broker.idle();
    const plan = await broker.planFetch({
      topic: 't',
      partitions: [
        { partition: 0, offset: 5 },
        { partition: 1, offset: 0 },
      ],
    });
    expect(plan.partitions[1]).toMatchObject({ partition: 1, nextOffset: 0, highWatermark: 0, parts: [] });
    const parts = plan.partitions[0]?.parts ?? [];
    expect(parts[0]?.startOffset).toBe(4);
    expect(parts.at(-1)?.endOffset).toBe(40);
    const all = await readAll(broker, 't', 0);
    for (const part of parts) {
      if (part.storage !== 'inline') throw new Error('not inline');
      const decoded = decodeRecords(part.data, 0, readBatchHeader(part.data), part.startOffset);
      expect(decoded).toEqual(all.slice(part.startOffset, part.endOffset));
    }
    expect(await codeOf(broker.planFetch({ topic: 't', partitions: [] }))).toBe('invalid_request');
    expect(await codeOf(broker.planFetch({ topic: 't', partitions: [{ partition: 0, offset: 41 }] }))).toBe(
      'offset_out_of_range',
    );
    expect(await codeOf(broker.planFetch({ topic: 't', partitions: [{ partition: 0, offset: 0, maxBytes: 0 }] }))).toBe(
      'invalid_request',
    );
  });
});
