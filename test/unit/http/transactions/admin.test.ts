import { beforeEach, describe, expect, it } from 'vitest';
import type { Problem } from '../../../../shared/http/contract.ts';
import type { TransactionOutput, TransactionPage } from '../../../../shared/http/transactions/admin-contract.ts';
import type { Scope } from '../../../../shared/log/scopes.ts';
import type { ProducerName } from '../../../../shared/log/transaction/transaction.ts';
import { beginTransaction, end, writeIn } from '../../../support/begin-transaction.ts';
import { HttpContract } from '../../../support/http-contract.ts';
import { type MemoryApp, memoryApp } from '../../../support/memory-app.ts';
import { codeOf } from '../../../support/memory-broker.ts';
import { SimulatedClock } from '../../../support/simulated-clock.ts';

/** What operators see of transactions over HTTP, and do about them. */

let memory: MemoryApp;
let clock: SimulatedClock;
let contract: HttpContract;
let startMs: number;
/** By transactional id. */
let producers: Map<string, ProducerName>;

/** `done` has ended its transaction; `late` was opened a minute before `new`, over two heads and with offsets. */
beforeEach(async () => {
  clock = new SimulatedClock();
  startMs = clock.nowMs();
  memory = memoryApp({ clock, http: { access: { mode: 'authenticated', apiKeys: true } } });
  const { broker } = memory;
  contract = new HttpContract(await (await memory.call('GET', '/openapi.json')).json());
  await broker.putTopic({ name: 't', partitions: 20 });
  await broker.putTopic({ name: 'secret', partitions: 1 });
  const late = await beginTransaction(broker, 'late', { partitions: [0, 19], timeoutMs: 900_000 });
  await writeIn(broker, 'late', late, { topic: 'secret' });
  for (const group of ['g', 'hidden'])
    await broker.commitOffsetsInTransaction({
      ...{ transactionalId: 'late', producer: late, group, enlists: true },
      offsets: [{ topic: 't', partition: 0, offset: 0 }],
    });
  await clock.advance(60_000);
  const done = await beginTransaction(broker, 'done');
  const next = await end(broker, 'done', done);
  producers = new Map([
    ['late', late],
    ['done', next],
    ['new', await beginTransaction(broker, 'new')],
  ]);
});

const ALL: Scope = { actions: ['admin'], topics: ['*'], groups: ['*'], transactionalIds: ['*'] };

async function ask<Output>(method: string, path: string, scope: Scope = ALL): Promise<[number, Output]> {
  const { key } = await memory.broker.createApiKey({ name: 'test', scopes: [scope] });
  const answer = await memory.call(method, path, { headers: { Authorization: `Bearer ${key}` } });
  const body = await answer.text();
  const contentType = answer.headers.get('content-type');
  expect(contract.fault(method, path, { status: answer.status, contentType, body })).toBeUndefined();
  return [answer.status, (body === '' ? undefined : JSON.parse(body)) as Output];
}

async function ids(query: string, scope: Scope = ALL): Promise<string> {
  const [status, { items }] = await ask<TransactionPage>('GET', `/v1/transactions${query}`, scope);
  expect(status).toBe(200);
  return items.map(({ transactionalId }) => transactionalId).join(' ');
}

describe('GET /v1/transactions', () => {
  it('lists transactional ids with the state of their transactions', async () => {
    const [, page] = await ask<TransactionPage>('GET', '/v1/transactions');
    const listed = (transactionalId: string) => ({ transactionalId, ...producers.get(transactionalId) });
    expect(page).toEqual({
      items: [
        { ...listed('done'), state: 'complete_commit', openSinceMs: null, partitions: 0 },
        { ...listed('late'), state: 'ongoing', openSinceMs: startMs, partitions: 21 },
        { ...listed('new'), state: 'ongoing', openSinceMs: startMs + 60_000, partitions: 16 },
      ],
    });
  });

  it('comes in pages', async () => {
    const [, first] = await ask<TransactionPage>('GET', '/v1/transactions?limit=2');
    expect(first.items.map(({ transactionalId }) => transactionalId)).toEqual(['done', 'late']);
    expect(await ids(`?limit=2&pageToken=${first.nextPageToken}`)).toBe('new');
    const [, open] = await ask<TransactionPage>('GET', '/v1/transactions?limit=1&state=ongoing');
    expect(open.items.map(({ transactionalId }) => transactionalId)).toEqual(['late']);
    expect(await ids(`?limit=1&state=ongoing&pageToken=${open.nextPageToken}`)).toBe('new');
  });

  it('lists only those that the credential has any right on', async () => {
    const scope: Scope = { actions: ['produce'], topics: ['*'], groups: ['*'], transactionalIds: ['d*', 'new'] };
    expect(await ids('', scope)).toBe('done new');
    const [, first] = await ask<TransactionPage>('GET', '/v1/transactions?limit=1', scope);
    expect(await ids(`?limit=1&pageToken=${first.nextPageToken}`, scope)).toBe('new');
  });

  it('lists those that meet all filters', async () => {
    expect(await ids('?state=ongoing')).toBe('late new');
    expect(await ids('?state=complete_commit')).toBe('done');
    expect(await ids('?state=empty')).toBe('');
    expect(await ids(`?producerId=${producers.get('new')?.producerId}`)).toBe('new');
    expect(await ids('?openLongerThanMs=59999')).toBe('late');
    expect(await ids('?openLongerThanMs=60000')).toBe('');
    expect(await ids('?openLongerThanMs=59999&state=complete_commit')).toBe('');
    for (const [query, field] of [
      ['?state=Ongoing', 'state'],
      ['?openLongerThanMs=-1', 'openLongerThanMs'],
      ['?producerId=x', 'producerId'],
      ['?limit=0', 'limit'],
      ['?topic=t', 'topic'],
    ])
      expect(await ask<Problem>('GET', `/v1/transactions${query}`)).toMatchObject([400, { field }]);
  });
});

