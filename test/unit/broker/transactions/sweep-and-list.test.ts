import { describe, expect, it } from 'vitest';
import { describeTransaction, listTransactions } from '../../../../shared/broker/transactions/admin/list.ts';
import { endTransaction } from '../../../../shared/broker/transactions/end.ts';
import { enlist } from '../../../../shared/broker/transactions/enlist.ts';
import { initialiseProducer } from '../../../../shared/broker/transactions/initialise.ts';
import { sweepTransactions } from '../../../../shared/broker/transactions/sweep-transactions.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import type { ProducerName } from '../../../../shared/log/transaction/transaction.ts';
import type { MemoryItemStore } from '../../../../shared/storage/memory/item-store.ts';
import { transactionKey, transactionListingKey } from '../../../../shared/storage/transaction-keys.ts';
import { dyingStores } from '../../../support/dying-stores.ts';
import { happeningBefore } from '../../../support/group-world.ts';
import { codeOf, memoryStores } from '../../../support/memory-broker.ts';
import { head, storedNow, type TransactionProcess, transactionProcess } from '../../../support/transaction-world.ts';

const DAY_MS = 86_400_000;
const initialise = ({ context, completing }: TransactionProcess, transactionalId: string) =>
  initialiseProducer(context, completing, { transactionalId, timeoutMs: 60_000 });
const open = ({ context }: TransactionProcess, transactionalId: string, producer: ProducerName) =>
  enlist(context, { transactionalId, producer, participants: { heads: [head(0)] } });
const end = (
  { context, completing }: TransactionProcess,
  transactionalId: string,
  producer: ProducerName,
  outcome: 'committed' | 'aborted',
) => endTransaction(context, completing, { transactionalId, producer, outcome, raisesEpoch: true });
const sweep = ({ context, completing }: TransactionProcess) => sweepTransactions(context, completing);

/** The items that a transactional id has now, and that the store would not remove by itself. */
async function left(items: MemoryItemStore, transactionalId: string, ...producerIds: number[]): Promise<string[]> {
  const keys = [
    transactionKey(transactionalId),
    transactionListingKey(transactionalId),
    ...producerIds.map((id) => ({ pk: `producer-name#${id}`, sk: '-' })),
  ];
  const found = await Promise.all(keys.map((key) => items.get(key)));
  return keys.flatMap(({ pk }, i) => {
    const attributes = found[i]?.attributes;
    if (attributes === undefined) return [];
    return attributes.e === undefined ? [pk] : [`${pk} expires`];
  });
}

