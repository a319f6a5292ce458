import { describe, expect, it } from 'vitest';
import { recordsOf } from '../../../../shared/log/batch/stored-batch.ts';
import { headKey } from '../../../../shared/storage/keys.ts';
import type { ItemKey } from '../../../../shared/storage/ports.ts';
import {
  appendTo,
  memoryBroker,
  readAll,
  record,
  requestsFor,
  SeededRandom,
  valuesOf,
} from '../../../support/memory-broker.ts';
import { bound, isOdd, numbers, readOnce, setUpMerged, staleHead } from '../../../support/merged-reads.ts';

/** Reads of a partition whose older records are in segments. */

describe('a read of merged records', () => {
  it('gives the same records from any offset as before, whatever is merged, paged and cleaned', async () => {
    const { writer, log, reader } = await setUpMerged(3);
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
    const { log, append, reader } = await setUpMerged();
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
    const { log, append, reader } = await setUpMerged();
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
    const { log, append, reader, stores } = await setUpMerged();
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
    const { stores, log, append, topicId } = await setUpMerged();
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
      } as typeof stores.items,
    });
    expect(await readOnce(slow, 3)).toEqual({ values: numbers(13, 3), nextOffset: 16, highWatermark: 16 });
    expect(hasMore).toBe(true);
    expect(requestsFor(slow, 'read').getObject).toBe(1);
    expect(await readOnce(slow, 16)).toMatchObject({ values: numbers(17, 16) });
  });

  it('finds no time in what was appended after it looked at the head', async () => {
    const { stores, log, topicId, writer } = await setUpMerged();
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
    const { stores, log, append, topicId } = await setUpMerged();
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

describe('the size of a partition', () => {
  it('is what is kept', async () => {
    const { log, append, reader, raiseStart } = await setUpMerged(2);
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
    const { log, append, reader, stores } = await setUpMerged();
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
