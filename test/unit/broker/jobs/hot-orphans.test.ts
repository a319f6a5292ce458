import { describe, expect, it } from 'vitest';
import { readHead } from '../../../../shared/broker/heads/items.ts';
import { updateSegmentList } from '../../../../shared/broker/heads/segment-list-store.ts';
import { GRACE_MS } from '../../../../shared/broker/jobs/grace.ts';
import { sweepHotOrphans } from '../../../../shared/broker/jobs/sweep/hot-orphans.ts';
import { sweepHead } from '../../../../shared/broker/jobs/sweep/sweep-head.ts';
import { makeBatchId } from '../../../../shared/log/head/batch-id.ts';
import { packEntry } from '../../../../shared/log/head/entry.ts';
import { packSharers } from '../../../../shared/log/head/sharers.ts';
import type { SegmentList } from '../../../../shared/log/segment/segment-list.ts';
import {
  HEAD,
  headKey,
  hotObjectKey,
  REFERENCE,
  referenceKey,
  sharedObjectKey,
} from '../../../../shared/storage/keys.ts';
import type { ItemKey } from '../../../../shared/storage/ports.ts';
import { beforeRequests, jobContext, killedAfter, mergeBooks } from '../../../support/maintained-log.ts';
import { bytes, memoryBroker, memoryStores, SeededRandom } from '../../../support/memory-broker.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

async function setUp() {
  const stores = memoryStores();
  const { clock } = stores;
  const broker = memoryBroker(stores, {}, new SeededRandom(5));
  const { topic } = await broker.putTopic({ name: 't', partitions: 32 });
  const { topicId } = topic;
  let ids = 0;
  const batchId = () => makeBatchId(new Uint8Array(6).fill(++ids), clock.nowMs());
  return {
    stores,
    clock,
    broker,
    topicId,
    topic: () => jobContext(stores).topics.refresh('t'),
    async append(partitions: readonly number[], count = 1, valueBytes = 20_000) {
      const records = () =>
        partitions.map((partition) => ({ key: null, value: bytes('v'.repeat(valueBytes)), headers: [], partition }));
      for (let i = 0; i < count; i++) await broker.appendRecords({ topic: 't', records: records() });
      await broker.idle();
    },
    /** Objects of processes that died before their commit. */
    async own(headNumber = 0, id = topicId) {
      const key = hotObjectKey(batchId(), id, headNumber);
      await stores.objects.put(key, [bytes('lost')]);
      return key;
    },
    async shared(heads: readonly number[], padding = 0, id = topicId) {
      const made = batchId();
      const sharers = [
        ...heads.map((headNumber) => ({ topicId: id, headNumber })),
        ...Array.from({ length: padding }, (_, headNumber) => ({ topicId: 'gone', headNumber })),
      ];
      await stores.objects.put(sharedObjectKey(made), [packSharers(sharers), bytes('lost')]);
      return { key: sharedObjectKey(made), batchId: made };
    },
    sweep: (over = stores, signal?: AbortSignal) =>
      clock.run(sweepHotOrphans(jobContext(over), signal === undefined ? {} : { signal })),
    keys: async () => (await stores.objects.list('hot/', { limit: 1_000 })).keys,
    head: (headNumber: number) => readHead(stores.items, { topicId, headNumber }),
  };
}