describe('the sweep', () => {
  it('deletes what nobody used for a week, and leaves nothing that grows', async () => {
    const stores = memoryStores();
    const process = transactionProcess(stores);
    for (let i = 0; i < 600; i++) {
      const producer = await initialise(process, `id-${i}`);
      await open(process, `id-${i}`, producer);
      if (i % 2 === 0) await end(process, `id-${i}`, producer, 'committed');
    }
    expect(await sweep(process)).toMatchObject({
      transactionalIdsDeleted: 0,
      transactionsEnded: 0,
      transactionsOpen: 300,
    });
    await stores.clock.advance(DAY_MS);
    expect(await sweep(process)).toMatchObject({ transactionalIdsDeleted: 0, transactionsEnded: 300, complete: true });
    await stores.clock.advance(6.5 * DAY_MS);
    expect(await sweep(process)).toMatchObject({ transactionalIdsDeleted: 300, transactionsEnded: 0 });
    await stores.clock.advance(DAY_MS);
    expect(await sweep(process)).toMatchObject({ transactionalIdsDeleted: 300, blocked: 0, complete: true });
    for (const i of [0, 1, 599]) expect(await left(stores.items, `id-${i}`, i)).toEqual([`txn#id-${i} expires`]);
    expect((await listTransactions(process.context)).items).toEqual([]);
    await stores.clock.advance(8 * DAY_MS);
    await stores.items.removeExpired(stores.clock.nowMs(), 1_000);
    for (const i of [0, 1, 599]) expect(await left(stores.items, `id-${i}`, i)).toEqual([]);
  });

  it('keeps what is in use, and never lets an open transaction expire', async () => {
    const stores = memoryStores();
    const process = transactionProcess(stores);
    const producer = await initialise(process, 'used');
    await open(process, 'used', producer);
    expect(await left(stores.items, 'used', 0)).toEqual(['txn#used', 'transactions', 'producer-name#0']);
    await stores.clock.advance(20 * DAY_MS);
    await stores.items.removeExpired(stores.clock.nowMs(), 1_000);
    const next = await end(process, 'used', producer, 'committed');
    await sweep(process);
    expect(await left(stores.items, 'used', 0)).toEqual(['txn#used', 'transactions', 'producer-name#0']);
    await open(process, 'used', next);
    await stores.clock.advance(70_000);
    await sweep(process);
    expect(process.completing.marked.map(({ marker }) => marker.outcome)).toEqual(['committed', 'aborted']);
  });

  it('completes what has its outcome', async () => {
    const stores = memoryStores();
    const [a, b] = [transactionProcess(stores), transactionProcess(stores)];
    const producer = await initialise(a, 'left');
    await open(a, 'left', producer);
    a.completing.before = () => Promise.reject(new Error('It dies.'));
    await end(a, 'left', producer, 'committed').catch(() => {});
    expect(await sweep(b)).toMatchObject({ transactionsEnded: 1 });
    expect(b.completing.marked.length).toBe(1);
  });

  it('shuts out the producers of an id that it deletes, whatever they remember', async () => {
    const stores = memoryStores();
    const [a, b] = [transactionProcess(stores), transactionProcess(stores)];
    const producer = await initialise(a, 'old');
    await stores.clock.advance(8 * DAY_MS);
    const racing = transactionProcess(
      happeningBefore(
        stores,
        (request, key) => request === 'updateItem' && key === 'txn#old',
        () => sweep(b),
      ),
    );
    expect(await codeOf(open(racing, 'old', producer))).toBe('unknown_transactional_id');
    expect(await codeOf(end(a, 'old', producer, 'aborted'))).toBe('unknown_transactional_id');
    expect(await codeOf(describeTransaction(a.context, 'old'))).toBe('unknown_transactional_id');
    expect(await initialise(a, 'old')).toEqual({ producerId: 1, producerEpoch: 0 });
    expect(await left(stores.items, 'old', 0, 1)).toEqual(['txn#old', 'transactions', 'producer-name#1']);
    expect((await storedNow(stores.items, 'old'))?.number).toBe(3);
  });

  it('does not delete what a transaction or an initialisation has begun to use meanwhile', async () => {
    const stores = memoryStores();
    const [a, b] = [transactionProcess(stores), transactionProcess(stores)];
    for (const use of [(producer: ProducerName) => open(b, 'used', producer), () => initialise(b, 'used')]) {
      const producer = await initialise(a, 'used');
      await stores.clock.advance(8 * DAY_MS);
      let requests = 0;
      const racing = transactionProcess(
        happeningBefore(
          stores,
          // Whatever comes after the first look at it.
          (_request, key) => key === 'txn#used' && ++requests > 1,
          () => use(producer),
        ),
      );
      expect(await sweep(racing)).toMatchObject({ transactionalIdsDeleted: 0, blocked: 0 });
      expect(await left(stores.items, 'used', 0)).toEqual(['txn#used', 'transactions', 'producer-name#0']);
    }
  });

  it('does not delete the listing of an id that is initialised while it is deleted', async () => {
    const stores = memoryStores();
    const [a, b] = [transactionProcess(stores), transactionProcess(stores)];
    await initialise(a, 'old');
    await stores.clock.advance(8 * DAY_MS);
    const racing = transactionProcess(
      happeningBefore(
        stores,
        (request, key) => request === 'deleteItem' && key === 'transactions',
        () => initialise(b, 'old'),
      ),
    );
    expect(await sweep(racing)).toMatchObject({ transactionalIdsDeleted: 0, blocked: 0 });
    expect(await left(stores.items, 'old', 0, 1)).toEqual(['txn#old', 'transactions', 'producer-name#1']);
  });

  it('can die anywhere, beside an initialisation that goes on with the id', async () => {
    for (let requestsMax = 0; requestsMax < 8; requestsMax++) {
      for (const lastOne of ['is_sent', 'is_not_sent'] as const) {
        for (const isInitialised of [false, true]) {
          const stores = memoryStores();
          const a = transactionProcess(stores);
          await initialise(a, 'old');
          await stores.clock.advance(8 * DAY_MS);
          const dying = dyingStores(stores, requestsMax, lastOne);
          await Promise.race([sweep(transactionProcess(dying.stores)), dying.died]);
          if (isInitialised) {
            const { producerId } = await initialise(a, 'old');
            await sweep(a);
            expect(await left(stores.items, 'old', producerId)).toEqual([
              'txn#old',
              'transactions',
              `producer-name#${producerId}`,
            ]);
          }
          await stores.clock.advance(8 * DAY_MS);
          await sweep(a);
          await stores.clock.advance(8 * DAY_MS);
          await sweep(a);
          expect((await left(stores.items, 'old', 0, 1)).filter((item) => !item.endsWith('expires'))).toEqual([]);
        }
      }
    }
  });

  it('deletes what an initialisation has left that died, unless it can still go on', async () => {
    for (let requestsMax = 1; requestsMax < 6; requestsMax++) {
      const stores = memoryStores();
      const a = transactionProcess(stores);
      const dying = dyingStores(stores, requestsMax);
      await Promise.race([initialise(transactionProcess(dying.stores), 'new'), dying.died]);
      await stores.clock.advance(6 * DAY_MS);
      await sweep(a);
      const isListed = requestsMax > 3;
      expect((await left(stores.items, 'new')).includes('transactions')).toBe(isListed);
      await stores.clock.advance(2 * DAY_MS);
      expect(await sweep(a)).toMatchObject({ transactionalIdsDeleted: isListed ? 1 : 0 });
      expect(await left(stores.items, 'new', 0)).toEqual(isListed ? ['txn#new expires'] : []);
    }
  });

  it('makes an initialisation start again that slept for a week between its requests', async () => {
    const stores = memoryStores();
    const b = transactionProcess(stores);
    const slow = transactionProcess(
      happeningBefore(
        stores,
        (request, key) => request === 'updateItem' && key === 'txn#new',
        async () => {
          await stores.clock.advance(8 * DAY_MS);
          expect(await sweep(b)).toMatchObject({ transactionalIdsDeleted: 1 });
        },
      ),
    );
    expect(await initialise(slow, 'new')).toEqual({ producerId: 1, producerEpoch: 0 });
    expect(await left(stores.items, 'new', 0, 1)).toEqual(['txn#new', 'transactions', 'producer-name#1']);
  });

  it('does not take the listing from an initialisation that it meets half-way', async () => {
    const stores = memoryStores();
    const [a, b] = [transactionProcess(stores), transactionProcess(stores)];
    await initialise(a, 'old');
    await stores.clock.advance(8 * DAY_MS);
    await sweep(b);
    // Listed again under producer id 1, but its item is not replaced yet.
    const slow = transactionProcess(
      happeningBefore(
        stores,
        (request, key) => request === 'updateItem' && key === 'txn#old',
        async () => expect(await sweep(b)).toMatchObject({ transactionalIdsDeleted: 0 }),
      ),
    );
    expect(await initialise(slow, 'old')).toEqual({ producerId: 1, producerEpoch: 0 });
    expect(await left(stores.items, 'old', 1)).toEqual(['txn#old', 'transactions', 'producer-name#1']);
  });
});

