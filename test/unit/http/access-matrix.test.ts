import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { OperationId } from '../../../shared/http/operations.ts';
import { OPERATION_IDS, OPERATIONS } from '../../../shared/http/operations.ts';
import { ACTIONS, type Action, ALL_SCOPES, type Scope } from '../../../shared/log/scopes.ts';
import { TOPICS } from '../../../shared/storage/keys.ts';
import { memoryApp } from '../../support/memory-app.ts';
import { SimulatedClock } from '../../support/simulated-clock.ts';

/**
 * Every operation with every kind of credential, for a topic that exists and for one that doesn't, and for groups of these
 * names: what it answers. What
 * each operation takes is written down here once more, so that a change of the table of operations is seen.
 */
type Resource = 'topic' | 'some topic' | 'all topics' | 'group' | 'some group' | 'group and topic';

interface Case {
  readonly right: readonly [Action | 'any', Resource] | 'open';
  request(topic: string): { readonly path: string; readonly body?: unknown };
  /** Of those who have the right: where the topic exists, and where it doesn't. */
  readonly granted: readonly [number, number];
}

const EXISTING = 'orders';
const MISSING = 'absent';
/** As long as that of a topic, so that not even a length tells them apart. */
const OTHER = 'others';

const onTopic =
  (rest: string, body?: unknown): Case['request'] =>
  (topic) => ({ path: `/v1/topics/${topic}${rest}`, body });
/** A group has the name of the topic that it reads. */
const onGroup =
  (rest: string, bodyOf: (topic: string) => unknown = () => undefined): Case['request'] =>
  (topic) => ({ path: `/v1/groups/${topic}${rest.replace('TOPIC', topic)}`, body: bodyOf(topic) });
/** A transactional id has the name of a topic. */
const onTransaction =
  (rest = '', bodyOf: (topic: string) => unknown = () => undefined): Case['request'] =>
  (topic) => ({ path: `/v1/transactions/${topic}${rest}`, body: bodyOf(topic) });
const PRODUCER = { producerId: 0, producerEpoch: 0 };
const recordsFor = (topic: string) => ({ entries: [{ topic, records: [{ value: 'x' }] }] });
const at =
  (path: string, body?: unknown): Case['request'] =>
  () => ({ path, body });

