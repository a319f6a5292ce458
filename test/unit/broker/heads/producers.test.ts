import { describe, expect, it } from 'vitest';
import { readHead } from '../../../../shared/broker/heads/items.ts';
import { checkpointProducers, HeadProducers } from '../../../../shared/broker/heads/producers.ts';
import { mergeHead } from '../../../../shared/broker/jobs/merge/merge-head.ts';
import { putTopic } from '../../../../shared/broker/topics/put-topic.ts';
import { producerPartitionKey } from '../../../../shared/storage/keys.ts';
import { faultyStores } from '../../../support/faulty-stores.ts';
import {
  appendTo,
  memoryBroker,
  memoryStores,
  requestsFor,
  SeededRandom,
  valuesOf,
} from '../../../support/memory-broker.ts';
import { moveOn, send, threeBrokers } from '../../../support/produce.ts';
import { turn } from '../../../support/simulated-clock.ts';
import { appendBatch, logProcess, mark } from '../../../support/transactional-log.ts';

const HOUR_MS = 3_600_000;

describe('the states of producers', () => {
  it('are rebuilt by a new broker from checkpoints, nodes and the tail', async () => {
    const stores = memoryStores();
    let broker = memoryBroker(stores);
    await broker.putTopic({ name: 't', partitions: 16 });
    const next = new Map<number, number>();
    const last = new Map<number, { offset: number; sequence: number; value: string }>();
    const random = new SeededRandom(11);
    for (let i = 0; i < 2_150; i++) {
      // Producer 0 writes only at the beginning, the others all along, 30 and up from the middle on.
      const id = i < 10 ? 0 : 1 + random.below(i < 1_000 ? 25 : 40);
      const partition = id % 16;
      const sequence = next.get(id) ?? 0;
      const offset = await send(broker, { id, partition, sequence, values: [`${id}:${sequence}`] });
      expect(offset).toBeTypeOf('number');
      next.set(id, sequence + 1);
      last.set(id, { offset: Number(offset), sequence, value: `${id}:${sequence}` });
      if (i % 97 === 0) await broker.idle();
      if (i % 500 === 499) broker = memoryBroker(stores);
    }
    await broker.idle();
    const { topicId } = await broker.describeTopic('t');
    const checkpoint = await stores.items.get({ pk: `checkpoint#${topicId}#0`, sk: '-' });
    expect(Number(checkpoint.attributes?.q)).toBeGreaterThanOrEqual(1_536);
    for (const restarted of [memoryBroker(stores), broker]) {
      for (const [id, { offset, sequence, value }] of last) {
        const partition = id % 16;
        expect(await send(restarted, { id, partition, sequence, values: [value] })).toBe(`again ${offset}`);
        expect(await send(restarted, { id, partition, sequence: sequence + 2, values: ['gap'] })).toBe(
          'out_of_order_sequence',
        );
      }
    }
    // A rebuild reads what came after the checkpoint, not all that was.
    const fresh = memoryBroker(stores);
    await send(fresh, { id: 3, partition: 3, sequence: next.get(3) ?? 0, values: ['on'] });
    expect(requestsFor(fresh, 'append').query).toBeLessThanOrEqual(2);
    const total = [...next.values()].reduce((sum, count) => sum + count, 0) + 1;
    const described = await broker.describePartitions('t');
    expect(described.reduce((sum, partition) => sum + partition.highWatermark, 0)).toBe(total);
  });

  it('are whole when a checkpoint is written while they are read', async () => {
    const stores = memoryStores();
    const writer = memoryBroker(stores);
    await writer.putTopic({ name: 't', partitions: 16 });
    expect(await send(writer, { sequence: 0, values: ['once'] })).toBe(0);
    await moveOn(writer, 510);
    const { topicId } = await writer.describeTopic('t');
    const checkpoint = { pk: `checkpoint#${topicId}#0`, sk: '-' };
    expect((await stores.items.get(checkpoint)).attributes).toBeUndefined();
    // The reader's look at the checkpoint is slow: meanwhile the entries move on, and the checkpoint is written.
    const slow = faultyStores(stores, ({ key, method }) => ({
      delayMs: method === 'get' && key === checkpoint.pk ? 100 : 0,
    }));
    const reader = memoryBroker(slow);
    const again = send(reader, { sequence: 0, values: ['once'] });
    await turn();
    await moveOn(writer, 2);
    expect((await stores.items.get(checkpoint)).attributes).toMatchObject({ q: 512 });
    expect(await stores.clock.run(again)).toBe('again 0');
    expect(await valuesOf(writer, 't', 0)).toEqual(['once']);
  });

  it('are right where a checkpoint stopped half-way', async () => {
    const stores = memoryStores();
    const setUp = memoryBroker(stores);
    await setUp.putTopic({ name: 't', partitions: 16 });
    for (let sequence = 0; sequence < 4; sequence++) await send(setUp, { sequence, values: [`${sequence}`] });
    await moveOn(setUp, 600);
    await send(setUp, { sequence: 4, values: ['4'] });
    await moveOn(setUp, 400);
    // The items are written, and the checkpoint that says so is not.
    const broken = faultyStores(stores, ({ key, method }) =>
      method === 'update' && key.startsWith('checkpoint#') ? { fault: 'lost_request' } : undefined,
    );
    await moveOn(memoryBroker(broken), 30);
    const { topicId } = await setUp.describeTopic('t');
    expect((await stores.items.get({ pk: `checkpoint#${topicId}#0`, sk: '-' })).attributes).toMatchObject({ q: 512 });
    const producer = { pk: `producer#${topicId}#0`, sk: '0000000000000007' };
    expect((await stores.items.get(producer)).attributes).toMatchObject({ q: 1_024 });
    const restarted = memoryBroker(stores);
    for (let sequence = 0; sequence < 5; sequence++) {
      expect(await send(restarted, { sequence, values: [`${sequence}`] })).toBe(`again ${sequence}`);
    }
    expect(await send(restarted, { sequence: 5, values: ['5'] })).toBe(5);
  });

  it('are not put back by a checkpoint that arrives after the next one', async () => {
    const stores = memoryStores();
    let late = true;
    const broken = faultyStores(stores, ({ key, method }) => {
      if (!late || method !== 'put' || !key.startsWith('producer#')) return undefined;
      late = false;
      return { fault: 'late', lateMs: 300_000 };
    });
    const broker = memoryBroker(broken);
    await broker.putTopic({ name: 't', partitions: 16 });
    for (let sequence = 0; sequence < 3; sequence++) await send(broker, { sequence, values: [`${sequence}`] });
    await moveOn(broker, 520);
    for (let sequence = 3; sequence < 9; sequence++) await send(broker, { sequence, values: [`${sequence}`] });
    await moveOn(broker, 510);
    await stores.clock.advance(600_000);
    const restarted = memoryBroker(stores);
    for (let sequence = 4; sequence < 9; sequence++) {
      expect(await send(restarted, { sequence, values: [`${sequence}`] })).toBe(`again ${sequence}`);
    }
    expect(await valuesOf(restarted, 't', 0)).toHaveLength(9);
  });

  it('that were written down after a head that is still remembered take no batch in twice', async () => {
    const stores = memoryStores();
    const settings = { checkpointEntries: 8, headCacheMs: 60_000 };
    const [a, b] = [memoryBroker(stores, settings), memoryBroker(stores, settings)];
    await a.putTopic({ name: 't', partitions: 16 });
    for (let sequence = 0; sequence < 3; sequence++) await send(a, { sequence, values: [`${sequence}`] });
    // From now on this is how the other remembers the head: with three of five batches.
    await moveOn(b, 1);
    for (let sequence = 3; sequence < 5; sequence++) await send(a, { sequence, values: [`${sequence}`] });
    await moveOn(a, 2);
    const { topicId } = await a.describeTopic('t');
    const written = await stores.items.get({ pk: `producer#${topicId}#0`, sk: '0000000000000007' });
    expect(written.attributes).toMatchObject({ q: 8 });
    expect(await send(b, { sequence: 5, values: ['5'] })).toBe(5);
    for (let sequence = 1; sequence < 6; sequence++) {
      expect(await send(b, { sequence, values: [`${sequence}`] })).toBe(`again ${sequence}`);
    }
  });

  it('are forgotten by no one while another broker writes hundreds of entries', async () => {
    const { brokers } = await threeBrokers();
    const [a, b] = brokers;
    expect(await send(a, { sequence: 0, values: ['0'] })).toBe(0);
    for (const commits of [3, 20, 70, 600]) {
      await moveOn(b, commits);
      expect(await send(a, { sequence: 0, values: ['0'] })).toBe('again 0');
    }
    expect(await send(b, { sequence: 1, values: ['1'] })).toBe(1);
    await moveOn(b, 100);
    expect(await send(a, { sequence: 1, values: ['1'] })).toBe('again 1');
    expect(await send(a, { sequence: 2, values: ['2'] })).toBe(2);
  });

  it('are kept for the commit that needs them, however many others the process knows', async () => {
    const stores = memoryStores();
    const broker = memoryBroker(stores);
    await broker.putTopic({ name: 't' });
    const producer = { producerId: 0, producerEpoch: 0, baseSequence: 0 };
    await appendTo(broker, 't', 0, ['x'], { producer });
    const { topicId } = await broker.describeTopic('t');
    const name = { topicId, headNumber: 0 };
    const head = await readHead(stores.items, name);
    const producers = new HeadProducers();
    await producers.bringTo(stores.items, name, head, [0]);
    await producers.bringTo(
      stores.items,
      name,
      head,
      Array.from({ length: 9_999 }, (_, i) => i + 1),
    );
    // The oldest one and one that is new, in one commit.
    await producers.bringTo(stores.items, name, head, [0, 10_000]);
    expect(producers.stateOf(0)?.slots[0]?.batches).toEqual([{ baseSequence: 0, records: 1, baseOffset: 0 }]);
  });

  it('are kept for three days after the last checkpoint of a producer, or as long as it has a transaction open', async () => {
    const stores = memoryStores();
    const process = logProcess(stores);
    await putTopic(process.context, { name: 't', partitions: 1 });
    const topic = await process.context.topics.get('t');
    const name = { topicId: topic.topicId, headNumber: 0 };
    const { clock, items } = stores;
    await appendBatch(process, { partition: 0, producerId: 1, baseSequence: 0, values: ['v'] });
    await appendBatch(process, { partition: 0, producerId: 2, baseSequence: 0, values: ['v'], transaction: 0 });
    const writeOn = async (): Promise<void> => {
      for (let i = 0; i < 8; i++) await appendTo(memoryBroker(stores), 't', 0, ['v']);
      await mergeHead(process.context, topic, 0, { force: true });
      const { firstEntry } = await readHead(items, name);
      await checkpointProducers(items, name, firstEntry, clock.nowMs());
    };
    const kept = async (): Promise<number[]> => {
      // The store may keep expired items for a day.
      await items.removeExpired(clock.nowMs(), 100);
      const { items: found } = await items.query({ pk: producerPartitionKey(name.topicId, 0), limit: 10 });
      return found.map(({ sk }) => Number(sk));
    };
    await writeOn();
    await clock.advance(71 * HOUR_MS);
    expect(await kept()).toEqual([1, 2]);
    await clock.advance(2 * HOUR_MS);
    expect(await kept()).toEqual([2]);
    // To a process that comes later it is a new producer.
    const again = { partition: 0, producerId: 1, baseSequence: 0, values: ['v'] };
    expect(await appendBatch(logProcess(stores), again)).toMatchObject({ ok: true, baseOffset: 10 });
    await mark(process, topic, 0, { producerId: 2, producerEpoch: 1, transaction: 0, outcome: 'committed' });
    await writeOn();
    expect(await kept()).toEqual([1, 2]);
    await clock.advance(73 * HOUR_MS);
    expect(await kept()).toEqual([]);
  });
});
