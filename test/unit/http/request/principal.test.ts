import { describe, expect, it, vi } from 'vitest';
import { toRequest } from '../../../../functions/lambda/event.ts';
import { composeHttp } from '../../../../functions/lambda/http.ts';
import { OPERATION_IDS, OPERATIONS } from '../../../../shared/http/operations.ts';
import type { AccessSettings } from '../../../../shared/http/request/principal.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { ALL_SCOPES, type Scope } from '../../../../shared/log/scopes.ts';
import { EventReader } from '../../../support/event-reader.ts';
import { functionUrlEvent, httpApiEvent, restApiEvent } from '../../../support/lambda-events.ts';
import { type MemoryApp, memoryApp } from '../../../support/memory-app.ts';
import { memoryBroker } from '../../../support/memory-broker.ts';
import { SimulatedClock, turn } from '../../../support/simulated-clock.ts';

const KEYS: AccessSettings = { mode: 'authenticated', apiKeys: true };

function guarded(access: AccessSettings = KEYS): MemoryApp & { readonly clock: SimulatedClock } {
  const clock = new SimulatedClock();
  return { ...memoryApp({ clock, http: { access } }), clock };
}

async function bearer({ broker }: MemoryApp, scopes: readonly Scope[], expiresAtMs?: number) {
  const { key, id } = await broker.createApiKey({ name: 'test', scopes, expiresAtMs });
  return { id, headers: { Authorization: `Bearer ${key}` } };
}

const on = (topics: readonly string[], actions: Scope['actions']): Scope[] => [{ actions, topics, groups: [] }];

describe('a credential that was checked', () => {
  it('is not looked up again for 30 seconds, and not for longer', async () => {
    const memory = guarded();
    const { id, headers } = await bearer(memory, ALL_SCOPES);
    const verify = vi.spyOn(memory.broker, 'verifyApiKey');
    const status = async (): Promise<number> => (await memory.call('GET', '/v1/topics', { headers })).status;
    expect([await status(), await status()]).toEqual([200, 200]);
    await memory.broker.revokeApiKey(id);
    await memory.clock.advance(29_999);
    expect(await status()).toBe(200);
    expect(verify).toHaveBeenCalledTimes(1);
    await memory.clock.advance(1);
    expect(await status()).toBe(401);
    expect(verify).toHaveBeenCalledTimes(2);
  });

  it('ends when it expires, remembered or not', async () => {
    const memory = guarded();
    const { headers } = await bearer(memory, ALL_SCOPES, memory.clock.nowMs() + 1_000);
    expect((await memory.call('GET', '/v1/topics', { headers })).status).toBe(200);
    await memory.clock.advance(999);
    expect((await memory.call('GET', '/v1/topics', { headers })).status).toBe(200);
    await memory.clock.advance(1);
    const response = await memory.call('GET', '/v1/topics', { headers });
    expect([response.status, await response.json()]).toMatchObject([401, { reason: 'expired' }]);
  });

  it('that was bad is looked up each time', async () => {
    const memory = guarded();
    const verify = vi.spyOn(memory.broker, 'verifyApiKey');
    const headers = { Authorization: `Bearer tlr_${'0'.repeat(16)}_${'x'.repeat(43)}` };
    for (let i = 0; i < 3; i++) expect((await memory.call('GET', '/v1/topics', { headers })).status).toBe(401);
    expect(verify).toHaveBeenCalledTimes(3);
  });

  it('is forgotten when a thousand others were checked', async () => {
    const memory = guarded();
    const keys = await Promise.all(Array.from({ length: 1_001 }, () => bearer(memory, ALL_SCOPES)));
    for (const { headers } of keys) await memory.call('GET', '/v1/usage', { headers });
    const verify = vi.spyOn(memory.broker, 'verifyApiKey');
    await memory.call('GET', '/v1/usage', { headers: keys[1_000]?.headers ?? {} });
    expect(verify).toHaveBeenCalledTimes(0);
    await memory.call('GET', '/v1/usage', { headers: keys[0]?.headers ?? {} });
    expect(verify).toHaveBeenCalledTimes(1);
  });

  it('is not kept as it is', async () => {
    const memory = guarded();
    const { headers } = await bearer(memory, ALL_SCOPES);
    const set = vi.spyOn(Map.prototype, 'set');
    await memory.call('GET', '/v1/topics', { headers });
    const keys = set.mock.calls.map(([key]) => String(key));
    set.mockRestore();
    expect(keys.some((key) => headers.Authorization.includes(key) && key.length > 20)).toBe(false);
  });
});

