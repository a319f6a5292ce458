import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { OperationId } from '../../../shared/http/operations.ts';
import { OPERATION_IDS, OPERATIONS } from '../../../shared/http/operations.ts';
import { ACTIONS, ALL_SCOPES, type Scope } from '../../../shared/log/scopes.ts';
import { TOPICS } from '../../../shared/storage/keys.ts';
import { memoryApp } from '../../support/memory-app.ts';
import { SimulatedClock } from '../../support/simulated-clock.ts';

import { CASES, type Case, EXISTING, MISSING, OTHER, type Right } from './access-matrix-cases.ts';

/**
 * Every operation with every kind of credential, for a topic that exists and for one that doesn't, and for groups and
 * transactional ids of these names: what it answers. What each operation takes is written down here once more, so that a
 * change of the table of operations is seen.
 */

const ISSUER = 'https://issuer.example/';
const AUDIENCE = 'tailrace';
const clock = new SimulatedClock();
const nowS = Math.floor(clock.nowMs() / 1_000);
let signing: Awaited<ReturnType<typeof generateKeyPair>>;
let access: Extract<NonNullable<Parameters<typeof memoryApp>[0]>['http'], object>['access'];

/** What was written anywhere, and what must be nowhere in it. */
const written: string[] = [];
const tokens = new Set<string>();

beforeAll(async () => {
  signing = await generateKeyPair('ES256');
  const key = { ...(await exportJWK(signing.publicKey)), alg: 'ES256', kid: 'k' };
  access = { mode: 'authenticated', apiKeys: true, jwt: { issuer: ISSUER, audience: AUDIENCE, keys: { keys: [key] } } };
  for (const method of ['log', 'info', 'warn', 'error', 'debug'] as const)
    vi.spyOn(console, method).mockImplementation((...all: unknown[]) => void written.push(all.map(String).join(' ')));
  for (const stream of [process.stdout, process.stderr]) {
    const write = stream.write.bind(stream);
    vi.spyOn(stream, 'write').mockImplementation(((chunk: string | Uint8Array) => {
      written.push(String(chunk));
      return write(chunk);
    }) as typeof stream.write);
  }
});

afterAll(() => {
  vi.restoreAllMocks();
});

type Memory = ReturnType<typeof memoryApp>;

async function makeMemory(): Promise<Memory> {
  const memory = memoryApp({ clock, http: { access } });
  await memory.broker.putTopic({ name: EXISTING, partitions: 2 });
  await memory.broker.commitOffsets({ group: EXISTING, offsets: [{ topic: EXISTING, partition: 0, offset: 0 }] });
  await memory.broker.initialiseProducer({ transactionalId: EXISTING, timeoutMs: 60_000 });
  return memory;
}

async function keyWith({ broker }: Memory, scopes: readonly Scope[], expiresAtMs?: number): Promise<string> {
  return (await broker.createApiKey({ name: 'test', scopes, expiresAtMs })).key;
}

function jwtWith(claims: Readonly<Record<string, unknown>>, expiresInS = 60): Promise<string> {
  return new SignJWT({ iss: ISSUER, aud: AUDIENCE, sub: 'me', exp: nowS + expiresInS, ...claims })
    .setProtectedHeader({ alg: 'ES256', kid: 'k' })
    .sign(signing.privateKey);
}

const KINDS = ['topics', 'groups', 'transactionalIds'] as const;
type Kind = (typeof KINDS)[number];
type Names = Readonly<Record<Kind, readonly string[]>>;
const NOTHING: Names = { topics: [], groups: [], transactionalIds: [] };
const EVERYTHING: Names = { topics: ['*'], groups: ['*'], transactionalIds: ['*'] };

function kindOf([, resource]: Right): Kind {
  if (resource.endsWith('transactional id')) return 'transactionalIds';
  return resource.includes('topic') ? 'topics' : 'groups';
}

/**
 * Just what the operation takes, on what these patterns name. Each right is on a scope of its own: one on a group and one on a
 * topic need not come together.
 */
function scopesFor({ rights }: Case, patternsOf: (kind: Kind) => readonly string[]): Scope[] {
  // An open operation takes none, but a credential has some.
  if (rights.length === 0) return [{ actions: ['consume'], ...NOTHING, topics: patternsOf('topics') }];
  return rights.map((right) => {
    const [action, resource] = right;
    const kind = kindOf(right);
    const names = resource.startsWith('all') && patternsOf(kind) !== OTHERS ? ['*'] : patternsOf(kind);
    return { actions: [action === 'any' ? 'consume' : action], ...NOTHING, [kind]: names };
  });
}

/** All but the first right that the operation takes, on everything. */
function otherScopes({ rights: [first] }: Case): Scope[] {
  if (first === undefined) return [{ actions: ['consume'], ...EVERYTHING }];
  const kind = kindOf(first);
  const others = ACTIONS.filter((action) => first[0] !== 'any' && first[0] !== action);
  return [
    { actions: ACTIONS, ...EVERYTHING, [kind]: [] },
    ...(others.length === 0 ? [] : [{ actions: others, ...NOTHING, [kind]: ['*'] }]),
  ];
}

