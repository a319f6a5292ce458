import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { HEAD, headKey } from '../../../../shared/storage/keys.ts';
import { memoryBroker, memoryStores, record, requestsFor } from '../../../support/memory-broker.ts';
import { MergedLog } from '../../../support/merged-log.ts';

/** The offset at a time, against a search through all records that are left. */

interface Known {
  readonly offset: number;
  readonly timestampMs: number;
  /** Batches are dropped and kept as a whole. */
  readonly batch: number;
}

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('append' as const),
      partition: fc.nat(1),
      // Times go back and forth, and some records have the same.
      times: fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 4 }),
      bytes: fc.constantFrom(1, 1, 1, 30_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('merge' as const), nodes: fc.integer({ min: 1, max: 3 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('replace' as const),
      first: fc.nat(2),
      count: fc.integer({ min: 1, max: 3 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('spill' as const), count: fc.integer({ min: 1, max: 2 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('start' as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('clean' as const) }) },
);

it('is the first record of that time or later, wherever the records are', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 70 }), fc.nat(), async (steps, salt) => {
      const stores = memoryStores();
      const writer = memoryBroker(stores);
      await writer.putTopic({ name: 't', partitions: 2 });
      const { topicId } = await writer.describeTopic('t');
      const log = new MergedLog(stores, topicId);
      const known: Known[][] = [[], []];
      const starts = [0, 0];
      const ends = [0, 0];
      const dropped = (baseOffset: number): boolean => (baseOffset * 7 + salt) % 5 === 0;
      const drop = (slot: number, from: number, to: number): void => {
        known[slot] = (known[slot] ?? []).filter(({ batch }) => batch < from || batch >= to || !dropped(batch));
      };
      const kept = () => known.map((all, slot) => all.filter(({ offset }) => offset >= (starts[slot] as number)));
      for (const one of steps) {
        const list = await log.list();
        if (one.do === 'append') {
          const { partition, times, bytes } = one;
          const batch = ends[partition] as number;
          known[partition]?.push(...times.map((timestampMs, i) => ({ offset: batch + i, timestampMs, batch })));
          ends[partition] = batch + times.length;
          const value = 'v'.repeat(bytes);
          const records = times.map((timestampMs) => record(value, { partition, timestampMs }));
          await writer.appendRecords({ topic: 't', records });
          await writer.idle();
        } else if (one.do === 'merge') await log.merge(one);
        else if (one.do === 'clean') await log.clean();
        else if (one.do === 'spill') {
          const slot = list.slots.findIndex(({ segments }) => segments.length > one.count);
          if (slot >= 0) await log.spill(slot, one.count);
        } else if (one.do === 'replace') {
          const slot = list.slots.findIndex(({ segments }) => segments.length >= one.first + one.count);
          const run = list.slots[slot]?.segments.slice(one.first, one.first + one.count) ?? [];
          if (slot >= 0) {
            await log.replace(slot, one.first, one.count, ({ baseOffset }) => !dropped(baseOffset));
            drop(slot, run[0]?.startOffset ?? 0, run.at(-1)?.endOffset ?? 0);
          }
        } else {
          const slot = salt % 2;
          const start = Math.max(starts[slot] as number, Math.floor(one.share * (ends[slot] as number)));
          starts[slot] = start;
          await stores.items.update(headKey(topicId, 0), [{ do: 'set', name: HEAD.start(slot), value: start }]);
          if (list.slots[slot]?.segments.some(({ endOffset }) => endOffset <= start)) await log.drop(slot, start);
        }
      }
      for (const broker of [memoryBroker(stores), memoryBroker(stores, { cacheBytesMax: 1 })]) {
        for (const [partition, all] of kept().entries()) {
          for (let timestampMs = 0; timestampMs <= 41; timestampMs++) {
            const first = all.find((each) => each.timestampMs >= timestampMs);
            const highWatermark = ends[partition] as number;
            expect(await broker.offsetForTime('t', partition, timestampMs)).toEqual({
              offset: first?.offset ?? highWatermark,
              timestampMs: first?.timestampMs ?? null,
              logStartOffset: starts[partition],
              highWatermark,
            });
          }
        }
      }
    }),
    { numRuns: 100 },
  );
}, 60_000);