it('says 503, of nothing that was begun, where keys can not be looked up', async () => {
  const memory = guarded();
  memory.broker.verifyApiKey = () => Promise.reject(new EventLogError('storage_unavailable', 'The table is away.'));
  const headers = { Authorization: `Bearer tlr_${'0'.repeat(16)}_${'x'.repeat(43)}` };
  const response = await memory.call('POST', '/v1/topics/t', { headers, body: 'x' });
  expect([response.status, await response.json()]).toMatchObject([503, { outcome: 'not_applied' }]);
});

describe('credentials', () => {
  it.each([
    ['Bearer', 'invalid'],
    ['Bearer a b', 'invalid'],
    ['Bearer a, Bearer b', 'invalid'],
    ['Bearer ä', 'invalid'],
    [`Bearer ${'a'.repeat(100_000)}`, 'invalid'],
    [`Bearer ${'='.repeat(8_000)}`, 'invalid'],
    ['Bearerx', 'missing'],
    ['AWS4-HMAC-SHA256 Credential=x', 'missing'],
    ['', 'missing'],
  ])('of the form %.40s are refused at once', async (given, reason) => {
    const memory = guarded();
    const verify = vi.spyOn(memory.broker, 'verifyApiKey');
    const beganMs = performance.now();
    const response = await memory.call('GET', '/v1/topics', { headers: { Authorization: given } });
    expect(performance.now() - beganMs).toBeLessThan(1_000);
    expect([response.status, await response.json()]).toMatchObject([401, { reason }]);
    const challenge = response.headers.get('www-authenticate');
    expect(challenge).toBe(`Bearer realm="tailrace"${reason === 'missing' ? '' : ', error="invalid_token"'}`);
    expect(verify).not.toHaveBeenCalled();
  });

  it('of a kind that the server was not told to take are refused', async () => {
    for (const access of [{ mode: 'authenticated' }, { mode: 'authenticated', apiKeys: false }] as const) {
      const memory = guarded(access);
      const { headers } = await bearer(memory, ALL_SCOPES);
      expect((await memory.call('GET', '/v1/topics', { headers })).status).toBe(401);
      expect((await memory.call('GET', '/v1/topics', { headers: { Authorization: 'Bearer a.b.c' } })).status).toBe(401);
    }
  });

  it('may be sent by pages of allowed origins, which read why they are refused', async () => {
    const origin = 'https://console.example';
    const memory = memoryApp({ http: { access: KEYS, settings: { allowedOrigins: [origin] } } });
    const preflight = await memory.call('OPTIONS', '/v1/topics', { headers: { Origin: origin } });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('access-control-allow-headers')).toContain('Authorization');
    const response = await memory.call('GET', '/v1/topics', { headers: { Origin: origin } });
    expect([response.status, response.headers.get('access-control-allow-origin')]).toEqual([401, origin]);
    expect(response.headers.get('access-control-expose-headers')).toContain('WWW-Authenticate');
  });
});

