import { expect, it } from 'vitest';
import type { SweptTransactions } from '../../../shared/broker/transactions/sweep-transactions.ts';
import { DEFAULT_JOB_INTERVALS, timedJobs } from '../../../shared/local/jobs/timed-jobs.ts';
import { KnownLags, KnownTransactions } from '../../../shared/local/process-metrics.ts';
import { beginTransaction, end } from '../../support/begin-transaction.ts';
import { memoryBroker, memoryStores } from '../../support/memory-broker.ts';

const options = { signal: new AbortController().signal };
const NONE = { transactionsOpen: 0, transactionsLate: 0, oldestTransactionMs: 0 };

it('knows the open transactions from the job that sweeps them', async () => {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  const transactions = new KnownTransactions();
  const jobs = timedJobs(broker, { lags: new KnownLags(), transactions });
  const job = jobs.find(({ name }) => name === 'sweepTransactions');
  expect(job?.everyMs).toBe(DEFAULT_JOB_INTERVALS.sweepTransactions);
  await stores.clock.run(async () => {
    await broker.putTopic({ name: 't' });
    const producer = await beginTransaction(broker, 'a');
    await stores.clock.advance(4_000);
    expect(transactions.figures).toBeUndefined();
    expect(await job?.run(options)).toMatchObject({ blocked: 0, error: undefined });
    expect(transactions.figures).toMatchObject({
      ...NONE,
      transactionalIds: 1,
      transactionsOpen: 1,
      oldestTransactionMs: 4_000,
    });
    await end(broker, 'a', producer);
    await job?.run(options);
    expect(transactions.figures).toMatchObject({ ...NONE, transactionalIds: 1 });
  });
});

it('adds up the runs of a sweep that was stopped, and forgets all if one fails', async () => {
  const transactions = new KnownTransactions();
  const base = { transactionalIdsDeleted: 0, transactionsEnded: 0, blocked: 0, error: undefined, transactionsLate: 1 };
  const parts: SweptTransactions[] = [
    { ...base, transactionalIds: 1, transactionsOpen: 1, oldestTransactionMs: 10, complete: true },
    { ...base, transactionalIds: 500, transactionsOpen: 3, oldestTransactionMs: 70, complete: false },
    { ...base, transactionalIds: 20, transactionsOpen: 2, oldestTransactionMs: 60, complete: true },
    { ...base, transactionalIds: 4, transactionsOpen: 0, oldestTransactionMs: 0, complete: false },
  ];
  const told: (number | undefined)[][] = [];
  const sweepTransactions = async (): Promise<SweptTransactions> => {
    const part = parts.shift();
    if (part === undefined) throw new Error('no listing');
    return part;
  };
  for (let i = 0; i < 4; i++) {
    await transactions.sweep({ sweepTransactions }, options);
    const { transactionalIds, transactionsOpen, transactionsLate, oldestTransactionMs } = transactions.figures ?? {};
    told.push([transactionalIds, transactionsOpen, transactionsLate, oldestTransactionMs]);
  }
  expect(told).toEqual([
    [1, 1, 1, 10],
    [1, 1, 1, 10],
    [520, 5, 2, 70],
    [520, 5, 2, 70],
  ]);
  await expect(transactions.sweep({ sweepTransactions }, options)).rejects.toThrow('no listing');
  expect(transactions.figures).toBeUndefined();
  parts.push({ ...base, transactionalIds: 9, transactionsOpen: 0, oldestTransactionMs: 0, complete: true });
  await transactions.sweep({ sweepTransactions }, options);
  expect(transactions.figures?.transactionalIds).toBe(9);
});
