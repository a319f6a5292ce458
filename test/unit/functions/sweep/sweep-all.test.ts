import { expect, it } from 'vitest';
import { runJob } from '../../../../functions/lambda/job.ts';
import { sweepAll } from '../../../../functions/sweep/sweep-all.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { groupKey, groupListingKey } from '../../../../shared/storage/group-keys.ts';
import { beginTransaction } from '../../../support/begin-transaction.ts';
import { faultyStores } from '../../../support/faulty-stores.ts';
import { memoryBroker, memoryStores } from '../../../support/memory-broker.ts';

const options = { signal: new AbortController().signal };

it('sweeps consumer groups and transactions after the log, and counts all', async () => {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  // A group whose deletion was interrupted.
  await stores.items.put(groupListingKey('g'), { n: 'x' });
  await stores.items.put(groupKey('g'), { E: 1, d: 1 });
  // A transaction that nobody is held up by.
  const producer = await broker.initialiseProducer({ transactionalId: 'x', timeoutMs: 1_000 });
  await broker.enlist({ transactionalId: 'x', producer, participants: { groups: ['g'] } });
  await stores.clock.advance(10_000);
  await stores.clock.run(async () => {
    expect(await sweepAll(broker, options)).toMatchObject({
      ...{ groupsDeleted: 1, transactionsEnded: 1, blocked: 0, complete: true },
    });
  });
});

it('makes metrics of transactions that it has left open, and none of a log without any', async () => {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  const context = { awsRequestId: 'r', getRemainingTimeInMillis: () => 60_000 };
  const metrics = async () => {
    const lines: Record<string, unknown>[] = [];
    const job = { name: 'sweep', tableName: 't', run: () => sweepAll(broker, options) };
    await stores.clock.run(() => runJob(job, context, (_level, _message, fields = {}) => void lines.push(fields)));
    const [{ _aws, ...counts } = {}] = lines;
    const made = (_aws as { CloudWatchMetrics: { Metrics: { Name: string; Unit: string }[] }[] } | undefined)
      ?.CloudWatchMetrics[0]?.Metrics;
    return (made ?? [])
      .filter(({ Name }) => /ransaction/.test(Name))
      .map(({ Name, Unit }) => [Name, Unit, counts[Name]]);
  };
  expect(await metrics()).toEqual([]);
  await broker.putTopic({ name: 't' });
  await beginTransaction(broker, 'x');
  await stores.clock.advance(10_000);
  expect(await metrics()).toEqual([
    ['transactionalIds', 'Count', 1],
    ['transactionsOpen', 'Count', 1],
    ['oldestTransactionMs', 'Milliseconds', 10_000],
  ]);
});

it('tells what the sweep of the log did if groups cannot be swept', async () => {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  const groupsFail = {
    sweep: () => broker.sweep(options),
    sweepGroups: () => Promise.reject(new EventLogError('storage_unavailable', 'Not now.')),
    sweepTransactions: () => broker.sweepTransactions(options),
  };
  await stores.clock.run(async () => {
    const run = await sweepAll(groupsFail, options);
    expect(run).toMatchObject({ blocked: 1, complete: false, topicsSwept: 0, transactionsEnded: 0 });
    expect(run.error?.code).toBe('storage_unavailable');
  });
  const broken = { ...groupsFail, sweepGroups: () => Promise.reject(new TypeError('a bug')) };
  await stores.clock.run(async () => {
    await expect(sweepAll(broken, options)).rejects.toThrow('a bug');
  });
});

it('names the group that it could not sweep as blocked, and goes on with the others', async () => {
  const stores = memoryStores();
  for (const group of ['a', 'b']) await stores.items.put(groupListingKey(group), { n: 'x' });
  const failing = faultyStores(stores, ({ method, key }) =>
    method === 'get' && key.startsWith('group#a') ? { fault: 'lost_request' } : undefined,
  );
  await stores.clock.run(async () => {
    const run = await sweepAll(memoryBroker(failing), options);
    expect([run.blocked, run.groupsDeleted, run.complete]).toEqual([1, 1, true]);
  });
});