describe('rights', () => {
  it('on some of the topics of a request give some of its outcomes', async () => {
    const memory = guarded();
    for (const name of ['mine', 'theirs']) await memory.broker.putTopic({ name });
    const { headers } = await bearer(memory, on(['mine'], ['produce']));
    const entry = (id: string, topic: string) => ({ id, topic, records: [{ value: 1 }] });
    const post = async (path: string, topics: readonly string[]) => {
      const body = { entries: topics.map((topic, i) => entry(String(i), topic)) };
      const response = await memory.call('POST', path, { headers, body });
      return { status: response.status, body: (await response.json()) as { entries?: { error?: unknown }[] } };
    };
    const mixed = await post('/v1/records', ['mine', 'theirs', 'nowhere']);
    expect(mixed).toMatchObject({
      status: 200,
      body: { entries: [{ records: [{ offset: 0 }] }, { error: { code: 'access_denied' } }, { error: {} }] },
    });
    expect(mixed.body.entries?.[2]?.error).toEqual(mixed.body.entries?.[1]?.error);
    expect((await post('/v1/records', ['theirs', 'nowhere'])).status).toBe(403);
    for (const topic of ['theirs', 'nowhere'])
      expect((await post('/v1/records?atomic=true', [topic])).status).toBe(403);
    expect((await post('/v1/records?atomic=true', ['mine', 'mine'])).status).toBe(200);
    expect(await memory.broker.describePartitions('theirs')).toMatchObject([{ highWatermark: 0 }]);
  });

  it('show their topics in the list and in its page tokens, and no others', async () => {
    const memory = guarded();
    const names = Array.from(
      { length: 12 },
      (_, i) => `${i % 3 === 0 ? 'mine' : 'hidden'}-${String(i).padStart(2, '0')}`,
    );
    for (const name of names) await memory.broker.putTopic({ name });
    const visible = names.filter((name) => name.startsWith('mine')).sort();
    for (const actions of [['produce'], ['consume'], ['admin']] as const) {
      const { headers } = await bearer(memory, on(['mine-*', 'absent'], actions));
      for (const limit of [1, 2, 3, 4, 100]) {
        const listed: string[] = [];
        let token = '';
        do {
          const path = `/v1/topics?limit=${limit}${token === '' ? '' : `&pageToken=${token}`}`;
          const page = (await (await memory.call('GET', path, { headers })).json()) as {
            items: { name: string }[];
            nextPageToken?: string;
          };
          expect(page.items.length).toBeLessThanOrEqual(limit);
          listed.push(...page.items.map(({ name }) => name));
          token = page.nextPageToken ?? '';
          expect(Buffer.from(token, 'base64url').toString()).not.toContain('hidden');
        } while (token !== '');
        expect(listed).toEqual(visible);
      }
      const forged = Buffer.from('hidden-01').toString('base64url');
      const page = await memory.call('GET', `/v1/topics?pageToken=${forged}`, { headers });
      expect(await page.text()).not.toContain('hidden');
    }
  });

  it('come with a key over HTTP, and go with it', async () => {
    const memory = guarded();
    const admin = await bearer(memory, ALL_SCOPES);
    const body = { name: 'orders', scopes: [{ actions: ['produce', 'consume'], topics: ['orders'] }] };
    const posted = await memory.call('POST', '/v1/api-keys', { headers: admin.headers, body });
    const made = (await posted.json()) as { id: string; key: string };
    expect([posted.status, posted.headers.get('cache-control')]).toEqual([201, 'no-store']);
    await memory.broker.putTopic({ name: 'orders' });
    const headers = { Authorization: `Bearer ${made.key}` };
    expect((await memory.call('POST', '/v1/topics/orders', { headers, body: 'x' })).status).toBe(200);
    expect((await memory.call('POST', '/v1/api-keys', { headers, body })).status).toBe(403);
    const list = await (await memory.call('GET', '/v1/api-keys', { headers: admin.headers })).text();
    expect(list).toContain(made.id);
    expect(list).not.toContain(made.key.slice(21));
    const path = `/v1/api-keys/${made.id}`;
    expect((await memory.call('DELETE', path, { headers: admin.headers })).status).toBe(204);
    expect((await memory.call('DELETE', path, { headers: admin.headers })).status).toBe(204);
    await memory.clock.advance(30_000);
    expect((await memory.call('POST', '/v1/topics/orders', { headers, body: 'x' })).status).toBe(401);
  });

  it('that a key gets over HTTP are all that were asked for', async () => {
    const memory = guarded();
    const admin = await bearer(memory, ALL_SCOPES);
    const scopes = [
      { actions: ['produce'], topics: ['t'], groups: ['g'], transactionalIds: ['tx-*'] },
      { actions: ['consume'], topics: null, groups: null, transactionalIds: null },
    ];
    const posted = await memory.call('POST', '/v1/api-keys', { headers: admin.headers, body: { name: 'n', scopes } });
    const made = (await posted.json()) as { key: string };
    const granted = [scopes[0], { actions: ['consume'], topics: [], groups: [] }];
    expect(made).toMatchObject({ scopes: granted });
    expect(await memory.broker.verifyApiKey(made.key)).toMatchObject({ ok: true, scopes: granted });
  });

  it('are all there are where the server is open', async () => {
    const memory = memoryApp();
    const body = { name: 'n', scopes: [{ actions: ['admin'], topics: ['*'] }] };
    expect((await memory.call('POST', '/v1/api-keys', { body })).status).toBe(201);
    expect((await memory.call('GET', '/v1/usage')).status).toBe(200);
  });
});