const CASES: Readonly<Record<OperationId, Case>> = {
  listTopics: { right: ['any', 'some topic'], request: at('/v1/topics'), granted: [200, 200] },
  putTopic: { right: ['admin', 'topic'], request: onTopic('', { partitions: 2 }), granted: [200, 201] },
  getTopic: { right: ['any', 'topic'], request: onTopic(''), granted: [200, 404] },
  deleteTopic: { right: ['admin', 'topic'], request: onTopic(''), granted: [204, 404] },
  deleteRecords: { right: ['admin', 'topic'], request: onTopic('/partitions/0/records?before=0'), granted: [200, 404] },
  verifyTopic: { right: ['admin', 'topic'], request: onTopic('/verification'), granted: [200, 404] },
  appendRecords: {
    right: ['produce', 'topic'],
    request: onTopic('/records', { records: [{ value: 'x' }] }),
    granted: [200, 404],
  },
  appendOne: { right: ['produce', 'topic'], request: onTopic('', 'x'), granted: [200, 404] },
  appendEntries: {
    right: ['produce', 'topic'],
    request: (topic) => ({ path: '/v1/records', body: { entries: [{ id: 'a', topic, records: [{ value: 'x' }] }] } }),
    granted: [200, 404],
  },
  makeProducer: { right: ['produce', 'some topic'], request: at('/v1/producers'), granted: [201, 201] },
  readRecords: { right: ['consume', 'topic'], request: onTopic('/partitions/0/records'), granted: [200, 404] },
  tailTopic: { right: ['consume', 'topic'], request: onTopic('/tail'), granted: [200, 404] },
  planFetch: {
    right: ['consume', 'topic'],
    request: onTopic('/fetch-plan', { partitions: [{ partition: 0, offset: 0 }] }),
    granted: [200, 404],
  },
  listSegments: { right: ['consume', 'topic'], request: onTopic('/segments'), granted: [200, 404] },
  getOffset: {
    right: ['consume', 'topic'],
    request: onTopic('/partitions/0/offsets?timestamp=0'),
    granted: [200, 404],
  },
  listGroups: { right: ['any', 'some group'], request: at('/v1/groups'), granted: [200, 200] },
  getGroup: { right: ['any', 'group'], request: onGroup(''), granted: [200, 404] },
  deleteGroup: { right: ['admin', 'group'], request: onGroup(''), granted: [204, 404] },
  heartbeat: {
    right: ['consume', 'group and topic'],
    request: onGroup('/members/m', (topic) => ({ memberEpoch: 0, topics: [topic] })),
    granted: [200, 200],
  },
  leaveGroup: { right: ['consume', 'group'], request: onGroup('/members/m'), granted: [404, 404] },
  extendLease: {
    right: ['consume', 'group'],
    request: onGroup('/members/m/extend', () => ({ token: '!' })),
    granted: [400, 400],
  },
  // The token is looked at only after the rights on the topics.
  pollGroup: {
    right: ['consume', 'group and topic'],
    request: onGroup('/poll', (topic) => ({ topics: [topic], after: '!' })),
    granted: [400, 400],
  },
  getGroupLag: { right: ['any', 'group'], request: onGroup('/lag'), granted: [200, 404] },
  getOffsets: { right: ['any', 'group'], request: onGroup('/offsets'), granted: [200, 200] },
  commitOffsets: {
    right: ['consume', 'group and topic'],
    request: onGroup('/offsets', (topic) => ({ offsets: [{ topic, partition: 0, offset: 0 }] })),
    granted: [200, 404],
  },
  resetOffsets: {
    right: ['consume', 'group and topic'],
    request: onGroup('/offsets/reset', (topic) => ({ topics: [{ topic }], to: 'latest' })),
    granted: [200, 404],
  },
  deleteOffsets: {
    right: ['admin', 'group and topic'],
    request: onGroup('/offsets?topic=TOPIC'),
    granted: [200, 404],
  },
  listTransactions: { right: ['any', 'some topic'], request: at('/v1/transactions'), granted: [200, 200] },
  getTransaction: { right: ['any', 'some topic'], request: onTransaction(), granted: [200, 404] },
  abortTransaction: { right: ['admin', 'all topics'], request: onTransaction(), granted: [204, 404] },
  transact: {
    right: ['produce', 'topic'],
    request: (topic) => ({ path: '/v1/transactions', body: recordsFor(topic) }),
    granted: [200, 404],
  },
  beginTransaction: { right: ['produce', 'some topic'], request: onTransaction('/begin'), granted: [200, 200] },
  appendInTransaction: {
    right: ['produce', 'topic'],
    request: onTransaction('/records', (topic) => ({ ...PRODUCER, ...recordsFor(topic) })),
    granted: [200, 404],
  },
  commitOffsetsInTransaction: {
    right: ['consume', 'group and topic'],
    request: onTransaction('/offsets', (topic) => ({
      ...PRODUCER,
      group: topic,
      offsets: [{ topic, partition: 0, offset: 0 }],
    })),
    granted: [204, 404],
  },
  // Nothing was added to it.
  commitTransaction: {
    right: ['produce', 'some topic'],
    request: onTransaction('/commit', () => PRODUCER),
    granted: [409, 404],
  },
  abortOwnTransaction: {
    right: ['produce', 'some topic'],
    request: onTransaction('/abort', () => PRODUCER),
    granted: [200, 404],
  },
  createApiKey: {
    right: ['admin', 'all topics'],
    request: at('/v1/api-keys', { name: 'new', scopes: [{ actions: ['produce'], topics: ['*'] }] }),
    granted: [201, 201],
  },
  listApiKeys: { right: ['admin', 'all topics'], request: at('/v1/api-keys'), granted: [200, 200] },
  revokeApiKey: { right: ['admin', 'all topics'], request: at('/v1/api-keys/0123456789abcdef'), granted: [404, 404] },
  getUsage: { right: ['admin', 'all topics'], request: at('/v1/usage'), granted: [200, 200] },
  getMetrics: { right: ['admin', 'all topics'], request: at('/metrics'), granted: [200, 200] },
  getHealth: { right: 'open', request: at('/v1/health'), granted: [200, 200] },
  getError: { right: 'open', request: at('/errors/internal'), granted: [200, 200] },
  getOpenApi: { right: 'open', request: at('/openapi.json'), granted: [200, 200] },
  getRoot: { right: 'open', request: at('/'), granted: [200, 200] },
  // What lets in there is the signature in the address.
  getObject: {
    right: 'open',
    request: at('/v1/objects/hot/x?start=0&end=1&expires=1&signature=x'),
    granted: [403, 403],
  },
};

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

