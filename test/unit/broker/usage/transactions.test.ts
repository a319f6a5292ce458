import { describe, expect, it } from 'vitest';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { beginTransaction, end, writeIn } from '../../../support/begin-transaction.ts';
import { faultyStores } from '../../../support/faulty-stores.ts';
import { appendTo, memoryBroker, memoryStores, requestsFor } from '../../../support/memory-broker.ts';

async function logOf(partitions = 32) {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  await broker.putTopic({ name: 't', partitions });
  return { stores, broker };
}

const endedBy = (broker: Broker): Record<string, number> =>
  Object.fromEntries(broker.transactionTraffic().ended.map(({ outcome, by, count }) => [`${outcome} ${by}`, count]));

describe('transactions that a process opens and ends', () => {
  it('are counted by who gave them which outcome', async () => {
    const { stores, broker } = await logOf();
    await stores.clock.run(async () => {
      const first = await beginTransaction(broker, 'a');
      const second = await end(broker, 'a', first);
      await writeIn(broker, 'a', second);
      // Enlisting more opens nothing.
      await writeIn(broker, 'a', second, { partitions: [16] });
      await end(broker, 'a', second, 'aborted');
      await beginTransaction(broker, 'b');
      await broker.initialiseProducer({ transactionalId: 'b', timeoutMs: 60_000 });
      const failed = await beginTransaction(broker, 'c');
      await broker.initialiseProducer({ transactionalId: 'c', timeoutMs: 60_000, producer: failed });
      await beginTransaction(broker, 'd');
      await broker.fenceProducer('d');
      await beginTransaction(broker, 'e', { timeoutMs: 1_000 });
      await stores.clock.advance(10_000);
      await broker.sweepTransactions();
    });
    expect(broker.transactionTraffic().opened).toBe(6);
    expect(endedBy(broker)).toEqual({
      'committed producer': 1,
      'aborted producer': 2,
      'aborted next_producer': 1,
      'aborted operator': 1,
      'aborted timeout': 1,
    });
  });

  it('are counted once where the request is repeated, or completed by another process', async () => {
    const { stores, broker } = await logOf();
    const other = memoryBroker(stores);
    const producer = await beginTransaction(broker, 'a');
    const failing = memoryBroker(
      faultyStores(stores, ({ method, key }) =>
        method === 'update' && key.startsWith('head#') ? { fault: 'lost_request' } : undefined,
      ),
    );
    // It gives the outcome, and cannot mark the head.
    await stores.clock.run(() => expect(end(failing, 'a', producer)).rejects.toThrow());
    await end(other, 'a', producer);
    await end(other, 'a', producer);
    expect([endedBy(failing), endedBy(other)]).toEqual([{ 'committed producer': 1 }, {}]);
  });

  it('are not counted where the update was rejected', async () => {
    const { stores, broker } = await logOf();
    const other = memoryBroker(stores);
    const producer = await beginTransaction(broker, 'a');
    await other.fenceProducer('a');
    // This process remembers it as open.
    await expect(end(broker, 'a', producer)).rejects.toThrow('Epoch 0');
    expect([endedBy(broker), endedBy(other)]).toEqual([{}, { 'aborted operator': 1 }]);
  });

  it('that overdue readers and pages of offsets abort are counted as ended by timeout', async () => {
    const { stores, broker } = await logOf();
    await stores.clock.run(async () => {
      await beginTransaction(broker, 'a', { timeoutMs: 1_000 });
      await stores.clock.advance(10_000);
      await broker.read({ topic: 't', partition: 0, from: { offset: 0 } });
      await stores.clock.sleep(100);
      expect(endedBy(broker)).toEqual({ 'aborted timeout': 1 });
      const producer = await broker.initialiseProducer({ transactionalId: 'b', timeoutMs: 1_000 });
      const offsets = [{ topic: 't', partition: 0, offset: 1 }];
      await broker.commitOffsetsInTransaction({ transactionalId: 'b', producer, group: 'g', offsets, enlists: true });
      await stores.clock.advance(10_000);
      await broker.fetchOffsets({ group: 'g', partitions: [{ topic: 't', partition: 0 }], requireStable: true });
    });
    expect(endedBy(broker)).toEqual({ 'aborted timeout': 2 });
  });
});

