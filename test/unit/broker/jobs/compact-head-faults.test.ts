import { describe, expect, it } from 'vitest';
import { updateSegmentList } from '../../../../shared/broker/heads/segment-list-store.ts';
import { checkCompacted } from '../../../../shared/broker/jobs/compact/compact-group.ts';
import { compactHead } from '../../../../shared/broker/jobs/compact/compact-head.ts';
import { ANNOUNCED_MS, GRACE_MS } from '../../../../shared/broker/jobs/grace.ts';
import type { BrokerSettings } from '../../../../shared/broker/settings.ts';
import { encodeBatch, placeBatch, readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { announce, replaceSegments } from '../../../../shared/log/segment/list-changes.ts';
import type { Segment } from '../../../../shared/log/segment/segment.ts';
import { SegmentBuilder } from '../../../../shared/log/segment/segment-builder.ts';
import type { SegmentList } from '../../../../shared/log/segment/segment-list.ts';
import type { TopicConfig } from '../../../../shared/log/topic/topic-config.ts';
import {
  aroundStores,
  type StoreAnswer,
  type StoreArguments,
  type StoreRequest,
} from '../../../../shared/storage/around-stores.ts';
import { segmentListKey, segmentPageKey } from '../../../../shared/storage/keys.ts';
import type { ByteRange, Stores } from '../../../../shared/storage/ports.ts';
import { edited, withPayload } from '../../../support/batch-edit.ts';
import { memoryStores } from '../../../support/memory-broker.ts';
import { contextOf, MergedPartition, rec, topicOf } from './merged-partition.ts';

const NAME = { topicId: 'topic-id', headNumber: 0 };
const KIB = 1_024;

type Watch = (request: StoreRequest, args: StoreArguments, sent: number) => Promise<void> | void;

/** The stores, where `before` is called before each request, and `after` with its answer. */
function watched(
  stores: Stores,
  before: Watch,
  after: (request: StoreRequest, answer: StoreAnswer) => void = () => {},
): Stores {
  let sent = 0;
  return aroundStores(stores, (request, send) => async (...args) => {
    await before(request, args, ++sent);
    const answer = await send(...args);
    after(request, answer);
    return answer;
  });
}

function setUp(config: TopicConfig = {}, settings: Partial<BrokerSettings> = {}) {
  const stores = memoryStores();
  const { clock } = stores;
  const topic = topicOf(config, 2);
  const partitions = [0, 1].map((slot) => new MergedPartition(stores, topic, slot)) as [
    MergedPartition,
    MergedPartition,
  ];
  const add = (...specs: string[]) => partitions[0].add(specs.map((spec) => [rec(spec, clock.nowMs())]));
  const run = (through: Stores = stores, signal?: AbortSignal) =>
    clock.run(compactHead(contextOf({ ...through, clock }, settings), topic, 0, { signal }));
  /** Stores other bytes under the name of a segment. */
  const damage = async (segment: Segment, change: (bytes: Uint8Array) => Uint8Array): Promise<string> => {
    const key = partitions[0].keyOf(segment);
    const bytes = (await stores.objects.get(key, { start: 0, end: 1e9 })) as Uint8Array;
    await stores.objects.delete(key);
    await stores.objects.put(key, [change(bytes.slice())]);
    return key;
  };
  return { stores, clock, topic, partition: partitions[0], other: partitions[1], add, run, damage };
}

/** A segment of batches of 16 KiB with one record each: the keys repeat after `keys` records. */
function large(count: number, keys: number, from = 0) {
  return Array.from({ length: count }, (_, i) => [rec(`k${i % keys}=${from + i}${'x'.repeat(16 * KIB)}`, 1_000 + i)]);
}

describe('a damaged segment blocks its partition, and no other', () => {
  const flip = (at: number) => (bytes: Uint8Array) => {
    bytes[at] = (bytes[at] as number) ^ 1;
    return bytes;
  };
  /** Another record in the first batch, with the right CRC. */
  const another = (bytes: Uint8Array): Uint8Array => {
    const length = new DataView(bytes.buffer).getInt32(8) + 12;
    bytes.set(edited(bytes.subarray(0, length), (_, batch) => batch.fill(0x39, length - 2, length - 1)));
    return bytes;
  };
  it.each([
    ['a record is damaged', flip(65), 'CRC'],
    // The CRC does not cover it.
    ['a base offset is damaged', flip(6), 'out of place'],
    ['a batch is another one', another, 'set hash'],
    ['it ends early', (bytes: Uint8Array) => bytes.slice(0, 80), 'ends before'],
  ])('%s', async (_, change, why) => {
    const { partition, other, add, run, damage } = setUp();
    await add('a=1', 'b=1');
    await add('a=2', 'c=1');
    await add('a=3');
    await other.add([[rec('x=1', 5)], [rec('x=2', 5)]]);
    const before = await partition.slotState();
    const storedAs = await damage(before.segments[1] as Segment, change);
    const report = await run();
    expect(report).toMatchObject({ blocked: 1, complete: false, passes: 1 });
    expect(report.error?.code).toBe('corrupt_data');
    expect(report.error?.details).toEqual({ storedAs });
    expect(report.error?.message).toContain(why);
    expect(await partition.slotState()).toEqual(before);
    expect(await partition.list()).toMatchObject({ announcements: [] });
    expect(await other.shown()).toEqual(['1 x=2']);
  });

  it('a segment or a page is missing', async () => {
    const { stores, partition, add, run, clock } = setUp();
    await add('a=1', 'b=1');
    await add('a=2');
    await partition.page(1);
    const [segment] = await partition.segments();
    await stores.objects.delete(partition.keyOf(segment as Segment));
    const storedAs = partition.keyOf(segment as Segment);
    expect(await run()).toMatchObject({
      blocked: 1,
      error: { details: { storedAs }, message: expect.stringContaining('is missing') },
    });
    const [page] = (await partition.slotState()).pages;
    const key = segmentPageKey(NAME.topicId, 0, { slot: 0, startOffset: 0, version: page?.version as number });
    await stores.items.delete(key);
    expect(await run()).toMatchObject({
      blocked: 1,
      error: { code: 'corrupt_data', details: { storedAs: `${key.pk}/${key.sk}` } },
      nextAtMs: clock.nowMs() + 60 * 60_000,
    });
  });

  it('records that do not decode are damage, although the CRC is right', async () => {
    const { partition, run, clock } = setUp();
    const broken = (batch: Uint8Array) => withPayload(batch, Uint8Array.of(200, 200, 200));
    await partition.add([[rec('a=1', clock.nowMs())]], broken);
    expect(await run()).toMatchObject({ blocked: 1, error: { message: expect.stringContaining('cannot be read') } });
  });

  it('what was written before the damage was met is given up', async () => {
    const limits = { compactionOutputBytes: 128 * KIB };
    const { stores, partition, damage, clock, run } = setUp({ 'min.cleanable.dirty.ratio': 0 }, limits);
    await partition.add(large(32, 32));
    await run();
    await partition.add(large(1, 1, 100));
    const before = await partition.slotState();
    const clean = before.segments[0] as Segment;
    const last = (await partition.batches())[31]?.bytes as Uint8Array;
    const at = clean.bytes - last.length + 7;
    await damage(clean, (bytes) => bytes.fill(99, at, at + 1));
    const report = await run();
    expect(report).toMatchObject({ blocked: 1, nextAtMs: clock.nowMs() + 60 * 60_000 });
    expect(report.segmentsWritten).toBeGreaterThan(1);
    expect(await partition.slotState()).toEqual(before);
    const { announcements, garbage } = await partition.list();
    expect(announcements).toEqual([]);
    expect(garbage.length).toBeGreaterThan(report.segmentsWritten);
    expect((await stores.objects.list('segments/', { limit: 100 })).keys.length).toBe(2 + report.segmentsWritten);
  });
});

describe('a run that is stopped', () => {
  it('stops before its next read, gives up what it has not committed, and keeps what it has', async () => {
    const { stores, partition, run, clock } = setUp({}, { compactionOutputBytes: 128 * KIB });
    await partition.add(large(64, 63));
    const stop = new AbortController();
    let puts = 0;
    const stopping = watched(stores, (request) => {
      if (request === 'putObject' && ++puts === 2) stop.abort();
    });
    const report = await run(stopping, stop.signal);
    expect(report).toMatchObject({ complete: false, passes: 0, blocked: 0, nextAtMs: clock.nowMs() });
    expect(report.segmentsWritten).toBe(2);
    const { announcements, garbage } = await partition.list();
    expect(announcements).toEqual([]);
    expect(garbage.length).toBeGreaterThan(2);
    expect((await partition.records()).length).toBe(64);
    expect((await run()).complete).toBe(true);
    expect((await partition.records()).length).toBe(63);
  });

  it('does nothing if it is stopped already', async () => {
    const { add, run, stores, clock } = setUp();
    await add('a=1', 'a=2');
    const report = await run(stores, AbortSignal.abort());
    expect(report).toMatchObject({ complete: false, segmentsRead: 0, nextAtMs: clock.nowMs() });
  });
});

describe('large segments', () => {
  const limits = { compactionOutputBytes: 256 * KIB };
  const sizes = { gets: [] as number[], puts: [] as number[], held: [] as number[] };
  const measured = (stores: Stores) => {
    sizes.gets = [];
    sizes.puts = [];
    sizes.held = [];
    const sum = (parts: readonly { readonly byteLength: number }[]) =>
      parts.reduce((bytes, { byteLength }) => bytes + byteLength, 0);
    return watched(stores, (request, args) => {
      if (request === 'getObject') sizes.gets.push((args[1] as ByteRange).end - (args[1] as ByteRange).start);
      if (request !== 'putObject') return;
      const chunks = args[1] as readonly Uint8Array[];
      sizes.puts.push(sum(chunks));
      sizes.held.push(sum([...new Set(chunks.map(({ buffer }) => buffer))]));
    });
  };

  it('of which little is left keep no more in memory than that', async () => {
    const { stores, partition, run } = setUp();
    await partition.add(Array.from({ length: 64 }, (_, i) => [rec(`k${i % 8 === 7 ? i : 0}=${'x'.repeat(KIB)}`, 5)]));
    expect(await run(measured(stores))).toMatchObject({ recordsKept: 9, complete: true });
    expect(sizes.held[0]).toBeLessThan(1.1 * (sizes.puts[0] as number));
  });

  it('are read in chunks, and become several segments, so that little is in memory', async () => {
    const { stores, partition, run, clock } = setUp({}, limits);
    const writtenAtMs = clock.nowMs();
    await partition.add([...large(96, 96), [rec('k0=new', 9_999)]]);
    await clock.advance(1_000);
    expect(await run(measured(stores))).toMatchObject({ recordsKept: 96, recordsDropped: 1, complete: true });
    expect(Math.max(...sizes.gets)).toBeLessThanOrEqual((32 + 64 + 17) * KIB);
    expect(Math.max(...sizes.puts)).toBeLessThanOrEqual(257 * KIB);
    const segments = await partition.segments();
    expect(segments.length).toBe(sizes.puts.length);
    expect(segments.length).toBeGreaterThanOrEqual(6);
    expect(segments[0]?.startOffset).toBe(0);
    expect(segments.at(-1)).toMatchObject({ endOffset: 97, maxTimestampMs: 9_999 });
    segments.forEach((segment, i) => {
      expect(segment.writtenAtMs).toBe(writtenAtMs);
      if (i > 0) expect(segment.startOffset).toBe(segments[i - 1]?.endOffset);
    });
    expect(segments[1]?.maxTimestampMs).toBe(1_000 + (segments[1]?.endOffset as number) - 1);
    expect(new Set(segments.map(({ version }) => version)).size).toBe(1);
    expect((await partition.records()).map(({ offset }) => offset)).toEqual(
      Array.from({ length: 96 }, (_, i) => i + 1),
    );
  });

  it('stay as they are if nothing changes', async () => {
    const { stores, partition, run } = setUp({}, limits);
    await partition.add(large(64, 64));
    const before = await partition.segments();
    expect(await run(measured(stores))).toMatchObject({ recordsKept: 64, segmentsWritten: 0, complete: true });
    expect(sizes.puts).toEqual([]);
    expect(await partition.segments()).toEqual(before);
  });

  it('are written from their beginning if only their end changes', async () => {
    const { partition, run } = setUp({}, limits);
    await partition.add([...large(64, 64), [rec('last=1', 1)], [rec('last=2', 1)]]);
    await run();
    const offsets = (await partition.records()).map(({ offset }) => offset);
    expect(offsets).toEqual([...Array.from({ length: 64 }, (_, i) => i), 65]);
  });

  it('lose the pieces of which nothing is left', async () => {
    const { partition, run } = setUp({}, limits);
    await partition.add([...large(64, 2), ...large(1, 1, 7)]);
    await run();
    const segments = await partition.segments();
    expect(segments.length).toBe(1);
    expect((await partition.records()).map(({ offset }) => offset)).toEqual([63, 64]);
    expect(segments[0]?.startOffset).toBeGreaterThan(40);
    // Announced and not written: deleting them deletes nothing.
    expect((await partition.list()).garbage.length).toBeGreaterThan(1);
  });

  it('in a page: a page begins where its first piece does that is left', async () => {
    const { partition, run } = setUp({}, limits);
    await partition.add([...large(64, 2), ...large(1, 1, 7)]);
    await partition.add([[rec('z=1', 5)]]);
    await partition.page(2);
    await run();
    const [page] = (await partition.slotState()).pages;
    expect(page).toMatchObject({ endOffset: 66, segments: 2 });
    expect(page?.startOffset).toBe((await partition.segments())[0]?.startOffset);
    expect(page?.startOffset).toBeGreaterThan(40);
    expect((await partition.records()).map(({ offset }) => offset)).toEqual([63, 64, 65]);
  });

  it('of which other segments are joined are as large as an object may be', async () => {
    const { partition, run } = setUp({ 'segment.bytes': 1_048_576 });
    for (let i = 0; i < 4; i++)
      await partition.add([...large(24, 24, i), [rec(`only${i}=1`, 1)]].slice(i === 3 ? 0 : 20));
    await run();
    expect((await partition.segments()).map(({ startOffset, endOffset }) => [startOffset, endOffset])).toEqual([
      [0, 40],
    ]);
  });
});

describe('a run beside other jobs', () => {
  /** Replaces the first two segments by one with the same bytes, as a join does. */
  async function join(stores: Stores, partition: MergedPartition, nowMs: number): Promise<void> {
    const context = contextOf({ ...stores, clock: memoryStores().clock }, {}, 5);
    const sources = (await partition.slotState()).segments.slice(0, 2) as [Segment, Segment];
    const [a, b] = sources;
    const startOffset = a.startOffset;
    const { result: id } = await updateSegmentList(context, stores.items, NAME, (list) => {
      const made = announce(list, 'coalesce', [{ what: 'segment', slot: 0, startOffset }], nowMs + ANNOUNCED_MS);
      return { list: made?.list, result: made?.announcement.id as number };
    });
    const parts = await Promise.all(
      sources.map(
        async (one) => (await stores.objects.get(partition.keyOf(one), { start: 0, end: one.bytes })) as Uint8Array,
      ),
    );
    await stores.objects.put(partition.keyOf({ startOffset, version: id }), parts);
    const setHash = BigInt.asUintN(64, a.setHash + b.setHash);
    const by = [{ ...a, endOffset: b.endOffset, version: id, bytes: a.bytes + b.bytes, setHash }];
    await updateSegmentList(context, stores.items, NAME, (list) => ({
      list: replaceSegments(list, { id, slot: 0, sources, by, nowMs, graceMs: GRACE_MS }),
      result: undefined,
    }));
    for (const one of sources) await stores.objects.delete(partition.keyOf(one));
  }

  it('gives up a group that was joined meanwhile, and compacts what was made of it', async () => {
    const { stores, partition, add, run, clock } = setUp();
    await add('a=1', 'b=1');
    await add('c=1');
    await add('a=2', 'b=2');
    let isJoined = false;
    const report = await run(
      watched(stores, async (request) => {
        if (request !== 'putObject' || isJoined) return;
        isJoined = true;
        await join(stores, partition, clock.nowMs());
      }),
    );
    expect(report).toMatchObject({ complete: true, passes: 1, blocked: 0 });
    expect(await partition.shown()).toEqual(['2 c=1', '3 a=2', '4 b=2']);
    const { announcements, garbage } = await partition.list();
    expect(announcements).toEqual([]);
    const { objects } = await partition.stored();
    // Each object has its name in the list or in the garbage.
    const named = [...(await partition.segments()), ...garbage].map((one) => partition.keyOf(one));
    expect(objects.filter((key) => !named.includes(key))).toEqual([]);
  });

  it('starts again if what it was about to read was replaced and deleted', async () => {
    const { stores, partition, add, run, clock } = setUp();
    await add('a=1', 'b=1');
    await add('c=1');
    await add('a=2', 'b=2');
    let isJoined = false;
    const joining = watched(stores, async (request) => {
      if (request !== 'getObject' || isJoined) return;
      isJoined = true;
      await join(stores, partition, clock.nowMs());
    });
    expect(await run(joining)).toMatchObject({ complete: true, passes: 1, blocked: 0 });
    expect(await partition.shown()).toEqual(['2 c=1', '3 a=2', '4 b=2']);
  });

  it('leaves a partition to the next run if others are always faster', async () => {
    const { stores, partition, add, run, clock } = setUp();
    for (let i = 0; i < 60; i++) await add(`k=${i}`);
    const rewriting = watched(stores, async (request) => {
      if (request === 'putObject' && (await partition.slotState()).segments.length > 1)
        await join(stores, partition, clock.nowMs());
    });
    expect(await run(rewriting)).toMatchObject({
      complete: false,
      passes: 0,
      blocked: 0,
      nextAtMs: clock.nowMs() + 60_000,
    });
    expect(await run()).toMatchObject({ complete: true, passes: 1 });
    expect(await partition.shown()).toEqual(['59 k=59']);
  });

  it('does not end its pass if another run has ended one', async () => {
    const { stores, partition, add, run } = setUp();
    await add('a=1', 'a=2');
    let isOther = true;
    const report = await run(
      watched(stores, async (request, args) => {
        const next = args[1] as { readonly v?: number } | undefined;
        if (request !== 'putItem' || !isOther || next?.v === undefined) return;
        isOther = false;
        await run(stores);
      }),
    );
    expect(report).toMatchObject({ complete: true, passes: 0 });
    expect(await partition.shown()).toEqual(['1 a=2']);
    expect((await partition.slotState()).compactedOffset).toBe(2);
  });

  it.each([
    ['getObject', 1, 0],
    ['getObject', 2, 0],
    ['putObject', 1, 1],
  ] as const)('does not make the list of a deleted topic again: %s %i', async (at, nth, segmentsWritten) => {
    const { stores, add, run } = setUp();
    await add('a=1', 'a=2');
    let requests = 0;
    const deleting = watched(stores, async (request) => {
      if (request === at && ++requests === nth)
        await stores.items.delete(segmentListKey(NAME.topicId, NAME.headNumber));
    });
    expect(await run(deleting)).toMatchObject({ passes: 0, blocked: 0, segmentsWritten });
    expect((await stores.items.get(segmentListKey(NAME.topicId, NAME.headNumber))).attributes).toBeUndefined();
  });

  it('finds the announcements of dead jobs', async () => {
    const { stores, partition, add, run, clock } = setUp();
    await add('a=1', 'a=2');
    const context = contextOf(stores);
    await updateSegmentList(context, stores.items, NAME, (list: SegmentList) => {
      const made = announce(list, 'merge', [{ what: 'segment', slot: 0, startOffset: 7 }], clock.nowMs() + 5);
      return { list: made?.list, result: undefined };
    });
    await clock.advance(5);
    await run();
    const { announcements, garbage } = await partition.list();
    expect(announcements).toEqual([]);
    expect(garbage.map(({ startOffset }) => startOffset)).toEqual([7, 0]);
  });

  it('throws if the storage fails, and the next run goes on', async () => {
    const { stores, partition, add, run } = setUp({}, { commitTimeoutMs: 100 });
    await add('a=1', 'a=2');
    const failing = watched(stores, (request) => {
      if (request === 'putObject') throw new EventLogError('storage_unavailable', 'Injected.');
    });
    await expect(run(failing)).rejects.toMatchObject({ code: 'storage_unavailable' });
    expect(await partition.list()).toMatchObject({ announcements: [], garbage: [{ startOffset: 0 }] });
    expect(await run()).toMatchObject({ complete: true });
  });
});

describe('a segment that was built wrong is a bug', () => {
  function built() {
    const builder = new SegmentBuilder();
    for (const offset of [5, 9]) {
      const batch = encodeBatch([rec('a=1', 1)]);
      placeBatch(batch, 0, offset);
      builder.add(batch, readBatchHeader(batch), offset);
    }
    return builder.finish();
  }

  it('and is not written', () => {
    expect(() => checkCompacted(built(), 2)).not.toThrow();
    expect(() => checkCompacted(built(), 3)).toThrow('has 2 records');
    const moved = built();
    placeBatch(moved.chunks[1] as Uint8Array, 0, 8);
    expect(() => checkCompacted(moved, 2)).toThrow('has 2 records');
    const damaged = built();
    damaged.chunks[0]?.fill(7, 60);
    expect(() => checkCompacted(damaged, 2)).toThrow('CRC');
    const { chunks, ...rest } = built();
    expect(() => checkCompacted({ ...rest, chunks: [...chunks.slice(0, -1), new Uint8Array(30)] }, 2)).toThrow('index');
  });
});
