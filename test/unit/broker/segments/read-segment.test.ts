import { describe, expect, it } from 'vitest';
import type { BrokerContext } from '../../../../shared/broker/context.ts';
import { DataCache } from '../../../../shared/broker/memory/data-cache.ts';
import { SegmentCache } from '../../../../shared/broker/memory/segment-cache.ts';
import { openSegment, readSegment } from '../../../../shared/broker/segments/read-segment.ts';
import { blockAt, type SegmentPlace, segmentKey } from '../../../../shared/broker/segments/segment-blocks.ts';
import { DEFAULT_SETTINGS } from '../../../../shared/broker/settings.ts';
import { meteredStores } from '../../../../shared/broker/usage/metered-stores.ts';
import { noRequests } from '../../../../shared/broker/usage/request-counts.ts';
import { encodeBatch, placeBatch, readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import type { StoredBatch } from '../../../../shared/log/batch/stored-batch.ts';
import { concatBytes } from '../../../../shared/log/bytes.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { SegmentBuilder } from '../../../../shared/log/segment/segment-builder.ts';
import { positionOfOffset } from '../../../../shared/log/segment/segment-index.ts';
import { memoryStores, SeededRandom } from '../../../support/memory-broker.ts';

const MIB = 1024 * 1024;

/** One-record batches with values of these sizes, at offsets that leave out every tenth. */
function build(sizes: readonly number[], at = 100, filledWith = 0) {
  const builder = new SegmentBuilder();
  let offset = at;
  for (const size of sizes) {
    if (offset % 10 === 9) offset++;
    const batch = encodeBatch([
      { timestampMs: offset, key: null, value: new Uint8Array(size).fill(filledWith), headers: [] },
    ]);
    placeBatch(batch, 0, offset);
    builder.add(batch, readBatchHeader(batch), offset++);
  }
  return builder.finish();
}

async function setUp(
  sizes: readonly number[],
  cacheBytesMax = 64 * MIB,
  change?: (bytes: Uint8Array) => void,
  at = 100,
) {
  const stores = memoryStores();
  const counts = noRequests();
  const { objects } = meteredStores(stores, counts);
  const context = {
    clock: stores.clock,
    cache: new DataCache(cacheBytesMax),
    segments: new SegmentCache(cacheBytesMax),
    settings: DEFAULT_SETTINGS,
  } as Pick<BrokerContext, 'clock' | 'cache' | 'segments' | 'settings'> as BrokerContext;
  const { chunks, facts, index } = build(sizes, at);
  const segment = { ...facts, version: 7, writtenAtMs: 5 };
  const place: SegmentPlace = { topicId: 'id', partition: 3, segment };
  const bytes = concatBytes(chunks);
  change?.(bytes);
  await stores.objects.put(segmentKey(place), [bytes]);
  return { stores, context, counts, objects, place, index };
}

async function take(batches: AsyncIterable<readonly StoredBatch[]>): Promise<StoredBatch[]> {
  const all: StoredBatch[] = [];
  for await (const some of batches) all.push(...some);
  return all;
}

async function errorOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => 'no error',
    (error: unknown) => error,
  );
}

