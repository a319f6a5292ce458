import { describe, expect, it } from 'vitest';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { readSegmentList, updateSegmentList } from '../../../../shared/broker/heads/segment-list-store.ts';
import { ANNOUNCED_MS, GRACE_MS } from '../../../../shared/broker/jobs/grace.ts';
import { DEFAULT_SETTINGS } from '../../../../shared/broker/settings.ts';
import { encodeBatch, readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import { packTotals } from '../../../../shared/log/head/head.ts';
import { announce, schedule } from '../../../../shared/log/segment/list-changes.ts';
import type { Segment } from '../../../../shared/log/segment/segment.ts';
import { unpackIndex } from '../../../../shared/log/segment/segment-index.ts';
import type { SegmentList } from '../../../../shared/log/segment/segment-list.ts';
import { NODE, segmentObjectKey } from '../../../../shared/storage/keys.ts';
import { dyingStores } from '../../../support/dying-stores.ts';
import { faultyStores } from '../../../support/faulty-stores.ts';
import {
  appendTo,
  bytes,
  memoryBroker,
  memoryStores,
  record,
  SeededRandom,
  valuesOf,
} from '../../../support/memory-broker.ts';
import { turn } from '../../../support/simulated-clock.ts';

const MINUTE_MS = 60_000;

async function setUp(config: Record<string, unknown> = {}) {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  const { topic } = await broker.putTopic({ name: 't', partitions: 4, config });
  const name = { topicId: topic.topicId, headNumber: 0 };
  const list = () => readSegmentList(stores.items, name);
  const append = async (partition: number, count: number, size = 10): Promise<void> => {
    for (let i = 0; i < count; i++)
      await appendTo(broker, 't', partition, [`${partition}/${i}`.padEnd(size, '.')], { key: bytes('k') });
    await broker.idle();
  };
  const merge = (force = true) => stores.clock.run(broker.mergeHead(topic.topicId, 0, { force }));
  return { stores, broker, topicId: topic.topicId, list, append, merge };
}

/** The offsets of the batches in each segment of a slot, as they lie in the objects. */
async function offsetsIn(stores: ReturnType<typeof memoryStores>, topicId: string, list: SegmentList, slot: number) {
  const runs: number[][] = [];
  for (const segment of list.slots[slot]?.segments ?? []) {
    const key = segmentObjectKey(topicId, slot, segment.startOffset, segment.version);
    const object = (await stores.objects.get(key, { start: 0, end: 1e9 })) as Uint8Array;
    expect(object.length).toBe(segment.bytes + segment.indexBytes);
    expect(unpackIndex(object.subarray(segment.bytes)).bytes).toBe(segment.bytes);
    const offsets: number[] = [];
    for (let at = 0; at < segment.bytes; ) {
      const header = readBatchHeader(object, at);
      offsets.push(header.baseOffset);
      at += header.bytes;
    }
    runs.push(offsets);
  }
  return runs;
}

describe('a merge', () => {
  it('makes a segment for each partition of what is in nodes, and leaves the tail', async () => {
    const { stores, topicId, list, append, merge } = await setUp();
    await append(0, 5);
    await append(2, 14);
    expect(await merge()).toMatchObject({ nodesMerged: 2, segmentsWritten: 2 });
    const merged = await list();
    expect(merged).toMatchObject({ mergedEntry: 16, cleanBelow: 16, announcements: [], garbage: [] });
    expect(merged.totals.map(({ nextOffset }) => nextOffset)).toEqual([5, 0, 11]);
    expect(await offsetsIn(stores, topicId, merged, 0)).toEqual([[0, 1, 2, 3, 4]]);
    expect(await offsetsIn(stores, topicId, merged, 2)).toEqual([Array.from({ length: 11 }, (_, i) => i)]);
  });

  it('goes on where the last one ended', async () => {
    const { stores, topicId, list, append, merge } = await setUp();
    await append(0, 8);
    await merge();
    await append(0, 8);
    await merge();
    expect(await offsetsIn(stores, topicId, await list(), 0)).toEqual([
      [0, 1, 2, 3, 4, 5, 6, 7],
      [8, 9, 10, 11, 12, 13, 14, 15],
    ]);
  });

  it('waits for sixteen nodes and a minute, or an hour', async () => {
    const { stores, append, merge } = await setUp();
    await append(0, 8);
    expect(await merge(false)).toMatchObject({ nodesMerged: 0 });
    await append(0, 120);
    expect(await merge(false)).toMatchObject({ nodesMerged: 0 });
    await stores.clock.advance(MINUTE_MS);
    expect(await merge(false)).toMatchObject({ nodesMerged: 16 });
    await append(0, 8);
    await stores.clock.advance(59 * MINUTE_MS);
    expect(await merge(false)).toMatchObject({ nodesMerged: 0 });
    await stores.clock.advance(MINUTE_MS);
    expect(await merge(false)).toMatchObject({ nodesMerged: 1 });
  });

  it('begins a segment where `segment.bytes` or `segment.ms` ends one', async () => {
    const { stores, topicId, list, append, merge } = await setUp({ 'segment.bytes': 1_048_576, 'segment.ms': 60_000 });
    await append(0, 4, 400_000);
    await append(0, 2);
    await stores.clock.advance(MINUTE_MS - 1);
    await append(0, 1);
    await stores.clock.advance(1);
    await append(0, 1);
    await merge();
    expect(await offsetsIn(stores, topicId, await list(), 0)).toEqual([[0, 1], [2, 3, 4, 5, 6], [7]]);
  });

  it('joins eight small segments, and makes the old ones garbage', async () => {
    const { stores, topicId, list, append, merge } = await setUp();
    for (let i = 0; i < 8; i++) {
      await append(1, 8);
      await merge();
    }
    const joined = await list();
    expect(await offsetsIn(stores, topicId, joined, 1)).toEqual([Array.from({ length: 64 }, (_, i) => i)]);
    expect(joined.garbage).toHaveLength(8);
  });

  it('leaves out what is below the log start', async () => {
    const { stores, topicId, list, append, merge } = await setUp();
    await append(0, 16);
    await stores.items.update({ pk: `head#${topicId}#0`, sk: '-' }, [{ do: 'set', name: 's0', value: 12 }]);
    await merge();
    expect(await offsetsIn(stores, topicId, await list(), 0)).toEqual([[12, 13, 14, 15]]);
  });
});

describe('a merge, besides', () => {
  it('takes a node that is larger than a merge, alone', async () => {
    const { broker, append, merge } = await setUp();
    const batch = encodeBatch([{ timestampMs: 1, key: null, value: new Uint8Array(4_100_000), headers: [] }]);
    await broker.putTopic({ name: 't', config: { 'max.message.bytes': 4_194_304 } });
    for (let i = 0; i < 8; i++)
      await broker.append({ atomic: true, batches: [0, 1, 2].map((partition) => ({ topic: 't', partition, batch })) });
    await broker.idle();
    await append(3, 8);
    expect(await merge()).toMatchObject({ nodesMerged: 2, segmentsWritten: 4 });
  });

  it('does not wait when more waits than one merge takes', async () => {
    const { stores, broker, merge } = await setUp();
    const batch = encodeBatch([{ timestampMs: 1, key: null, value: new Uint8Array(1_000_000), headers: [] }]);
    for (let i = 0; i < 88; i++) {
      await broker.append({ batches: [{ topic: 't', partition: 0, batch }] });
      await broker.idle();
      // Before the nodes of the second merge: the age is that of what the first began with.
      if (i === 63) await stores.clock.advance(1_000);
    }
    // What is left of 88 MB is less than a merge takes, and waits as usual.
    expect(await merge(false)).toMatchObject({ nodesMerged: 8, waitedMs: 1_000 });
  });

  it('schedules the sweep for when nodes may go, and compaction if the topic has it', async () => {
    for (const policy of ['delete', 'compact', 'compact,delete']) {
      const { stores, list, append, merge } = await setUp({ 'cleanup.policy': policy });
      await append(0, 8);
      await merge();
      const { due, cleanAtMs } = await list();
      expect(due.sweep?.atMs).toBe(cleanAtMs);
      expect(due.compact?.atMs).toBe(policy === 'delete' ? undefined : stores.clock.nowMs() + 5 * MINUTE_MS);
    }
  });

  it('waits for another merge until that counts as dead', async () => {
    const { stores, topicId, append, merge } = await setUp();
    await append(0, 8);
    const dying = dyingStores(stores, 14);
    const dead = memoryBroker(dying.stores).mergeHead(topicId, 0, { force: true });
    expect(await Promise.race([dead, dying.died])).toBe('died');
    expect(await merge()).toMatchObject({ nodesMerged: 0, nextAtMs: stores.clock.nowMs() + ANNOUNCED_MS });
    await stores.clock.advance(ANNOUNCED_MS);
    expect(await merge()).toMatchObject({ nodesMerged: 1 });
  });

  it('waits for no merge that died before its process began, if that is the only process', async () => {
    const { stores, topicId, append, list } = await setUp();
    await append(0, 8);
    const before = memoryBroker(stores, { isOnlyProcess: true });
    const died = dyingStores(stores, 14);
    const dead = memoryBroker(died.stores).mergeHead(topicId, 0, { force: true });
    expect(await Promise.race([dead, died.died])).toBe('died');
    const merge = (broker: Broker) => stores.clock.run(broker.mergeHead(topicId, 0, { force: true }));
    // This process may have made the announcement itself.
    expect(await merge(before)).toMatchObject({ nodesMerged: 0 });
    await stores.clock.advance(1);
    const after = memoryBroker(stores, { isOnlyProcess: true });
    expect(await merge(after)).toMatchObject({ nodesMerged: 1 });
    // The sweep finds what the dead merge wrote as it does otherwise.
    expect((await list()).announcements).toHaveLength(1);
  });

  it('that was stopped goes on at once', async () => {
    const { stores, broker, topicId, append } = await setUp();
    await append(0, 8);
    const stopped = broker.mergeHead(topicId, 0, { force: true, signal: AbortSignal.abort() });
    expect(await stores.clock.run(stopped)).toMatchObject({ nodesMerged: 0, nextAtMs: stores.clock.nowMs() });
  });

  it('commits nothing of a node that does not begin where the segments end', async () => {
    const { stores, topicId, append, merge } = await setUp();
    await append(0, 8);
    await merge();
    await append(0, 8);
    const key = { pk: `node#${topicId}#0`, sk: '0000000000000008' };
    const wrong = packTotals([{ nextOffset: 7, maxTimestampMs: 1, bytes: 1 }]);
    await stores.items.update(key, [{ do: 'set', name: NODE.before, value: wrong }]);
    await expect(merge()).rejects.toMatchObject({ code: 'corrupt_data', details: { firstEntry: 8 } });
  });

  it('commits nothing of data that is damaged', async () => {
    const { stores, append, merge, list } = await setUp();
    await append(0, 8, 20_000);
    const { keys } = await stores.objects.list('hot/', { limit: 10 });
    const key = keys[3] as string;
    const object = (await stores.objects.get(key, { start: 0, end: 1e6 })) as Uint8Array;
    await stores.objects.delete(key);
    object[1_000] = (object[1_000] as number) ^ 1;
    await stores.objects.put(key, [object]);
    await expect(merge()).rejects.toMatchObject({ code: 'corrupt_data', details: { storedAs: key } });
    expect(await list()).toMatchObject({ version: 0 });
  });
});

describe('a join', () => {
  it('has the largest timestamp and the oldest time of writing of its sources', async () => {
    const { stores, broker, list, append, merge } = await setUp();
    const startMs = stores.clock.nowMs();
    const times = [5, 8, 2, 9, 3, 1, 4, 6];
    for (const time of times) {
      await append(0, 7);
      await broker.appendRecords({ topic: 't', records: [record('x', { partition: 1, timestampMs: time })] });
      await broker.idle();
      await merge();
      await stores.clock.advance(1_000);
    }
    expect((await list()).slots[1]?.segments).toMatchObject([{ maxTimestampMs: 9, writtenAtMs: startMs }]);
  });

  it('waits for another of its partition only, and schedules the sweep for what it replaced', async () => {
    const { stores, topicId, list, append, merge } = await setUp();
    const context = { clock: stores.clock, random: new SeededRandom(1), settings: DEFAULT_SETTINGS };
    const change = (to: (now: SegmentList) => SegmentList | undefined) =>
      updateSegmentList(context, stores.items, { topicId, headNumber: 0 }, (now) => ({
        list: to(now),
        result: undefined,
      }));
    const underWay = (slot: number) =>
      change((now) => {
        const names = [{ what: 'segment' as const, slot, startOffset: 0 }];
        const others = { ...now, announcements: [] };
        return announce(others, 'coalesce', names, stores.clock.nowMs() + ANNOUNCED_MS)?.list;
      });
    for (let i = 0; i < 8; i++) {
      if (i === 7) await underWay(1);
      await append(1, 8);
      await merge();
    }
    expect((await list()).slots[1]?.segments).toHaveLength(8);
    await underWay(0);
    await change((now) => schedule(now, 'sweep', stores.clock.nowMs() + 24 * 60 * MINUTE_MS));
    expect(await merge()).toMatchObject({ nodesMerged: 0, segmentsJoined: 8 });
    expect((await list()).due.sweep?.atMs).toBe(stores.clock.nowMs() + GRACE_MS);
  });

  it.each(['is damaged', 'belongs to another segment'])('replaces nothing if an index %s', async (what) => {
    const { stores, topicId, list, append, merge } = await setUp();
    for (let i = 0; i < 7; i++) {
      await append(1, 8);
      await merge();
    }
    const [first, second] = (await list()).slots[1]?.segments ?? [];
    const objectOf = async (segment = second as Segment) => {
      const key = segmentObjectKey(topicId, 1, segment.startOffset, segment.version);
      return { key, bytes: (await stores.objects.get(key, { start: 0, end: 1e6 })) as Uint8Array };
    };
    const { key, bytes } = await objectOf();
    const other = await objectOf(first);
    await stores.objects.delete(key);
    const index = what === 'is damaged' ? bytes.slice(second?.bytes).fill(0, 0, 1) : other.bytes.slice(first?.bytes);
    await stores.objects.put(key, [bytes.slice(0, second?.bytes), index]);
    await append(1, 8);
    await expect(merge()).rejects.toMatchObject({ code: 'corrupt_data', details: { storedAs: key } });
    expect((await list()).slots[1]?.segments).toHaveLength(8);
  });

  it('that comes too late leaves its object as garbage', async () => {
    const { stores, topicId, list, append, merge } = await setUp();
    for (let i = 0; i < 7; i++) {
      await append(1, 8);
      await merge();
    }
    await append(1, 8);
    const slow = faultyStores(stores, ({ method }) => (method === 'concat_objects' ? { delayMs: 1 } : undefined));
    const late = memoryBroker(slow).mergeHead(topicId, 0, { force: true });
    await turn();
    const context = { clock: stores.clock, random: new SeededRandom(1), settings: DEFAULT_SETTINGS };
    await updateSegmentList(context, stores.items, { topicId, headNumber: 0 }, (now) => ({
      list: { ...now, announcements: [] },
      result: undefined,
    }));
    await stores.clock.run(late);
    const { garbage, slots } = await list();
    expect(slots[1]?.segments).toHaveLength(8);
    const { keys } = await stores.objects.list('segments/', { limit: 100 });
    expect(keys).toHaveLength(9);
    const dueAtMs = stores.clock.nowMs() + GRACE_MS;
    expect(garbage).toMatchObject([{ what: 'segment', slot: 1, startOffset: 0, dueAtMs }]);
  });
});

describe('the merge job', () => {
  const run = async (broker: Broker) => {
    const { results, blocked, complete } = await broker.runMerges();
    return { nodes: results.map(({ nodesMerged }) => nodesMerged), blocked, complete };
  };

  it('keeps no list of the heads that it has visited', async () => {
    const { stores, broker, append } = await setUp();
    await append(0, 9);
    await stores.clock.advance(60 * MINUTE_MS);
    const { results } = await broker.runMerges();
    expect(results.map((result) => Object.hasOwn(result, 'list'))).toEqual([false]);
  });

  it('finds every head that has records, an hour after its first append', async () => {
    const { stores, broker, append, list } = await setUp();
    await append(0, 9);
    expect(await run(broker)).toEqual({ nodes: [], blocked: 0, complete: true });
    await stores.clock.advance(60 * MINUTE_MS);
    expect(await run(broker)).toEqual({ nodes: [1], blocked: 0, complete: true });
    expect(await run(broker)).toEqual({ nodes: [], blocked: 0, complete: true });
    expect((await list()).due.merge?.atMs).toBe(stores.clock.nowMs() + 24 * 60 * MINUTE_MS);
  });

  it('visits a head of which nothing is due yet when it is', async () => {
    const { stores, broker, append } = await setUp();
    await append(0, 1);
    await stores.clock.advance(60 * MINUTE_MS);
    expect(await run(broker)).toMatchObject({ nodes: [0] });
    await append(0, 9);
    await stores.clock.advance(24 * 60 * MINUTE_MS);
    expect(await run(broker)).toMatchObject({ nodes: [1] });
  });

  it('finds a head whose first visit died before it had named the next one', async () => {
    const { stores, broker, topicId, append, merge } = await setUp();
    await append(0, 9);
    // What a visit has done by then.
    await merge();
    const context = { ...stores, random: new SeededRandom(1), settings: DEFAULT_SETTINGS };
    await updateSegmentList(context, stores.items, { topicId, headNumber: 0 }, (list) => ({
      list: schedule(list, 'merge', undefined),
      result: undefined,
    }));
    await append(0, 8);
    await stores.clock.advance(60 * MINUTE_MS);
    expect(await run(broker)).toEqual({ nodes: [1], blocked: 0, complete: true });
    expect(await run(broker)).toEqual({ nodes: [], blocked: 0, complete: true });
  });

  it('visits a head whose topic was made after the run knew all topics', async () => {
    const { stores, broker, append } = await setUp();
    const other = memoryBroker(stores);
    await append(0, 3);
    await stores.clock.advance(60 * MINUTE_MS);
    await run(broker);
    await other.putTopic({ name: 'young', config: { 'retention.ms': 1_000 } });
    await appendTo(other, 'young', 0, ['x']);
    const { topicId } = await other.describeTopic('young');
    await other.mergeHead(topicId, 0, { force: true });
    await stores.clock.advance(2_000);
    await broker.runRetention();
    expect(await other.describePartitions('young')).toMatchObject([{ logStartOffset: 1 }]);
  });

  it('shows the other jobs a head of which nothing is merged', async () => {
    const { stores, broker, append, list } = await setUp({ 'retention.ms': 2 * 60 * MINUTE_MS });
    await append(0, 3);
    await stores.clock.advance(60 * MINUTE_MS);
    await run(broker);
    expect((await list()).due).toMatchObject({ sweep: { atMs: stores.clock.nowMs() } });
    await broker.runRetention();
    await stores.clock.advance(61 * MINUTE_MS);
    await broker.runRetention();
    expect(await broker.describePartitions('t')).toMatchObject([{ logStartOffset: 3, highWatermark: 3 }, {}, {}, {}]);
  });

  it('forgets a head whose topic was deleted', async () => {
    const { stores, broker, append } = await setUp();
    await append(0, 9);
    await broker.deleteTopic('t');
    await stores.clock.advance(60 * MINUTE_MS);
    expect(await run(broker)).toEqual({ nodes: [], blocked: 0, complete: true });
    for (let shard = 0; shard < 8; shard++)
      expect((await stores.items.query({ pk: `due#merge#${shard}`, limit: 10 })).items).toEqual([]);
  });

  it('leaves records as they are for readers', async () => {
    const { stores, broker, append } = await setUp();
    await append(3, 30);
    const before = await valuesOf(broker, 't', 3);
    await stores.clock.advance(60 * MINUTE_MS);
    await run(broker);
    expect(await valuesOf(memoryBroker(stores), 't', 3)).toEqual(before);
  });
});
