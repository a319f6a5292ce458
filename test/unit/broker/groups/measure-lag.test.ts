import { expect, it } from 'vitest';
import { groupKey } from '../../../../shared/storage/group-keys.ts';
import { faultyStores } from '../../../support/faulty-stores.ts';
import { appendTo, memoryBroker, memoryStores } from '../../../support/memory-broker.ts';

async function filled() {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  await stores.clock.run(async () => {
    await broker.putTopic({ name: 'orders', partitions: 3 });
    for (const partition of [0, 1]) await appendTo(broker, 'orders', partition, ['a', 'b']);
    for (const [group, offset] of [
      ['behind', 0],
      ['there', 2],
    ] as const)
      await broker.commitOffsets({
        group,
        offsets: [0, 1].map((partition) => ({ topic: 'orders', partition, offset })),
      });
  });
  return { stores, broker, clock: stores.clock };
}

it('measures groups in records and time, and leaves out those that do not exist', async () => {
  const { broker, clock } = await filled();
  await clock.advance(60_000);
  const { lags, ...run } = await clock.run(broker.measureLag({ groups: ['there', 'nobody', 'behind'] }));
  expect(run).toEqual({ blocked: 0, error: undefined, complete: true });
  expect(lags).toEqual([
    { group: 'there', totalLagRecords: 0, maxLagMs: 0, partitionsWithLag: 0, partitionsWithoutOffset: 0 },
    {
      group: 'behind',
      totalLagRecords: 4,
      maxLagMs: expect.any(Number),
      partitionsWithLag: 2,
      partitionsWithoutOffset: 0,
    },
  ]);
  expect(lags[1]?.maxLagMs).toBeGreaterThanOrEqual(60_000);
});

it('measures the others if one cannot be measured, and says so', async () => {
  const { stores, clock } = await filled();
  const failing = faultyStores(stores, ({ method, key }) =>
    method === 'get' && key.startsWith(groupKey('behind').pk) ? { fault: 'lost_request' } : undefined,
  );
  const run = await clock.run(memoryBroker(failing).measureLag({ groups: ['behind', 'there'] }));
  expect(run).toMatchObject({ lags: [{ group: 'there' }], blocked: 1, complete: true });
  expect(run.error).toMatchObject({ code: 'storage_unavailable' });
});

it('begins no further group once it is stopped', async () => {
  const { stores, clock } = await filled();
  const stop = new AbortController();
  const stopping = faultyStores(stores, ({ key }) => {
    if (key.startsWith(groupKey('there').pk)) stop.abort();
    return undefined;
  });
  const run = await clock.run(memoryBroker(stopping).measureLag({ groups: ['there', 'behind'], signal: stop.signal }));
  expect(run).toMatchObject({ lags: [{ group: 'there' }], blocked: 0, complete: false });
});