describe('a segment', () => {
  it('gives its batches with their offsets, block by block', async () => {
    const { context, objects, place, index } = await setUp(Array.from({ length: 40 }, (_, i) => i * 1_000));
    const all = await take(readSegment(context, objects, { place, isSequential: true }));
    expect(all.map(({ baseOffset }) => baseOffset)).toEqual(
      Array.from({ length: 45 }, (_, i) => 100 + i)
        .filter((offset) => offset % 10 !== 9)
        .slice(0, 40),
    );
    for (const { bytes, baseOffset, endOffset, header } of all) {
      expect(readBatchHeader(bytes)).toEqual(header);
      expect([header.baseOffset, endOffset]).toEqual([baseOffset, baseOffset + 1]);
    }
    expect(index.entries.length).toBeGreaterThan(5);
    const opened = await openSegment(context, objects, { place, isSequential: false }, 0);
    const some = await take(readSegment(context, objects, { place, isSequential: false }, opened, { from: 2, to: 4 }));
    const offsets = [index.entries[2]?.offset, index.entries[4]?.offset] as [number, number];
    expect(some).toEqual(all.filter(({ baseOffset }) => baseOffset >= offsets[0] && baseOffset < offsets[1]));
  });

  it('with any bit flipped is corrupt_data, naming it, and gives nothing of the damaged block', async () => {
    // The offsets leave out one in the middle of a block, so that its next batch could have another offset.
    const sizes = [10, 70_000, 10, 20, 30, 70_000, 5];
    const from = 106;
    const whole = await setUp(sizes, undefined, undefined, from);
    const { bytes, indexBytes } = whole.place.segment;
    const all = await take(readSegment(whole.context, whole.objects, { place: whole.place, isSequential: true }));
    expect(all.map(({ baseOffset }) => baseOffset)).toEqual([106, 107, 108, 110, 111, 112, 113]);
    const random = new SeededRandom(4);
    const places: number[] = [];
    // Each byte of the index, of the headers of batches, the last byte of offsets several times, and some others.
    for (let at = bytes; at < bytes + indexBytes; at++) places.push(at);
    let position = 0;
    for (const batch of all) {
      for (let at = 0; at < 62; at++) places.push(position + at);
      for (let i = 0; i < 10; i++) places.push(position + 7);
      position += batch.bytes.length;
    }
    for (let i = 0; i < 50; i++) places.push(random.below(bytes));
    for (const at of places) {
      for (const isSequential of [true, false]) {
        const bit = random.below(8);
        const flip = (stored: Uint8Array): void => {
          stored[at] = (stored[at] as number) ^ (1 << bit);
        };
        const { context, objects, place, index } = await setUp(sizes, 64 * MIB, flip, from);
        const got: number[] = [];
        const error = await errorOf(
          (async () => {
            for await (const some of readSegment(context, objects, { place, isSequential }))
              got.push(...some.map(({ baseOffset }) => baseOffset));
          })(),
        );
        expect(error, `byte ${at}`).toBeInstanceOf(EventLogError);
        expect(error).toMatchObject({ code: 'corrupt_data', details: { storedAs: segmentKey(place) } });
        const { position: damagedAt } = (error as EventLogError).details as { position: number };
        const block = index.entries.findLast((entry) => entry.position <= at);
        if (at < bytes) {
          expect(damagedAt).toBeGreaterThanOrEqual(block?.position ?? 0);
          // A wrong offset can show at the batch behind it.
          const end = index.entries.find((entry) => entry.position > at)?.position ?? bytes;
          expect(damagedAt).toBeLessThan(end);
        } else expect(damagedAt).toBe(bytes);
        const whole = all.map(({ baseOffset }) => baseOffset).filter((offset) => offset < (block?.offset ?? 0));
        expect(got).toEqual(at < bytes ? whole : []);
      }
    }
  });

  it('that is cut short, missing or not the one that the list names is refused', async () => {
    const { stores, context, objects, place } = await setUp([10, 70_000, 20]);
    const key = segmentKey(place);
    const bytes = (await stores.objects.get(key, { start: 0, end: 1e9 })) as Uint8Array;
    const read = { place, isSequential: true };
    await stores.objects.delete(key);
    expect(await errorOf(take(readSegment(context, objects, read)))).toMatchObject({
      code: 'corrupt_data',
      message: expect.stringContaining('is missing'),
      details: { storedAs: key },
    });
    await stores.objects.put(key, [bytes.subarray(0, -1)]);
    expect(await errorOf(take(readSegment(context, objects, read)))).toMatchObject({
      message: expect.stringContaining('ends too early'),
    });
    await stores.objects.delete(key);
    // Whole segments of the same length: with other offsets, and with other records.
    for (const other of [build([10, 70_000, 20], 110), build([10, 70_000, 20], 100, 7)]) {
      await stores.objects.put(key, other.chunks);
      expect(await errorOf(take(readSegment(context, objects, read)))).toMatchObject({
        message: expect.stringContaining('has an index that does not belong to it'),
      });
      await stores.objects.delete(key);
    }
    await stores.objects.put(key, [bytes]);
    expect(await take(readSegment(context, objects, read))).toHaveLength(3);
  });

  it('whose batches are in a wrong order, or beyond what the list says, is refused', async () => {
    const { stores, context, objects, place } = await setUp([10, 20, 30]);
    const key = segmentKey(place);
    const bytes = (await stores.objects.get(key, { start: 0, end: 1e9 })) as Uint8Array;
    const first = readBatchHeader(bytes).bytes;
    const second = readBatchHeader(bytes, first).bytes;
    await stores.objects.delete(key);
    const swapped = [bytes.subarray(first, first + second), bytes.subarray(0, first), bytes.subarray(first + second)];
    await stores.objects.put(key, swapped);
    expect(await errorOf(take(readSegment(context, objects, { place, isSequential: true })))).toMatchObject({
      message: expect.stringContaining('in a wrong place'),
    });
    await stores.objects.delete(key);
    await stores.objects.put(key, [bytes]);
    for (const wrong of [{ startOffset: 101 }, { endOffset: 102 }]) {
      const other = await setUp([10, 20, 30]);
      const named = { ...place, segment: { ...place.segment, ...wrong } };
      const otherKey = segmentKey(named);
      if (otherKey !== key) await other.stores.objects.put(otherKey, [bytes]);
      expect(
        await errorOf(take(readSegment(other.context, other.objects, { place: named, isSequential: true }))),
      ).toMatchObject({ code: 'corrupt_data' });
    }
  });

  it('is read again from the store after bytes arrived damaged', async () => {
    const { context, objects, place } = await setUp([10, 70_000, 20, 70_000, 30]);
    let damages = 2;
    const damaging: typeof objects = {
      ...objects,
      get: async (key, range) => {
        const bytes = await objects.get(key, range);
        if (damages-- > 0 && bytes !== undefined) bytes[70_500] = (bytes[70_500] as number) ^ 1;
        return bytes;
      },
    };
    for (const message of ['damaged', 'damaged'])
      expect(await errorOf(take(readSegment(context, damaging, { place, isSequential: true })))).toMatchObject({
        message: expect.stringContaining(message),
      });
    expect(await take(readSegment(context, damaging, { place, isSequential: true }))).toHaveLength(5);
  });
});

