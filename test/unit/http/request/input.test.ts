import { describe, expect, it, vi } from 'vitest';
import type { Operation } from '../../../../shared/http/operation.ts';
import { OPERATION_IDS, OPERATIONS, type OperationId } from '../../../../shared/http/operations.ts';
import { BINDING_HEADERS, BINDING_IF_UNSAFE } from '../../../../shared/http/request/input.ts';
import { type MemoryApp, memoryApp } from '../../../support/memory-app.ts';

/**
 * Every operation with every header that makes a request conditional, done once or resumed. What an operation accepts is
 * written down here once more, so that a change of the table of operations is seen.
 */
const VALUES: Readonly<Record<(typeof BINDING_HEADERS)[number] | (typeof BINDING_IF_UNSAFE)[number], string>> = {
  'Idempotency-Key': 'k',
  'If-Match': '"0"',
  'If-Unmodified-Since': 'Thu, 01 Jan 1970 00:00:00 GMT',
  'Last-Event-ID': 'AAAAAAAA.AAABAA',
  'Producer-Epoch': '0',
  'Producer-Id': '1',
  'Producer-Seq': '0',
  'Content-Range': 'bytes 0-0/2',
  'If-None-Match': '*',
  'X-HTTP-Method-Override': 'DELETE',
};
const HEADERS = [...BINDING_HEADERS, ...BINDING_IF_UNSAFE];
const APPEND_HEADERS = ['Idempotency-Key', 'If-Match', 'Producer-Epoch', 'Producer-Id', 'Producer-Seq'];
const ACCEPTED: { readonly [Id in OperationId]?: readonly string[] } = {
  appendRecords: APPEND_HEADERS,
  appendOne: APPEND_HEADERS,
  transact: ['Idempotency-Key'],
  readRecords: ['Last-Event-ID'],
  tailTopic: ['Last-Event-ID'],
};

