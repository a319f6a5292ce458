import { describe, expect, it, vi } from 'vitest';
import { type MemoryApp, memoryApp } from '../../../support/memory-app.ts';

/** Kafka refuses a pair of the first two, since its metrics write both alike. */
const NAMES = ['a.b', 'a_b', 'A.b', 'a-b'];
/** Too large for the table, so that it goes into an object. */
const largeValue = (name: string): string => name.padEnd(20_000, '*');

async function appendToAll(): Promise<MemoryApp & { readonly objectKeys: readonly string[] }> {
  const memory = memoryApp();
  const put = vi.spyOn(memory.objects, 'put');
  for (const name of NAMES) {
    expect([name, (await memory.call('PUT', `/v1/topics/${name}`)).status]).toEqual([name, 201]);
    const answer = await memory.call('POST', `/v1/topics/${name}`, { body: largeValue(name) });
    expect(await answer.json()).toMatchObject({ partition: 0, offset: 0 });
  }
  return { ...memory, objectKeys: put.mock.calls.map(([key]) => key) };
}

async function valuesIn({ call }: MemoryApp, name: string): Promise<unknown> {
  const answer = await call('GET', `/v1/topics/${name}/partitions/0/records`);
  if (answer.status !== 200) return answer.status;
  return ((await answer.json()) as { records: { value: unknown }[] }).records.map(({ value }) => value);
}

describe("topics whose names differ only in '.', '_', '-' or case", () => {
  it('are different topics: each has its own records, and is listed and counted by itself', async () => {
    const memory = await appendToAll();
    for (const name of NAMES) expect(await valuesIn(memory, name)).toEqual([largeValue(name)]);
    expect((await memory.broker.listTopics()).items.map(({ name }) => name)).toEqual([...NAMES].sort());
    const counted = memory.broker.usage().filter(({ purpose }) => purpose === 'append');
    expect(counted.map(({ topic }) => topic).sort()).toEqual([...NAMES].sort());
    for (const { counts } of counted) expect(counts.putObject).toBe(1);
  });

  it('are deleted one by one, and made again without the others', async () => {
    const memory = await appendToAll();
    expect((await memory.call('DELETE', '/v1/topics/a_b')).status).toBe(204);
    expect(await valuesIn(memory, 'a_b')).toBe(404);
    for (const name of ['a.b', 'A.b', 'a-b']) expect(await valuesIn(memory, name)).toEqual([largeValue(name)]);
    expect((await memory.call('PUT', '/v1/topics/a_b')).status).toBe(201);
    expect(await valuesIn(memory, 'a_b')).toEqual([]);
  });

  it('name no object, so that a file system which ignores case keeps them apart', async () => {
    const { objectKeys } = await appendToAll();
    expect(objectKeys).toHaveLength(NAMES.length);
    for (const key of objectKeys) expect(key).not.toMatch(/a[._-]b/i);
  });

  it('are different things to have rights on', async () => {
    const memory = memoryApp({ http: { access: { mode: 'authenticated', apiKeys: true } } });
    const { key } = await memory.broker.createApiKey({
      name: 'one',
      scopes: [{ actions: ['admin'], topics: ['a_b', 'a.*'], groups: [] }],
    });
    const headers = { authorization: `Bearer ${key}` };
    const statuses = [];
    for (const name of [...NAMES, 'a_c'])
      statuses.push((await memory.call('PUT', `/v1/topics/${name}`, { headers })).status);
    expect(statuses).toEqual([201, 201, 403, 403, 403]);
  });
});