const OTHERS = [OTHER, `${OTHER}*`];

/** A key with all rights that the operation takes, but those of this kind on something else. */
function onOther(kind: Kind, name: string): Credential {
  return {
    name: `a key with the rights, but on another ${name}`,
    make: async (memory, each, topic) =>
      `Bearer ${await keyWith(
        memory,
        scopesFor(each, (one) => (one === kind ? OTHERS : [topic])),
      )}`,
    verdict: ({ rights }) =>
      rights.some((right) => kindOf(right) === kind && !right[1].startsWith('some')) ? 403 : 'granted',
  };
}

type Verdict = 401 | 403 | 'granted';

interface Credential {
  readonly name: string;
  make(memory: Memory, each: Case, topic: string): Promise<string | undefined> | string | undefined;
  verdict(each: Case): Verdict;
}

const refused = (): Verdict => 401;
const denied = (): Verdict => 403;
const granted = (): Verdict => 'granted';

const CREDENTIALS: readonly Credential[] = [
  { name: 'none', make: () => undefined, verdict: refused },
  { name: 'an empty one', make: () => 'Bearer ', verdict: refused },
  { name: 'garbage', make: () => 'Bearer no-credential-of-ours', verdict: refused },
  { name: 'another scheme', make: () => 'Basic dXNlcjpwYXNzd29yZA==', verdict: refused },
  { name: 'a key that never was', make: () => `Bearer tlr_${'0'.repeat(16)}_${'x'.repeat(43)}`, verdict: refused },
  {
    name: 'a wrong secret',
    async make(memory) {
      const key = await keyWith(memory, ALL_SCOPES);
      return `Bearer ${key.slice(0, -1)}${key.endsWith('A') ? 'B' : 'A'}`;
    },
    verdict: refused,
  },
  {
    name: "another key's secret",
    async make(memory) {
      const [one, other] = [await keyWith(memory, ALL_SCOPES), await keyWith(memory, ALL_SCOPES)];
      return `Bearer ${one.slice(0, 21)}${other.slice(21)}`;
    },
    verdict: refused,
  },
  {
    name: 'an expired key',
    async make(memory) {
      const key = await keyWith(memory, ALL_SCOPES, clock.nowMs() + 1);
      await clock.advance(1);
      return `Bearer ${key}`;
    },
    verdict: refused,
  },
  {
    name: 'a revoked key',
    async make(memory) {
      const { key, id } = await memory.broker.createApiKey({ name: 'test', scopes: ALL_SCOPES });
      await memory.broker.revokeApiKey(id);
      return `Bearer ${key}`;
    },
    verdict: refused,
  },
  {
    name: 'an expired token',
    make: async () => `Bearer ${await jwtWith({ tailrace: ALL_SCOPES }, -3_600)}`,
    verdict: refused,
  },
  {
    name: 'a token with a broken signature',
    async make() {
      const token = await jwtWith({ tailrace: ALL_SCOPES });
      return `Bearer ${token.slice(0, -4)}${token.endsWith('AAAA') ? 'BBBB' : 'AAAA'}`;
    },
    verdict: refused,
  },
  {
    name: 'a key with all other rights',
    make: async (memory, each) => `Bearer ${await keyWith(memory, otherScopes(each))}`,
    verdict: denied,
  },
  {
    name: 'a token with all other rights',
    make: async (_, each) => `Bearer ${await jwtWith({ tailrace: otherScopes(each) })}`,
    verdict: denied,
  },
  { name: 'a token without scopes', make: async () => `Bearer ${await jwtWith({})}`, verdict: denied },
  onOther('topics', 'topic'),
  onOther('groups', 'group'),
  onOther('transactionalIds', 'transactional id'),
  {
    name: 'a key with the right on just this topic',
    make: async (memory, each, topic) =>
      `Bearer ${await keyWith(
        memory,
        scopesFor(each, () => [topic]),
      )}`,
    verdict: granted,
  },
  {
    name: 'a key with the right on topics that begin so',
    make: async (memory, each, topic) =>
      `bearer ${await keyWith(
        memory,
        scopesFor(each, () => [`${topic.slice(0, 3)}*`]),
      )}`,
    verdict: granted,
  },
  {
    name: 'a token with the right',
    make: async (_, each, topic) => `Bearer ${await jwtWith({ tailrace: scopesFor(each, () => [topic]) })}`,
    verdict: granted,
  },
];

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

