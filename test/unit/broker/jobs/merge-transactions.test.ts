import { describe, expect, it } from 'vitest';
import { nodeKey, readHead } from '../../../../shared/broker/heads/items.ts';
import { readSegmentList } from '../../../../shared/broker/heads/segment-list-store.ts';
import { mergeHead } from '../../../../shared/broker/jobs/merge/merge-head.ts';
import { sweepHead } from '../../../../shared/broker/jobs/sweep/sweep-head.ts';
import { readBatches } from '../../../../shared/broker/segments/read-batches.ts';
import { abortedInSegment } from '../../../../shared/broker/segments/read-segment.ts';
import { putTopic } from '../../../../shared/broker/topics/put-topic.ts';
import { markerOutcome } from '../../../../shared/log/batch/transaction-marker.ts';
import { abortedWithin } from '../../../../shared/log/segment/aborted.ts';
import type { SegmentList } from '../../../../shared/log/segment/segment-list.ts';
import { ABORTED, abortedKey, abortedPartitionKey } from '../../../../shared/storage/transaction-keys.ts';
import { beforeRequests } from '../../../support/maintained-log.ts';
import { memoryStores, SeededRandom } from '../../../support/memory-broker.ts';
import { TransactionalHistory } from '../../../support/transactional-history.ts';
import { type LogProcess, logProcess, readValues } from '../../../support/transactional-log.ts';

const HOUR_MS = 3_600_000;

async function setUp(partitions = 3) {
  const stores = memoryStores();
  const process = logProcess(stores);
  await putTopic(process.context, { name: 't', partitions });
  const topic = await process.context.topics.get('t');
  return { stores, process, topic, history: new TransactionalHistory(topic) };
}

const listOf = ({ context }: LogProcess, history: TransactionalHistory): Promise<SegmentList> =>
  readSegmentList(context.usage.of('t', 'read').items, { topicId: history.topic.topicId, headNumber: 0 });

/** Compares all segments, their lists of aborted transactions and their batches, with the history. */
async function checkSegments(process: LogProcess, history: TransactionalHistory): Promise<void> {
  const list = await listOf(process, history);
  const { objects } = process.context.usage.of('t', 'read');
  for (const [partition, { segments }] of list.slots.entries()) {
    let offset = 0;
    for (const segment of segments) {
      const place = { topicId: history.topic.topicId, partition, segment };
      const aborted = await abortedInSegment(process.context, objects, place);
      expect(aborted).toEqual(abortedWithin(history.aborted[partition] ?? [], segment));
      expect(segment.aborted).toBe(aborted.length);
      expect(segment.startOffset).toBe(offset);
      for await (const batch of readBatches(process.context, objects, place)) {
        expect(batch.baseOffset).toBe(offset);
        const expected = history.offsets[partition]?.[offset];
        const isMarker = typeof expected === 'string';
        expect(markerOutcome(batch.bytes, batch.header)).toBe(isMarker ? expected : undefined);
        if (!isMarker) expect(batch.header.producerId).toBe(expected?.producerId);
        offset = batch.endOffset;
      }
      expect(segment.endOffset).toBe(offset);
    }
    expect(offset).toBe(list.totals[partition]?.nextOffset ?? 0);
  }
}

async function step(process: LogProcess, history: TransactionalHistory, random: SeededRandom, steps: number) {
  for (let i = 0; i < steps; i++) await history.step(process, random);
  await process.groupCommit.idle();
}

