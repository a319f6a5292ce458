import { beforeEach, expect, it } from 'vitest';
import { type MemoryApp, memoryApp } from '../../../support/memory-app.ts';

/** What requests on offsets of a group name if it is wrong. */
let memory: MemoryApp;

beforeEach(async () => {
  memory = memoryApp();
  await memory.broker.putTopic({ name: 'f' });
  expect((await commit({})).status).toBe(200);
});

const commit = (more: object): Promise<Response> =>
  Promise.resolve(
    memory.call('PUT', '/v1/groups/manual/offsets', {
      body: { offsets: [{ topic: 'f', partition: 0, offset: 0, ...more }] },
    }),
  );

const reset = async (topics: unknown): Promise<unknown[]> => {
  const response = await memory.call('POST', '/v1/groups/manual/offsets/reset', { body: { topics, offset: 0 } });
  return [response.status, await response.json()];
};

it('a reset of no partitions names the list', async () => {
  expect(await reset([])).toMatchObject([400, { code: 'invalid_request', field: 'topics' }]);
  expect(await reset([{ topic: 'f', partitions: [] }])).toMatchObject([
    400,
    { code: 'invalid_request', field: 'topics[0].partitions' },
  ]);
  expect(await reset([{ topic: 'f', partitions: null }])).toMatchObject([200, { partitions: [{ partition: 0 }] }]);
});

it('metadata that UTF-8 cannot represent is refused, and other metadata kept', async () => {
  for (const metadata of ['\ud800', 'a\udc00b']) {
    const response = await commit({ metadata });
    expect([response.status, await response.json()]).toMatchObject([
      400,
      { code: 'invalid_request', field: 'offsets[0].metadata' },
    ]);
  }
  expect((await commit({ metadata: 'ä😀' })).status).toBe(200);
  expect((await memory.broker.fetchOffsets({ group: 'manual' })).items).toMatchObject([{ metadata: 'ä😀' }]);
});