describe('the requests of a sequential read', () => {
  /** Reads a whole segment in pieces of `step` bytes, as one reader does by many requests. */
  async function readThrough(
    { context, objects, place }: Awaited<ReturnType<typeof setUp>>,
    step: number,
  ): Promise<number> {
    const { endOffset, startOffset } = place.segment;
    let batches = 0;
    for (let offset = startOffset; offset < endOffset; ) {
      const isSequential = true;
      const opened = await openSegment(context, objects, { place, isSequential }, step);
      const { index } = opened;
      const from = blockAt(index, positionOfOffset(index, offset));
      let to = from + 1;
      const start = index.entries[from]?.position ?? 0;
      while (to < index.entries.length && (index.entries[to]?.position ?? 0) - start < step) to++;
      batches += (await take(readSegment(context, objects, { place, isSequential }, opened, { from, to }))).length;
      offset = index.entries[to]?.offset ?? endOffset;
    }
    return batches;
  }

  it.each([
    ['0.1 MiB', 0.1],
    ['1 MiB', 1],
    ['7 MiB', 7],
    ['15.9 MiB', 15.9],
    ['16.1 MiB', 16.1],
    ['24.5 MiB', 24.5],
    ['40 MiB', 40],
  ])('are at most one for each 8 MiB, for a segment of %s', async (_, mib) => {
    const sizes = Array.from({ length: Math.ceil((mib * MIB) / 100_000) }, () => 100_000);
    for (const step of [1, 1 * MIB, 64 * MIB]) {
      const set = await setUp(sizes);
      const { bytes, indexBytes } = set.place.segment;
      expect(await readThrough(set, step)).toBe(sizes.length);
      expect(set.counts.getObject).toBeLessThanOrEqual(Math.ceil((bytes + indexBytes) / (8 * MIB)));
      expect(set.counts.bytesRead).toBe(bytes + indexBytes);
      // A reader that comes later begins again, since nothing that was passed is kept.
      expect(set.context.cache.aheadBytesMax(set.stores.clock.nowMs())).toBe(32 * MIB);
    }
  });

  it('read ahead no more than half of the cache', async () => {
    const sizes = Array.from({ length: 300 }, () => 100_000);
    const set = await setUp(sizes, 4 * MIB);
    expect(await readThrough(set, 100_000)).toBe(sizes.length);
    const { bytes, indexBytes } = set.place.segment;
    expect(set.counts.bytesRead).toBe(bytes + indexBytes);
    expect(set.counts.getObject).toBeLessThanOrEqual(1 + Math.ceil(bytes / (1.8 * MIB)));
    const none = await setUp(sizes, 1);
    expect(await readThrough(none, 3 * MIB)).toBe(sizes.length);
    // Without a cache, the index once for each step.
    expect(none.counts.bytesRead).toBeLessThan(bytes + 12 * indexBytes);
  });

  it('of many segments at once share that half, and leave it after a minute', async () => {
    const sizes = Array.from({ length: 150 }, () => 100_000);
    const { stores, context, objects, counts } = await setUp(sizes);
    const places: SegmentPlace[] = [];
    for (let partition = 0; partition < 8; partition++) {
      const { chunks, facts } = build(sizes);
      const place = { topicId: 'many', partition, segment: { ...facts, version: 1, writtenAtMs: 5 } };
      await stores.objects.put(segmentKey(place), chunks);
      places.push(place);
    }
    const step = async (place: SegmentPlace, block: number): Promise<void> => {
      const read = { place, isSequential: true };
      const opened = await openSegment(context, objects, read, MIB);
      await take(readSegment(context, objects, read, opened, { from: block, to: block + 10 }));
    };
    await Promise.all(places.map((place) => step(place, 0)));
    // The first ones have their segments as a whole, and the others only what they asked for.
    expect(counts.bytesRead).toBeGreaterThan(25 * MIB);
    expect(counts.bytesRead).toBeLessThan(32 * MIB + 8 * 1.2 * MIB);
    for (let block = 10; block < 150; block += 10) for (const place of places) await step(place, block);
    // Nothing that was read ahead was dropped before it was taken.
    const total = places.reduce((sum, { segment }) => sum + segment.bytes + segment.indexBytes, 0);
    expect(counts.bytesRead).toBe(total);
    await step(places[0] as SegmentPlace, 0);
    const nowMs = stores.clock.nowMs();
    expect(context.cache.aheadBytesMax(nowMs)).toBeLessThan(32 * MIB);
    expect(context.cache.aheadBytesMax(nowMs + 60_000)).toBe(32 * MIB);
  });
});