describe('hot objects without an entry', () => {
  it('are deleted once they are a day old, own and shared, and their heads refuse them first', async () => {
    const log = await setUp();
    await log.append([0]);
    await log.append([0, 16]);
    const needed = await log.keys();
    const writtenAtMs = log.clock.nowMs();
    await log.own(0);
    const { batchId } = await log.shared([0, 1]);
    await log.stores.items.put(referenceKey(batchId), { [REFERENCE.mark(0)]: 1 });
    await log.shared([1], 300);
    await log.clock.advance(DAY);
    expect(await log.sweep()).toMatchObject({ objectsSeen: 0, orphansDeleted: 0, complete: true });
    await log.clock.advance(DAY);
    expect(await log.sweep()).toEqual({ objectsSeen: 5, orphansDeleted: 3, unreadable: 0, complete: true });
    expect(await log.keys()).toEqual(needed);
    expect((await log.stores.items.get(referenceKey(batchId))).attributes).toBeUndefined();
    for (const headNumber of [0, 1]) expect((await log.head(headNumber)).refusesBeforeMs).toBe(writtenAtMs + 1);
  });

  it('are refused up to the newest of them, in whatever order their keys are', async () => {
    const log = await setUp();
    const putAt = async (first: number, timeMs: number) => {
      const id = makeBatchId(new Uint8Array(6).fill(first), timeMs);
      await log.stores.objects.put(hotObjectKey(id, log.topicId, 0), [bytes('lost')]);
    };
    const hourMs = Math.floor(log.clock.nowMs() / HOUR) * HOUR;
    // The key of the newer one comes first.
    await putAt(9, hourMs + 1_000);
    await putAt(1, hourMs + 2_000);
    await log.clock.advance(2 * DAY);
    expect(await log.sweep()).toMatchObject({ orphansDeleted: 2 });
    expect((await log.head(0)).refusesBeforeMs).toBe(hourMs + 2_001);
  });

  it('are kept while one of their heads refers to them, in its tail or in a node that is not cleaned', async () => {
    const log = await setUp();
    await log.append([0, 16]);
    await log.append([0], 8, 1);
    const keys = await log.keys();
    expect((await log.head(0)).firstEntry).toBe(8);
    expect((await log.head(1)).tail.length).toBe(1);
    await log.clock.advance(2 * DAY);
    expect(await log.sweep()).toMatchObject({ objectsSeen: 1, orphansDeleted: 0 });
    expect(await log.keys()).toEqual(keys);
    expect((await log.head(0)).refusesBeforeMs).toBe(0);
  });

  it('are found later if a head that shared them did not say that it needs them no longer', async () => {
    const log = await setUp();
    await log.append([0, 16]);
    await log.append([0], 7, 1);
    await log.clock.advance(2 * DAY);
    await log.sweep();
    await mergeBooks(jobContext(log.stores), await log.topic(), 0);
    await log.clock.advance(GRACE_MS);
    await log.clock.run(sweepHead(jobContext(log.stores), await log.topic(), 0));
    // The other head loses its entry, as if it had never had one.
    await log.stores.items.delete(headKey(log.topicId, 1));
    expect((await log.sweep()).objectsSeen).toBe(0);
    await log.clock.advance(DAY);
    expect(await log.sweep()).toMatchObject({ objectsSeen: 1, orphansDeleted: 1 });
    expect(await log.keys()).toEqual([]);
  });

  it('are found where the entry that refers to them was dropped, and stays in the tail', async () => {
    const log = await setUp();
    await log.append([0, 16]);
    // The other head never took its part.
    await log.stores.items.delete(headKey(log.topicId, 1));
    await log.append([0], 1);
    // Only the own object of a head ends with its name.
    const needed = (await log.keys()).filter((key) => key.endsWith('.0'));
    const name = { topicId: log.topicId, headNumber: 0 };
    await log.clock.advance(2 * DAY);
    const context = jobContext(log.stores);
    const drop = (list: SegmentList, entries: number) => ({
      list: { ...list, dropBelow: entries, droppedEntry: entries },
      result: undefined,
    });
    await updateSegmentList(context, log.stores.items, name, (list) => drop(list, 0));
    expect(await log.sweep()).toMatchObject({ objectsSeen: 2, orphansDeleted: 0 });
    await updateSegmentList(context, log.stores.items, name, (list) => drop(list, 1));
    await log.clock.advance(DAY);
    expect(await log.sweep()).toMatchObject({ objectsSeen: 2, orphansDeleted: 1 });
    expect(await log.keys()).toEqual(needed);
    expect((await log.head(0)).tail.length).toBe(2);
  });

  it('make no head of a topic that does not exist, and a head of one that does', async () => {
    const log = await setUp();
    await log.own(0, 'gone');
    await log.own(1);
    await log.clock.advance(2 * DAY);
    expect(await log.sweep()).toMatchObject({ orphansDeleted: 2 });
    expect((await log.stores.items.get(headKey('gone', 0))).attributes).toBeUndefined();
    expect((await log.head(1)).refusesBeforeMs).toBeGreaterThan(0);
    await log.append([16]);
    expect((await log.head(1)).tail.length).toBe(1);
  });

  it('are kept if their commit came just before the head refused them', async () => {
    const log = await setUp();
    const { key, batchId } = await log.shared([0, 1]);
    await log.clock.advance(2 * DAY);
    const part = { slot: 0, records: 1, position: 0, bytes: 4, maxTimestampMs: 1 };
    const share = { sharer: 1, sharers: 2 };
    const packed = packEntry({ batchId, location: 'shared', share, onceKeys: 0, parts: [part] });
    let commits = 0;
    const head = headKey(log.topicId, 1);
    const stores = beforeRequests(log.stores, async (request, [key]) => {
      if (request !== 'updateItem' || (key as ItemKey).pk !== head.pk || commits++ > 0) return;
      await log.stores.items.update(head, [
        { do: 'append', name: HEAD.tail, values: [packed] },
        { do: 'add', name: HEAD.next(0), by: 1 },
      ]);
    });
    expect(await log.sweep(stores)).toMatchObject({ orphansDeleted: 0 });
    expect(await log.keys()).toEqual([key]);
  });

  it('that cannot be read stay, and are counted', async () => {
    const log = await setUp();
    const time = log.clock.nowMs();
    const id = (random: number) => makeBatchId(new Uint8Array(6).fill(random), time);
    await log.stores.objects.put(sharedObjectKey(id(1)), [new Uint8Array(100).fill(255)]);
    await log.stores.objects.put(sharedObjectKey(id(2)), [
      packSharers([{ topicId: 't', headNumber: 1 }]).subarray(0, 12),
    ]);
    await log.stores.objects.put(`${sharedObjectKey(id(3)).slice(0, 15)}unknown`, [bytes('x')]);
    await log.clock.advance(2 * DAY);
    expect(await log.sweep()).toMatchObject({ objectsSeen: 3, orphansDeleted: 0, unreadable: 3, complete: true });
    expect((await log.keys()).length).toBe(3);
  });
});

