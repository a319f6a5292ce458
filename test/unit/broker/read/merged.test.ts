import { describe, expect, it } from 'vitest';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { recordsOf, type StoredBatch } from '../../../../shared/log/batch/stored-batch.ts';
import { HEAD, headKey } from '../../../../shared/storage/keys.ts';
import type { ItemKey } from '../../../../shared/storage/ports.ts';
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
import { type MergedBatch, MergedLog } from '../../../support/merged-log.ts';

/** Reads of a partition whose older records are in segments. */

async function setUp(partitions = 1) {
  const stores = memoryStores();
  const writer = memoryBroker(stores);
  await writer.putTopic({ name: 't', partitions });
  const { topicId } = await writer.describeTopic('t');
  const log = new MergedLog(stores, topicId);
  return {
    stores,
    writer,
    log,
    topicId,
    reader: (settings = {}) => memoryBroker(stores, settings),
    async append(count: number, value: (i: number) => string = (i) => `${i}`, partition = 0): Promise<void> {
      for (let i = 0; i < count; i++) {
        await appendTo(writer, 't', partition, [value(i)]);
        await writer.idle();
        await stores.clock.advance(1);
      }
    },
    async raiseStart(offset: number, partition = 0): Promise<void> {
      await stores.items.update(headKey(topicId, 0), [{ do: 'set', name: HEAD.start(partition), value: offset }]);
    },
  };
}

const numbers = (count: number, from = 0): string[] => Array.from({ length: count }, (_, i) => `${from + i}`);
const isOdd = ({ baseOffset }: MergedBatch): boolean => baseOffset % 2 === 1;

/** The values of one read from its offset on, and where it goes on. */
async function readOnce(broker: Broker, offset: number, maxBytes?: number) {
  const result = await broker.read({ topic: 't', partition: 0, from: { offset }, maxBytes });
  const values: string[] = [];
  for await (const batch of result.batches)
    for (const each of recordsOf(batch)) if (each.offset >= result.offset) values.push(text(each.value));
  return { values, nextOffset: result.nextOffset, highWatermark: result.highWatermark };
}