interface Example {
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

const SCOPES = [{ actions: ['produce'], topics: ['*'] }];
const PRODUCER = { producerId: 1, producerEpoch: 0 };
const EXAMPLES: Readonly<Record<OperationId, Example>> = {
  listTopics: { path: '/v1/topics' },
  putTopic: { path: '/v1/topics/t', body: { partitions: 2 } },
  getTopic: { path: '/v1/topics/t' },
  deleteTopic: { path: '/v1/topics/t' },
  deleteRecords: { path: '/v1/topics/t/partitions/0/records?before=0' },
  appendRecords: { path: '/v1/topics/t/records', body: { records: [{ value: 1 }] } },
  appendOne: { path: '/v1/topics/t', body: 'x' },
  appendEntries: { path: '/v1/records', body: { entries: [{ id: 'a', topic: 't', records: [{ value: 1 }] }] } },
  makeProducer: { path: '/v1/producers' },
  readRecords: { path: '/v1/topics/t/partitions/0/records', headers: { Accept: 'text/event-stream' } },
  tailTopic: { path: '/v1/topics/t/tail' },
  planFetch: { path: '/v1/topics/t/fetch-plan', body: { partitions: [{ partition: 0, offset: 0 }] } },
  listSegments: { path: '/v1/topics/t/segments' },
  verifyTopic: { path: '/v1/topics/t/verification' },
  getOffset: { path: '/v1/topics/t/partitions/0/offsets?timestamp=0' },
  listGroups: { path: '/v1/groups' },
  getGroup: { path: '/v1/groups/g' },
  deleteGroup: { path: '/v1/groups/g' },
  heartbeat: { path: '/v1/groups/g/members/m', body: { memberEpoch: 0, topics: ['t'] } },
  leaveGroup: { path: '/v1/groups/g/members/m' },
  extendLease: { path: '/v1/groups/g/members/m/extend', body: { token: '!' } },
  pollGroup: { path: '/v1/groups/g/poll', body: { topics: ['t'], after: '!' } },
  getGroupLag: { path: '/v1/groups/g/lag' },
  getOffsets: { path: '/v1/groups/g/offsets' },
  commitOffsets: { path: '/v1/groups/g/offsets', body: { offsets: [{ topic: 't', partition: 0, offset: 0 }] } },
  resetOffsets: { path: '/v1/groups/g/offsets/reset', body: { topics: [{ topic: 't' }], to: 'earliest' } },
  deleteOffsets: { path: '/v1/groups/g/offsets?topic=t' },
  listTransactions: { path: '/v1/transactions' },
  getTransaction: { path: '/v1/transactions/x' },
  abortTransaction: { path: '/v1/transactions/x' },
  transact: { path: '/v1/transactions', body: { entries: [{ topic: 't', records: [{ value: 1 }] }] } },
  beginTransaction: { path: '/v1/transactions/x/begin' },
  appendInTransaction: {
    path: '/v1/transactions/x/records',
    body: { ...PRODUCER, entries: [{ topic: 't', records: [{ value: 1 }] }] },
  },
  commitOffsetsInTransaction: {
    path: '/v1/transactions/x/offsets',
    body: { ...PRODUCER, group: 'g', offsets: [{ topic: 't', partition: 0, offset: 0 }] },
  },
  commitTransaction: { path: '/v1/transactions/x/commit', body: PRODUCER },
  abortOwnTransaction: { path: '/v1/transactions/x/abort', body: PRODUCER },
  createApiKey: { path: '/v1/api-keys', body: { name: 'k', scopes: SCOPES } },
  listApiKeys: { path: '/v1/api-keys' },
  revokeApiKey: { path: '/v1/api-keys/0123456789abcdef' },
  getUsage: { path: '/v1/usage' },
  getMetrics: { path: '/metrics' },
  getHealth: { path: '/v1/health' },
  getError: { path: '/errors/not_found' },
  getOpenApi: { path: '/openapi.json' },
  getRoot: { path: '/' },
  getObject: { path: '/v1/objects/none?start=0&end=1&expires=1&signature=x' },
};

async function withTopic(): Promise<MemoryApp> {
  const memory = memoryApp();
  await memory.broker.putTopic({ name: 't', partitions: 1 });
  return memory;
}

interface Answer {
  readonly status: number;
  readonly problem: { readonly code?: string; readonly field?: string; readonly detail?: string };
}

async function ask({ call }: MemoryApp, id: OperationId, more: Readonly<Record<string, string>>): Promise<Answer> {
  const { path, body, headers } = EXAMPLES[id];
  const response = await call(OPERATIONS[id].method.toUpperCase(), path, { body, headers: { ...headers, ...more } });
  if (response.headers.get('content-type') === 'application/problem+json')
    return { status: response.status, problem: (await response.json()) as Answer['problem'] };
  await response.body?.cancel();
  return { status: response.status, problem: {} };
}

function isAccepted(id: OperationId, header: string): boolean {
  const { method }: Operation = OPERATIONS[id];
  return (
    ACCEPTED[id]?.includes(header) === true || (method === 'get' && BINDING_IF_UNSAFE.some((name) => name === header))
  );
}

/** The three headers of a producer are accepted only together. */
function headersWith(name: (typeof HEADERS)[number], accepted: boolean): Record<string, string> {
  if (!accepted || !name.startsWith('Producer-')) return { [name]: VALUES[name] };
  return { 'Producer-Id': '1', 'Producer-Epoch': '0', 'Producer-Seq': '0' };
}

describe.each(OPERATION_IDS)('a request to %s', (id) => {
  it.each(HEADERS.filter((header) => isAccepted(id, header)))(
    'is answered as without %s, or honours it',
    async (header) => {
      const plain = await ask(await withTopic(), id, {});
      const answer = await ask(await withTopic(), id, headersWith(header, true));
      expect([answer.status, answer.problem.code]).toEqual([plain.status, plain.problem.code]);
    },
  );

  it.each(HEADERS.filter((header) => !isAccepted(id, header)))(
    'is rejected with %s, and does nothing',
    async (header) => {
      const memory = await withTopic();
      const writes = [
        vi.spyOn(memory.items, 'put'),
        vi.spyOn(memory.items, 'update'),
        vi.spyOn(memory.items, 'delete'),
        vi.spyOn(memory.objects, 'put'),
      ];
      const { status, problem } = await ask(memory, id, headersWith(header, false));
      expect([status, problem.code, problem.field]).toEqual([400, 'invalid_request', header]);
      expect(problem.detail).toContain(header);
      for (const spy of writes) expect(spy).not.toHaveBeenCalled();
      expect(await memory.broker.describeTopic('t')).toMatchObject({ partitions: 1 });
      expect((await memory.broker.describePartitions('t')).map(({ highWatermark }) => highWatermark)).toEqual([0]);
    },
  );
});

describe('an operation that takes no body', () => {
  const withoutBody = OPERATION_IDS.filter((id) => !('body' in OPERATIONS[id]));

  it.each(withoutBody)('rejects one: %s', async (id) => {
    const memory = await withTopic();
    const writes = [vi.spyOn(memory.items, 'put'), vi.spyOn(memory.items, 'update'), vi.spyOn(memory.items, 'delete')];
    const { path, headers = {} } = EXAMPLES[id];
    const method = OPERATIONS[id].method.toUpperCase();
    // A GET with a body cannot be made here: its header stands for it.
    const more = method === 'GET' ? { headers: { ...headers, 'Content-Length': '8' } } : { headers, body: 'not json' };
    const response = await memory.call(method, path, more);
    expect([response.status, await response.json()]).toMatchObject([400, { code: 'invalid_request', field: 'body' }]);
    for (const spy of writes) expect(spy).not.toHaveBeenCalled();
  });

  it('names the parameters that the body may have been meant for', async () => {
    const { call } = await withTopic();
    const response = await call('POST', '/v1/transactions/x/begin', { body: { timeoutMs: 5_000 } });
    expect(((await response.json()) as Answer['problem']).detail).toContain('timeoutMs');
  });
});

it('two idempotency keys are no key', async () => {
  const { call } = await withTopic();
  const headers = new Headers([
    ['Idempotency-Key', 'k2'],
    ['Idempotency-Key', 'k3'],
  ]);
  for (const [path, body] of [
    ['/v1/topics/t/records', { records: [{ value: 1 }] }],
    ['/v1/topics/t', 'x'],
    ['/v1/transactions', { entries: [{ topic: 't', records: [{ value: 1 }] }] }],
  ] as const) {
    const response = await call('POST', path, { body, headers: Object.fromEntries(headers) });
    expect([response.status, await response.json()]).toMatchObject([400, { field: 'Idempotency-Key' }]);
  }
});

it('a read that is no event stream rejects Last-Event-ID', async () => {
  const { call } = await withTopic();
  const response = await call('GET', '/v1/topics/t/partitions/0/records', {
    headers: { 'Last-Event-ID': 'AAAAAAAA.AAABAA' },
  });
  expect([response.status, await response.json()]).toMatchObject([400, { field: 'Last-Event-ID' }]);
});

it('a request may have headers that only ask for less: its answer is whole', async () => {
  const memory = await withTopic();
  for (const [name, value] of Object.entries({
    Range: 'bytes=0-1',
    'If-Range': '"x"',
    'If-Modified-Since': 'Thu, 01 Jan 1970 00:00:00 GMT',
  }))
    expect([name, (await ask(memory, 'getTopic', { [name]: value })).status]).toEqual([name, 200]);
});

it('HEAD rejects what GET rejects', async () => {
  const { call } = await withTopic();
  expect((await call('HEAD', '/v1/topics/t', { headers: { 'If-Match': '"0"' } })).status).toBe(400);
});
