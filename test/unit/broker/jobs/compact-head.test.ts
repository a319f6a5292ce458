import { describe, expect, it } from 'vitest';
import { updateSegmentList } from '../../../../shared/broker/heads/segment-list-store.ts';
import { compactHead } from '../../../../shared/broker/jobs/compact/compact-head.ts';
import type { BrokerSettings } from '../../../../shared/broker/settings.ts';
import { LOOK_AGAIN_MS_MAX } from '../../../../shared/log/segment/compact/cleanable.ts';
import { dropBelow } from '../../../../shared/log/segment/list-changes.ts';
import type { SegmentPage } from '../../../../shared/log/segment/segment-list.ts';
import type { TopicConfig } from '../../../../shared/log/topic/topic-config.ts';
import { edited } from '../../../support/batch-edit.ts';
import { memoryStores } from '../../../support/memory-broker.ts';
import { contextOf, MergedPartition, rec, topicOf } from './merged-partition.ts';

const DAY_MS = 86_400_000;
/** A map for two keys. */
const TINY_MAP = { compactionMapBytes: 3 * 24 };

function setUp(config: TopicConfig = {}, settings: Partial<BrokerSettings> = {}) {
  const stores = memoryStores();
  const topic = topicOf(config);
  const context = contextOf(stores, settings);
  const partition = new MergedPartition(stores, topic);
  const { clock } = stores;
  const add = (...specs: string[]) => partition.add(specs.map((spec) => [rec(spec, clock.nowMs())]));
  const run = (signal?: AbortSignal) => clock.run(compactHead(context, topic, 0, { signal }));
  return { stores, topic, context, partition, clock, add, run };
}