describe('readers that an open transaction holds up', () => {
  it('are counted, with the producer that holds them up', async () => {
    const { stores, broker } = await logOf();
    const { clock } = stores;
    const looks = async (isolation: 'read_committed' | 'read_uncommitted', offset = 0) => {
      await broker.read({ topic: 't', partition: 0, from: { offset }, isolation });
      return broker.transactionTraffic();
    };
    await clock.run(async () => {
      await appendTo(broker, 't', 0, ['before']);
      expect(await looks('read_committed')).toMatchObject({ readsHeldUp: 0, holders: [] });
      const startedAtMs = clock.nowMs();
      const producer = await beginTransaction(broker, 'a');
      await clock.advance(999);
      expect(await looks('read_committed')).toMatchObject({ readsHeldUp: 0, holders: [] });
      await clock.advance(1);
      expect(await looks('read_uncommitted')).toMatchObject({ readsHeldUp: 0, holders: [] });
      expect(await looks('read_committed')).toMatchObject({
        readsHeldUp: 1,
        holders: [{ producerId: producer.producerId, sinceMs: startedAtMs, metAtMs: startedAtMs + 1_000 }],
      });
      // A younger transaction behind it holds up nobody yet.
      await beginTransaction(broker, 'b');
      await clock.advance(5_000);
      expect((await looks('read_committed', 1)).holders.map(({ producerId }) => producerId)).toEqual([
        producer.producerId,
      ]);
      await end(broker, 'a', producer);
      const after = await looks('read_committed', 1);
      expect([after.readsHeldUp, after.holders.length]).toEqual([3, 2]);
      await clock.advance(60_001);
      expect(broker.transactionTraffic()).toMatchObject({ readsHeldUp: 3, holders: [] });
    });
  });

  it('are not merges', async () => {
    const { stores, broker } = await logOf();
    await stores.clock.run(async () => {
      await beginTransaction(broker, 'a');
      for (let i = 0; i < 40; i++) await appendTo(broker, 't', 0, ['x']);
      await broker.idle();
      await stores.clock.advance(5_000);
      const { topicId } = await broker.describeTopic('t');
      expect(await broker.mergeHead(topicId, 0, { force: true })).toMatchObject({ heldUpBy: { producerId: 0 } });
    });
    expect(broker.transactionTraffic()).toMatchObject({ readsHeldUp: 0, holders: [] });
  });
});

describe('the requests of transactions', () => {
  it('have a purpose of their own: from initialise to finish, with markers and pages of offsets', async () => {
    const { broker } = await logOf();
    const steps = async (work: () => Promise<unknown>): Promise<object> => {
      const before = requestsFor(broker, 'transaction');
      await work();
      const after = requestsFor(broker, 'transaction');
      const names = ['getItem', 'putItem', 'updateItem', 'deleteItem', 'query'] as const;
      return Object.fromEntries(
        names.flatMap((name) => (after[name] > before[name] ? [[name, after[name] - before[name]]] : [])),
      );
    };
    const id = { transactionalId: 'a' };
    let producer = { producerId: 0, producerEpoch: 0 };
    const initialise = async () => {
      producer = await broker.initialiseProducer({ ...id, timeoutMs: 60_000 });
    };
    expect(await steps(initialise)).toEqual({ getItem: 1, putItem: 2, updateItem: 3 });
    expect(await steps(initialise)).toEqual({ getItem: 1, updateItem: 1 });
    // The batches themselves are appends, like any others.
    const appends = requestsFor(broker, 'append').updateItem;
    expect(await steps(() => writeIn(broker, 'a', producer, { partitions: [0, 1, 16] }))).toEqual({ updateItem: 1 });
    expect(requestsFor(broker, 'append').updateItem - appends).toBe(2);
    const offsets = [{ topic: 't', partition: 0, offset: 1 }];
    const commit = () => broker.commitOffsetsInTransaction({ ...id, producer, group: 'g', offsets, enlists: true });
    expect(await steps(commit)).toEqual({ updateItem: 1 });
    // The end, the markers of two heads, the page, and the finish.
    expect(await steps(() => end(broker, 'a', producer))).toEqual({ getItem: 1, updateItem: 5 });
    expect(requestsFor(broker, 'append').updateItem - appends).toBe(2);
  });

  it('have their share of a commit that markers and appends have in common', async () => {
    const stores = memoryStores();
    const broker = memoryBroker(stores, { lingerMs: 10 });
    await broker.putTopic({ name: 't' });
    await stores.clock.run(async () => {
      const producer = await beginTransaction(broker, 'a');
      const [appends, own] = [requestsFor(broker, 'append'), requestsFor(broker, 'transaction')];
      const append = (value: string) => appendTo(broker, 't', 0, [value]);
      await Promise.all([end(broker, 'a', producer), append('x'), append('y'), append('z')]);
      // One commit of four: the end and the finish come on top.
      expect(requestsFor(broker, 'append').updateItem - appends.updateItem).toBe(0.75);
      expect(requestsFor(broker, 'transaction').updateItem - own.updateItem).toBe(2.25);
    });
  });
});