describe('a pass', () => {
  it('begins once a day, and costs one list when nothing is old', async () => {
    const log = await setUp();
    await log.append([0], 3);
    const context = jobContext(log.stores);
    const counts = () => context.usage.total();
    await log.clock.run(sweepHotOrphans(context));
    expect(counts()).toMatchObject({ listObjects: 1, getItem: 1, putItem: 1 });
    await log.clock.advance(DAY - 1);
    await log.clock.run(sweepHotOrphans(context));
    expect(counts()).toMatchObject({ listObjects: 1, getItem: 2, putItem: 1 });
    await log.clock.advance(1);
    await log.clock.run(sweepHotOrphans(context));
    expect(counts()).toMatchObject({ listObjects: 2, getItem: 3, putItem: 2 });
  });

  it('that was stopped goes on behind what it has seen', async () => {
    const log = await setUp();
    for (let i = 0; i < 300; i++) {
      if (i === 150) await log.clock.advance(HOUR);
      await log.own(i % 2);
    }
    await log.clock.advance(2 * DAY);
    const stop = new AbortController();
    const stores = beforeRequests(log.stores, (request) => {
      if (request === 'listObjects') stop.abort();
    });
    expect(await log.sweep(stores, stop.signal)).toMatchObject({
      objectsSeen: 256,
      orphansDeleted: 256,
      complete: false,
    });
    expect(await log.sweep()).toMatchObject({ objectsSeen: 44, orphansDeleted: 44, complete: true });
    expect(await log.keys()).toEqual([]);
  });

  it('that died anywhere is finished by the next, and two at once delete the same', async () => {
    const prepare = async () => {
      const log = await setUp();
      await log.append([0, 16]);
      await log.own(0);
      await log.shared([0, 1]);
      await log.own(0, 'gone');
      await log.clock.advance(2 * DAY);
      return log;
    };
    const needed = async (log: Awaited<ReturnType<typeof setUp>>) => {
      const refuse = [(await log.head(0)).refusesBeforeMs, (await log.head(1)).refusesBeforeMs];
      return { keys: await log.keys(), refuse };
    };
    const whole = await prepare();
    await Promise.all([whole.sweep(), whole.sweep()]);
    const expected = await needed(whole);
    expect(expected.keys.length).toBe(1);
    for (let requests = 0; ; requests++) {
      const log = await prepare();
      const died = await log.sweep(killedAfter(log.stores, requests)).then(
        () => false,
        () => true,
      );
      await log.clock.advance(DAY);
      await log.sweep();
      expect(await needed(log)).toEqual(expected);
      if (!died) break;
      expect(requests).toBeLessThan(60);
    }
  });
});