describe('the compaction of a head', () => {
  it('keeps the latest record of each key, and its offset', async () => {
    const { partition, add, run, clock } = setUp();
    await add('a=1', 'b=1', '=no key');
    await add('a=2', 'c=1');
    await add('b=2');
    expect(await run()).toEqual({
      segmentsRead: 6,
      bytesRead: expect.any(Number),
      segmentsWritten: 1,
      bytesWritten: expect.any(Number),
      recordsKept: 3,
      recordsDropped: 3,
      passes: 1,
      blocked: 0,
      error: undefined,
      complete: true,
      list: await partition.list(),
      nextAtMs: clock.nowMs() + LOOK_AGAIN_MS_MAX,
    });
    expect(await partition.shown()).toEqual(['3 a=2', '4 c=1', '5 b=2']);
    expect(await partition.slotState()).toMatchObject({
      compactedOffset: 6,
      segments: [{ startOffset: 0, endOffset: 6 }],
    });
  });

  it('makes a segment that is as old as its oldest record', async () => {
    const { partition, add, run, clock } = setUp();
    const writtenAtMs = clock.nowMs();
    await add('a=1', 'b=1');
    await clock.advance(1_000);
    await add('a=2');
    await clock.advance(1_000);
    await add('b=2');
    await run();
    expect(await partition.segments()).toMatchObject([{ writtenAtMs, maxTimestampMs: writtenAtMs + 2_000 }]);
  });

  it('costs what its description says', async () => {
    const { context, add, run } = setUp();
    await add('a=1');
    await add('a=2');
    await run();
    // The list: for the head, the partition, the group, its two updates, no further group, the end, and the partition again. And the topic.
    // Each segment is read for its keys, and to be rewritten.
    const { getItem, putItem, getObject, putObject } = context.usage.total();
    expect({ getItem, putItem, getObject, putObject }).toEqual({ getItem: 9, putItem: 4, getObject: 4, putObject: 1 });
  });

  it('does nothing for a topic that is not compacted', async () => {
    const { partition, add, run } = setUp({ 'cleanup.policy': 'delete' });
    await add('a=1', 'a=2');
    const list = await partition.list();
    expect(await run()).toMatchObject({ complete: true, nextAtMs: undefined, segmentsRead: 0, list });
    expect(await partition.list()).toEqual(list);
  });

  it('leaves alone what has nothing to drop', async () => {
    const { partition, add, run } = setUp();
    await add('a=1');
    await add('b=1');
    const before = await partition.segments();
    expect(await run()).toMatchObject({ segmentsWritten: 0, recordsKept: 2, complete: true });
    expect(await partition.segments()).toEqual(before);
    expect((await partition.slotState()).compactedOffset).toBe(2);
  });

  it('compacts new records against old ones', async () => {
    const { partition, add, run } = setUp({ 'min.cleanable.dirty.ratio': 0 });
    await add('a=1', 'b=1');
    await run();
    await add('a=2');
    await run();
    expect(await partition.shown()).toEqual(['1 b=1', '2 a=2']);
  });

  it('waits until enough is dirty', async () => {
    const { partition, add, run } = setUp();
    await add('a=1', 'b=1');
    await run();
    await add('a=2');
    expect(await run()).toMatchObject({ passes: 0, segmentsRead: 0, complete: true });
    expect((await partition.shown()).length).toBe(3);
  });

  it('replaces segments of which nothing is left by nothing', async () => {
    const { partition, add, run } = setUp({ 'segment.bytes': 1_048_576 }, { compactionOutputBytes: 1 });
    await add('a=1');
    await add('b=1');
    await add('a=2');
    await run();
    expect((await partition.segments()).map(({ startOffset }) => startOffset)).toEqual([1, 2]);
    expect((await partition.list()).garbage.map(({ startOffset }) => startOffset)).toEqual([0]);
  });

  it('takes as many passes as its map needs', async () => {
    const { partition, add, run } = setUp({ 'min.cleanable.dirty.ratio': 0 }, TINY_MAP);
    await add('a=1', 'b=1', 'c=1', 'd=1');
    await add('a=2', 'b=2', 'c=2', 'd=2');
    await add('e=1');
    expect(await run()).toMatchObject({ passes: 5, complete: true });
    expect(await partition.shown()).toEqual(['4 a=2', '5 b=2', '6 c=2', '7 d=2', '8 e=1']);
    expect((await partition.slotState()).compactedOffset).toBe(9);
  });

  it('keeps a tombstone for its time, and then drops it', async () => {
    const { partition, add, run, clock } = setUp();
    await add('a=1', 'b=1');
    await add('a');
    const before = clock.nowMs();
    expect(await run()).toMatchObject({ nextAtMs: before + LOOK_AGAIN_MS_MAX });
    expect(await partition.shown()).toEqual(['1 b=1', '2 a']);
    expect((await partition.slotState()).tombstonesDueAtMs).toBe(before + DAY_MS);
    await clock.advance(DAY_MS - 1 - (clock.nowMs() - before));
    await run();
    expect(await partition.shown()).toEqual(['1 b=1', '2 a']);
    await clock.advance(1);
    expect(await run()).toMatchObject({ passes: 1, recordsDropped: 1 });
    expect(await partition.shown()).toEqual(['1 b=1']);
    expect((await partition.slotState()).tombstonesDueAtMs).toBeUndefined();
  });

  it.each([0, 1])('looks again for the partition that needs it first: %i', async (slot) => {
    const stores = memoryStores();
    const topic = topicOf({ 'delete.retention.ms': 120_000 }, 2);
    const { clock } = stores;
    for (const of of [0, 1]) {
      const partition = new MergedPartition(stores, topic, of);
      await partition.add([[rec('a=1', clock.nowMs())], [rec(of === slot ? 'a' : 'a=2', clock.nowMs())]]);
    }
    const before = clock.nowMs();
    const { nextAtMs } = await clock.run(compactHead(contextOf(stores), topic, 0));
    expect(nextAtMs).toBe(before + 120_000);
  });

  it('remembers the oldest of its tombstones, in whichever segment that is', async () => {
    const { partition, add, run, clock } = setUp({ 'min.cleanable.dirty.ratio': 0 }, { compactionOutputBytes: 1 });
    await add('a');
    const before = clock.nowMs();
    await run();
    await clock.advance(3_600_000);
    await add('b');
    await run();
    expect(await partition.shown()).toEqual(['0 a', '1 b']);
    expect((await partition.slotState()).tombstonesDueAtMs).toBe(before + DAY_MS);
  });

  it('looks again when the next tombstone is due', async () => {
    const { add, run, clock } = setUp({ 'delete.retention.ms': 120_000 });
    await add('a=1', 'a');
    const before = clock.nowMs();
    expect((await run()).nextAtMs).toBe(before + 120_000);
  });

  it('drops a tombstone at once if it need not be kept', async () => {
    const { partition, add, run } = setUp({ 'delete.retention.ms': 0 });
    await add('a=1', 'b=1', 'a');
    expect(await run()).toMatchObject({ complete: true, passes: 2 });
    expect(await partition.shown()).toEqual(['1 b=1']);
  });

  it('leaves to the next pass the tombstones that this one could not drop', async () => {
    const { stores, context, topic, partition, run, clock } = setUp({ 'min.cleanable.dirty.ratio': 1 }, TINY_MAP);
    const nowMs = clock.nowMs();
    // As a pass with a larger map left it, which was killed before its end.
    const withHorizon = (batch: Uint8Array) =>
      edited(batch, (view) => {
        view.setInt16(21, view.getInt16(21) | 0x40);
        view.setBigInt64(27, BigInt(nowMs));
      });
    await partition.add([['a', 'b', 'c'].map((key) => rec(key, nowMs))], withHorizon);
    await updateSegmentList(context, stores.items, { topicId: topic.topicId, headNumber: 0 }, (list) => ({
      list: { ...list, slots: list.slots.map((slot) => ({ ...slot, tombstonesDueAtMs: nowMs })) },
      result: undefined,
    }));
    expect(await run()).toMatchObject({ passes: 1, complete: true });
    expect(await partition.shown()).toEqual(['2 c']);
    const { compactedOffset, tombstonesDueAtMs } = await partition.slotState();
    expect([compactedOffset, tombstonesDueAtMs]).toEqual([2, undefined]);
  });

  it('leaves out what is younger than the minimum lag', async () => {
    const { partition, add, run, clock } = setUp({ 'min.compaction.lag.ms': 60_000 });
    await add('a=1', 'a=2');
    await clock.advance(61_000);
    await add('a=3', 'a=4');
    const report = await run();
    expect(report).toMatchObject({ passes: 1, complete: true });
    expect(report.nextAtMs).toBe(clock.nowMs() + 60_000);
    expect(await partition.shown()).toEqual(['1 a=2', '2 a=3', '3 a=4']);
  });

  it('compacts segments in pages, and the page with them', async () => {
    const { partition, add, run } = setUp({}, { compactionOutputBytes: 1 });
    await add('a=1', 'b=1');
    await add('a=2');
    await add('c=1');
    await add('a=3');
    await partition.page(3);
    await run();
    expect(await partition.shown()).toEqual(['1 b=1', '3 c=1', '4 a=3']);
    const { pages, segments } = await partition.slotState();
    expect(pages).toMatchObject([{ startOffset: 0, endOffset: 4, segments: 2 }]);
    expect(segments.length).toBe(1);
    const { garbage } = await partition.list();
    expect(garbage.map(({ what, startOffset }) => `${what} ${startOffset}`).sort()).toEqual([
      'page 0',
      'page 0',
      'segment 0',
      'segment 2',
    ]);
  });

  it.each([
    ['segment', 2],
    ['and its last segment', 3],
  ])('makes a page as short as what is left of it, without its first %s', async (_, count) => {
    const { partition, add, run } = setUp({}, { compactionOutputBytes: 1 });
    await add('a=1');
    await add('b=1');
    if (count === 3) await add('a=2');
    await add('a=3');
    await partition.page(count);
    await run();
    const { pages } = await partition.slotState();
    expect(pages).toMatchObject([{ startOffset: 1, endOffset: 2, segments: 1 }]);
    expect((await partition.pageSegments(pages[0] as SegmentPage)).map(({ startOffset }) => startOffset)).toEqual([1]);
    expect(await partition.shown()).toEqual(['1 b=1', `${count} a=3`]);
  });

  it('drops a page of which nothing is left', async () => {
    const { partition, add, run } = setUp();
    await add('a=1', 'b=1');
    await add('a=2', 'b=2');
    await partition.page(1);
    await run();
    expect(await partition.shown()).toEqual(['2 a=2', '3 b=2']);
    const { pages } = await partition.slotState();
    expect(pages).toEqual([]);
  });

  it('skips what retention has dropped, also within a page', async () => {
    const { stores, context, topic, partition, add, run, clock } = setUp({ 'cleanup.policy': 'compact,delete' });
    await add('a=1', 'b=1');
    await add('b=2', 'c=1');
    await add('c=2');
    const inPage = (await partition.segments()).slice(0, 2);
    await partition.page(2);
    await updateSegmentList(context, stores.items, { topicId: topic.topicId, headNumber: 0 }, (list) => ({
      list: dropBelow(list, { slot: 0, startOffset: 2, pageSegments: () => inPage, nowMs: clock.nowMs(), graceMs: 0 }),
      result: undefined,
    }));
    for (const segment of inPage.slice(0, 1)) await stores.objects.delete(partition.keyOf(segment));
    expect(await run()).toMatchObject({ blocked: 0, complete: true });
    expect(await partition.shown()).toEqual(['2 b=2', '4 c=2']);
  });
});
