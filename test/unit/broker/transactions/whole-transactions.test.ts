import { beforeEach, describe, expect, it } from 'vitest';
import type { Broker } from '../../../../shared/broker/broker.ts';
import type { TransactionRequest } from '../../../../shared/broker/transactions/whole/request.ts';
import { type ErrorCode, EventLogError } from '../../../../shared/log/errors.ts';
import { aroundStores, keyOf } from '../../../../shared/storage/around-stores.ts';
import { dyingStores } from '../../../support/dying-stores.ts';
import { faultyStores } from '../../../support/faulty-stores.ts';
import { happeningBefore } from '../../../support/group-world.ts';
import { bytes, memoryBroker, memoryStores, text } from '../../../support/memory-broker.ts';

/** Transactions that are one call each. */

let stores: ReturnType<typeof memoryStores>;
let a: Broker;
let b: Broker;

beforeEach(async () => {
  stores = memoryStores();
  [a, b] = [memoryBroker(stores), memoryBroker(stores)];
  await a.putTopic({ name: 't', partitions: 40 });
  await a.putTopic({ name: 'other', partitions: 2 });
});

function entry(topic: string, partition: number, ...values: readonly string[]): TransactionRequest['entries'][number] {
  return { topic, records: values.map((value) => ({ key: null, value: bytes(value), headers: [], partition })) };
}

const offsets = (offset: number) => [{ group: 'g', offsets: [{ topic: 't', partition: 0, offset }] }];
/** Of two topics, three heads and a group. */
const REQUEST: TransactionRequest = {
  entries: [entry('t', 0, 'a', 'b'), entry('t', 20, 'c'), entry('other', 1, 'd')],
  offsets: offsets(7),
};

async function values(broker: Broker, topic = 't', partition = 0): Promise<string[]> {
  const { records } = await broker.readRecords({ topic, partition, from: { offset: 0 } });
  return records.map(({ value }) => text(value));
}

async function everything(broker: Broker): Promise<unknown[]> {
  const { items } = await broker.fetchOffsets({ group: 'g', partitions: [{ topic: 't', partition: 0 }] });
  return [await values(broker), await values(broker, 't', 20), await values(broker, 'other', 1), items[0]?.offset];
}

const errorOf = (promise: Promise<unknown>): Promise<EventLogError | undefined> =>
  promise.then(
    () => undefined,
    (error) => error,
  );

const codeOf = async (promise: Promise<unknown>): Promise<ErrorCode | undefined> => (await errorOf(promise))?.code;