describe('a read of merged records', () => {
  it('gives the same records from any offset as before, whatever is merged, paged and cleaned', async () => {
    const { writer, log, reader } = await setUp(3);
    const random = new SeededRandom(21);
    for (let i = 0; i < 150; i++) {
      const values = Array.from({ length: 1 + random.below(4) }, (_, k) =>
        `${i}.${k}`.padEnd(random.below(3_000), '.'),
      );
      await appendTo(writer, 't', random.below(3), values);
      await writer.idle();
    }
    const before = await Promise.all([0, 1, 2].map((partition) => readAll(reader(), 't', partition)));
    const check = async (): Promise<void> => {
      for (const broker of [reader(), reader({ cacheBytesMax: 1 }), writer]) {
        for (const [partition, all] of before.entries()) {
          for (const from of [0, 1, Math.floor(all.length / 2), all.length - 1, all.length]) {
            for (const maxBytes of [1, 5_000, 1_000_000])
              expect(await readAll(broker, 't', partition, { from, maxBytes })).toEqual(all.slice(from));
          }
        }
      }
    };
    await log.merge({ nodes: 2 });
    await check();
    for (const nodes of [1, 3, 2, 4]) await log.merge({ nodes });
    await check();
    await log.spill(0, 2);
    await log.spill(1, 2);
    await log.spill(1, 1);
    await log.clean();
    await check();
    await log.merge();
    await log.replace(0, 0, 3);
    await log.replace(1, 1, 1);
    await log.clean();
    await check();
  });

  it('gives batches whose bytes have their offsets, and that nobody shares', async () => {
    const { log, append, reader } = await setUp();
    await append(16);
    await log.merge();
    const broker = reader();
    for (let i = 0; i < 2; i++) {
      const { batches } = await broker.read({ topic: 't', partition: 0, from: { offset: 3 } });
      for await (const batch of batches) {
        expect(recordsOf(batch).map(({ offset }) => offset)).toEqual([batch.baseOffset]);
        batch.bytes.fill(0);
      }
    }
    expect(await valuesOf(broker, 't', 0)).toEqual(numbers(16));
  });

  it('passes over offsets that have no record any more', async () => {
    const { log, append, reader } = await setUp();
    await append(8);
    await log.merge();
    await append(8, (i) => `${8 + i}`);
    await log.merge({ keeps: isOdd });
    await append(8, (i) => `${16 + i}`);
    await log.merge({ keeps: () => false });
    await append(11, (i) => `${24 + i}`);
    const left = [...numbers(8), '9', '11', '13', '15', ...numbers(11, 24)];
    for (const broker of [reader(), reader({ cacheBytesMax: 1 })]) {
      for (let from = 0; from <= 35; from++) {
        for (const maxBytes of [1, 100_000])
          expect(await valuesOf(broker, 't', 0, { from, maxBytes })).toEqual(
            left.filter((value) => Number(value) >= from),
          );
      }
    }
    // Merged and compacted away up to the end: the read goes on to the end although there is nothing.
    await log.merge();
    await log.replace(0, 2, 2, () => false);
    await log.clean();
    const broker = reader();
    expect(await readOnce(broker, 16)).toMatchObject({ values: numbers(3, 32), nextOffset: 35 });
  });

  it('makes progress over a gap up to the end of the partition', async () => {
    const { log, append, reader, stores } = await setUp();
    await append(16);
    await log.merge({ keeps: ({ baseOffset }) => baseOffset < 10 });
    const broker = reader();
    expect(await readOnce(broker, 10)).toEqual({ values: [], nextOffset: 16, highWatermark: 16 });
    const waiting = broker.read({ topic: 't', partition: 0, from: { offset: 12 }, waitMs: 1_000 });
    expect((await stores.clock.run(waiting)).nextOffset).toBe(16);
    await log.replace(0, 0, 1, () => false);
    expect(await readOnce(reader(), 0)).toEqual({ values: [], nextOffset: 16, highWatermark: 16 });
    expect((await reader().listSegments('t')).items).toEqual([]);
  });

  it('does not give what was appended after it looked at the head, although the list has it already', async () => {
    const { stores, log, append, topicId } = await setUp();
    await append(16);
    await log.merge();
    let hasMore = false;
    const { items } = stores;
    const slow = memoryBroker({
      ...stores,
      items: {
        ...bound(items),
        get: async (key: ItemKey) => {
          const read = await items.get(key);
          if (key.pk === headKey(topicId, 0).pk && !hasMore) {
            hasMore = true;
            await append(17, (i) => `${16 + i}`);
            await log.merge();
            await log.clean();
          }
          return read;
        },
      } as Stores['items'],
    });
    expect(await readOnce(slow, 3)).toEqual({ values: numbers(13, 3), nextOffset: 16, highWatermark: 16 });
    expect(hasMore).toBe(true);
    expect(requestsFor(slow, 'read').getObject).toBe(1);
    expect(await readOnce(slow, 16)).toMatchObject({ values: numbers(17, 16) });
  });

  it('finds no time in what was appended after it looked at the head', async () => {
    const { stores, log, topicId, writer } = await setUp();
    const append = async (count: number, timeOf: (i: number) => number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        const records = [record('v', { partition: 0, timestampMs: timeOf(i) })];
        await writer.appendRecords({ topic: 't', records });
        await writer.idle();
      }
    };
    await append(16, (i) => (i === 3 ? 1_000 : 1));
    const head = await stores.items.get(headKey(topicId, 0));
    await append(16, () => 1_000);
    // The record that made the old head promise one of this time is compacted away.
    await log.merge({ keeps: ({ baseOffset }) => baseOffset !== 3 });
    expect(await memoryBroker(staleHead(stores, head)).offsetForTime('t', 0, 900)).toMatchObject({
      offset: 16,
      timestampMs: null,
      highWatermark: 16,
    });
    expect(await memoryBroker(stores).offsetForTime('t', 0, 900)).toMatchObject({ offset: 16, timestampMs: 1_000 });
  });

  it('ends where it found the end of the partition, although a block of a newer list goes on', async () => {
    const { stores, log, append, topicId } = await setUp();
    // Seven batches to a block.
    await append(16, (i) => `${i}`.padEnd(10_000, '.'));
    const head = await stores.items.get(headKey(topicId, 0));
    await append(20, (i) => `${16 + i}`.padEnd(10_000, '.'));
    await log.merge();
    for (const maxBytes of [1, 200_000, 10_000_000]) {
      const slow = memoryBroker(staleHead(stores, head));
      const { values, nextOffset } = await readOnce(slow, 14, maxBytes);
      expect(values.map((value) => value.replaceAll('.', ''))).toEqual(['14', '15']);
      expect(nextOffset).toBe(16);
    }
  });
});