describe('what a sweep tells', () => {
  const MINUTE_MS = 60_000;

  it('is how many ids are in use, and which transactions it has left open', async () => {
    const stores = memoryStores();
    const process = transactionProcess(stores);
    expect(await sweep(process)).toMatchObject({ transactionalIds: 0, transactionsOpen: 0, oldestTransactionMs: 0 });
    await initialise(process, 'unused');
    await stores.clock.advance(7 * DAY_MS - 3_000);
    await initialise(process, 'idle');
    await open(process, 'first', await initialise(process, 'first'));
    await stores.clock.advance(2_000);
    await open(process, 'second', await initialise(process, 'second'));
    expect(await sweep(process)).toMatchObject({
      ...{ transactionalIds: 4, transactionsOpen: 2, transactionsLate: 0, oldestTransactionMs: 2_000 },
    });
    // Whoever initialises it has died before the item was made.
    await stores.items.put(transactionListingKey('listed'), { p: 99, w: stores.clock.nowMs() });
    // `unused` is deleted, the others are ended.
    await stores.clock.advance(70_000);
    expect(await sweep(process)).toMatchObject({
      ...{
        transactionalIds: 3,
        transactionsEnded: 2,
        transactionsOpen: 0,
        transactionsLate: 0,
        oldestTransactionMs: 0,
      },
    });
  });

  it('has the transaction that it could not end, and calls it late after 20 minutes', async () => {
    const stores = memoryStores();
    const process = transactionProcess(stores);
    await open(process, 'stuck', await initialise(process, 'stuck'));
    process.completing.before = () =>
      Promise.reject(new EventLogError('storage_unavailable', 'The head cannot be marked.'));
    await stores.clock.advance(20 * MINUTE_MS);
    const left = { transactionalIds: 1, transactionsEnded: 0, transactionsOpen: 1, blocked: 1 };
    expect(await sweep(process)).toMatchObject({ ...left, transactionsLate: 0, oldestTransactionMs: 20 * MINUTE_MS });
    await stores.clock.advance(1);
    expect(await sweep(process)).toMatchObject({
      ...left,
      transactionsLate: 1,
      oldestTransactionMs: 20 * MINUTE_MS + 1,
    });
  });
});