describe('a whole transaction', () => {
  it('appends to several topics and heads, commits offsets, and says where its records are', async () => {
    const appended = await a.transact(REQUEST);
    expect(appended.map((records) => records.map(({ partition, offset }) => [partition, offset]))).toEqual([
      [
        [0, 0],
        [0, 1],
      ],
      [[20, 0]],
      [[1, 0]],
    ]);
    expect(await everything(b)).toEqual([['a', 'b'], ['c'], ['d'], 7]);
    expect((await a.listTransactions()).items.map(({ state }) => state)).toEqual(['complete_commit']);
  });

  it('goes on with the transactional id of its process, and needs as many as run at once', async () => {
    for (let i = 0; i < 5; i++) await a.transact({ entries: [entry('t', 0, String(i))] });
    expect((await a.listTransactions()).items).toHaveLength(1);
    await Promise.all([1, 2, 3].map((i) => a.transact({ entries: [entry('t', i, 'x')] })));
    expect((await a.listTransactions()).items).toHaveLength(3);
    expect(await values(a)).toEqual(['0', '1', '2', '3', '4']);
  });

  it('has transactional ids that nobody else can be a producer of', async () => {
    await a.transact(REQUEST);
    await a.transact({ ...REQUEST, idempotencyKey: 'key' });
    const { items } = await a.listTransactions();
    expect(items.map(({ transactionalId }) => transactionalId.replace(/[^.]*$/, ''))).toEqual([
      'tailrace.key.',
      'tailrace.process.',
    ]);
    for (const { transactionalId } of items)
      expect(await errorOf(b.initialiseProducer({ transactionalId, timeoutMs: 1_000 }))).toMatchObject({
        code: 'invalid_request',
        details: { field: 'transactionalId' },
      });
    await b.initialiseProducer({ transactionalId: 'tailrace.keys', timeoutMs: 1_000 });
  });

  it('costs the appends, what gives them the outcome, and four updates', async () => {
    await a.transact(REQUEST);
    const before = new Map(a.usage().map((row) => [`${row.topic}/${row.purpose}`, row.counts.updateItem]));
    await a.transact(REQUEST);
    const updates = a
      .usage()
      .map((row) => row.counts.updateItem - (before.get(`${row.topic}/${row.purpose}`) ?? 0))
      .reduce((sum, count) => sum + count, 0);
    // Three heads and a page: each is written and given the outcome. Heads and page are enlisted apart, then end and finish.
    expect(updates).toBe(2 * 4 + 4);
  });

  it('is refused whole if one record is, names it, and goes on with the next', async () => {
    const bad = { ...REQUEST, entries: [...REQUEST.entries, entry('t', 99, 'x')] };
    const error = await errorOf(a.transact(bad));
    expect(error).toMatchObject({ code: 'unknown_partition', outcome: 'not_applied', details: { entry: 3 } });
    expect(await codeOf(a.transact({ entries: [entry('none', 0, 'x')] }))).toBe('unknown_topic');
    expect(await codeOf(a.transact({ entries: [] }))).toBe('invalid_request');
    expect(await everything(b)).toEqual([[], [], [], null]);
    await a.transact(REQUEST);
    expect(await everything(b)).toEqual([['a', 'b'], ['c'], ['d'], 7]);
    expect((await a.listTransactions()).items).toHaveLength(1);
  });

  it('is not said to be aborted if the reply to its commit was lost, and others fence its id', async () => {
    const losing = aroundStores(stores, (request, send) => async (...args) => {
      const result = await send(...args);
      if (request !== 'updateItem' || !keyOf(args).startsWith('txn#')) return result;
      const [left] = (await b.listTransactions({ states: ['prepare_commit'] })).items;
      if (left === undefined) return result;
      await b.fenceProducer(left.transactionalId);
      throw new EventLogError('storage_unavailable', 'The reply was lost.');
    });
    const slow = memoryBroker({ ...stores, ...losing });
    const error = await stores.clock.run(errorOf(slow.transact({ entries: [entry('t', 0, 'a')] })));
    expect(error).toMatchObject({ code: 'concurrent_transactions', outcome: 'unknown' });
    expect(error?.message).not.toContain('aborted');
    expect(await values(b)).toEqual(['a']);
  });

  it('is refused whole if a member may not commit', async () => {
    const member = { memberId: 'm', memberEpoch: 1 };
    const request = { ...REQUEST, offsets: [{ ...(offsets(7)[0] as { group: string; offsets: [] }), member }] };
    expect(await errorOf(a.transact(request))).toMatchObject({ code: 'fenced_member_epoch', outcome: 'not_applied' });
    expect(await everything(b)).toEqual([[], [], [], null]);
  });

  it('is refused whole if it commits for no member, and the group has one', async () => {
    const poll = { group: 'g', memberId: 'm', subscription: { topics: ['t'] }, maxRecords: 10, waitMs: 0 };
    const join = () => stores.clock.run(b.pollGroup(poll));
    const isPageWrite = (request: string, key: string): boolean => request === 'updateItem' && key === 'offsets#g';
    const racing = memoryBroker(happeningBefore(stores, isPageWrite, join));
    expect(await errorOf(racing.transact(REQUEST))).toMatchObject({ code: 'group_not_empty', outcome: 'not_applied' });
    expect(await codeOf(a.transact(REQUEST))).toBe('group_not_empty');
    expect(await everything(b)).toEqual([[], [], [], null]);
    await b.leaveGroup({ group: 'g', memberId: 'm' });
    await a.transact(REQUEST);
    expect(await everything(b)).toEqual([['a', 'b'], ['c'], ['d'], 7]);
  });

  it('commits what a poll gave out, by its token, for who still owns the partitions', async () => {
    await a.transact({ entries: [entry('t', 0, 'in')] });
    const poll = { group: 'g', memberId: 'm', subscription: { topics: ['t'] }, maxRecords: 10, waitMs: 0 };
    const { token, partitions } = await stores.clock.run(a.pollGroup(poll));
    expect(partitions.map(({ nextOffset }) => nextOffset)).toEqual([2]);
    const request = { entries: [entry('other', 0, 'out')], offsets: [{ group: 'g', after: token }] };
    expect(await codeOf(a.transact({ ...request, mayRead: () => false }))).toBe('access_denied');
    await a.transact(request);
    const { items } = await a.fetchOffsets({ group: 'g', partitions: [{ topic: 't', partition: 0 }] });
    // The marker takes one offset.
    expect(items[0]?.offset).toBe(2);
    // The member has left, and another one has joined: the token commits nothing any more.
    await a.leaveGroup({ group: 'g', memberId: 'm' });
    await stores.clock.run(a.pollGroup({ ...poll, memberId: 'n' }));
    expect(await codeOf(a.transact(request))).toBe('fenced_member_epoch');
    expect(await values(a, 'other', 0)).toEqual(['out']);
  });
});

