import { expect, it } from 'vitest';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { readHead } from '../../../../shared/broker/heads/items.ts';
import { faultyStores } from '../../../support/faulty-stores.ts';
import { appendTo, codeOf, memoryBroker, memoryStores, valuesOf } from '../../../support/memory-broker.ts';

let keys = 0;

/** Leaves entries that hold nothing but a once key: each shuts out a request that expects an offset far ahead. */
async function leaveEntries(broker: Broker, partition: number, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const request = { idempotencyKey: `early ${keys++}`, expectedOffset: 1_000_000 };
    expect(await codeOf(appendTo(broker, 't', partition, ['early'], request))).toBe('offset_mismatch');
    await broker.idle();
  }
}

it.each([512, 8])(
  'entries without parts hide no record, move no offset and lose no producer (checkpoints: %d)',
  async (checkpointEntries) => {
    const stores = memoryStores();
    const broker = memoryBroker(stores, { checkpointEntries });
    await broker.putTopic({ name: 't', partitions: 16 });
    const written: string[] = [];
    const times: number[] = [];
    const append = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        const producer = { producerId: 7, producerEpoch: 0, baseSequence: written.length };
        times.push(stores.clock.nowMs());
        expect(await appendTo(broker, 't', 3, [`${written.length}`], { producer })).toBe(written.length);
        written.push(`${written.length}`);
        await broker.idle();
        await stores.clock.advance(1_000);
      }
    };
    // At the beginning, in whole tail nodes, between records, and at the end of the tail.
    for (const [entries, records] of [
      [3, 1],
      [40, 2],
      [1, 1],
      [9, 5],
      [70, 3],
      [5, 0],
    ] as const) {
      await leaveEntries(broker, 3, entries);
      await append(records);
    }
    const { topicId } = await broker.describeTopic('t');
    const head = await readHead(stores.items, { topicId, headNumber: 0 });
    const { tail } = head;
    expect(head.firstEntry + tail.length).toBe(128 + written.length);
    expect(tail.map(({ entry }) => entry.parts.length)).toContain(0);

    const fresh = memoryBroker(stores);
    expect((await fresh.describePartitions('t')).map(({ highWatermark }) => highWatermark)).toEqual(
      Array.from({ length: 16 }, (_, partition) => (partition === 3 ? written.length : 0)),
    );
    for (const [offset, time] of times.entries()) {
      expect(await valuesOf(memoryBroker(stores), 't', 3, { from: offset, maxBytes: 1 })).toEqual(
        written.slice(offset),
      );
      expect(await memoryBroker(stores).offsetForTime('t', 3, time)).toMatchObject({ offset });
      const plan = await memoryBroker(stores).planFetch({ topic: 't', partitions: [{ partition: 3, offset }] });
      expect(plan.partitions[0]?.parts.map(({ startOffset }) => startOffset)).toEqual(
        written.slice(offset).map(Number),
      );
    }
    const { items } = await fresh.listSegments('t');
    expect(items.map(({ partition, startOffset, endOffset }) => [partition, startOffset, endOffset])).toEqual(
      written.map((_, offset) => [3, offset, offset + 1]),
    );
    for (const baseSequence of [written.length - 1, written.length - 5]) {
      const producer = { producerId: 7, producerEpoch: 0, baseSequence };
      expect(await appendTo(memoryBroker(stores), 't', 3, [`${baseSequence}`], { producer })).toBe(baseSequence);
    }
    expect(await valuesOf(fresh, 't', 3)).toEqual(written);
    expect(await valuesOf(fresh, 't', 4)).toEqual([]);
  },
);

it('an entry without parts writes no data', async () => {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  await broker.putTopic({ name: 't', partitions: 16 });
  const puts: string[] = [];
  const watched = memoryBroker(
    faultyStores(stores, ({ method, key }) => {
      if (method === 'put' || method === 'put_object') puts.push(key.split('#')[0] as string);
      return undefined;
    }),
  );
  await leaveEntries(watched, 3, 1);
  // The note of the key, a batch for each look at the head, and the due item of the head's first entry.
  expect(puts).toEqual(['idempotency', 'batch', 'due', 'batch']);
  const head = await readHead(stores.items, { topicId: (await broker.describeTopic('t')).topicId, headNumber: 0 });
  expect(head.tail.map(({ entry }) => entry)).toMatchObject([{ onceKeys: 1, parts: [] }]);
});