describe('listing and describing', () => {
  it('tells states and producers, page by page and by filters', async () => {
    const stores = memoryStores();
    const process = transactionProcess(stores);
    const producers = new Map<string, ProducerName>();
    for (const id of ['a', 'b', 'c', 'd', 'e']) producers.set(id, await initialise(process, id));
    const of = (id: string) => producers.get(id) as ProducerName;
    for (const id of ['b', 'c', 'd', 'e']) await open(process, id, of(id));
    await end(process, 'c', of('c'), 'committed');
    await end(process, 'd', of('d'), 'aborted');
    process.completing.before = () => Promise.reject(new Error('It dies.'));
    await end(process, 'e', of('e'), 'aborted').catch(() => {});
    await stores.clock.advance(10_000);

    const listed = (transactionalId: string, state: string, isOpen = false) => ({
      transactionalId,
      producer: { producerId: of(transactionalId).producerId, producerEpoch: expect.any(Number) },
      state,
      timeoutMs: 60_000,
      startedAtMs: isOpen ? stores.clock.nowMs() - 10_000 : undefined,
      participants: { heads: isOpen ? [head(0)] : [], pages: [], groups: [] },
    });
    const all = [
      listed('a', 'empty'),
      listed('b', 'ongoing', true),
      listed('c', 'complete_commit'),
      listed('d', 'complete_abort'),
      listed('e', 'prepare_abort', true),
    ];
    const { context } = process;
    expect(await listTransactions(context)).toEqual({ items: all });
    const first = await listTransactions(context, { limit: 2 });
    expect(first.items).toEqual(all.slice(0, 2));
    const second = await listTransactions(context, { limit: 2, pageToken: first.nextPageToken });
    expect(second.items).toEqual(all.slice(2, 4));
    expect(await listTransactions(context, { limit: 2, pageToken: second.nextPageToken })).toEqual({
      items: all.slice(4),
    });

    const ids = async (filter: Parameters<typeof listTransactions>[1]) =>
      (await listTransactions(context, filter)).items.map(({ transactionalId }) => transactionalId).join('');
    expect(await ids({ states: ['ongoing', 'complete_abort'] })).toBe('bd');
    expect(await ids({ states: [] })).toBe('');
    expect(await ids({ producerIds: [2, 4, 99] })).toBe('ce');
    expect(await ids({ openLongerThanMs: 9_999 })).toBe('be');
    expect(await ids({ openLongerThanMs: 10_000 })).toBe('');
    const visible = await listTransactions(context, { limit: 1, visible: (id) => 'be'.includes(id) });
    expect(visible.items).toEqual([all[1]]);
    expect(await ids({ visible: (id) => 'be'.includes(id), pageToken: visible.nextPageToken })).toBe('e');

    expect(await describeTransaction(context, 'b')).toEqual({
      transactionalId: 'b',
      producer: { producerId: 1, producerEpoch: 0 },
      state: 'ongoing',
      timeoutMs: 60_000,
      startedAtMs: stores.clock.nowMs() - 10_000,
      participants: { heads: [head(0)], pages: [], groups: [] },
    });
    expect((await describeTransaction(context, 'c')).startedAtMs).toBeUndefined();
    expect(await codeOf(describeTransaction(context, 'z'))).toBe('unknown_transactional_id');
    expect(await codeOf(describeTransaction(context, ''))).toBe('invalid_request');
  });
});
