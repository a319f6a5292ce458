import { describe, expect, it } from 'vitest';
import { readHead } from '../../../../shared/broker/heads/items.ts';
import { raiseStarts } from '../../../../shared/broker/heads/raise-starts.ts';
import { readSegmentList, updateSegmentList } from '../../../../shared/broker/heads/segment-list-store.ts';
import { expireHead } from '../../../../shared/broker/jobs/expire/expire-head.ts';
import { GRACE_MS } from '../../../../shared/broker/jobs/grace.ts';
import { sweepHead } from '../../../../shared/broker/jobs/sweep/sweep-head.ts';
import { packTotals, partitionState } from '../../../../shared/log/head/head.ts';
import { schedule, scheduleBy } from '../../../../shared/log/segment/list-changes.ts';
import type { Segment } from '../../../../shared/log/segment/segment.ts';
import { type JobName, packSegmentPage, type SegmentPage } from '../../../../shared/log/segment/segment-list.ts';
import type { Topic } from '../../../../shared/log/topic/topic.ts';
import { HEAD, headKey, SEGMENT_PAGE, segmentPageKey, TOPICS } from '../../../../shared/storage/keys.ts';
import { beforeRequests, jobContext, killedAfter, mergeBooks, spillBooks } from '../../../support/maintained-log.ts';
import { bytes, memoryBroker, memoryStores } from '../../../support/memory-broker.ts';

const HOUR = 3_600_000;

async function setUp(config: Record<string, unknown>, partitions = 1) {
  const stores = memoryStores();
  const { clock } = stores;
  const broker = memoryBroker(stores);
  await broker.putTopic({ name: 't', partitions, config });
  const context = jobContext(stores);
  const topic = (): Promise<Topic> => context.topics.refresh('t');
  const { topicId } = await topic();
  const name = { topicId, headNumber: 0 };
  return {
    stores,
    clock,
    broker,
    context,
    topic,
    name,
    /** Appends so many entries of one record. */
    async append(count: number, { partition = 0, timestampMs = clock.nowMs() as number | null, valueBytes = 1 } = {}) {
      for (let i = 0; i < count; i++)
        await broker.appendRecords({
          topic: 't',
          records: [
            {
              key: null,
              value: bytes('v'.repeat(valueBytes)),
              headers: [],
              partition,
              ...(timestampMs === null ? {} : { timestampMs }),
            },
          ],
        });
      await broker.idle();
    },
    merge: async () => mergeBooks(context, await topic(), 0),
    spill: async () => spillBooks(context, await topic(), 0),
    /** So that a list exists where nothing was merged. */
    list: () =>
      updateSegmentList(context, stores.items, name, (list) => ({
        list: scheduleBy(list, 'expire', clock.nowMs()),
        result: undefined,
      })),
    reschedule: (job: JobName, atMs: number) =>
      updateSegmentList(context, stores.items, name, (list) => ({
        list: schedule(list, job, atMs),
        result: undefined,
      })),
    expire: async (over = stores) => clock.run(expireHead(jobContext(over), await topic(), 0)),
    start: async (slot = 0) => partitionState(await readHead(stores.items, name), slot).logStartOffset,
    segments: async (slot = 0) => (await readSegmentList(stores.items, name)).slots[slot]?.segments ?? [],
  };
}

