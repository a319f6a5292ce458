import { expect, it } from 'vitest';
import { bindTransaction } from '../../../../shared/broker/transactions/append/bind.ts';
import { endTransaction } from '../../../../shared/broker/transactions/end.ts';
import { enlist } from '../../../../shared/broker/transactions/enlist.ts';
import { initialiseProducer } from '../../../../shared/broker/transactions/initialise.ts';
import { endOverdue } from '../../../../shared/broker/transactions/overdue.ts';
import { memoryStores } from '../../../support/memory-broker.ts';
import { head, page, transactionProcess } from '../../../support/transaction-world.ts';

const ID = { transactionalId: 'sums' };

it('costs the requests that the design says', async () => {
  const stores = memoryStores();
  const { context, completing, requests } = transactionProcess(stores);
  const initialise = () => initialiseProducer(context, completing, { ...ID, timeoutMs: 60_000 });

  const first = await initialise();
  expect(requests()).toEqual([
    'getItem txn',
    'updateItem counter',
    'updateItem counter',
    'putItem transactions',
    'putItem producer-name',
    'updateItem txn',
  ]);
  expect(first).toEqual({ producerId: 0, producerEpoch: 0 });

  const producer = await initialise();
  expect(requests()).toEqual(['getItem txn', 'updateItem txn']);
  expect(producer).toEqual({ producerId: 0, producerEpoch: 1 });

  const heads = [head(0), head(1), head(0, 'prices')];
  expect(await bindTransaction(context, { ...ID, producer, heads, enlists: true })).toEqual({
    number: 2,
    isRemembered: false,
  });
  expect(requests()).toEqual(['updateItem txn']);
  expect(await bindTransaction(context, { ...ID, producer, heads: [head(1)], enlists: true })).toEqual({
    number: 2,
    isRemembered: true,
  });
  expect(requests()).toEqual([]);
  await enlist(context, { ...ID, producer, participants: { pages: [page(0), page(1)], groups: ['totals'] } });
  expect(requests()).toEqual(['updateItem txn']);

  const next = await endTransaction(context, completing, {
    ...ID,
    producer,
    outcome: 'committed',
    raisesEpoch: true,
  });
  expect(next).toEqual({ producerId: 0, producerEpoch: 2 });
  expect(requests()).toEqual(['updateItem txn', 'updateItem txn']);
  expect(completing.marked.map(({ head: each }) => each)).toEqual(heads);
  expect(completing.settled.map(({ page: each }) => each)).toEqual([page(0), page(1)]);

  await endOverdue(context, completing, 0);
  expect(requests()).toEqual(['getItem producer-name', 'getItem txn']);
  await endOverdue(context, completing, 0);
  expect(requests()).toEqual([]);
});