describe('a merge of transactions', () => {
  it.each([...Array(12).keys()])(
    'takes nothing from the last stable offset on, and lists what was aborted (seed %i)',
    async (seed) => {
      const { stores, process, topic, history } = await setUp();
      const random = new SeededRandom(seed);
      for (let round = 0; round < 12; round++) {
        await step(process, history, random, 10 + random.below(60));
        // Another process knows nothing of what this one has in memory.
        const merger = random.below(2) === 0 ? process : logProcess(stores);
        const merged = await mergeHead(merger.context, topic, 0, { force: true });
        for (let partition = 0; partition < 3; partition++)
          expect(merged.list.totals[partition]?.nextOffset ?? 0).toBeLessThanOrEqual(
            history.lastStableOffset(partition),
          );
        await checkSegments(process, history);
      }
      for (const producerId of history.openProducers) await history.end(process, producerId, 'aborted');
      await step(process, history, random, 20);
      for (const producerId of history.openProducers) await history.end(process, producerId, 'committed');
      for (let i = 0; i < 8; i++) await history.writePlain(process, 0);
      await process.groupCommit.idle();
      const last = await mergeHead(process.context, topic, 0, { force: true });
      expect(last.heldUpBy).toBeUndefined();
      // All whole nodes are merged: nothing holds them up.
      const { items } = process.context.usage.of('t', 'read');
      expect(last.list.mergedEntry).toBe((await readHead(items, { topicId: topic.topicId, headNumber: 0 })).firstEntry);
      await checkSegments(process, history);
    },
  );

  it('says which transaction holds it up, looks again in a minute, and merges when that has ended', async () => {
    const { stores, process, topic, history } = await setUp();
    const { clock } = stores;
    for (let i = 0; i < 16; i++) await history.writePlain(process, 0);
    await history.write(process, 7, 1);
    const sinceMs = clock.nowMs();
    await clock.run(clock.sleep(1_000));
    await history.write(process, 8, 1);
    for (let i = 0; i < 22; i++) await history.writePlain(process, 0);
    await process.groupCommit.idle();
    await clock.run(clock.sleep(HOUR_MS));
    const held = await mergeHead(process.context, topic, 0);
    expect(held).toMatchObject({ nodesMerged: 2, heldUpBy: { producerId: 7, sinceMs } });
    const again = await mergeHead(process.context, topic, 0);
    expect(again).toMatchObject({ nodesMerged: 0, heldUpBy: { producerId: 7, sinceMs } });
    expect(again.nextAtMs).toBe(clock.nowMs() + 60_000);
    await history.end(process, 7, 'committed');
    await process.groupCommit.idle();
    expect((await mergeHead(process.context, topic, 0)).heldUpBy).toMatchObject({ producerId: 8 });
    await history.end(process, 8, 'aborted');
    await process.groupCommit.idle();
    const free = await mergeHead(process.context, topic, 0);
    expect(free).toMatchObject({ heldUpBy: undefined });
    expect(free.nodesMerged).toBeGreaterThan(0);
    await checkSegments(process, history);
  });

  it('does not make a small segment for each small step of the last stable offset', async () => {
    const { stores, process, topic, history } = await setUp(1);
    const { clock } = stores;
    await history.write(process, 9, 0);
    for (let i = 0; i < 30; i++) await history.writePlain(process, 0);
    await history.write(process, 8, 0);
    for (let i = 0; i < 16 * 8; i++) await history.writePlain(process, 0);
    await process.groupCommit.idle();
    await clock.run(clock.sleep(120_000));
    expect(await mergeHead(process.context, topic, 0)).toMatchObject({ nodesMerged: 0, heldUpBy: { producerId: 9 } });
    await history.end(process, 9, 'committed');
    await process.groupCommit.idle();
    expect(await mergeHead(process.context, topic, 0)).toMatchObject({ nodesMerged: 0, heldUpBy: { producerId: 8 } });
    await clock.run(clock.sleep(HOUR_MS));
    expect(await mergeHead(process.context, topic, 0)).toMatchObject({ nodesMerged: 3, heldUpBy: { producerId: 8 } });
  });

  it('joins lists: a transaction across two segments is in the joined one once', async () => {
    const { process, topic, history } = await setUp(1);
    for (let segments = 0; segments < 8; segments++) {
      await history.write(process, 1, 0);
      await history.write(process, 2, 0);
      for (let i = 0; i < 6; i++) await history.writePlain(process, 0);
      await history.end(process, 1, 'aborted');
      await history.write(process, 3, 0);
      await history.end(process, 2, segments % 2 === 0 ? 'aborted' : 'committed');
      for (let i = 0; i < 5; i++) await history.writePlain(process, 0);
      await history.end(process, 3, 'aborted');
      await process.groupCommit.idle();
      await mergeHead(process.context, topic, 0, { force: true });
    }
    const { slots } = await listOf(process, history);
    expect(slots[0]?.segments[0]?.aborted).toBeGreaterThan(12);
    await checkSegments(process, history);
  });

  it('costs a reader nothing if a segment has no aborted transaction, and one request otherwise', async () => {
    const { stores, process, topic, history } = await setUp(2);
    for (let i = 0; i < 3; i++) {
      await history.write(process, 1, 0);
      await history.write(process, 1, 1);
      await history.end(process, 1, 'committed');
      await history.write(process, 2, 1);
      await history.end(process, 2, 'aborted');
    }
    for (let i = 0; i < 8; i++) await history.writePlain(process, 0);
    await process.groupCommit.idle();
    await mergeHead(process.context, topic, 0, { force: true });
    const list = await listOf(process, history);
    const reader = logProcess(stores);
    const { objects } = reader.context.usage.of('t', 'read');
    const requests = () =>
      reader.context.usage
        .rows()
        .filter(({ purpose }) => purpose === 'read')
        .reduce((sum, { counts }) => sum + counts.getObject, 0);
    for (const [partition, expected] of [
      [0, 0],
      [1, 1],
      [1, 1],
    ] as const) {
      const segment = list.slots[partition]?.segments[0];
      if (segment === undefined) throw new Error('nothing was merged');
      await abortedInSegment(reader.context, objects, { topicId: topic.topicId, partition, segment });
      expect(requests()).toBe(expected);
    }
  });
});