it('takes a look at the list, an index and a block, however many segments there are', async () => {
  const stores = memoryStores();
  const writer = memoryBroker(stores);
  await writer.putTopic({ name: 't' });
  const { topicId } = await writer.describeTopic('t');
  const log = new MergedLog(stores, topicId);
  const append = async (broker: Broker, timestampMs: number): Promise<void> => {
    await broker.appendRecords({ topic: 't', records: [record('v'.repeat(200_000), { partition: 0, timestampMs })] });
    await broker.idle();
  };
  for (let i = 0; i < 80; i++) {
    await append(writer, i + 1);
    if (i % 8 === 7) await log.merge();
  }
  await append(writer, 100);
  await log.spill(0, 4);
  const reader = memoryBroker(stores);
  expect(await reader.offsetForTime('t', 0, 21)).toMatchObject({ offset: 20, timestampMs: 21 });
  // The head, the list and a page.
  expect(requestsFor(reader, 'read')).toMatchObject({ getItem: 3, getObject: 2, query: 0 });
  expect(requestsFor(reader, 'read').bytesRead).toBeLessThan(202_000);
  expect(await reader.offsetForTime('t', 0, 100)).toMatchObject({ offset: 80, timestampMs: 100 });
  expect(requestsFor(reader, 'read')).toMatchObject({ getItem: 4, getObject: 3 });
});

it('is found in nodes that wait to be merged, while those before them are gone', async () => {
  const stores = memoryStores();
  const writer = memoryBroker(stores);
  await writer.putTopic({ name: 't' });
  const log = new MergedLog(stores, (await writer.describeTopic('t')).topicId);
  for (let i = 0; i < 100; i++) {
    await writer.appendRecords({ topic: 't', records: [record('v', { partition: 0, timestampMs: i + 1 })] });
    await writer.idle();
  }
  await log.merge({ nodes: 8 });
  await log.clean();
  for (let offset = 0; offset < 100; offset++)
    expect(await memoryBroker(stores).offsetForTime('t', 0, offset + 1)).toMatchObject({ offset });
});

it('is looked for in later blocks if the time is reached before the log start offset', async () => {
  const stores = memoryStores();
  const writer = memoryBroker(stores);
  await writer.putTopic({ name: 't' });
  const { topicId } = await writer.describeTopic('t');
  const log = new MergedLog(stores, topicId);
  // Two batches to a block, and 40 blocks. The first record has the largest time, the last one the next.
  for (let i = 0; i < 80; i++) {
    const timestampMs = i === 0 ? 100 : i === 79 ? 50 : i === 41 ? 9 : 1;
    await writer.appendRecords({
      topic: 't',
      records: [record('v'.repeat(40_000), { partition: 0, timestampMs })],
    });
    await writer.idle();
  }
  await log.merge();
  const offsets = async (start: number, timestampMs: number) => {
    await stores.items.update(headKey(topicId, 0), [{ do: 'set', name: HEAD.start(0), value: start }]);
    const reader = memoryBroker(stores, { cacheBytesMax: 1 });
    const { offset } = await reader.offsetForTime('t', 0, timestampMs);
    return [offset, requestsFor(reader, 'read').bytesRead > 200_000];
  };
  expect(await offsets(0, 50)).toEqual([0, false]);
  expect(await offsets(1, 50)).toEqual([79, true]);
  expect(await offsets(1, 51)).toEqual([80, true]);
  // In the block of the log start offset, without a look at those before it.
  expect(await offsets(40, 9)).toEqual([41, false]);
});

it('is not before the log start offset, in the middle of a batch', async () => {
  const stores = memoryStores();
  const writer = memoryBroker(stores);
  await writer.putTopic({ name: 't' });
  const { topicId } = await writer.describeTopic('t');
  const times = [7, 5, 6];
  for (let i = 0; i < 8; i++) {
    const records = times.map((timestampMs) => record('v', { partition: 0, timestampMs }));
    await writer.appendRecords({ topic: 't', records });
    await writer.idle();
  }
  await stores.items.update(headKey(topicId, 0), [{ do: 'set', name: HEAD.start(0), value: 1 }]);
  for (let i = 0; i < 2; i++) {
    expect(await memoryBroker(stores).offsetForTime('t', 0, 5)).toMatchObject({ offset: 1, timestampMs: 5 });
    expect(await memoryBroker(stores).offsetForTime('t', 0, 7)).toMatchObject({ offset: 3, timestampMs: 7 });
    await new MergedLog(stores, topicId).merge();
  }
});