describe('GET /v1/transactions/{transactionalId}', () => {
  const sixteen = Array.from({ length: 16 }, (_, i) => i);

  it('tells what a transaction may have touched', async () => {
    expect(await ask<TransactionOutput>('GET', '/v1/transactions/late')).toEqual([
      200,
      {
        ...{ transactionalId: 'late', ...producers.get('late'), state: 'ongoing', openSinceMs: startMs },
        ...{ partitions: 21, timeoutMs: 900_000, groups: ['g', 'hidden'] },
        topics: [
          { topic: 't', partitions: [...sixteen, 16, 17, 18, 19] },
          { topic: 'secret', partitions: [0] },
        ],
      },
    ]);
    expect(await ask('GET', '/v1/transactions/done')).toMatchObject([200, { topics: [], groups: [] }]);
  });

  it('takes any id, percent-encoded', async () => {
    const transactionalId = 'a/b ü%';
    await memory.broker.initialiseProducer({ transactionalId, timeoutMs: 60_000 });
    const path = `/v1/transactions/${encodeURIComponent(transactionalId)}`;
    expect(await ask('GET', path)).toMatchObject([200, { transactionalId, state: 'empty' }]);
    expect(await ask('GET', '/v1/transactions/absent')).toMatchObject([404, { code: 'unknown_transactional_id' }]);
    expect(await ask('GET', `/v1/transactions/${'x'.repeat(681)}`)).toMatchObject([400, { field: 'transactionalId' }]);
  });

  it('names only topics and groups that the credential has a right on', async () => {
    const scope: Scope = { actions: ['consume'], topics: ['t'], groups: ['g'], transactionalIds: ['late'] };
    const [, output] = await ask<TransactionOutput>('GET', '/v1/transactions/late', scope);
    expect([output.topics.map(({ topic }) => topic), output.groups, output.partitions]).toEqual([['t'], ['g'], 21]);
  });
});

describe('DELETE /v1/transactions/{transactionalId}', () => {
  it('aborts what is open, and fences the producer', async () => {
    const { broker } = memory;
    expect(await ask('DELETE', '/v1/transactions/new')).toEqual([204, undefined]);
    expect(await ids('?state=ongoing')).toBe('late');
    const read = await broker.readRecords({
      topic: 't',
      partition: 0,
      from: { offset: 0 },
      isolation: 'read_committed',
    });
    // The one behind `late` waits for it still.
    expect(read.nextOffset).toBe(0);
    expect(await ask('DELETE', '/v1/transactions/late')).toEqual([204, undefined]);
    const { records } = await broker.readRecords({ topic: 't', partition: 0, from: { offset: 0 } });
    expect(records.length).toBe(1);
    for (const id of ['new', 'late'])
      expect(await codeOf(end(broker, id, producers.get(id) as ProducerName))).toBe('producer_fenced');
  });

  it('fences a producer that has nothing open, each time', async () => {
    const { broker } = memory;
    for (let i = 0; i < 2; i++) expect(await ask('DELETE', '/v1/transactions/done')).toEqual([204, undefined]);
    const producer = producers.get('done') as ProducerName;
    expect(await codeOf(writeIn(broker, 'done', producer))).toBe('producer_fenced');
    const next = await broker.initialiseProducer({ transactionalId: 'done', timeoutMs: 60_000 });
    expect(next).toEqual({ ...producer, producerEpoch: producer.producerEpoch + 3 });
    expect(await ask('DELETE', '/v1/transactions/absent')).toMatchObject([404, { code: 'unknown_transactional_id' }]);
  });

  it('takes the right to administer the transactional id', async () => {
    for (const scope of [
      { actions: ['admin'], topics: ['*'], groups: ['*'], transactionalIds: ['late'] },
      { actions: ['produce', 'consume'], topics: ['*'], groups: ['*'], transactionalIds: ['new'] },
    ] as const)
      expect(await ask('DELETE', '/v1/transactions/new', scope)).toMatchObject([403, { code: 'access_denied' }]);
    expect(await ids('?state=ongoing')).toBe('late new');
  });
});