describe('a poll', () => {
  const subscription = { topics: ['t'] };
  const pollOf = (memberId: string) => ({ group: 'g', memberId, subscription, maxRecords: 10, waitMs: 20_000 });
  const begin = () => a.initialiseProducer({ transactionalId: 'x', timeoutMs: 60_000 });

  it('begins where an open transaction will have committed, once it has ended', async () => {
    await a.transact({ entries: [entry('t', 0, 'first', 'second')] });
    const first = await stores.clock.run(a.pollGroup({ ...pollOf('m'), maxRecords: 1 }));
    for (const outcome of ['committed', 'aborted'] as const) {
      const producer = await begin();
      const pending = { transactionalId: 'x', producer, group: 'g', after: first.token };
      if (outcome === 'committed') expect(await a.commitOffsetsInTransaction(pending)).toEqual([{ ok: true }]);
      // The member joins again, in another process, and gets its partitions back.
      const polling = b.pollGroup(pollOf('m'));
      await stores.clock.advance(5_000);
      if (outcome === 'committed')
        await a.endTransaction({ transactionalId: 'x', producer, outcome, raisesEpoch: true });
      const { partitions } = await stores.clock.run(polling);
      expect(partitions.map(({ partition, offset }) => [partition, offset])).toEqual([[0, 1]]);
    }
  });

  it('fails where it cannot be found out what is pending', async () => {
    await a.transact({ entries: [entry('t', 0, 'first', 'second')] });
    const { token } = await stores.clock.run(a.pollGroup({ ...pollOf('m'), maxRecords: 1 }));
    const transaction = { transactionalId: 'x', producer: await begin() };
    await a.commitOffsetsInTransaction({ ...transaction, group: 'g', after: token });
    const failing = aroundStores(stores, (request, send) => (...args) => {
      if (request !== 'getItem' || !keyOf(args).startsWith('producer-name#')) return send(...args);
      throw new EventLogError('storage_unavailable', 'No answer.');
    });
    const polling = memoryBroker({ ...stores, ...failing }).pollGroup(pollOf('m'));
    expect(await codeOf(stores.clock.run(polling))).toBe('storage_unavailable');
  });

  it('settles what has its outcome', async () => {
    await a.transact({ entries: [entry('t', 0, 'first', 'second')] });
    const { token } = await stores.clock.run(a.pollGroup({ ...pollOf('m'), maxRecords: 1 }));
    const pending = { transactionalId: 'x', producer: await begin(), group: 'g', after: token };
    await a.commitOffsetsInTransaction(pending);
    // The process dies behind the commit point.
    const dying = dyingStores(stores, 2, 'is_sent');
    const end = { ...pending, outcome: 'committed', raisesEpoch: true } as const;
    void memoryBroker(dying.stores)
      .endTransaction(end)
      .catch(() => {});
    await dying.died;
    const { partitions } = await stores.clock.run(b.pollGroup({ ...pollOf('m'), waitMs: 0 }));
    expect(partitions.map(({ offset }) => offset)).toEqual([1]);
  });
});

describe('records in a transaction', () => {
  it('can have sequences after some without, in another process', async () => {
    const producer = await a.initialiseProducer({ transactionalId: 'x', timeoutMs: 60_000 });
    const request = { transactionalId: 'x', producer };
    await a.appendRecordsInTransaction({ ...request, entries: [entry('t', 0, 'a', 'b')] });
    for (let i = 0; i < 2; i++) {
      const numbered = { ...entry('t', 0, 'c'), baseSequence: 0 };
      expect(await b.appendRecordsInTransaction({ ...request, entries: [numbered] })).toMatchObject([[{ offset: 2 }]]);
    }
    await b.endTransaction({ ...request, outcome: 'committed', raisesEpoch: true });
    expect(await values(b)).toEqual(['a', 'b', 'c']);
  });

  it('are there in part if one of several appends fails: then nobody may take it for undone', async () => {
    const failing = memoryBroker(
      faultyStores(stores, ({ method, key }) =>
        method === 'update' && key.startsWith('head#') && key.endsWith('#1') ? { fault: 'throttled' } : undefined,
      ),
    );
    const producer = await a.initialiseProducer({ transactionalId: 'x', timeoutMs: 60_000 });
    const request = { transactionalId: 'x', producer };
    const both = failing.appendRecordsInTransaction({ ...request, entries: [entry('t', 0, 'a'), entry('t', 20, 'b')] });
    expect(await stores.clock.run(errorOf(both))).toMatchObject({ outcome: 'unknown', retry: 'never' });
    const one = failing.appendRecordsInTransaction({ ...request, entries: [entry('t', 20, 'b')] });
    expect(await stores.clock.run(errorOf(one))).toMatchObject({ outcome: 'not_applied', retry: 'as_is' });
  });
});