it('is described: which operations take a credential, which right, and how they refuse', async () => {
  interface Described {
    readonly security: unknown;
    readonly description: string;
    readonly responses: Readonly<Record<string, { readonly description: string }>>;
  }
  for (const access of [undefined, KEYS]) {
    const document = (await (await memoryApp({ http: { access } }).call('GET', '/openapi.json')).json()) as {
      paths: Readonly<Record<string, Readonly<Record<string, Described>>>>;
      components: { securitySchemes: unknown };
    };
    expect(document.components.securitySchemes).toMatchObject({ bearer: { type: 'http', scheme: 'bearer' } });
    for (const id of OPERATION_IDS) {
      const { path, method, action } = OPERATIONS[id];
      const described = document.paths[path.replace('+}', '}')]?.[method];
      if (described === undefined) throw new Error(`${id} is not described.`);
      const { security, description, responses } = described as Described;
      const takes = access === undefined ? [{}, { bearer: [] }] : [{ bearer: [] }];
      expect([id, security]).toEqual([id, action === 'open' ? [] : takes]);
      expect(description).toContain(action === 'open' ? 'no right' : action === 'any' ? 'any right' : `\`${action}\``);
      expect(responses[403]?.description).toContain('`access_denied`');
      expect(responses[401]?.description).toBe(action === 'open' ? undefined : '`unauthenticated`');
    }
  }
});

