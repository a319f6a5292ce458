import { expect, it } from 'vitest';
import { groupsOf, measureAndLog } from '../../../../functions/lag/measure-and-log.ts';
import { runScheduled } from '../../../../functions/lambda/job.ts';
import { groupKey } from '../../../../shared/storage/group-keys.ts';
import { faultyStores } from '../../../support/faulty-stores.ts';
import { lambdaContext } from '../../../support/lambda-events.ts';
import { appendTo, memoryBroker, memoryStores } from '../../../support/memory-broker.ts';

const { signal } = new AbortController();

async function filled() {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  await stores.clock.run(async () => {
    await broker.putTopic({ name: 'orders', partitions: 2 });
    await appendTo(broker, 'orders', 0, ['a', 'b', 'c']);
    for (const [group, offset] of [
      ['behind', 1],
      ['there', 3],
    ] as const)
      await broker.commitOffsets({ group, offsets: [{ topic: 'orders', partition: 0, offset }] });
    await stores.clock.sleep(90_000);
  });
  const logged: Record<string, unknown>[] = [];
  const log = (level: string, message: string, fields: object = {}): void => {
    logged.push({ level, message, ...fields });
  };
  return { stores, broker, logged, log };
}

it('writes a line with metrics for each group that exists, also if nothing is behind', async () => {
  const { stores, broker, logged, log } = await filled();
  const groups = ['behind', 'nobody', 'there'];
  const run = await stores.clock.run(measureAndLog(broker, { groups, tableName: 'T', signal, log }));
  expect(run).toEqual({ results: [], blocked: 0, error: undefined, complete: true });
  expect(logged).toMatchObject([
    { level: 'INFO', table: 'T', group: 'behind', LagRecords: 2, PartitionsWithLag: 1 },
    { level: 'INFO', table: 'T', group: 'there', LagRecords: 0, LagSeconds: 0, PartitionsWithLag: 0 },
  ]);
  const [line] = logged as [Record<string, unknown>];
  expect(Math.floor(line.LagSeconds as number)).toBe(90);
  const { CloudWatchMetrics, Timestamp } = line._aws as { CloudWatchMetrics: object[]; Timestamp: number };
  expect(Math.abs(Timestamp - Date.now())).toBeLessThan(60_000);
  expect(CloudWatchMetrics).toEqual([
    {
      Namespace: 'Tailrace',
      Dimensions: [['table', 'group']],
      Metrics: [
        { Name: 'LagRecords', Unit: 'Count' },
        { Name: 'LagSeconds', Unit: 'Seconds' },
        { Name: 'PartitionsWithLag', Unit: 'Count' },
      ],
    },
  ]);
});

it('fails after the others were measured, and makes no metric of sums over groups', async () => {
  const { stores, logged, log } = await filled();
  const broker = memoryBroker(
    faultyStores(stores, ({ method, key }) =>
      method === 'get' && key.startsWith(groupKey('behind').pk) ? { fault: 'lost_request' } : undefined,
    ),
  );
  const run = () => measureAndLog(broker, { groups: ['behind', 'there'], tableName: 'T', signal, log });
  const done = stores.clock.run(runScheduled({ name: 'lag', tableName: 'T', run }, lambdaContext(60_000), log));
  await expect(done).rejects.toMatchObject({ code: 'storage_unavailable' });
  expect(logged.map(({ level, group }) => [level, group])).toEqual([
    ['INFO', 'there'],
    ['INFO', undefined],
    ['ERROR', undefined],
  ]);
  expect(logged[1]).toMatchObject({ job: 'lag', blocked: 1 });
  expect(JSON.stringify(logged[1])).not.toMatch(/[lL]agRecords/);
});

it('fails if it was stopped before the last group, which the next run would not reach either', async () => {
  const { stores, broker, logged, log } = await filled();
  const request = { groups: ['behind'], tableName: 'T', signal: AbortSignal.abort(), log };
  const run = await stores.clock.run(measureAndLog(broker, request));
  expect(run).toMatchObject({ complete: false, error: { message: expect.stringContaining('Name fewer') } });
  expect(logged).toEqual([]);
});

it('takes the groups from the event of the schedule, and says what one needs', () => {
  expect(groupsOf({ groups: ['a', 'b'] })).toEqual(['a', 'b']);
  for (const event of [undefined, null, 'x', {}, { groups: [] }, { groups: 'a' }, { groups: ['a', 1] }])
    expect(() => groupsOf(event)).toThrow(/needs the groups to measure/);
});
