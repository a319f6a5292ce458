import { beforeEach, describe, expect, it } from 'vitest';
import type { Problem } from '../../../../shared/http/contract.ts';
import type { PollOutput } from '../../../../shared/http/groups/contract.ts';
import type { ReadOutput } from '../../../../shared/http/read/contract.ts';
import type { TransactionProducer, TransactOutput } from '../../../../shared/http/transactions/contract.ts';
import { HttpContract } from '../../../support/http-contract.ts';
import { type MemoryApp, memoryApp } from '../../../support/memory-app.ts';
import { SimulatedClock } from '../../../support/simulated-clock.ts';

/** Transactions over HTTP: in one call, and in several. */

let memory: MemoryApp;
let clock: SimulatedClock;
let contract: HttpContract;

beforeEach(async () => {
  clock = new SimulatedClock();
  memory = memoryApp({ clock });
  contract = new HttpContract(await (await memory.call('GET', '/openapi.json')).json());
  await memory.broker.putTopic({ name: 'in', partitions: 1 });
  await memory.broker.putTopic({ name: 'out', partitions: 20 });
});

interface Answer<Output> {
  readonly status: number;
  readonly body: Output;
}

async function ask<Output>(
  method: string,
  path: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer<Output>> {
  const answer = await clock.run(memory.call(method, path, { body, headers }));
  const text = await answer.text();
  const contentType = answer.headers.get('content-type');
  expect(contract.fault(method, path, { status: answer.status, contentType, body: text })).toBeUndefined();
  return { status: answer.status, body: (text === '' ? undefined : JSON.parse(text)) as Output };
}

async function problemOf(method: string, path: string, body?: unknown, headers = {}): Promise<Problem> {
  return (await ask<Problem>(method, path, body, headers)).body;
}

async function values(topic: string, partition = 0, isolation?: string): Promise<unknown[]> {
  const query = isolation === undefined ? '' : `?isolation=${isolation}`;
  const { body } = await ask<ReadOutput>('GET', `/v1/topics/${topic}/partitions/${partition}/records${query}`);
  return body.records.map(({ value }) => value);
}

async function committed(group = 'g'): Promise<number | null | undefined> {
  const { items } = await memory.broker.fetchOffsets({ group, partitions: [{ topic: 'in', partition: 0 }] });
  return items[0]?.offset;
}

const RECORDS = [
  {
    topic: 'out',
    records: [
      { value: { n: 1.0 }, partition: 0 },
      { value: 'b', partition: 18 },
    ],
  },
  { topic: 'in', records: [{ value: 'c' }] },
];
const OFFSETS = [{ group: 'g', offsets: [{ topic: 'in', partition: 0, offset: 3 }] }];

describe('POST /v1/transactions', () => {
  it('appends to several topics and commits offsets, and says where the records are', async () => {
    const { status, body } = await ask<TransactOutput>('POST', '/v1/transactions', {
      entries: RECORDS,
      offsets: OFFSETS,
    });
    expect(status).toBe(200);
    expect(body.entries.map(({ topic, records }) => [topic, ...records.map(({ partition }) => partition)])).toEqual([
      ['out', 0, 18],
      ['in', 0],
    ]);
    expect([await values('out'), await values('out', 18), await values('in')]).toEqual([[{ n: 1 }], ['b'], ['c']]);
    expect(await committed()).toBe(3);
  });

  it('gets the same answer again under its idempotency key', async () => {
    const key = { 'Idempotency-Key': 'order 7' };
    const first = await ask('POST', '/v1/transactions', { entries: RECORDS }, key);
    expect(await ask('POST', '/v1/transactions', { entries: RECORDS }, key)).toEqual(first);
    expect(await values('in')).toEqual(['c']);
    const other = { entries: RECORDS.slice(1) };
    expect(await problemOf('POST', '/v1/transactions', other, key)).toMatchObject({ code: 'idempotency_key_reused' });
  });

  it('can only commit offsets', async () => {
    for (const body of [{ offsets: OFFSETS }, { entries: null, offsets: OFFSETS }])
      expect((await ask('POST', '/v1/transactions', body)).status).toBe(200);
    expect(await committed()).toBe(3);
  });

  it('leaves nothing behind if any of it is refused, and names the field', async () => {
    const cases: [unknown, object][] = [
      [{}, { code: 'invalid_request', field: 'entries' }],
      [
        { entries: null, offsets: null },
        { code: 'invalid_request', field: 'entries' },
      ],
      [{ entries: [] }, { code: 'invalid_request', field: 'entries' }],
      [
        { entries: RECORDS, more: 1 },
        { code: 'invalid_request', field: 'more' },
      ],
      [{ entries: [...RECORDS, { topic: 'none', records: [{ value: 1 }] }] }, { code: 'unknown_topic' }],
      [
        { entries: [...RECORDS, { topic: 'out', records: [{ value: 1, partition: 20 }] }] },
        { code: 'unknown_partition', entry: 2 },
      ],
      [
        { entries: [{ topic: 'out', records: [{ value: { $base64: '!' } }] }] },
        { code: 'invalid_request', field: 'entries[0].records[0].value' },
      ],
      [
        { entries: [{ topic: 'out', records: [{ value: 1, timestamp: 9e15 }] }] },
        { code: 'invalid_request', field: 'entries[0].records[0].timestamp' },
      ],
      [
        { entries: RECORDS, offsets: [{ group: 'g' }] },
        { code: 'invalid_request', field: 'offsets[0].after' },
      ],
      [
        { entries: RECORDS, offsets: [{ ...OFFSETS[0], after: 'x' }] },
        { code: 'invalid_request', field: 'offsets[0].after' },
      ],
      [
        { entries: RECORDS, offsets: [{ group: 'g', after: 'x' }] },
        { code: 'invalid_request', field: 'offsets[0].after' },
      ],
      [
        { entries: RECORDS, offsets: [{ group: 'g', after: 'x', memberId: 'm' }] },
        { code: 'invalid_request', field: 'offsets[0].memberId' },
      ],
      [
        { entries: RECORDS, offsets: [{ ...OFFSETS[0], memberId: 'm', memberEpoch: 1 }] },
        { code: 'fenced_member_epoch' },
      ],
      [
        { entries: RECORDS, offsets: [{ ...OFFSETS[0], memberId: 'm' }] },
        { code: 'invalid_request', field: 'offsets[0].memberEpoch' },
      ],
    ];
    for (const [body, expected] of cases)
      expect(await problemOf('POST', '/v1/transactions', body), JSON.stringify(body)).toMatchObject({
        ...expected,
        outcome: 'not_applied',
      });
    expect([await values('out'), await values('in'), await committed()]).toEqual([[], [], null]);
  });

  it('commits offsets without a member only while the group has none', async () => {
    await ask('POST', '/v1/groups/g/poll', { memberId: 'm', topics: ['in'] });
    const body = { entries: RECORDS, offsets: OFFSETS };
    const refused = { status: 409, code: 'group_not_empty', outcome: 'not_applied' };
    expect(await problemOf('POST', '/v1/transactions', body)).toMatchObject(refused);
    const { body: begun } = await ask<TransactionProducer>('POST', '/v1/transactions/x/begin');
    const { producerId, producerEpoch } = begun;
    const offsets = { producerId, producerEpoch, ...OFFSETS[0] };
    expect(await problemOf('POST', '/v1/transactions/x/offsets', offsets)).toMatchObject(refused);
    expect([await values('in'), await committed()]).toEqual([[], null]);
    await ask('DELETE', '/v1/groups/g/members/m');
    expect((await ask('POST', '/v1/transactions/x/offsets', offsets)).status).toBe(204);
    expect((await ask('POST', '/v1/transactions/x/commit', { producerId, producerEpoch })).status).toBe(200);
    expect(await committed()).toBe(3);
  });

  it('commits offsets of a member under no epoch that it was never given', async () => {
    const { memberEpoch } = (await ask<PollOutput>('POST', '/v1/groups/g/poll', { memberId: 'm', topics: ['in'] }))
      .body;
    const statusUnder = async (epoch: number): Promise<unknown> => {
      const offsets = [{ ...OFFSETS[0], memberId: 'm', memberEpoch: epoch }];
      return (await ask('POST', '/v1/transactions', { offsets })).status;
    };
    expect(await statusUnder(memberEpoch + 1)).toBe(409);
    expect(await committed()).toBeNull();
    expect(await statusUnder(memberEpoch)).toBe(200);
    expect(await committed()).toBe(3);
  });

  it('takes the right to produce on each topic, and to consume on groups and what they read', async () => {
    memory = memoryApp({ clock, http: { access: { mode: 'authenticated', apiKeys: true } } });
    for (const name of ['in', 'out']) await memory.broker.putTopic({ name, partitions: 20 });
    const statusWith = async (scopes: object[]): Promise<number> => {
      const { key } = await memory.broker.createApiKey({ name: 'k', scopes: scopes as [] });
      const body = { entries: RECORDS, offsets: OFFSETS };
      return (await ask('POST', '/v1/transactions', body, { Authorization: `Bearer ${key}` })).status;
    };
    const produce = { actions: ['produce'], topics: ['in', 'out'], groups: [] };
    const consume = { actions: ['consume'], topics: ['in'], groups: ['g'] };
    expect(await statusWith([produce, consume])).toBe(200);
    expect(await statusWith([{ ...produce, topics: ['out'] }, consume])).toBe(403);
    expect(await statusWith([produce, { ...consume, topics: ['out'] }])).toBe(403);
    expect(await statusWith([produce, { ...consume, groups: ['h'] }])).toBe(403);
    const { records } = await memory.broker.readRecords({ topic: 'out', partition: 18, from: { offset: 0 } });
    expect(records).toHaveLength(1);
  });

  it('commits what a poll gave out, and the next poll goes on', async () => {
    await ask('POST', '/v1/topics/in/records', { records: [{ value: 'a' }, { value: 'b' }] });
    const poll = (input: object) =>
      ask<PollOutput>('POST', '/v1/groups/g/poll', { memberId: 'm', maxRecords: 1, ...input });
    const first = (await poll({ topics: ['in'] })).body;
    const transaction = {
      entries: [{ topic: 'out', records: [{ value: 'A' }] }],
      offsets: [{ group: 'g', after: first.token }],
    };
    expect((await ask('POST', '/v1/transactions', transaction)).status).toBe(200);
    expect(await committed()).toBe(1);
    const second = (await poll({ after: first.token })).body;
    expect(second.partitions.flatMap(({ records }) => records.map(({ value }) => value))).toEqual(['b']);
    expect(await committed()).toBe(1);
  });
});

describe('a transaction in several calls', () => {
  const begin = async (id = 'x', query = ''): Promise<TransactionProducer> =>
    (await ask<TransactionProducer>('POST', `/v1/transactions/${id}/begin${query}`)).body;
  const producerOf = ({ producerId, producerEpoch }: TransactionProducer) => ({ producerId, producerEpoch });

  it('is seen once it is committed, with its offsets; and the answer is the producer of the next one', async () => {
    const producer = producerOf(await begin('my id'));
    for (const entries of [RECORDS, RECORDS.slice(1)])
      expect((await ask('POST', '/v1/transactions/my%20id/records', { ...producer, entries })).status).toBe(200);
    const offsets = { ...producer, ...OFFSETS[0] };
    for (let i = 0; i < 2; i++)
      expect((await ask('POST', '/v1/transactions/my%20id/offsets', offsets)).status).toBe(204);
    expect([await values('in'), await committed()]).toEqual([[], null]);
    expect(await values('in', 0, 'read_uncommitted')).toEqual(['c', 'c']);
    const done = await ask<TransactionProducer>('POST', '/v1/transactions/my%20id/commit', producer);
    expect(done.body).toEqual({
      transactionalId: 'my id',
      producerId: producer.producerId,
      producerEpoch: producer.producerEpoch + 1,
    });
    expect(await ask('POST', '/v1/transactions/my%20id/commit', producer)).toEqual(done);
    expect([await values('in'), await committed()]).toEqual([['c', 'c'], 3]);
    // It goes on without beginning again.
    const next = producerOf(done.body);
    await ask('POST', '/v1/transactions/my%20id/records', { ...next, entries: RECORDS });
    expect((await ask('POST', '/v1/transactions/my%20id/abort', next)).status).toBe(200);
    expect(await problemOf('POST', '/v1/transactions/my%20id/commit', next)).toMatchObject({
      code: 'invalid_transaction_state',
      status: 409,
    });
    expect(await values('in')).toEqual(['c', 'c']);
  });

  it('appends records with a sequence once, however often they are sent', async () => {
    const producer = producerOf(await begin());
    const send = (sequence: number, ...values: string[]) => {
      const records = values.map((value) => ({ value, partition: 3 }));
      return ask('POST', '/v1/transactions/x/records', { ...producer, entries: [{ topic: 'out', sequence, records }] });
    };
    const first = await send(0, 'a', 'b');
    expect(await send(0, 'a', 'b')).toEqual(first);
    expect((await send(2, 'c')).status).toBe(200);
    expect(await send(0, 'a', 'b')).toEqual(first);
    expect((await send(4, 'e')).body).toMatchObject({
      code: 'out_of_order_sequence',
      status: 409,
      expectedSequence: 3,
    });
    await ask('POST', '/v1/transactions/x/commit', producer);
    expect(await values('out', 3)).toEqual(['a', 'b', 'c']);
    const entries = [...RECORDS, { topic: 'out', sequence: 0, records: [{ value: 'x' }] }];
    expect(await problemOf('POST', '/v1/transactions/x/records', { ...producer, entries })).toMatchObject({
      code: 'invalid_request',
      field: 'entries[2].sequence',
    });
  });

  it('belongs to the producer that has begun last', async () => {
    const zombie = producerOf(await begin());
    await ask('POST', '/v1/transactions/x/records', { ...zombie, entries: RECORDS });
    const producer = producerOf(await begin());
    for (const path of ['records', 'offsets', 'commit', 'abort']) {
      const body = { ...zombie, ...(path === 'records' ? { entries: RECORDS } : path === 'offsets' ? OFFSETS[0] : {}) };
      const problem = await problemOf('POST', `/v1/transactions/x/${path}`, body);
      expect(problem, path).toMatchObject({ code: 'producer_fenced', status: 409, outcome: 'not_applied' });
    }
    await ask('POST', '/v1/transactions/x/records', { ...producer, entries: RECORDS });
    await ask('POST', '/v1/transactions/x/commit', producer);
    expect([await values('in'), await committed()]).toEqual([['c'], null]);
  });

  it('is aborted after its time by whoever it holds up', async () => {
    const producer = producerOf(await begin('x', '?timeoutMs=1000'));
    await ask('POST', '/v1/transactions/x/records', { ...producer, entries: RECORDS });
    await ask('POST', '/v1/topics/in/records', { records: [{ value: 'behind' }] });
    await clock.advance(6_100);
    await values('in');
    await clock.advance(1_000);
    expect(await values('in')).toEqual(['behind']);
    expect(await problemOf('POST', '/v1/transactions/x/commit', producer)).toMatchObject({ code: 'producer_fenced' });
  });

  it('names what is wrong with a request', async () => {
    const producer = producerOf(await begin());
    const cases: [string, unknown, object][] = [
      ['/v1/transactions/x/begin?timeoutMs=0', undefined, { code: 'invalid_request', field: 'timeoutMs' }],
      [`/v1/transactions/${'x'.repeat(681)}/begin`, undefined, { code: 'invalid_request', field: 'transactionalId' }],
      ['/v1/transactions/none/commit', producer, { code: 'unknown_transactional_id', status: 404 }],
      ['/v1/transactions/x/commit', {}, { code: 'invalid_request', field: 'producerId' }],
      ['/v1/transactions/x/commit', producer, { code: 'invalid_transaction_state' }],
      ['/v1/transactions/x/records', { ...producer, entries: [] }, { code: 'invalid_request', field: 'entries' }],
      ['/v1/transactions/x/records', { ...producer }, { code: 'invalid_request', field: 'entries' }],
      ['/v1/transactions/x/offsets', { ...producer, group: 'g' }, { code: 'invalid_request', field: 'after' }],
    ];
    for (const [path, body, expected] of cases)
      expect(await problemOf('POST', path, body), path).toMatchObject(expected);
  });
});