describe('retention by time', () => {
  it('drops whole segments from the oldest on, at the first moment at which each has expired', async () => {
    const log = await setUp({ 'retention.ms': HOUR });
    const began = log.clock.nowMs();
    for (let i = 0; i < 3; i++) {
      await log.append(8);
      await log.merge();
      await log.clock.advance(1_000);
    }
    expect(await log.expire()).toMatchObject({ nextAtMs: began + HOUR + 1, offsetsExpired: 0 });
    await log.clock.advance(began + HOUR - log.clock.nowMs());
    expect(await log.expire()).toMatchObject({ nextAtMs: began + HOUR + 1, offsetsExpired: 0 });
    // Whatever else the sweep was scheduled for, it must come in time for what is dropped now.
    await log.reschedule('sweep', log.clock.nowMs() + 24 * HOUR);
    await log.clock.advance(1);
    const { list, nextAtMs, offsetsExpired } = await log.expire();
    expect({ nextAtMs, offsetsExpired }).toEqual({ nextAtMs: began + HOUR + 1_001, offsetsExpired: 8 });
    expect(await log.start()).toBe(8);
    expect(list.slots[0]?.segments.map(({ startOffset }) => startOffset)).toEqual([8, 16]);
    expect(list.garbage).toMatchObject([{ startOffset: 0, dueAtMs: log.clock.nowMs() + GRACE_MS }]);
    expect(list.due.expire?.atMs).toBe(nextAtMs);
    expect(list.due.sweep?.atMs).toBeLessThanOrEqual(log.clock.nowMs() + GRACE_MS);
  });

  it('keeps an old segment behind one that is kept', async () => {
    const log = await setUp({ 'retention.ms': HOUR });
    await log.append(8);
    await log.merge();
    await log.append(8, { timestampMs: 1 });
    await log.merge();
    expect(await log.expire()).toMatchObject({ offsetsExpired: 0 });
    await log.clock.advance(HOUR + 1);
    expect(await log.expire()).toMatchObject({ offsetsExpired: 16 });
  });

  it('also drops what is in nodes and in the tail, part by part, once all segments have expired', async () => {
    const log = await setUp({ 'retention.ms': HOUR });
    const began = log.clock.nowMs();
    await log.append(8);
    await log.merge();
    await log.clock.advance(1_000);
    await log.append(8);
    await log.clock.advance(1_000);
    await log.append(3);
    await log.clock.advance(1_000);
    await log.append(2);
    await log.clock.advance(began + HOUR + 2_000 - log.clock.nowMs());
    expect(await log.expire()).toMatchObject({ nextAtMs: began + HOUR + 2_001, list: { dropBelow: 16 } });
    expect(await log.start()).toBe(16);
    await updateSegmentList(log.context, log.stores.items, log.name, (now) => ({
      list: { ...now, dropBelow: 0 },
      result: undefined,
    }));
    await log.clock.advance(1);
    const { list, nextAtMs } = await log.expire();
    expect(await log.start()).toBe(19);
    expect(nextAtMs).toBe(began + HOUR + 3_001);
    expect(list).toMatchObject({ dropBelow: 19, droppedEntry: 0, dropAtMs: log.clock.nowMs() + GRACE_MS });
  });

  it('waits with unmerged parts for older segments', async () => {
    const log = await setUp({ 'retention.ms': HOUR });
    await log.append(8);
    await log.merge();
    await log.append(2, { timestampMs: 1 });
    expect(await log.expire()).toMatchObject({ offsetsExpired: 0, list: { dropBelow: 0 } });
  });

  it('drops no entry that another partition needs, nor any after it', async () => {
    const log = await setUp({ 'retention.ms': HOUR }, 2);
    await log.append(2, { partition: 0, timestampMs: 1 });
    await log.append(1, { partition: 1 });
    await log.append(2, { partition: 0, timestampMs: 1 });
    await log.list();
    const { list, nextAtMs } = await log.expire();
    expect([await log.start(0), await log.start(1)]).toEqual([4, 0]);
    expect(list.dropBelow).toBe(2);
    // Partition 0 is empty: its appends schedule nothing.
    expect(nextAtMs).toBe(log.clock.nowMs() + HOUR + 1);
  });

  it('does not move what waits until the data of older entries is gone', async () => {
    const log = await setUp({ 'retention.ms': HOUR });
    await log.append(1);
    await log.clock.advance(HOUR / 2);
    await log.append(1);
    await log.list();
    await log.clock.advance(HOUR / 2 + 1);
    const { dropAtMs } = (await log.expire()).list;
    await log.clock.advance(HOUR / 2);
    expect((await log.expire()).list).toMatchObject({ dropBelow: 1, dropAtMs });
    expect(await log.start()).toBe(2);
  });

  it('is off without `delete` in cleanup.policy, and without a limit', async () => {
    for (const config of [{ 'cleanup.policy': 'compact', 'retention.ms': 1 }, { 'retention.ms': -1 }]) {
      const log = await setUp(config);
      await log.append(10);
      await log.merge();
      await log.clock.advance(100 * HOUR);
      expect(await log.expire()).toMatchObject({ offsetsExpired: 0, nextAtMs: undefined });
    }
  });

  it('looks at an empty partition again within a day, and within an hour at the earliest', async () => {
    for (const [retentionMs, lookMs] of [
      [1, HOUR],
      [5 * HOUR, 5 * HOUR + 1],
      [100 * HOUR, 24 * HOUR],
    ] as const) {
      const log = await setUp({ 'retention.ms': retentionMs }, 1);
      await log.append(1, { timestampMs: 1 });
      await log.list();
      expect(await log.expire()).toMatchObject({ offsetsExpired: 1, nextAtMs: log.clock.nowMs() + lookMs });
    }
  });
});