describe('lists of aborted transactions beside nodes', () => {
  it('are swept with the nodes, and what a late mover wrote again a day later', async () => {
    const { stores, process, topic, history } = await setUp(1);
    const { clock } = stores;
    const { items } = process.context.usage.of('t', 'read');
    for (let i = 0; i < 20; i++) {
      await history.write(process, 1, 0);
      await history.end(process, 1, 'aborted');
    }
    await process.groupCommit.idle();
    const pk = abortedPartitionKey(topic.topicId, 0);
    const listed = async () => (await items.query({ pk, limit: 100 })).items.map(({ sk }) => Number(sk));
    expect(await listed()).toEqual([0, 8, 16, 24, 32]);
    const node = await items.get(nodeKey({ topicId: topic.topicId, headNumber: 0 }, 8));
    const late = await items.get(abortedKey(topic.topicId, 0, 8));
    await mergeHead(process.context, topic, 0, { force: true });
    await sweepHead(process.context, topic, 0);
    expect(await listed()).toEqual([0, 8, 16, 24, 32]);
    await clock.run(clock.sleep(HOUR_MS));
    await sweepHead(process.context, topic, 0);
    expect(await listed()).toEqual([]);
    // A mover that stood still writes both again, and dies, or is slower than the sweep with the second.
    for (const isNodeThere of [true, false]) {
      if (isNodeThere) await items.put(nodeKey({ topicId: topic.topicId, headNumber: 0 }, 8), node.attributes ?? {});
      await items.put(abortedKey(topic.topicId, 0, 8), {
        [ABORTED.transactions]: late.attributes?.[ABORTED.transactions] as Uint8Array,
      });
      expect(await listed()).toEqual([8]);
      await clock.run(clock.sleep(25 * HOUR_MS));
      await sweepHead(process.context, topic, 0);
      expect(await listed()).toEqual([]);
    }
  });

  it('shows nothing aborted to a reader that stood still until all was merged and swept', async () => {
    const { stores, process, topic, history } = await setUp(1);
    for (let i = 0; i < 20; i++) {
      await history.write(process, 1, 0);
      await history.end(process, 1, i % 2 === 0 ? 'aborted' : 'committed');
    }
    await process.groupCommit.idle();
    const pk = abortedPartitionKey(topic.topicId, 0);
    let stoodStill = false;
    const paused = beforeRequests(stores, async (request, [asked]) => {
      if (stoodStill || request !== 'query' || (asked as { readonly pk: string }).pk !== pk) return;
      stoodStill = true;
      await mergeHead(process.context, topic, 0, { force: true });
      await stores.clock.advance(HOUR_MS);
      await sweepHead(process.context, topic, 0);
    });
    const reader = logProcess(paused);
    // It has the records in memory.
    await readValues(reader, 0, 'read_uncommitted');
    expect(await readValues(reader, 0, 'read_committed')).toEqual(history.committedValues(0));
    expect(stoodStill).toBe(true);
  });
});