describe('an idempotency key', () => {
  const keyed = { ...REQUEST, idempotencyKey: 'k' };

  it('gets the same answer from any process for a day, also when the topics are gone', async () => {
    const first = await a.transact(keyed);
    expect(await b.transact(keyed)).toEqual(first);
    await a.deleteTopic('other');
    expect(await b.transact(keyed)).toEqual(first);
    expect(await values(b)).toEqual(['a', 'b']);
    await stores.clock.advance(86_400_000);
    expect(await codeOf(b.transact(keyed))).toBe('unknown_topic');
    await a.transact({ entries: [entry('t', 0, 'new')], idempotencyKey: 'k' });
    expect(await values(b)).toEqual(['a', 'b', 'new']);
  });

  it('cannot be used for other content', async () => {
    await a.transact(keyed);
    const others: TransactionRequest[] = [
      { ...keyed, entries: [entry('t', 0, 'a', 'x'), ...REQUEST.entries.slice(1)] },
      { ...keyed, entries: [entry('t', 1, 'a', 'b'), ...REQUEST.entries.slice(1)] },
      { ...keyed, entries: REQUEST.entries.slice(1) },
      { ...keyed, offsets: offsets(8) },
      { ...keyed, offsets: undefined },
    ];
    for (const other of others) expect(await codeOf(b.transact(other))).toBe('idempotency_key_reused');
    expect(await codeOf(b.transact({ ...keyed, idempotencyKey: '' }))).toBe('invalid_request');
    expect(await everything(b)).toEqual([['a', 'b'], ['c'], ['d'], 7]);
  });

  it('is free again after a refusal', async () => {
    expect(await codeOf(a.transact({ ...keyed, entries: [entry('none', 0, 'x')] }))).toBe('unknown_topic');
    await b.transact(keyed);
    expect(await everything(a)).toEqual([['a', 'b'], ['c'], ['d'], 7]);
  });

  it('of two requests at once commits one', async () => {
    const settled = await Promise.allSettled([a.transact(keyed), b.transact(keyed)]);
    for (const each of settled)
      if (each.status === 'rejected')
        expect(each.reason).toMatchObject({ code: 'concurrent_transactions', retry: 'as_is' });
    const answer = await a.transact(keyed);
    for (const each of settled) if (each.status === 'fulfilled') expect(each.value).toEqual(answer);
    expect(await everything(b)).toEqual([['a', 'b'], ['c'], ['d'], 7]);
  });

  it('commits once wherever the first process dies', async () => {
    for (const lastOne of ['is_sent', 'is_not_sent'] as const) {
      for (let requestsMax = 0; ; requestsMax++) {
        stores = memoryStores();
        await memoryBroker(stores).putTopic({ name: 't', partitions: 40 });
        await memoryBroker(stores).putTopic({ name: 'other', partitions: 2 });
        const dying = dyingStores(stores, requestsMax, lastOne);
        const settling = memoryBroker(dying.stores).transact(keyed);
        const first = await Promise.race([settling, dying.died]);
        const after = memoryBroker(stores);
        const answer = await after.transact(keyed);
        const where = `request ${requestsMax} ${lastOne}`;
        expect(await everything(after), where).toEqual([['a', 'b'], ['c'], ['d'], 7]);
        if (first === 'died') continue;
        expect(answer).toEqual(first);
        expect(requestsMax).toBeGreaterThan(15);
        break;
      }
    }
  });

  it('keeps an answer of 10,000 records in any order', async () => {
    const records = Array.from({ length: 10_000 }, (_, i) => ({
      key: null,
      value: bytes('v'),
      headers: [],
      partition: (i * 7) % 40,
      timestampMs: stores.clock.nowMs() - (i % 13) * 1_000,
    }));
    const request = { entries: [{ topic: 't', records }], idempotencyKey: 'large' };
    const first = await a.transact(request);
    expect(first[0]).toHaveLength(10_000);
    expect(await b.transact(request)).toEqual(first);
  });
});