describe('a live tail', () => {
  it.each([
    ['is revoked', 60_000],
    ['expires', 60_000],
  ])('ends within a minute when its key %s', async (what, withinMs) => {
    const memory = guarded();
    await memory.broker.putTopic({ name: 't' });
    const expiresAtMs = what === 'expires' ? memory.clock.nowMs() + 10_000 : undefined;
    const { id, headers } = await bearer(memory, on(['t'], ['consume']), expiresAtMs);
    const tail = await EventReader.open((init) =>
      Promise.resolve(memory.app.request('/v1/topics/t/tail', { ...init, headers })),
    );
    expect((await tail.next())?.event).toBe('heartbeat');
    let isOpen = true;
    const reading = (async () => {
      while ((await tail.next()) !== undefined);
      isOpen = false;
    })();
    await memory.clock.advance(5_000);
    expect(isOpen).toBe(true);
    if (what === 'is revoked') await memory.broker.revokeApiKey(id);
    await memory.clock.advance(withinMs);
    await reading;
    expect(isOpen).toBe(false);
    // Nobody waits for anything any more.
    await turn();
    expect(memory.clock.sleeping).toBe(0);
  });

  it('goes on while its key is good, and while that can not be found out', async () => {
    const memory = guarded();
    await memory.broker.putTopic({ name: 't' });
    const { headers } = await bearer(memory, on(['t'], ['consume']));
    const tail = await EventReader.open((init) =>
      Promise.resolve(memory.app.request('/v1/topics/t/tail', { ...init, headers })),
    );
    await tail.next();
    let isOpen = true;
    const reading = (async () => {
      while ((await tail.next()) !== undefined);
      isOpen = false;
    })();
    await memory.clock.advance(120_000);
    const verify = vi.spyOn(memory.broker, 'verifyApiKey');
    verify.mockRejectedValue(new EventLogError('storage_unavailable', 'Away.'));
    await memory.clock.advance(120_000);
    expect(verify).toHaveBeenCalled();
    expect(isOpen).toBe(true);
    verify.mockResolvedValue({ ok: false, reason: 'revoked' });
    await memory.clock.advance(60_000);
    await reading;
  });
});

describe('who signed a request for AWS', () => {
  const parts = { tableName: 't', bucketName: 'b' };
  const iam = composeHttp(memoryBroker(), { ...parts, authentication: ['iam'] });

  it.each([
    ['Function URL', functionUrlEvent],
    ['HTTP API', httpApiEvent],
  ] as const)('is let in as AWS tells it, behind a %s', async (_, event) => {
    const signed = event({ path: '/v1/topics', headers: { authorization: 'AWS4-HMAC-SHA256 Credential=x' } });
    expect((await iam(toRequest(signed))).status).toBe(200);
    for (const authorizer of [
      undefined,
      {},
      { iam: null },
      { iam: {} },
      { iam: { userArn: '' } },
      { iam: { userArn: null } },
    ]) {
      const unsigned = { ...signed, requestContext: { ...signed.requestContext, authorizer } };
      expect((await iam(toRequest(unsigned))).status).toBe(401);
    }
  });

  it('is let in as AWS tells it, behind a REST API', async () => {
    const unsigned = restApiEvent({ path: '/v1/topics' });
    const identity = { userArn: 'arn:aws:iam::123456789012:user/me' };
    const signed = { ...unsigned, requestContext: { ...unsigned.requestContext, identity } };
    expect((await iam(toRequest(signed))).status).toBe(200);
    expect((await iam(toRequest(unsigned))).status).toBe(401);
  });

  it('is nothing that a caller can write', async () => {
    const { requestContext, ...event } = functionUrlEvent({
      path: '/v1/topics?authorizer=arn:aws:iam::123456789012:user/me',
      headers: { 'x-amzn-userarn': 'arn:aws:iam::123456789012:user/me', userArn: 'arn' },
    });
    const { authorizer: _, ...rest } = requestContext;
    expect((await iam(toRequest({ ...event, requestContext: rest }))).status).toBe(401);
  });

  it('is nobody where only keys are taken, and a bad key is no way in beside a signature', async () => {
    const keys = composeHttp(memoryBroker(), { ...parts, authentication: ['api_keys'] });
    expect((await keys(toRequest(functionUrlEvent({ path: '/v1/topics' })))).status).toBe(401);
    const both = composeHttp(memoryBroker(), { ...parts, authentication: ['iam', 'api_keys'] });
    expect((await both(toRequest(functionUrlEvent({ path: '/v1/topics' })))).status).toBe(200);
    const headers = { authorization: 'Bearer garbage' };
    expect((await both(toRequest(functionUrlEvent({ path: '/v1/topics', headers })))).status).toBe(401);
  });

  it('is not asked where the function leaves it to the address', async () => {
    const open = composeHttp(memoryBroker(), parts);
    expect((await open(new Request('https://x/v1/topics'))).status).toBe(200);
  });
});