describe('retention by size', () => {
  it('drops the oldest segments while the rest has as many bytes, and counts what is not merged', async () => {
    const log = await setUp({ 'retention.ms': -1 });
    for (let i = 0; i < 4; i++) {
      await log.append(8, { valueBytes: 80 });
      await log.merge();
    }
    const size = (await log.segments())[0]?.bytes as number;
    const limit = (bytes: number) => log.broker.putTopic({ name: 't', config: { 'retention.bytes': bytes } });
    await limit(3 * size + 1);
    expect(await log.expire()).toMatchObject({ offsetsExpired: 0, nextAtMs: undefined });
    await limit(3 * size);
    expect(await log.expire()).toMatchObject({ offsetsExpired: 8 });
    // As much as one segment has, in the tail.
    await log.append(7, { valueBytes: 90 });
    expect(await log.expire()).toMatchObject({ offsetsExpired: 0 });
    await log.append(1, { valueBytes: 90 });
    expect(await log.expire()).toMatchObject({ offsetsExpired: 8 });
    expect(await log.expire()).toMatchObject({ offsetsExpired: 0 });
    await limit(0);
    expect(await log.expire()).toMatchObject({ offsetsExpired: 16 });
  });

  it('is noticed by the merge that goes beyond the limit', async () => {
    const log = await setUp({ 'retention.ms': -1, 'retention.bytes': 1_500 });
    await log.append(8, { valueBytes: 80 });
    expect((await log.merge()).due.expire).toBeUndefined();
    await log.append(16, { valueBytes: 80 });
    expect((await log.merge()).due.expire?.atMs).toBe(log.clock.nowMs());
  });
});

describe('pages', () => {
  it('are read from the oldest on as far as something in them has expired', async () => {
    const log = await setUp({ 'retention.ms': HOUR });
    const began = log.clock.nowMs();
    for (let i = 0; i < 270; i++) {
      await log.append(8);
      await log.merge();
      await log.clock.advance(1_000);
    }
    await log.spill();
    const { pages } = (await readSegmentList(log.stores.items, log.name)).slots[0] ?? { pages: [] };
    expect(pages.length).toBe(3);
    await log.clock.advance(began + HOUR + 70_000 - log.clock.nowMs());
    const { list, nextAtMs } = await log.expire();
    expect(await log.start()).toBe(70 * 8);
    expect(nextAtMs).toBe(began + HOUR + 70_001);
    expect(list.slots[0]).toMatchObject({ droppedOffset: 70 * 8, pages: pages.slice(1) });
    expect(list.garbage.filter(({ what }) => what === 'segment').length).toBe(70);
    expect(list.garbage.filter(({ what }) => what === 'page').length).toBe(1);
    await log.clock.advance(300_000);
    const after = await log.expire();
    expect(after.list.slots[0]).toMatchObject({ pages: [], segments: [] });
    expect(after.list.garbage.length).toBe(270 + 3);
  });
});

/** A partition of 70 pages of segments, which have 10 records each and are all from the same time. */
async function manyPages(config: Record<string, unknown>) {
  const log = await setUp(config);
  const { topicId } = log.name;
  const timeMs = log.clock.nowMs();
  const pages: SegmentPage[] = [];
  for (let page = 0; page < 70; page++) {
    const segments = Array.from({ length: 64 }, (_, i): Segment => {
      const startOffset = (page * 64 + i) * 10;
      const times = { maxTimestampMs: timeMs, writtenAtMs: timeMs };
      return {
        startOffset,
        endOffset: startOffset + 10,
        version: 1,
        bytes: 100,
        indexBytes: 1,
        aborted: 0,
        setHash: 1n,
        ...times,
      };
    });
    const startOffset = page * 640;
    await log.stores.items.put(segmentPageKey(topicId, 0, { slot: 0, startOffset, version: 1 }), {
      [SEGMENT_PAGE.segments]: packSegmentPage(segments),
    });
    pages.push({
      startOffset,
      endOffset: startOffset + 640,
      version: 1,
      segments: 64,
      bytes: 6_400,
      maxTimestampMs: timeMs,
    });
  }
  const totals = [{ nextOffset: 70 * 640, maxTimestampMs: timeMs, bytes: 70 * 6_400 }];
  await log.stores.items.put(headKey(topicId, 0), {
    [HEAD.firstEntry]: 8,
    [HEAD.next(0)]: 70 * 640,
    [HEAD.totalsBeforeTail]: packTotals(totals),
  });
  await updateSegmentList(log.context, log.stores.items, log.name, (list) => ({
    list: { ...list, mergedEntry: 8, totals, slots: [{ pages, segments: [], droppedOffset: 0, compactedOffset: 0 }] },
    result: undefined,
  }));
  return log;
}