/** Just what the operation takes, on what these patterns name. */
function scopesFor({ right }: Case, patterns: readonly string[]): Scope[] {
  const action = right === 'open' || right[0] === 'any' ? 'consume' : right[0];
  if (right[1] === 'all topics') return [{ actions: [action], topics: ['*'], groups: [] }];
  const { onGroups, onTopics } = concerned(right);
  // On different scopes: a right on a group and one on a topic need not come together.
  return [
    ...(onTopics ? [{ actions: [action], topics: patterns, groups: [] }] : []),
    ...(onGroups ? [{ actions: [action], topics: [], groups: patterns }] : []),
  ];
}

function concerned(right: Case['right']): { readonly onGroups: boolean; readonly onTopics: boolean } {
  const onGroups = right !== 'open' && /group/.test(right[1]);
  return { onGroups, onTopics: !onGroups || right[1] === 'group and topic' };
}

/** All but what the operation takes, on everything. */
function otherScopes({ right }: Case): Scope[] {
  const others = ACTIONS.filter((action) => right === 'open' || (right[0] !== 'any' && right[0] !== action));
  const { onGroups } = concerned(right);
  return others.length === 0
    ? [{ actions: ACTIONS, topics: onGroups ? ['*'] : [], groups: onGroups ? [] : ['*'] }]
    : [{ actions: others, topics: ['*'], groups: ['*'] }];
}

function actionsOf(right: Case['right']): readonly Action[] {
  return right === 'open' || right[0] === 'any' ? ACTIONS : [right[0]];
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
  {
    name: 'a key with the right on another topic',
    make: async (memory, { right }) => {
      const others = [OTHER, `${OTHER}*`];
      const { onGroups } = concerned(right);
      const scope = { topics: onGroups ? ['*'] : others, groups: onGroups ? others : ['*'] };
      return `Bearer ${await keyWith(memory, [{ actions: actionsOf(right), ...scope }])}`;
    },
    verdict: ({ right }) => (right[1] === 'some topic' || right[1] === 'some group' ? 'granted' : 403),
  },
  {
    name: 'a key with the right on the group, and on another topic',
    make: async (memory, { right }, topic) => {
      const patterns = concerned(right).onGroups
        ? { topics: [OTHER], groups: [topic] }
        : { topics: [OTHER], groups: ['*'] };
      return `Bearer ${await keyWith(memory, [{ actions: actionsOf(right), ...patterns }])}`;
    },
    verdict: ({ right }) =>
      right[1] === 'some topic' || right[1] === 'some group' || right[1] === 'group' ? 'granted' : 403,
  },
  {
    name: 'a key with the right on just this topic',
    make: async (memory, each, topic) => `Bearer ${await keyWith(memory, scopesFor(each, [topic]))}`,
    verdict: granted,
  },
  {
    name: 'a key with the right on topics that begin so',
    make: async (memory, each, topic) => `bearer ${await keyWith(memory, scopesFor(each, [`${topic.slice(0, 3)}*`]))}`,
    verdict: granted,
  },
  {
    name: 'a token with the right',
    make: async (_, each, topic) => `Bearer ${await jwtWith({ tailrace: scopesFor(each, [topic]) })}`,
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
    const expected = each.right === 'open' ? 'granted' : verdict(each);
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
    expect([id, status]).toEqual([id, CASES[id].right === 'open' ? CASES[id].granted[0] : 401]);
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