describe('a read during jobs', () => {
  it('finds in segments what was merged and cleaned after it began', async () => {
    const { log, append, reader } = await setUp();
    await append(60, (i) => `${i}`.padEnd(i % 3 === 0 ? 9_000 : 10, '.'));
    for (const taken of [0, 1, 20, 59]) {
      for (const offset of [0, 5]) {
        const { batches } = await reader({ cacheBytesMax: 1 }).read({ topic: 't', partition: 0, from: { offset } });
        const values = await takeWith(batches, taken, async () => {
          await log.merge({ nodes: 2 });
          await log.clean();
        });
        expect(values.map((value) => value.replaceAll('.', ''))).toEqual(numbers(60 - offset, offset));
      }
    }
  });

  it('looks again each time that something is missing', async () => {
    const { log, append, reader } = await setUp();
    await append(100);
    const { batches } = await reader({ cacheBytesMax: 1 }).read({ topic: 't', partition: 0, from: { offset: 0 } });
    let looks = 0;
    const values: string[] = [];
    for await (const batch of batches) {
      values.push(...recordsOf(batch).map((each) => text(each.value)));
      if (values.length % 16 !== 1) continue;
      looks++;
      await log.merge({ nodes: 2 });
      await log.clean();
    }
    expect(values).toEqual(numbers(100));
    expect(looks).toBeGreaterThan(4);
  });

  it('goes on in the segment that replaced the one it was reading', async () => {
    const { log, append, reader } = await setUp();
    for (let i = 0; i < 12; i++) {
      await append(8, (k) => `${8 * i + k}`.padEnd(40_000, '.'));
      await log.merge();
    }
    const { batches, nextOffset } = await reader({ cacheBytesMax: 1 }).read({
      topic: 't',
      partition: 0,
      from: { offset: 2 },
      maxBytes: 3_000_000,
    });
    const values = await takeWith(batches, 9, async () => {
      await log.replace(0, 0, 12, ({ baseOffset }) => baseOffset !== 60);
      await log.clean();
    });
    expect(values.map((value) => value.replaceAll('.', ''))).toEqual(
      numbers(nextOffset - 2, 2).filter((value) => value !== '60'),
    );
  });

  it('sees a segment list that was replaced while it was remembered', async () => {
    const { log, append, reader } = await setUp();
    await append(33);
    await log.merge({ nodes: 2 });
    const broker = reader({ cacheBytesMax: 20_000 });
    expect(await valuesOf(broker, 't', 0, { from: 2 })).toEqual(numbers(31, 2));
    await log.merge();
    await log.replace(0, 0, 2);
    await log.clean();
    expect(await valuesOf(broker, 't', 0)).toEqual(numbers(33));
    expect(await broker.offsetForTime('t', 0, 1)).toMatchObject({ offset: 0 });
  });

  it('is out of range if retention dropped what it was going to take', async () => {
    const { log, append, reader, raiseStart, stores } = await setUp();
    await append(81);
    for (let i = 0; i < 10; i++) await log.merge({ nodes: 1 });
    const broker = reader({ cacheBytesMax: 1 });
    const { batches } = await broker.read({ topic: 't', partition: 0, from: { offset: 2 }, maxBytes: 1_000_000 });
    const taking = takeWith(batches, 3, async () => {
      await raiseStart(76);
      await log.drop(0, 76);
      await log.clean();
    });
    await expect(taking).rejects.toMatchObject({
      code: 'offset_out_of_range',
      details: { logStartOffset: 76, highWatermark: 81 },
    });
    // A look that knew the old start, and the old list.
    const now = await stores.items.get(headKey((await broker.describeTopic('t')).topicId, 0));
    const stale = staleHead(stores, { ...now, attributes: { ...now.attributes, [HEAD.start(0)]: 0 } });
    await expect(memoryBroker(stale).read({ topic: 't', partition: 0, from: { offset: 4 } })).rejects.toMatchObject({
      code: 'offset_out_of_range',
      details: { offset: 4, logStartOffset: 76, highWatermark: 81 },
    });
  });

  it('goes on although retention has dropped what it has taken, and fetches nothing that it does not need', async () => {
    const { log, append, reader, raiseStart } = await setUp();
    const value = (i: number): string => `${i}`.padEnd(40_000, '.');
    for (let i = 0; i < 20; i++) {
      await append(8, (k) => value(8 * i + k));
      await log.merge();
    }
    const broker = reader({ cacheBytesMax: 1 });
    const { batches, nextOffset } = await broker.read({
      topic: 't',
      partition: 0,
      from: { offset: 2 },
      maxBytes: 3_000_000,
    });
    let before = 0;
    const values = await takeWith(batches, 30, async () => {
      await raiseStart(30);
      await log.drop(0, 30);
      await log.replace(0, 0, 12);
      await log.clean();
      before = requestsFor(broker, 'read').bytesRead;
    });
    expect(values.map((each) => each.replaceAll('.', ''))).toEqual(numbers(nextOffset - 2, 2));
    // The new segment as a whole, but none of those behind it.
    const [replaced] = (await log.list()).slots[0]?.segments ?? [];
    expect(requestsFor(broker, 'read').bytesRead - before).toBeLessThanOrEqual(
      (replaced?.bytes ?? 0) + (replaced?.indexBytes ?? 0),
    );
  });

  it('by time begins at a record that was appended while it looked again', async () => {
    const { log, append, stores, writer } = await setUp();
    for (let i = 0; i < 40; i++) {
      await writer.appendRecords({ topic: 't', records: [record(`${i}`, { partition: 0, timestampMs: 100 + i })] });
      await writer.idle();
    }
    await log.merge();
    const get = stores.objects.get.bind(stores.objects);
    let isReplaced = false;
    const busy = Object.assign(Object.create(stores.objects) as typeof stores.objects, {
      get: async (...args: Parameters<typeof get>) => {
        if (!isReplaced) {
          isReplaced = true;
          await log.replace(0, 0, 1, ({ baseOffset }) => baseOffset < 20);
          await log.clean();
          await append(2, (i) => `new ${i}`);
        }
        return get(...args);
      },
    });
    const other = memoryBroker({ ...stores, objects: busy });
    const known = { topic: 't', partition: 0 };
    const { offset, highWatermark, batches } = await other.read({ ...known, from: { timestampMs: 130 } });
    expect([offset, highWatermark]).toEqual([40, 42]);
    expect(await takeWith(batches, -1, async () => {})).toEqual(['new 0', 'new 1']);
  });

  it('is corrupt_data if a segment, a page or a node is missing, and names it', async () => {
    const { log, append, reader, stores, topicId } = await setUp();
    await append(33);
    await log.merge({ nodes: 1 });
    await log.merge({ nodes: 1 });
    await log.spill(0, 1);
    const [segment] = (await log.list()).slots[0]?.segments ?? [];
    const key = log.keyOf(0, segment as NonNullable<typeof segment>);
    await stores.objects.delete(key);
    const error = await readOnce(reader(), 0).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'corrupt_data', details: { storedAs: key } });
    expect(await readOnce(reader(), 0, 1)).toMatchObject({ values: numbers(8), nextOffset: 8 });
    await stores.items.delete({ pk: `node#${topicId}#0`, sk: '0000000000000016' });
    expect(await codeOf(readOnce(reader(), 16))).toBe('corrupt_data');
    expect(await readOnce(reader(), 32)).toMatchObject({ values: ['32'] });
    await stores.items.delete({ pk: `segments#${topicId}#0`, sk: '00#0000000000000000#0000000000000005' });
    expect(await codeOf(readOnce(reader(), 0, 1))).toBe('corrupt_data');
  });

  it('is unknown_topic if the topic was deleted, although there is another of its name', async () => {
    const { log, append, reader, writer, stores } = await setUp();
    await append(81);
    for (let i = 0; i < 10; i++) await log.merge({ nodes: 1 });
    const broker = reader({ cacheBytesMax: 1 });
    const { batches } = await broker.read({ topic: 't', partition: 0, from: { offset: 2 } });
    const taking = takeWith(batches, 3, async () => {
      await writer.deleteTopic('t');
      for (const segment of (await log.list()).slots[0]?.segments ?? [])
        await stores.objects.delete(log.keyOf(0, segment));
      await stores.clock.advance(3_600_001);
      await writer.resumeDeletions();
      await writer.putTopic({ name: 't' });
      for (let i = 0; i < 10; i++) await appendTo(writer, 't', 0, ['new']);
    });
    await expect(taking).rejects.toMatchObject({ code: 'unknown_topic' });
  });
});