describe('much that expires at once', () => {
  it('goes in steps, each with as many names as the list has room for', async () => {
    const log = await manyPages({ 'retention.ms': HOUR });
    await log.clock.advance(HOUR + 1);
    const starts: number[] = [];
    const garbage: number[] = [];
    const nextAtMs: (number | undefined)[] = [];
    for (let run = 0; run < 6; run++) {
      const expired = await log.expire();
      starts.push(await log.start());
      garbage.push(expired.list.garbage.length);
      nextAtMs.push(expired.nextAtMs);
    }
    expect(starts).toEqual([16, 32, 48, 64, 70, 70].map((pages) => pages * 640));
    // Each page has a name of its own.
    expect(garbage.slice(0, 3)).toEqual([16 * 65, 32 * 65, 48 * 65]);
    for (const names of garbage) expect(names).toBeLessThan(4_096 + 70);
    expect(garbage[5]).toBeGreaterThan(4_000);
    const nowMs = log.clock.nowMs();
    expect(nextAtMs.slice(0, 3)).toEqual([nowMs, nowMs, nowMs]);
    // Until some of the garbage was deleted.
    expect(nextAtMs[5]).toBe(nowMs + GRACE_MS + 60_000);
    await log.clock.advance(GRACE_MS + 60_000);
    await log.clock.run(sweepHead(log.context, await log.topic(), 0));
    const { list } = await log.expire();
    expect(list.slots[0]).toMatchObject({ pages: [], droppedOffset: 70 * 640 });
  });

  it('by size reads a page only if the partition is too large, and ends within a page', async () => {
    const log = await manyPages({ 'retention.ms': -1, 'retention.bytes': 70 * 6_400 - 1_000 });
    const { list } = await log.expire();
    expect(await log.start()).toBe(100);
    expect(list.slots[0]?.pages.length).toBe(70);
    const reads = async () => {
      const context = jobContext(log.stores);
      await log.clock.run(expireHead(context, await log.topic(), 0));
      return context.usage.total().getItem;
    };
    expect(await reads()).toBe(3);
    await log.broker.putTopic({ name: 't', config: { 'retention.bytes': 70 * 6_400 + 1 } });
    expect(await reads()).toBe(2);
  });
});

