import { beforeEach, expect, it } from 'vitest';
import type { Scope } from '../../../../shared/log/scopes.ts';
import { type MemoryApp, memoryApp } from '../../../support/memory-app.ts';

/** What a right on a group does not give: anything of topics that the credential has no right on. */
let memory: MemoryApp;

beforeEach(async () => {
  memory = memoryApp({ http: { access: { mode: 'authenticated', apiKeys: true } } });
  for (const name of ['open', 'secret']) await memory.broker.putTopic({ name });
  await append();
});

async function append(): Promise<void> {
  for (const topic of ['open', 'secret']) {
    const value = new TextEncoder().encode(`of ${topic}`);
    await memory.broker.appendRecords({ topic, records: [{ key: null, value, headers: [], partition: 0 }] });
  }
}

async function asker(scopes: readonly Scope[]) {
  const { key } = await memory.broker.createApiKey({ name: 'test', scopes });
  return async (method: string, path: string, body?: unknown) => {
    const headers = { Authorization: `Bearer ${key}` };
    const response = await memory.call(method, `/v1/groups/g${path}`, { body, headers });
    const text = await response.text();
    return { status: response.status, text, json: (text === '' ? {} : JSON.parse(text)) as Record<string, unknown> };
  };
}

const limited = () => asker([{ actions: ['consume'], topics: ['open'], groups: ['g'] }]);
const trusted = () => asker([{ actions: ['consume'], topics: ['*'], groups: ['g'] }]);

it('a member subscribes only to topics of its credential', async () => {
  const ask = await limited();
  for (const path of ['/members/m', '/poll']) {
    const method = path === '/poll' ? 'POST' : 'PUT';
    const body = path === '/poll' ? {} : { memberEpoch: 0 };
    expect((await ask(method, path, { ...body, topics: ['open', 'secret'] })).status).toBe(403);
    // The pattern matches only the open one now, and may match others tomorrow.
    expect((await ask(method, path, { ...body, topicPattern: 'open' })).status).toBe(403);
    expect((await ask(method, path, { ...body, topics: ['open'], topicPattern: 'open' })).status).toBe(403);
    expect((await ask(method, path, { ...body, topics: ['open'] })).status).toBe(200);
  }
  expect((await (await trusted())('PUT', '/members/n', { memberEpoch: 0, topicPattern: '.*' })).status).toBe(200);
});

it('a poll in the name of a member with more topics neither reads nor commits', async () => {
  const poll = { memberId: 'm', waitMs: 5_000, maxRecords: 100 };
  const first = await (await trusted())('POST', '/poll', { ...poll, topics: ['secret', 'open'] });
  expect(first.text).toContain('of secret');
  const ask = await limited();
  for (const body of [{ after: first.json.token }, { after: first.json.token, maxRecords: 0 }])
    expect((await ask('POST', '/poll', body)).status).toBe(403);
  expect((await memory.broker.fetchOffsets({ group: 'g' })).items).toEqual([]);
  // Nor if the token has nothing to commit, so that only reading would show it.
  const second = await (await trusted())('POST', '/poll', { after: first.json.token, maxRecords: 0 });
  expect((await memory.broker.fetchOffsets({ group: 'g' })).items).toHaveLength(2);
  await append();
  const idle = await ask('POST', '/poll', { after: second.json.token });
  expect([idle.status, idle.json.code]).toEqual([403, 'access_denied']);
  // It may give the member another subscription. Then it gets what that one has.
  for (const commit of ['after', 'at_once']) {
    const { status, text } = await ask('POST', '/poll', { memberId: 'm', topics: ['open'], commit });
    expect([status, text.includes('of open'), text.includes('of secret')]).toEqual([200, true, false]);
  }
});

it('a commit has its own outcome for each topic, and touches none that is not allowed', async () => {
  const ask = await limited();
  const at = (topic: string) => ({ topic, partition: 0, offset: 1 });
  const mixed = await ask('PUT', '/offsets', { offsets: [at('secret'), at('open'), at('missing')] });
  expect([mixed.status, mixed.json]).toMatchObject([
    200,
    {
      offsets: [
        { topic: 'secret', error: { code: 'access_denied' } },
        { topic: 'open' },
        { topic: 'missing', error: { code: 'access_denied' } },
      ],
    },
  ]);
  expect((mixed.json.offsets as object[])[1]).not.toHaveProperty('error');
  expect((await memory.broker.fetchOffsets({ group: 'g' })).items).toMatchObject([{ topic: 'open', offset: 1 }]);
  expect((await ask('PUT', '/offsets', { offsets: [at('secret')] })).status).toBe(403);
  const reset = { topics: [{ topic: 'open' }, { topic: 'secret' }], to: 'earliest' };
  expect((await ask('POST', '/offsets/reset', reset)).status).toBe(403);
  expect((await memory.broker.fetchOffsets({ group: 'g' })).items).toMatchObject([{ topic: 'open', offset: 1 }]);
});

it('lists only groups on which the credential has a right, also in page tokens', async () => {
  for (const group of ['a', 'b', 'g', 'h', 'ga'])
    await memory.broker.commitOffsets({ group, offsets: [{ topic: 'open', partition: 0, offset: 0 }] });
  const { key } = await memory.broker.createApiKey({
    name: 'test',
    scopes: [{ actions: ['admin'], topics: [], groups: ['g*', 'b'] }],
  });
  const headers = { Authorization: `Bearer ${key}` };
  const page = async (query: string) =>
    (await (await memory.call('GET', `/v1/groups?${query}`, { headers })).json()) as {
      items: { group: string }[];
      nextPageToken?: string;
    };
  const first = await page('limit=2');
  expect(first.items).toEqual([{ group: 'b' }, { group: 'g' }]);
  expect(Buffer.from(first.nextPageToken ?? '', 'base64url').toString()).toBe('g');
  expect(await page(`limit=2&pageToken=${first.nextPageToken}`)).toEqual({ items: [{ group: 'ga' }] });
});