async function ask(memory: Memory, id: OperationId, topic: string, authorization: string | undefined): Promise<Answer> {
  const { path, body } = CASES[id].request(topic);
  if (authorization !== undefined && authorization.length > 20) tokens.add(authorization.split(' ')[1] ?? '');
  const response = await memory.call(OPERATIONS[id].method.toUpperCase(), path, {
    body,
    ...(authorization === undefined ? {} : { headers: { Authorization: authorization } }),
  });
  const { 'request-id': requestId = '', ...headers } = Object.fromEntries(response.headers);
  let text = '';
  if (headers['content-type'] === 'text/event-stream') await response.body?.cancel();
  else text = (await response.text()).replaceAll(requestId, '(request id)');
  // A new key is told this once. (Stores of a test are filled from one seed, so that it is also some other test's.)
  if (id !== 'createApiKey' || response.status !== 201) written.push(text);
  written.push(JSON.stringify(headers), ...memory.errors.map((error) => `${String(error)} ${JSON.stringify(error)}`));
  return { status: response.status, headers, body: text };
}

it('has a case for every route', () => {
  const routes = memoryApp()
    .app.routes.filter(({ method }) => method !== 'ALL')
    .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)(\{[^}]*\})?/g, '{$1}')}`);
  const operations = OPERATION_IDS.map(
    (id) => `${OPERATIONS[id].method.toUpperCase()} ${OPERATIONS[id].path.replace('+}', '}')}`,
  );
  expect(operations.sort()).toEqual(routes.sort());
  expect(Object.keys(CASES).sort()).toEqual([...OPERATION_IDS].sort());
});

describe.each(OPERATION_IDS)('%s', (id) => {
  const each = CASES[id];

  it.each(CREDENTIALS)('with $name', async ({ make, verdict }) => {
    const expected = each.rights.length === 0 ? 'granted' : verdict(each);
    const answers: Answer[] = [];
    for (const [i, topic] of [EXISTING, MISSING].entries()) {
      const memory = await makeMemory();
      const authorization = await make(memory, each, topic);
      const get = vi.spyOn(memory.items, 'get');
      const query = vi.spyOn(memory.items, 'query');
      const answer = await ask(memory, id, topic, authorization);
      answers.push(answer);
      expect([topic, answer.status]).toEqual([topic, expected === 'granted' ? each.granted[i] : expected]);
      if (expected === 'granted') continue;
      expect(JSON.parse(answer.body)).toMatchObject({
        code: expected === 401 ? 'unauthenticated' : 'access_denied',
        outcome: 'not_applied',
      });
      expect('www-authenticate' in answer.headers).toBe(expected === 401);
      // Nothing was looked up that could tell whether there is such a topic.
      expect(get.mock.calls.filter(([{ pk }]) => pk === TOPICS)).toEqual([]);
      expect(query.mock.calls).toEqual([]);
    }
    if (expected !== 'granted') expect(answers[1]).toEqual(answers[0]);
  });
});

it('asks of HEAD what it asks of GET', async () => {
  const memory = await makeMemory();
  for (const id of OPERATION_IDS.filter((one) => OPERATIONS[one].method === 'get')) {
    const { status } = await memory.call('HEAD', CASES[id].request(EXISTING).path);
    expect([id, status]).toEqual([id, CASES[id].rights.length === 0 ? CASES[id].granted[0] : 401]);
  }
});

it('tells nobody what there is in other words: of wrong methods, names and bodies', async () => {
  const memory = await makeMemory();
  const key = await keyWith(memory, [{ actions: ['consume'], topics: [OTHER], groups: [] }]);
  for (const authorization of [undefined, `Bearer ${key}`]) {
    const headers: Record<string, string> = authorization === undefined ? {} : { Authorization: authorization };
    const status = authorization === undefined ? 401 : 403;
    for (const path of ['/v1/topics/..%2forders', '/v1/topics/%00', '/v1/topics/orders%20', '/v1/topics/__proto__'])
      expect([path, (await memory.call('GET', path, { headers })).status]).toEqual([path, status]);
    expect((await memory.call('PUT', `/v1/topics/${EXISTING}`, { headers, body: '{' })).status).toBe(status);
    expect((await memory.call('GET', `/v1/topics/${EXISTING}?x=1`, { headers })).status).toBe(status);
    expect(
      (await memory.call('GET', `/v1/topics/${EXISTING}`, { headers: { ...headers, Accept: 'text/x' } })).status,
    ).toBe(status);
    expect((await memory.call('PATCH', `/v1/topics/${EXISTING}`, { headers })).status).toBe(405);
  }
});

it('reads no body of those it refuses', async () => {
  const memory = await makeMemory();
  let pulls = 0;
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        pulls++;
        controller.enqueue(new Uint8Array(1_000));
      },
    },
    { highWaterMark: 0 },
  );
  expect((await memory.call('POST', `/v1/topics/${EXISTING}`, { body })).status).toBe(401);
  expect(pulls).toBe(0);
});

it('has written no credential anywhere', () => {
  expect(tokens.size).toBeGreaterThan(200);
  expect(written.length).toBeGreaterThan(1_000);
  const all = written.join('\n');
  // The secret part of a key is looked for alone too.
  for (const token of tokens) {
    expect(all.includes(token)).toBe(false);
    if (token.startsWith('tlr_')) expect(all.includes(token.slice(21))).toBe(false);
  }
});
