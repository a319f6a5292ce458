import { describe, expect, it } from 'vitest';
import { enlistedPartitions } from '../../../../../shared/broker/transactions/admin/enlisted-partitions.ts';
import { fenceProducer } from '../../../../../shared/broker/transactions/admin/fence-producer.ts';
import { describeTransaction } from '../../../../../shared/broker/transactions/admin/list.ts';
import { endTransaction } from '../../../../../shared/broker/transactions/end.ts';
import { enlist } from '../../../../../shared/broker/transactions/enlist.ts';
import { initialiseProducer } from '../../../../../shared/broker/transactions/initialise.ts';
import { sweepTransactions } from '../../../../../shared/broker/transactions/sweep-transactions.ts';
import { TRANSACTIONAL_EPOCH_MAX } from '../../../../../shared/log/limits.ts';
import type { ProducerName } from '../../../../../shared/log/transaction/transaction.ts';
import { TRANSACTION, transactionKey } from '../../../../../shared/storage/transaction-keys.ts';
import { beginTransaction, end } from '../../../../support/begin-transaction.ts';
import { bytes, codeOf, memoryBroker, memoryStores, valuesOf } from '../../../../support/memory-broker.ts';
import { head, storedNow, transactionProcess } from '../../../../support/transaction-world.ts';

const ID = { transactionalId: 'x' };

function world() {
  const stores = memoryStores();
  const [producing, operating] = [transactionProcess(stores), transactionProcess(stores)];
  return {
    ...{ stores, producing, operating },
    initialise: () => initialiseProducer(producing.context, producing.completing, { ...ID, timeoutMs: 45_000 }),
    open: (producer: ProducerName) =>
      enlist(producing.context, { ...ID, producer, participants: { heads: [head(0)] } }),
    fence: () => fenceProducer(operating.context, operating.completing, 'x'),
  };
}

describe('fencing a producer', () => {
  it('aborts what it has open, keeps its timeout, and shuts it out', async () => {
    const { stores, producing, operating, initialise, open, fence } = world();
    const producer = await initialise();
    await open(producer);
    operating.requests();
    await fence();
    expect(operating.requests()).toEqual(['getItem txn', 'updateItem txn', 'updateItem txn', 'updateItem txn']);
    expect(operating.completing.marked.map(({ marker }) => marker)).toMatchObject([{ outcome: 'aborted' }]);
    expect(await storedNow(stores.items, 'x')).toMatchObject({ phase: 'empty', timeoutMs: 45_000 });
    expect(await codeOf(open(producer))).toBe('producer_fenced');
    const request = { ...ID, producer, outcome: 'committed', raisesEpoch: true } as const;
    expect(await codeOf(endTransaction(producing.context, producing.completing, request))).toBe('producer_fenced');
    const next = await initialise();
    expect([next.producerId, next.producerEpoch > producer.producerEpoch]).toEqual([producer.producerId, true]);
  });

  it('shuts out a producer that has nothing open', async () => {
    const { operating, initialise, open, fence } = world();
    const producer = await initialise();
    operating.requests();
    await fence();
    expect(operating.requests()).toEqual(['getItem txn', 'updateItem txn']);
    expect(await codeOf(open(producer))).toBe('producer_fenced');
  });

  it('completes a transaction that is committed, and does not abort it', async () => {
    const { producing, operating, initialise, open, fence } = world();
    const producer = await initialise();
    await open(producer);
    producing.completing.before = () => Promise.reject(new Error('It dies.'));
    const request = { ...ID, producer, outcome: 'committed', raisesEpoch: true } as const;
    await endTransaction(producing.context, producing.completing, request).catch(() => {});
    await fence();
    expect(operating.completing.marked.map(({ marker }) => marker.outcome)).toEqual(['committed']);
  });

  it('leaves the answer of an idempotency key, so that its request is not committed again', async () => {
    const stores = memoryStores();
    const broker = memoryBroker(stores);
    await broker.putTopic({ name: 't' });
    const request = { entries: [{ topic: 't', records: [{ key: null, value: bytes('pay'), headers: [] }] }] };
    const keyed = { ...request, idempotencyKey: 'order' };
    const first = await broker.transact(keyed);
    const [transactionalId = ''] = (await broker.listTransactions()).items.map((item) => item.transactionalId);
    const { context, completing, requests } = transactionProcess(stores);
    await fenceProducer(context, completing, transactionalId);
    expect(requests()).toEqual(['getItem txn']);
    expect(await memoryBroker(stores).transact(keyed)).toEqual(first);
    expect(await valuesOf(broker, 't', 0)).toEqual(['pay']);
  });

  it('gives out a new producer id after the last epoch', async () => {
    const { stores, initialise, open, fence } = world();
    const producer = await initialise();
    const value = TRANSACTIONAL_EPOCH_MAX;
    await stores.items.update(transactionKey('x'), [{ do: 'set', name: TRANSACTION.producerEpoch, value }]);
    await fence();
    expect((await storedNow(stores.items, 'x'))?.producer).toEqual({ producerId: 1, producerEpoch: 0 });
    expect(await codeOf(open(producer))).toBe('unknown_transactional_id');
  });

  it('makes no id that is not there, or is out of use', async () => {
    const { stores, operating, initialise, fence } = world();
    expect(await codeOf(fence())).toBe('unknown_transactional_id');
    expect(await storedNow(stores.items, 'x')).toBeUndefined();
    expect(await codeOf(fenceProducer(operating.context, operating.completing, ''))).toBe('invalid_request');
    await initialise();
    await stores.clock.advance(8 * 86_400_000);
    await sweepTransactions(operating.context, operating.completing);
    expect(await codeOf(fence())).toBe('unknown_transactional_id');
    expect(await codeOf(describeTransaction(operating.context, 'x'))).toBe('unknown_transactional_id');
  });

  it('lets readers go on, and hides what was aborted', async () => {
    const stores = memoryStores();
    const [producing, operating] = [memoryBroker(stores), memoryBroker(stores)];
    await producing.putTopic({ name: 't', partitions: 32 });
    const producer = await beginTransaction(producing, 'x', { partitions: [0, 16] });
    await operating.fenceProducer('x');
    for (const partition of [0, 16]) {
      const { records, nextOffset } = await producing.readRecords({ topic: 't', partition, from: { offset: 0 } });
      expect([records.length, nextOffset]).toEqual([0, 2]);
    }
    expect(await codeOf(end(producing, 'x', producer))).toBe('producer_fenced');
  });
});

it('tells the partitions of enlisted heads, of topics that are still there', async () => {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  const { context } = transactionProcess(stores);
  for (const [name, partitions] of [
    ['t', 20],
    ['gone', 1],
    ['again', 1],
  ] as const)
    await broker.putTopic({ name, partitions });
  const heads = await Promise.all(
    [
      ['t', 1],
      ['gone', 0],
      ['again', 0],
      ['t', 0],
    ].map(async ([topic, headNumber]) => ({
      topic: String(topic),
      topicId: (await broker.describeTopic(String(topic))).topicId,
      headNumber: Number(headNumber),
    })),
  );
  const last = (await enlistedPartitions(context, { heads: heads.slice(0, 1) }))[0];
  expect(last).toEqual({ topic: 't', partitions: [16, 17, 18, 19] });
  for (const name of ['gone', 'again']) await broker.deleteTopic(name);
  await broker.putTopic({ name: 'again', partitions: 1 });
  expect(await enlistedPartitions(context, { heads })).toEqual([
    { topic: 't', partitions: Array.from({ length: 20 }, (_, i) => i) },
  ]);
});