describe('the requests of a read of a few records', () => {
  it('are one for the index and one for the blocks, and none for what is in memory', async () => {
    const sizes = Array.from({ length: 300 }, () => 50_000);
    const { context, objects, place, counts, index } = await setUp(sizes);
    const read = { place, isSequential: false };
    const some = async (from: number, to: number): Promise<void> => {
      const opened = await openSegment(context, objects, read, 1);
      await take(readSegment(context, objects, read, opened, { from, to }));
    };
    await some(40, 42);
    expect(counts.getObject).toBe(2);
    const bytes = (index.entries[42]?.position ?? 0) - (index.entries[40]?.position ?? 0);
    expect(counts.bytesRead).toBe(bytes + place.segment.indexBytes);
    await some(40, 42);
    expect(counts.getObject).toBe(2);
    await some(39, 43);
    expect(counts.getObject).toBe(4);
  });

  it('are one for a small segment', async () => {
    const { context, objects, place, counts } = await setUp(Array.from({ length: 10 }, () => 90_000));
    const read = { place, isSequential: false };
    const opened = await openSegment(context, objects, read, 1);
    await take(readSegment(context, objects, read, opened, { from: 4, to: 5 }));
    await take(readSegment(context, objects, read, undefined, { from: 8, to: 9 }));
    expect(counts.getObject).toBe(1);
  });
});
