import { describe, expect, it } from 'vitest';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { readSegmentList } from '../../../../shared/broker/heads/segment-list-store.ts';
import { readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import { unpackIndex } from '../../../../shared/log/segment/segment-index.ts';
import type { SegmentList } from '../../../../shared/log/segment/segment-list.ts';
import { segmentObjectKey } from '../../../../shared/storage/keys.ts';
import { appendTo, memoryBroker, memoryStores, valuesOf } from '../../../support/memory-broker.ts';

const MINUTE_MS = 60_000;

async function setUp(config: Record<string, unknown> = {}) {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  const { topic } = await broker.putTopic({ name: 't', partitions: 4, config });
  const name = { topicId: topic.topicId, headNumber: 0 };
  const list = () => readSegmentList(stores.items, name);
  const append = async (partition: number, count: number, size = 10): Promise<void> => {
    for (let i = 0; i < count; i++) await appendTo(broker, 't', partition, [`${partition}/${i}`.padEnd(size, '.')]);
    await broker.idle();
  };
  const merge = (force = true) => broker.mergeHead(topic.topicId, 0, { force });
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
    await stores.clock.advance(MINUTE_MS);
    await append(0, 4, 400_000);
    await merge();
    expect(await offsetsIn(stores, topicId, await list(), 0)).toEqual([
      [0, 1],
      [2, 3],
      [4, 5],
      [6, 7],
    ]);
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

describe('the merge job', () => {
  const run = async (broker: Broker) => {
    const { results, blocked, complete } = await broker.runMerges();
    return { nodes: results.map(({ nodesMerged }) => nodesMerged), blocked, complete };
  };

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
    const { stores, broker, append, merge } = await setUp();
    await append(0, 9);
    // What a visit has done by then.
    await merge();
    await append(0, 8);
    await stores.clock.advance(60 * MINUTE_MS);
    expect(await run(broker)).toEqual({ nodes: [1], blocked: 0, complete: true });
    expect(await run(broker)).toEqual({ nodes: [], blocked: 0, complete: true });
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
