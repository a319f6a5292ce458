import { describe, expect, it } from 'vitest';
import { readHead } from '../../../../shared/broker/heads/items.ts';
import { expireHead } from '../../../../shared/broker/jobs/expire/expire-head.ts';
import { mergeHead } from '../../../../shared/broker/jobs/merge/merge-head.ts';
import { read } from '../../../../shared/broker/read/read.ts';
import { partitionEnds } from '../../../../shared/broker/read/view-partitions.ts';
import { deleteRecords } from '../../../../shared/broker/topics/delete-records.ts';
import { putTopic } from '../../../../shared/broker/topics/put-topic.ts';
import { partitionState } from '../../../../shared/log/head/head.ts';
import { memoryStores, SeededRandom } from '../../../support/memory-broker.ts';
import { TransactionalHistory } from '../../../support/transactional-history.ts';
import { logProcess } from '../../../support/transactional-log.ts';

const DAY_MS = 24 * 3_600_000;

async function setUp(config: Record<string, string | number>, partitions = 2) {
  const stores = memoryStores();
  const process = logProcess(stores);
  await putTopic(process.context, { name: 't', partitions, config });
  const topic = await process.context.topics.get('t');
  const name = { topicId: topic.topicId, headNumber: 0 };
  const { items } = process.context.usage.of('t', 'read');
  const starts = async (): Promise<number[]> => {
    const head = await readHead(items, name);
    return [...Array(partitions).keys()].map((slot) => partitionState(head, slot).logStartOffset);
  };
  // The list, without which retention does not know the head.
  await mergeHead(process.context, topic, 0);
  return { stores, process, topic, history: new TransactionalHistory(topic), starts };
}

describe('retention', () => {
  it('by time ends at the first offset of an open transaction, in nodes and in the tail', async () => {
    const { stores, process, topic, history, starts } = await setUp({ 'retention.ms': 1_000 });
    const { clock } = stores;
    for (let i = 0; i < 5; i++) await history.writePlain(process, 0, 2);
    await history.write(process, 1, 0);
    for (let i = 0; i < 20; i++) await history.writePlain(process, i % 2);
    await process.groupCommit.idle();
    await mergeHead(process.context, topic, 0, { force: true });
    await clock.advance(DAY_MS);
    const held = await expireHead(process.context, topic, 0);
    expect(await starts()).toEqual([10, history.next(1)]);
    expect(held.nextAtMs).toBe(clock.nowMs() + 60_000);
    await history.end(process, 1, 'aborted');
    await clock.advance(DAY_MS);
    await expireHead(process.context, topic, 0);
    expect(await starts()).toEqual([history.next(0), history.next(1)]);
  });

  it('by size does not pass it either', async () => {
    const { stores, process, topic, history, starts } = await setUp({ 'retention.bytes': 1 }, 1);
    for (let i = 0; i < 10; i++) await history.writePlain(process, 0, 2);
    await history.write(process, 1, 0);
    for (let i = 0; i < 40; i++) await history.writePlain(process, 0, 2);
    await process.groupCommit.idle();
    await mergeHead(process.context, topic, 0, { force: true });
    await stores.clock.advance(DAY_MS);
    await expireHead(process.context, topic, 0);
    const [start = 0] = await starts();
    expect(start).toBeGreaterThan(0);
    expect(start).toBeLessThanOrEqual(20);
  });

  it.each([...Array(10).keys()])('never passes a last stable offset (seed %i)', async (seed) => {
    const { stores, process, topic, history, starts } = await setUp({
      'retention.ms': 60_000,
      'retention.bytes': 3_000,
    });
    const random = new SeededRandom(seed);
    for (let round = 0; round < 12; round++) {
      for (let i = 0; i < 5 + random.below(30); i++) await history.step(process, random);
      await process.groupCommit.idle();
      await stores.clock.advance(random.below(120_000));
      if (random.below(2) === 0) await mergeHead(process.context, topic, 0, { force: true });
      await expireHead(process.context, topic, 0);
      for (const [partition, start] of (await starts()).entries())
        expect(start).toBeLessThanOrEqual(history.lastStableOffset(partition));
    }
    for (const producerId of history.openProducers) await history.end(process, producerId, 'committed');
    await stores.clock.advance(DAY_MS);
    await expireHead(process.context, topic, 0);
    expect(await starts()).toEqual([history.next(0), history.next(1)]);
  });
});

describe('deletion of records', () => {
  it("can pass an open transaction, as Kafka's can, and what is left is merged when that has ended", async () => {
    const { process, topic, history, starts } = await setUp({}, 1);
    for (let i = 0; i < 4; i++) await history.writePlain(process, 0);
    await history.write(process, 1, 0, 3);
    await history.writePlain(process, 0);
    await deleteRecords(process.context, { topic: 't', partition: 0, before: 'end' });
    expect(await starts()).toEqual([8]);
    await history.write(process, 1, 0);
    for (let i = 0; i < 4; i++) await history.writePlain(process, 0);
    await process.groupCommit.idle();
    expect(await mergeHead(process.context, topic, 0, { force: true })).toMatchObject({
      nodesMerged: 0,
      heldUpBy: { producerId: 1 },
    });
    await history.end(process, 1, 'aborted');
    for (let i = 0; i < 8; i++) await history.writePlain(process, 0);
    await process.groupCommit.idle();
    const { list } = await mergeHead(process.context, topic, 0, { force: true });
    expect(list.slots[0]?.segments).toMatchObject([{ startOffset: 8, aborted: 1 }]);
  });

  it('leaves the last stable offset at the log start offset, where a reader is still held up by the transaction', async () => {
    const { stores, process, history } = await setUp({}, 1);
    const { context } = process;
    const met: number[] = [];
    context.heldUp.resolveWith(async (producerId) => {
      met.push(producerId);
    });
    await history.write(process, 1, 0, 3);
    await history.writePlain(process, 0, 2);
    await deleteRecords(context, { topic: 't', partition: 0, before: 4 });
    await history.write(process, 2, 0);
    await stores.clock.advance(10_000);
    const ends = { logStartOffset: 4, highWatermark: 6 };
    expect(await partitionEnds(context, 't', 0)).toEqual({ ...ends, lastStableOffset: 4 });
    const held = await read(context, { topic: 't', partition: 0, from: { offset: 4 } });
    expect(held).toMatchObject({ ...ends, lastStableOffset: 4, nextOffset: 4 });
    expect(met).toEqual([1]);
    await history.end(process, 1, 'committed');
    expect(await partitionEnds(context, 't', 0)).toMatchObject({ lastStableOffset: 5 });
  });
});