describe('the size of a partition', () => {
  it('is what is kept', async () => {
    const { log, append, reader, raiseStart } = await setUp(2);
    await append(33);
    await append(9, () => 'other', 1);
    const sizes = async (): Promise<number[]> => (await reader().describePartitions('t')).map(({ bytes }) => bytes);
    const whole = await sizes();
    await log.merge({ nodes: 1 });
    expect(await sizes()).toEqual(whole);
    for (const nodes of [1, 1, 1]) await log.merge({ nodes });
    expect(await sizes()).toEqual(whole);
    await log.spill(0, 2);
    expect(await sizes()).toEqual(whole);
    const [page] = (await log.list()).slots[0]?.pages ?? [];
    const [first, second] = await log.segmentsOf(0, page as NonNullable<typeof page>);
    await raiseStart(first?.endOffset ?? 0);
    await log.drop(0, first?.endOffset ?? 0);
    expect(await sizes()).toEqual([(whole[0] as number) - (first?.bytes ?? 0), whole[1]]);
    expect((await readOnce(reader(), 8)).values[0]).toBe('8');
    await log.replace(0, 0, 1, isOdd);
    const kept = (await sizes())[0] as number;
    expect(kept).toBeLessThan((whole[0] as number) - (first?.bytes ?? 0));
    expect(kept).toBeGreaterThan(second?.bytes ?? 0);
  });
});