describe('a run', () => {
  it('leaves to a later run what was scheduled meanwhile', async () => {
    const log = await setUp({ 'retention.ms': HOUR });
    await log.append(8);
    await log.merge();
    let isScheduled = false;
    const stores = beforeRequests(log.stores, async (request, [key]) => {
      if (isScheduled || request !== 'getItem' || (key as { pk: string }).pk !== headKey(log.name.topicId, 0).pk)
        return;
      isScheduled = true;
      await log.list();
    });
    expect(await log.expire(stores)).toMatchObject({ nextAtMs: log.clock.nowMs() });
    expect(isScheduled).toBe(true);
  });

  it('drops what lies below a start that was raised otherwise, and what a merge adds there later', async () => {
    const log = await setUp({ 'retention.ms': -1 });
    await log.append(8);
    await log.merge();
    await log.append(8);
    const head = await readHead(log.stores.items, log.name);
    await raiseStarts(log.context, log.stores.items, log.name, head, new Map([[0, 16]]));
    expect((await log.expire()).list.slots[0]).toMatchObject({ segments: [], droppedOffset: 16 });
    await log.merge();
    expect(await log.segments()).toEqual([]);
  });

  it('that stands still keeps what it drops for the whole grace after the start was raised', async () => {
    const log = await setUp({ 'retention.ms': HOUR });
    await log.append(8);
    await log.merge();
    await log.append(1);
    await log.clock.advance(HOUR + 1);
    const stores = beforeRequests(log.stores, (request) =>
      request === 'updateItem' ? log.clock.sleep(HOUR) : undefined,
    );
    const { list } = await log.expire(stores);
    const dueAtMs = log.clock.nowMs() + GRACE_MS;
    expect(list).toMatchObject({ garbage: [{ dueAtMs }], dropBelow: 9, dropAtMs: dueAtMs });
  });

  it('that stood still since it read the topic goes by the retention that was set meanwhile', async () => {
    for (const config of [{ 'retention.ms': 3 * HOUR }, { 'cleanup.policy': 'compact' }, { 'retention.bytes': 1 }]) {
      const log = await setUp({ 'retention.ms': HOUR });
      await log.append(8);
      await log.merge();
      await log.clock.advance(HOUR + 1);
      const stale = await log.topic();
      await log.broker.putTopic({ name: 't', config });
      expect(await log.clock.run(expireHead(log.context, stale, 0))).toMatchObject({ offsetsExpired: 0 });
      expect(await log.start()).toBe(0);
    }
  });

  it('that stands still while it reads the topic again, reads it once more', async () => {
    const log = await setUp({ 'retention.ms': HOUR });
    await log.append(8);
    await log.merge();
    await log.clock.advance(HOUR + 1);
    const stale = await log.topic();
    let reads = 0;
    const { items } = log.stores;
    const stores = {
      ...log.stores,
      items: Object.assign(Object.create(items), {
        async get(key: { readonly pk: string }) {
          const found = await items.get(key as Parameters<typeof items.get>[0]);
          if (key.pk !== TOPICS || reads++ > 0) return found;
          await log.broker.putTopic({ name: 't', config: { 'retention.ms': 3 * HOUR } });
          await log.clock.sleep(2 * 60_000);
          return found;
        },
      }) as typeof items,
    };
    expect(await log.clock.run(expireHead(jobContext(stores), stale, 0))).toMatchObject({ offsetsExpired: 0 });
    expect([reads, await log.start()]).toEqual([2, 0]);
  });

  it('expires nothing of a topic that was deleted and made again', async () => {
    const log = await setUp({ 'retention.ms': HOUR });
    await log.append(8);
    await log.merge();
    const stale = await log.topic();
    await log.clock.advance(HOUR + 1);
    const { items } = log.stores;
    // The head of the topic before is still open for this run, which began before.
    const head = await items.get(headKey(log.name.topicId, 0));
    await log.broker.deleteTopic('t');
    await items.put(headKey(log.name.topicId, 0), head.attributes ?? {});
    expect(await log.clock.run(expireHead(log.context, stale, 0))).toMatchObject({ offsetsExpired: 0 });
    await log.broker.putTopic({ name: 't', config: { 'retention.ms': HOUR } });
    expect(await log.clock.run(expireHead(log.context, stale, 0))).toMatchObject({ offsetsExpired: 0 });
  });

  it('never lowers a start, not even from what it saw of the head before others raised it', async () => {
    const log = await setUp({ 'retention.ms': -1 });
    await log.append(8);
    const { items } = log.stores;
    const head = await readHead(items, log.name);
    await raiseStarts(log.context, items, log.name, head, new Map([[0, 6]]));
    await raiseStarts(log.context, items, log.name, head, new Map([[0, 4]]));
    expect(await log.start()).toBe(6);
  });

  it('does nothing to a closed head, nor to one without a list', async () => {
    const log = await setUp({ 'retention.ms': 1 });
    await log.append(1, { timestampMs: 1 });
    expect(await log.expire()).toMatchObject({ list: { version: 0 }, nextAtMs: undefined });
    await log.list();
    const topic = await log.topic();
    await log.broker.deleteTopic('t');
    expect(await log.clock.run(expireHead(log.context, topic, 0))).toMatchObject({ nextAtMs: undefined });
    expect(await log.start()).toBe(0);
  });

  it('that died anywhere is finished by the next', async () => {
    const prepare = async () => {
      const log = await setUp({ 'retention.ms': HOUR }, 2);
      for (let i = 0; i < 3; i++) {
        await log.append(4, { partition: 0 });
        await log.append(4, { partition: 1 });
        await log.merge();
      }
      await log.append(3);
      await log.clock.advance(HOUR + 1);
      return log;
    };
    const outcome = async (log: Awaited<ReturnType<typeof setUp>>) => {
      const { version: _, writer: __, due, ...list } = await readSegmentList(log.stores.items, log.name);
      return { list, due: due.expire?.atMs, starts: [await log.start(0), await log.start(1)] };
    };
    const whole = await prepare();
    await whole.expire();
    const expected = await outcome(whole);
    expect(expected.starts).toEqual([15, 12]);
    for (let requests = 0; ; requests++) {
      const log = await prepare();
      const died = await log.expire(killedAfter(log.stores, requests)).then(
        () => false,
        () => true,
      );
      await log.expire();
      expect(await outcome(log)).toEqual(expected);
      if (!died) break;
      expect(requests).toBeLessThan(40);
    }
  });

  it('beside another has the same result', async () => {
    const log = await setUp({ 'retention.ms': HOUR });
    await log.append(8);
    await log.merge();
    await log.append(2);
    await log.clock.advance(HOUR + 1);
    await Promise.all([log.expire(), log.expire(), log.expire()]);
    expect(await log.start()).toBe(10);
    const { garbage, dropBelow } = await readSegmentList(log.stores.items, log.name);
    expect({ garbage: garbage.length, dropBelow }).toEqual({ garbage: 1, dropBelow: 10 });
  });
});
