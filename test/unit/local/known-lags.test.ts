import { expect, it } from 'vitest';
import { DEFAULT_JOB_INTERVALS, timedJobs } from '../../../shared/local/jobs/timed-jobs.ts';
import { GROUPS_MEASURED_MAX, KnownLags, KnownTransactions } from '../../../shared/local/process-metrics.ts';
import { groupKey } from '../../../shared/storage/group-keys.ts';
import { faultyStores } from '../../support/faulty-stores.ts';
import { appendTo, memoryBroker, memoryStores } from '../../support/memory-broker.ts';

const options = { signal: new AbortController().signal };
const offsets = [{ topic: 'orders', partition: 0, offset: 1 }];

it('measures the lag of all groups by a job, up to a bound, and forgets what is gone', async () => {
  const { clock, ...stores } = memoryStores();
  const broker = memoryBroker({ ...stores, clock });
  const lags = new KnownLags();
  const known = { lags, transactions: new KnownTransactions() };
  const job = timedJobs(broker, known).find(({ name }) => name === 'measureLag');
  expect(job?.everyMs).toBe(DEFAULT_JOB_INTERVALS.measureLag);
  expect(timedJobs(broker, known, false)).toEqual([]);
  await clock.run(async () => {
    await broker.putTopic({ name: 'orders', partitions: 2 });
    await appendTo(broker, 'orders', 0, ['a', 'b', 'c']);
    await clock.sleep(4_000);
    for (let i = 0; i < GROUPS_MEASURED_MAX + 5; i++)
      await broker.commitOffsets({ group: `g${String(i).padStart(3, '0')}`, offsets });
    expect(lags.lags).toEqual([]);
    expect(await job?.run(options)).toMatchObject({ blocked: 0, error: undefined });
    expect(lags.lags).toHaveLength(GROUPS_MEASURED_MAX);
    expect(lags.lags[0]).toMatchObject({
      group: 'g000',
      totalLagRecords: 2,
      partitionsWithLag: 1,
      partitionsWithoutOffset: 0,
    });
    expect(lags.lags[0]?.maxLagMs).toBeGreaterThanOrEqual(4_000);
    await broker.deleteGroup('g000');
    await job?.run(options);
    expect(lags.lags[0]?.group).toBe('g001');
  });
});

it('forgets what it cannot measure now', async () => {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  const lags = new KnownLags();
  await stores.clock.run(async () => {
    await broker.putTopic({ name: 'orders' });
    for (const group of ['a', 'b'])
      await broker.commitOffsets({ group, offsets: [{ ...offsets[0], offset: 0 } as never] });
    await lags.measure(broker, options);
    expect(lags.lags.map(({ group }) => group)).toEqual(['a', 'b']);
    const failing = faultyStores(stores, ({ method, key }) =>
      method === 'get' && key.startsWith(groupKey('a').pk) ? { fault: 'lost_request' } : undefined,
    );
    const run = await lags.measure(memoryBroker(failing), options);
    expect([run.blocked, run.error?.message === undefined]).toEqual([1, false]);
    expect(lags.lags.map(({ group }) => group)).toEqual(['b']);
    const broken = { listGroups: () => Promise.reject(new Error('no list')), measureLag: broker.measureLag };
    await expect(lags.measure(broken, options)).rejects.toThrow('no list');
    expect(lags.lags).toEqual([]);
  });
});