describe('what a reader of merged records pays', () => {
  it('is nothing more at the tail, and one GetItem a minute for the list behind it', async () => {
    const { log, append, reader, stores } = await setUp();
    await append(44);
    await log.merge({ nodes: 3 });
    await log.spill(0, 1);
    const broker = reader({ topicCacheMs: 1e9 });
    const items = async (offset: number): Promise<number> => {
      const before = requestsFor(broker, 'read').getItem;
      await broker.read({ topic: 't', partition: 0, from: { offset }, maxBytes: 1 });
      return requestsFor(broker, 'read').getItem - before;
    };
    expect(await items(40)).toBe(1);
    // The head, the list and the page; then only the head.
    expect(await items(3)).toBe(3);
    expect(await items(3)).toBe(1);
    await stores.clock.advance(59_000);
    expect(await items(3)).toBe(1);
    await stores.clock.advance(1_001);
    expect(await items(3)).toBe(2);
    expect(await items(40)).toBe(1);
  });
});

describe('the objects that a reader of merged records gets', () => {
  const MIB = 1024 * 1024;

  /** Two segments, of 30 MiB and of 9 MiB. */
  async function setUpLarge() {
    const set = await setUp();
    const { writer, log, append, stores } = set;
    const startMs = stores.clock.nowMs();
    await writer.putTopic({ name: 't', config: { 'max.message.bytes': 2 * MIB } });
    await append(40, () => 'x'.repeat(0.75 * MIB));
    await log.merge();
    await append(48, () => 'x'.repeat(0.1875 * MIB));
    await log.merge();
    await log.clean();
    const segments = (await log.list()).slots[0]?.segments ?? [];
    expect(segments.map(({ bytes }) => Math.floor(bytes / MIB))).toEqual([30, 9]);
    const most = segments.reduce((sum, { bytes, indexBytes }) => sum + Math.ceil((bytes + indexBytes) / (8 * MIB)), 0);
    return { ...set, segments, most, startMs };
  }

  it.each([
    ['1 byte', 1],
    ['the default', undefined],
    ['5 MiB', 5 * MIB],
    ['64 MiB', 64 * MIB],
  ])('are at most one for each 8 MiB of a segment, in reads of %s', async (_, maxBytes) => {
    const { reader, most, segments } = await setUpLarge();
    const broker = reader();
    expect(await readAll(broker, 't', 0, maxBytes === undefined ? {} : { maxBytes })).toHaveLength(88);
    const { getObject, bytesRead } = requestsFor(broker, 'read');
    expect(getObject).toBeLessThanOrEqual(most);
    expect(bytesRead).toBe(segments.reduce((sum, { bytes, indexBytes }) => sum + bytes + indexBytes, 0));
  });

  it('are as few if each read stops before it has taken everything', async () => {
    const { reader, most } = await setUpLarge();
    const broker = reader();
    let reads = 0;
    for (let offset = 0; offset < 88; reads++) {
      const { batches } = await broker.read({ topic: 't', partition: 0, from: { offset }, maxBytes: 3 * MIB });
      for await (const batch of batches) {
        expect(batch.baseOffset).toBe(offset);
        offset = batch.endOffset;
        if (offset % 2 === 0) break;
      }
    }
    expect(reads).toBeGreaterThanOrEqual(44);
    expect(requestsFor(broker, 'read').getObject).toBeLessThanOrEqual(most);
  });

  it('are the index and the blocks for a read in the middle, and large chunks once reads go on', async () => {
    const { reader } = await setUpLarge();
    const broker = reader();
    const read = async (offset: number) => {
      const before = requestsFor(broker, 'read');
      const { nextOffset } = await readOnce(broker, offset, 1);
      const { getObject, bytesRead } = requestsFor(broker, 'read');
      return { nextOffset, getObject: getObject - before.getObject, mib: (bytesRead - before.bytesRead) / MIB };
    };
    const first = await read(7);
    expect(first).toMatchObject({ nextOffset: 8, getObject: 2 });
    expect(first.mib).toBeLessThan(0.8);
    const second = await read(8);
    expect(second).toMatchObject({ nextOffset: 9, getObject: 1 });
    expect(second.mib).toBeGreaterThanOrEqual(12);
    for (let offset = 9; offset < 24; offset++) expect((await read(offset)).getObject).toBe(0);
    const other = await read(30);
    expect(other.getObject).toBe(1);
    expect(other.mib).toBeLessThan(0.8);
  });

  it('are no large chunks for a read that begins at a time', async () => {
    const { reader, startMs } = await setUpLarge();
    const broker = reader();
    const from = { timestampMs: startMs + 20 };
    const { offset, batches } = await broker.read({ topic: 't', partition: 0, from, maxBytes: 2 * MIB });
    expect(offset).toBe(20);
    for await (const batch of batches) expect(batch.endOffset).toBeLessThanOrEqual(23);
    const { getObject, bytesRead } = requestsFor(broker, 'read');
    expect(getObject).toBe(3);
    expect(bytesRead).toBeLessThan(2.5 * MIB);
  });
});

/** Takes all values of a read, and does something after the first ones. */
async function takeWith(
  batches: AsyncIterable<StoredBatch>,
  after: number,
  work: () => Promise<void>,
): Promise<string[]> {
  const values: string[] = [];
  if (after === 0) await work();
  for await (const batch of batches) {
    values.push(...recordsOf(batch).map((each) => text(each.value)));
    if (values.length === after) await work();
  }
  return values;
}

type Stores = ReturnType<typeof memoryStores>;

function bound(items: Stores['items']): Stores['items'] {
  return {
    get: items.get.bind(items),
    put: items.put.bind(items),
    update: items.update.bind(items),
    delete: items.delete.bind(items),
    query: items.query.bind(items),
  } as Stores['items'];
}

/** Stores whose first read of the head finds it as it was before. */
function staleHead(stores: Stores, head: Awaited<ReturnType<Stores['items']['get']>>) {
  let isFirst = true;
  return {
    ...stores,
    items: {
      ...bound(stores.items),
      get: async (key: ItemKey) => {
        const read = await stores.items.get(key);
        if (!key.pk.startsWith('head#') || !isFirst) return read;
        isFirst = false;
        return head;
      },
    } as Stores['items'],
  };
}
