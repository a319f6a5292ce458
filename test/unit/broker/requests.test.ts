import { describe, expect, it } from 'vitest';
import type { Broker } from '../../../shared/broker/broker.ts';
import { encodeBatch } from '../../../shared/log/batch/record-batch.ts';
import {
  appendTo,
  codeOf,
  memoryBroker,
  memoryStores,
  record,
  requestsFor,
  valuesOf,
} from '../../support/memory-broker.ts';
import { turn } from '../../support/simulated-clock.ts';

/** What operations cost, against the figures of the design. */

/** With its keys and its batch header it is an item of less than 1 KiB, which is one write unit. */
const VALUE_850 = 'v'.repeat(850);

/** One append after the other, each waiting for the tail moves of the one before. */
async function appendSequentially(
  broker: Broker,
  count: number,
  partitionOf: (i: number) => number,
  value: string,
): Promise<void> {
  for (let i = 0; i < count; i++) {
    await appendTo(broker, 't', partitionOf(i), [value]);
    await broker.idle();
  }
}

describe('requests', () => {
  it.each([
    ['one partition', () => 0],
    ['16 partitions of a head in turn', (i: number) => i % 16],
  ])('of 800 small appends one after the other: 2 each, and 2 for every eighth (%s)', async (_name, partitionOf) => {
    const broker = memoryBroker();
    await broker.putTopic({ name: 't', partitions: 16 });
    await appendSequentially(broker, 800, partitionOf, VALUE_850);
    const append = requestsFor(broker, 'append');
    const move = requestsFor(broker, 'move_tail');
    expect(append).toMatchObject({ putItem: 800, updateItem: 800, putObject: 0, query: 0, deleteItem: 0 });
    // Time stands still here, so that the head is read once and then known from the replies.
    expect(append.getItem).toBe(1);
    // One checkpoint, after 512 entries: 1 GetItem, 1 Query, 1 UpdateItem.
    expect(move).toMatchObject({ putItem: 100, updateItem: 101, query: 1, getItem: 1, putObject: 0 });
    const unitsPerAppend = (append.writeUnits + move.writeUnits) / 800;
    expect(unitsPerAppend).toBeLessThanOrEqual(2.3);
  });

  it('of an append after a second without one: one read of the head more', async () => {
    const stores = memoryStores();
    const broker = memoryBroker(stores);
    await broker.putTopic({ name: 't' });
    for (let i = 0; i < 5; i++) {
      await appendTo(broker, 't', 0, ['v']);
      await stores.clock.advance(1_001);
    }
    expect(requestsFor(broker, 'append')).toMatchObject({ putItem: 5, updateItem: 5, getItem: 5 });
    expect(requestsFor(broker, 'admin')).toMatchObject({ getItem: 1 + 5 });
  });

  it('of a large append: 1 PutObject + 1 UpdateItem', async () => {
    const broker = memoryBroker();
    await broker.putTopic({ name: 't', partitions: 16 });
    await appendTo(broker, 't', 0, ['x'.repeat(100_000)]);
    expect(requestsFor(broker, 'append')).toMatchObject({ putObject: 1, putItem: 0, updateItem: 1 });
  });

  it('of an append at the bound between item and object', async () => {
    const broker = memoryBroker(memoryStores(), { inlineBytesMax: 1_000 });
    await broker.putTopic({ name: 't' });
    const of = (bytes: number): Uint8Array => {
      const empty = encodeBatch([{ timestampMs: 1, key: null, value: new Uint8Array(500), headers: [] }]).length;
      return encodeBatch([{ timestampMs: 1, key: null, value: new Uint8Array(500 + bytes - empty), headers: [] }]);
    };
    expect([of(1_000).length, of(1_001).length]).toEqual([1_000, 1_001]);
    await broker.append({ batches: [{ topic: 't', partition: 0, batch: of(1_000) }] });
    expect(requestsFor(broker, 'append')).toMatchObject({ putObject: 0, putItem: 1, updateItem: 1 });
    await broker.append({ batches: [{ topic: 't', partition: 0, batch: of(1_001) }] });
    expect(requestsFor(broker, 'append')).toMatchObject({ putObject: 1, putItem: 1, updateItem: 2 });
  });

  it('of an append to many partitions of a head: 1 + 1', async () => {
    const broker = memoryBroker();
    await broker.putTopic({ name: 't', partitions: 16 });
    const records = Array.from({ length: 160 }, (_, i) => record(`v${i}`, { partition: i % 16 }));
    await broker.appendRecords({ topic: 't', records });
    expect(requestsFor(broker, 'append')).toMatchObject({ putItem: 1, updateItem: 1, putObject: 0 });
    const large = records.map((small) => ({ ...small, value: new Uint8Array(1_000) }));
    await broker.appendRecords({ topic: 't', records: large });
    expect(requestsFor(broker, 'append')).toMatchObject({ putItem: 1, updateItem: 2, putObject: 1 });
    expect(await valuesOf(broker, 't', 3)).toHaveLength(20);
  });

  it('of many appends at once to one head: they share a commit', async () => {
    const broker = memoryBroker();
    await broker.putTopic({ name: 't', partitions: 16 });
    await Promise.all(Array.from({ length: 64 }, (_, i) => appendTo(broker, 't', i % 16, [`v${i}`])));
    const { putItem, putObject, updateItem } = requestsFor(broker, 'append');
    expect(updateItem).toBeLessThanOrEqual(3);
    expect(putItem + putObject).toBe(updateItem);
  });

  it('of a group over several heads and topics: one object and one reference, shared by bytes; one update per head', async () => {
    const broker = memoryBroker();
    await broker.putTopic({ name: 'a', partitions: 48 });
    await broker.putTopic({ name: 'b' });
    const batch = encodeBatch([{ timestampMs: 1, key: null, value: new Uint8Array(20_000), headers: [] }]);
    const outcomes = await broker.append({
      batches: [
        { topic: 'a', partition: 0, batch },
        { topic: 'a', partition: 16, batch },
        { topic: 'a', partition: 40, batch },
        { topic: 'b', partition: 0, batch },
      ],
    });
    expect(outcomes.map((outcome) => outcome.ok)).toEqual([true, true, true, true]);
    expect(requestsFor(broker, 'append')).toMatchObject({ putObject: 1, putItem: 1, updateItem: 4 });
    // Beside those that made the topics: one each, for whatever number of batches.
    expect(requestsFor(broker, 'admin')).toMatchObject({ getItem: 2 + 2 });
    const row = broker.usage().find(({ topic, purpose }) => topic === 'b' && purpose === 'append');
    expect(row?.counts).toMatchObject({ putObject: 0.25, putItem: 0.25, updateItem: 1, bytesWritten: batch.length });
  });

  it('of a poll that is caught up: 1 GetItem', async () => {
    const broker = memoryBroker();
    await broker.putTopic({ name: 't' });
    await appendTo(broker, 't', 0, ['a']);
    const before = requestsFor(broker, 'read');
    await valuesOf(broker, 't', 0, { from: 1 });
    const after = requestsFor(broker, 'read');
    expect(after.getItem - before.getItem).toBe(1);
    expect([after.query, after.getObject]).toEqual([0, 0]);
  });

  it('of a read at the tail: 1 for the head and 1 for each part that is not in memory', async () => {
    const stores = memoryStores();
    const writer = memoryBroker(stores);
    await writer.putTopic({ name: 't' });
    for (let i = 0; i < 3; i++) await appendTo(writer, 't', 0, [`v${i}`]);
    for (let i = 0; i < 2; i++) await appendTo(writer, 't', 0, ['x'.repeat(10_000)]);
    const reader = memoryBroker(stores);
    expect(await valuesOf(reader, 't', 0)).toHaveLength(5);
    expect(requestsFor(reader, 'read')).toMatchObject({ getItem: 1 + 3, getObject: 2, query: 0 });
    expect(await valuesOf(reader, 't', 0)).toHaveLength(5);
    expect(requestsFor(reader, 'read')).toMatchObject({ getItem: 1 + 3 + 1, getObject: 2, query: 0 });
  });

  it('of a read that waits at the end and is woken: the bytes that were just written are in memory', async () => {
    const stores = memoryStores();
    const broker = memoryBroker(stores);
    await broker.putTopic({ name: 't' });
    await appendTo(broker, 't', 0, ['before']);
    const before = requestsFor(broker, 'read');
    const waiting = broker.read({ topic: 't', partition: 0, from: { offset: 1 }, waitMs: 10_000 });
    await turn();
    await appendTo(broker, 't', 0, ['after']);
    const { batches } = await waiting;
    const taken: unknown[] = [];
    for await (const batch of batches) taken.push(batch);
    expect(taken).toHaveLength(1);
    const after = requestsFor(broker, 'read');
    expect(after.getItem - before.getItem).toBe(2);
  });

  it('of a read far behind the tail: a few more to find the node, whatever the number of nodes', async () => {
    const stores = memoryStores();
    const writer = memoryBroker(stores);
    await writer.putTopic({ name: 't' });
    await appendSequentially(writer, 1_000, () => 0, 'v');
    const reader = memoryBroker(stores);
    const { batches } = await reader.read({ topic: 't', partition: 0, from: { offset: 3 }, maxBytes: 1 });
    for await (const batch of batches) expect(batch.baseOffset).toBe(3);
    // 1 for the head, at most 7 for 125 nodes, 1 for the data.
    expect(requestsFor(reader, 'read').getItem).toBeLessThanOrEqual(1 + 8 + 1);
    expect(requestsFor(reader, 'read').query).toBeLessThanOrEqual(1);
  });

  it('of administration', async () => {
    const broker = memoryBroker();
    await broker.putTopic({ name: 't', partitions: 40 });
    expect(requestsFor(broker, 'admin')).toMatchObject({ getItem: 1, putItem: 1, updateItem: 0 });
    await broker.putTopic({ name: 't', partitions: 40 });
    expect(requestsFor(broker, 'admin')).toMatchObject({ getItem: 2, putItem: 1 });
    await broker.describePartitions('t');
    expect(requestsFor(broker, 'admin')).toMatchObject({ getItem: 2 + 1 + 3 * 2, putItem: 1 });
    await broker.listTopics();
    expect(requestsFor(broker, 'admin')).toMatchObject({ query: 1 });
    await broker.deleteTopic('t');
    expect(requestsFor(broker, 'admin')).toMatchObject({ updateItem: 2 + 3, putItem: 2, deleteItem: 0 });
  });

  it('of a new producer id: 1 UpdateItem, and 2 for the first of a day', async () => {
    const stores = memoryStores();
    const broker = memoryBroker(stores);
    const updates: number[] = [];
    for (const waitMs of [0, 0, 86_400_000, 0, 5 * 86_400_000, 0]) {
      await stores.clock.advance(waitMs);
      const before = requestsFor(broker, 'admin').updateItem;
      await broker.allocateProducerId();
      updates.push(requestsFor(broker, 'admin').updateItem - before);
    }
    expect(updates).toEqual([2, 1, 2, 1, 2, 1]);
    expect(requestsFor(broker, 'admin')).toMatchObject({ getItem: 0, putItem: 0, query: 0 });
  });

  it('of producers that a partition does not know: 1 GetItem an hour, and none for those that begin at sequence 0', async () => {
    const stores = memoryStores();
    const broker = memoryBroker(stores, { headCacheMs: 10 * 3_600_000, topicCacheMs: 10 * 3_600_000 });
    await broker.putTopic({ name: 't' });
    await appendTo(broker, 't', 0, ['warm']);
    const reads = async (producerId: number, baseSequence: number): Promise<number> => {
      const before = requestsFor(broker, 'append').getItem;
      const producer = { producerId, producerEpoch: 0, baseSequence };
      await codeOf(appendTo(broker, 't', 0, ['x'], { producer }));
      return requestsFor(broker, 'append').getItem - before;
    };
    // The state of a producer that is met first takes 2: the checkpoint, and what it says of the producer.
    expect(await reads(0, 0)).toBe(2);
    expect(await reads(0, 1)).toBe(0);
    // One that overtook its first batch: how young its id is, and the head, before it is rejected.
    expect(await reads(1, 5)).toBe(2 + 1 + 1);
    expect(await reads(1, 5)).toBe(0 + 0 + 1);
    await stores.clock.advance(3_600_001);
    expect(await reads(1, 5)).toBe(0 + 1 + 1);
    expect(await reads(1, 0)).toBe(0);
  });
});
