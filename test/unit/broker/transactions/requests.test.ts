import { expect, it } from 'vitest';
import { bindTransaction } from '../../../../shared/broker/transactions/append/bind.ts';
import { endTransaction } from '../../../../shared/broker/transactions/end.ts';
import { enlist } from '../../../../shared/broker/transactions/enlist.ts';
import { initialiseProducer } from '../../../../shared/broker/transactions/initialise.ts';
import { endOverdue } from '../../../../shared/broker/transactions/overdue.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { TRANSACTIONAL_ID_BYTES_MAX } from '../../../../shared/log/limits.ts';
import { NO_PARTICIPANTS, type ProducerName } from '../../../../shared/log/transaction/transaction.ts';
import { aroundStores } from '../../../../shared/storage/around-stores.ts';
import type { ItemStore } from '../../../../shared/storage/ports.ts';
import { TRANSACTION, transactionKey } from '../../../../shared/storage/transaction-keys.ts';
import { dyingStores } from '../../../support/dying-stores.ts';
import { happeningBefore, losingReply } from '../../../support/group-world.ts';
import { codeOf, type MemoryStores, memoryStores } from '../../../support/memory-broker.ts';
import {
  head,
  page,
  storedNow,
  type TransactionProcess,
  transactionProcess,
} from '../../../support/transaction-world.ts';

const TIMEOUT_MS = 60_000;
const ID = { transactionalId: 'sums' };
const LOST = new EventLogError('storage_unavailable', 'The reply was lost.');

const initialise = ({ context, completing }: TransactionProcess, producer?: ProducerName) =>
  initialiseProducer(context, completing, { ...ID, timeoutMs: TIMEOUT_MS, producer });
const bind = ({ context }: TransactionProcess, producer: ProducerName, ...heads: number[]) =>
  bindTransaction(context, { ...ID, producer, heads: heads.map((each) => head(each)), enlists: true });
const end = (
  { context, completing }: TransactionProcess,
  producer: ProducerName,
  outcome: 'committed' | 'aborted' = 'committed',
  raisesEpoch = true,
) => endTransaction(context, completing, { ...ID, producer, outcome, raisesEpoch });

/** The number of the first transaction, and what was marked in which order. */
const marks = ({ completing }: TransactionProcess): string[] =>
  completing.marked.map(({ head: { headNumber }, marker }) => `${headNumber} ${marker.transaction} ${marker.outcome}`);

function twoProcesses(stores: MemoryStores = memoryStores()) {
  return { stores, a: transactionProcess(stores), b: transactionProcess(stores) };
}

const isUpdate = (request: string, key: string): boolean => request === 'updateItem' && key.startsWith('txn#');

/** A process that has looked at the transaction, and updates it after `what` has happened. */
function slowToUpdate(stores: MemoryStores, what: () => Promise<void>): TransactionProcess {
  return transactionProcess(happeningBefore(stores, isUpdate, what));
}

it('refuses ids and timeouts that it cannot keep', async () => {
  const { a } = twoProcesses();
  const longest = 'é'.repeat(TRANSACTIONAL_ID_BYTES_MAX / 2);
  const ask = (transactionalId: string, timeoutMs: number) =>
    codeOf(initialiseProducer(a.context, a.completing, { transactionalId, timeoutMs }));
  expect(await ask(longest, 900_000)).toMatchObject({ producerEpoch: 0 });
  for (const [id, timeoutMs] of [
    ['', 1],
    [`${longest}x`, 1],
    ['\ud800', 1],
    ['sums', 0],
    ['sums', 900_001],
    ['sums', 1.5],
  ] as const)
    expect(await ask(id, timeoutMs)).toBe('invalid_request');
});

it('marks with the epoch of the commit point, and gives it to the producer with the answer', async () => {
  const { stores, a } = twoProcesses();
  const producer = await initialise(a);
  await bind(a, producer, 0, 1);
  await enlist(a.context, { ...ID, producer, participants: { pages: [page(3)] } });
  expect(await end(a, producer)).toEqual({ producerId: 0, producerEpoch: 1 });
  expect(a.completing.marked[0]?.marker).toEqual({
    producerId: 0,
    producerEpoch: 1,
    transaction: 1,
    outcome: 'committed',
  });
  expect(a.completing.settled[0]).toEqual({
    page: page(3),
    settlement: { producerId: 0, number: 1, outcome: 'committed' },
  });
  expect(await storedNow(stores.items, 'sums')).toMatchObject({
    phase: 'empty',
    number: 2,
    participants: NO_PARTICIPANTS,
  });
});

it('keeps its epoch over transactions of transaction.version 1, whose heads must have been added', async () => {
  const { a, b } = twoProcesses();
  const producer = await initialise(a);
  const bound = (process: TransactionProcess, headNumber: number, isFresh = false) =>
    codeOf(bindTransaction(process.context, { ...ID, producer, heads: [head(headNumber)], enlists: false, isFresh }));
  expect(await bound(a, 0)).toBe('invalid_transaction_state');
  await enlist(b.context, { ...ID, producer, participants: { heads: [head(0)] } });
  b.requests();
  expect(await bound(b, 0)).toEqual({ number: 1, isRemembered: true });
  expect(b.requests()).toEqual([]);
  a.requests();
  expect(await bound(a, 0)).toEqual({ number: 1, isRemembered: false });
  expect(await bound(a, 0)).toEqual({ number: 1, isRemembered: true });
  expect(a.requests()).toEqual(['getItem txn']);
  expect(await bound(a, 1)).toBe('invalid_transaction_state');

  expect(await end(b, producer, 'committed', false)).toEqual(producer);
  expect(await end(a, producer, 'committed', false)).toEqual(producer);
  expect(await codeOf(end(a, producer, 'aborted', false))).toBe('invalid_transaction_state');
  await enlist(b.context, { ...ID, producer, participants: { heads: [head(0)] } });
  // What the other process remembers is old, and a head would reject the batch. The second look finds the next transaction.
  await bound(a, 0);
  expect(await bound(a, 0, true)).toEqual({ number: 2, isRemembered: false });
});

it('does not trust for long what it remembers', async () => {
  const { stores, a } = twoProcesses();
  const producer = await initialise(a);
  await bind(a, producer, 0);
  await (stores.clock as { advance(ms: number): Promise<void> } & MemoryStores['clock']).advance(900_000);
  expect(await bind(a, producer, 0)).toEqual({ number: 1, isRemembered: false });
});

it('enlists the heads of several requests at once, in several processes', async () => {
  const { stores, a, b } = twoProcesses();
  const producer = await initialise(a);
  const bound = await Promise.all([0, 1, 2, 3, 4, 5].map((each) => bind(each % 2 === 0 ? a : b, producer, each)));
  expect(bound.map(({ number }) => number)).toEqual([1, 1, 1, 1, 1, 1]);
  const { participants } = (await storedNow(stores.items, 'sums')) ?? {};
  expect(participants?.heads.map(({ headNumber }) => headNumber).sort()).toEqual([0, 1, 2, 3, 4, 5]);
});

it('binds a request to one transaction: it is not enlisted in the next one', async () => {
  for (const raisesEpoch of [true, false]) {
    const { stores, a, b } = twoProcesses();
    const producer = await initialise(a);
    await bind(a, producer, 0);
    // Between the look and the update of a second request, the transaction ends and another begins.
    const slow = slowToUpdate(stores, async () => {
      await bind(b, await end(b, producer, 'committed', raisesEpoch), 7);
    });
    expect(await codeOf(bind(slow, producer, 1))).toBe(raisesEpoch ? 'producer_fenced' : 'invalid_transaction_state');
    const now = await storedNow(stores.items, 'sums');
    expect(now).toMatchObject({ number: 2, participants: { heads: [head(7)] } });
  }
});

it('does not end the next transaction by a slow end of the one before', async () => {
  for (const outcome of ['committed', 'aborted'] as const) {
    const { stores, a, b } = twoProcesses();
    const producer = await initialise(a);
    await bind(a, producer, 0);
    const slow = slowToUpdate(stores, async () => {
      await bind(b, await end(b, producer, 'committed', false), 7);
    });
    expect(await codeOf(end(slow, producer, outcome, false))).toEqual(
      outcome === 'committed' ? producer : 'invalid_transaction_state',
    );
    expect(await storedNow(stores.items, 'sums')).toMatchObject({ number: 2, phase: 'open' });
  }
});

it('does not end the next transaction after its own reply was lost, where it began from memory', async () => {
  const stores = memoryStores();
  let b: TransactionProcess | undefined;
  const a = transactionProcess(stores);
  const producer = await initialise(a);
  // The first update of the process is the enlistment, which makes it remember; the second is the end.
  let updates = 0;
  const c = transactionProcess(
    happeningBefore(
      losingReply(stores, (request, key) => isUpdate(request, key) && ++updates === 2, LOST),
      (request, key) => isUpdate(request, key) && updates === 2,
      async () => {
        await end(b as TransactionProcess, producer, 'committed', false);
        await bind(b as TransactionProcess, producer, 7);
      },
    ),
  );
  b = transactionProcess(stores);
  await bind(c, producer, 0);
  const ending = end(c, producer, 'committed', false);
  expect(await (stores.clock as ReturnType<typeof memoryStores>['clock']).run(ending)).toEqual(producer);
  expect(await storedNow(stores.items, 'sums')).toMatchObject({ number: 2, phase: 'open' });
});

it('does not say that nothing has happened where an attempt of the adapter may have been applied', async () => {
  const { stores, a, b } = twoProcesses();
  const producer = await initialise(a);
  await bind(a, producer, 0);
  const { items } = aroundStores(stores, (_, send) => send);
  /** As an adapter that has lost the reply, and sends the update again when another producer has taken over. */
  const sentAgain: ItemStore['update'] = async (...request) => {
    const first = await items.update(...request);
    if (!first.ok || first.attributes[TRANSACTION.phase] !== 2) return first;
    await initialise(b);
    return { ...(await items.update(...request)), ok: false, mayBeApplied: true };
  };
  const slow = transactionProcess({ ...stores, items: { ...items, update: sentAgain } });
  const failed = await end(slow, producer).catch((error: unknown) => error);
  expect(failed).toMatchObject({ code: 'producer_fenced', outcome: 'unknown' });
  expect(marks(b)).toEqual(['0 1 committed']);
});

it('does not say that nothing has happened where it gives up an end that may have been applied', async () => {
  const { stores, a } = twoProcesses();
  const producer = await initialise(a);
  await bind(a, producer, 0);
  const { items } = aroundStores(stores, (_, send) => send);
  const rejecting: ItemStore['update'] = async (key) => {
    const { attributes } = await items.get(key);
    return { ok: false, attributes, units: 1, mayBeApplied: true };
  };
  const slow = transactionProcess({ ...stores, items: { ...items, update: rejecting } });
  const failed = await end(slow, producer).catch((error: unknown) => error);
  expect(failed).toMatchObject({ code: 'throttled', outcome: 'unknown' });
});

it('ends and enlists in the transaction that is open, if it remembers an older one', async () => {
  const { stores, a, b } = twoProcesses();
  const producer = await initialise(a);
  await bind(a, producer, 0);
  await end(b, producer, 'committed', false);
  await bind(b, producer, 1);
  expect(await bind(a, producer, 2)).toMatchObject({ number: 2 });
  await end(b, producer, 'committed', false);
  await bind(b, producer, 3);
  expect(await end(a, producer, 'committed', false)).toEqual(producer);
  expect(marks(a)).toEqual(['3 3 committed']);
  expect(await storedNow(stores.items, 'sums')).toMatchObject({ number: 4, phase: 'empty' });
});

it('refuses nobody because of what it remembers', async () => {
  const { a, b } = twoProcesses();
  const producer = await initialise(a);
  await bind(a, producer, 0);
  const next = await end(b, producer);
  a.requests();
  expect(await bind(a, next, 1)).toEqual({ number: 2, isRemembered: false });
  expect(a.requests()).toEqual(['getItem txn', 'updateItem txn']);
});

it('answers an end again, whose reply was lost, and refuses the other outcome', async () => {
  const { a, b } = twoProcesses();
  const producer = await initialise(a);
  await bind(a, producer, 0);
  const next = await end(a, producer);
  expect(await end(a, producer)).toEqual(next);
  expect(await end(b, producer)).toEqual(next);
  expect(await codeOf(end(b, producer, 'aborted'))).toBe('invalid_transaction_state');
  expect(marks(a)).toEqual(['0 1 committed']);
  expect(await codeOf(end(b, next))).toBe('invalid_transaction_state');
  expect(await end(b, next, 'aborted')).toEqual({ producerId: 0, producerEpoch: 2 });
  expect(await codeOf(end(b, producer))).toBe('producer_fenced');
});

it('answers after all participants have the outcome; if one fails, anybody completes', async () => {
  const { stores, a, b } = twoProcesses();
  const producer = await initialise(a);
  await bind(a, producer, 0, 1, 2);
  await enlist(a.context, { ...ID, producer, participants: { pages: [page(0)] } });
  a.completing.before = async (what) => {
    if ('headNumber' in what && what.headNumber === 1) throw new EventLogError('throttled', 'Later.');
  };
  const failed = await end(a, producer).catch((error: unknown) => error);
  expect(failed).toMatchObject({ code: 'throttled', retry: 'as_is', outcome: 'unknown' });
  expect(marks(a)).toEqual(['0 1 committed', '2 1 committed']);
  expect(a.completing.settled.length).toBe(1);
  expect(await storedNow(stores.items, 'sums')).toMatchObject({ number: 1, phase: 'committing' });
  expect(await codeOf(bind(b, { ...producer, producerEpoch: 1 }, 0))).toBe('concurrent_transactions');
  expect(await codeOf(end(b, producer, 'aborted'))).toBe('invalid_transaction_state');

  await endOverdue(b.context, b.completing, producer.producerId);
  expect(marks(b)).toEqual(['0 1 committed', '1 1 committed', '2 1 committed']);
  expect(await storedNow(stores.items, 'sums')).toMatchObject({ number: 2, phase: 'empty' });
  expect(await end(b, producer)).toEqual({ producerId: 0, producerEpoch: 1 });
});

it('does not give the epoch of a new producer to the one before, which was completed by it', async () => {
  const { a, b } = twoProcesses();
  const producer = await initialise(a);
  await bind(a, producer, 0);
  let taken: ProducerName | undefined;
  a.completing.before = async () => {
    taken ??= await initialise(b);
  };
  expect(await end(a, producer)).toEqual({ producerId: 0, producerEpoch: 1 });
  expect(taken).toEqual({ producerId: 0, producerEpoch: 2 });
  expect(await codeOf(bind(a, { producerId: 0, producerEpoch: 1 }, 0))).toBe('producer_fenced');
});

it('aborts for a new producer what the one before has left open', async () => {
  const { stores, a, b } = twoProcesses();
  const producer = await initialise(a);
  await bind(a, producer, 0, 1);
  expect(await initialise(b)).toEqual({ producerId: 0, producerEpoch: 2 });
  expect(marks(b)).toEqual(['0 1 aborted', '1 1 aborted']);
  expect(b.completing.marked[0]?.marker.producerEpoch).toBe(1);
  expect(await codeOf(end(a, producer))).toBe('producer_fenced');
  expect(await codeOf(bind(a, producer, 5))).toBe('producer_fenced');
  expect(await storedNow(stores.items, 'sums')).toMatchObject({ number: 3, phase: 'empty' });
});

it('lets a producer go on after an error, also if the answer was lost (KIP-360)', async () => {
  const { a, b } = twoProcesses();
  const producer = await initialise(a);
  await bind(a, producer, 0);
  const next = await initialise(a, producer);
  expect(next).toEqual({ producerId: 0, producerEpoch: 1 });
  expect(marks(a)).toEqual(['0 1 aborted']);
  expect(await initialise(b, producer)).toEqual(next);
  await initialise(b);
  expect(await codeOf(initialise(a, next))).toBe('producer_fenced');
});

it('aborts what is overdue for whoever is held up, once a second at most', async () => {
  const stores = memoryStores();
  const { a, b } = twoProcesses(stores);
  const producer = await initialise(a);
  await bind(a, producer, 0);
  const overdue = () => endOverdue(b.context, b.completing, producer.producerId);
  await overdue();
  expect(marks(b)).toEqual([]);
  await stores.clock.advance(TIMEOUT_MS + 5_001);
  b.requests();
  await Promise.all([overdue(), overdue()]);
  expect(b.requests()).toEqual(['getItem producer-name', 'getItem txn', 'updateItem txn', 'updateItem txn']);
  expect(marks(b)).toEqual(['0 1 aborted']);
  expect(await codeOf(end(a, producer))).toBe('producer_fenced');
  await endOverdue(b.context, b.completing, 12_345);
  expect(b.requests()).toEqual(['getItem producer-name']);
});

it('gives a new producer id after the last epoch', async () => {
  const { stores, a } = twoProcesses();
  await initialise(a);
  const atLast = () =>
    stores.items.update(transactionKey('sums'), [{ do: 'set', name: TRANSACTION.producerEpoch, value: 32_765 }]);
  await atLast();
  const last = await initialise(a);
  expect(last).toEqual({ producerId: 0, producerEpoch: 32_766 });
  await bind(a, last, 0);
  const next = await end(a, last);
  expect(next).toEqual({ producerId: 1, producerEpoch: 0 });
  expect(a.completing.marked[0]?.marker).toMatchObject({ producerId: 0, producerEpoch: 32_767 });
  expect(await end(a, last)).toEqual(next);
  expect(await initialise(a, last)).toEqual(next);
  const names = async () =>
    Promise.all(
      [0, 1, 2].map(async (id) => (await stores.items.get({ pk: `producer-name#${id}`, sk: '-' })).attributes?.n),
    );
  expect(await names()).toEqual([undefined, 'sums', undefined]);
  await bind(a, next, 0);
  expect(await end(a, next)).toEqual({ producerId: 1, producerEpoch: 1 });
  await atLast();
  await initialise(a);
  expect(await initialise(a)).toEqual({ producerId: 2, producerEpoch: 0 });
  expect(await names()).toEqual([undefined, undefined, 'sums']);
});

/** How far a process comes that dies at each of its requests, and that the next one goes on. */
it('goes on wherever a process has died', async () => {
  for (const lastOne of ['is_sent', 'is_not_sent'] as const) {
    for (let requestsMax = 0; requestsMax < 14; requestsMax++) {
      const stores = memoryStores();
      const dying = dyingStores(stores, requestsMax, lastOne);
      const a = transactionProcess(dying.stores);
      const work = (async () => {
        const producer = await initialise(a);
        await bind(a, producer, 0);
        await bind(a, producer, 1);
        const next = await end(a, producer);
        await bind(a, next, 2);
        await initialise(a);
      })();
      await Promise.race([work, dying.died]);
      const b = transactionProcess(stores);
      const before = await storedNow(stores.items, 'sums');
      const producer = await initialise(b);
      expect(marks(b)).toEqual(
        before?.participants.heads.map(
          ({ headNumber }) =>
            `${headNumber} ${before.number} ${before.phase === 'committing' ? 'committed' : 'aborted'}`,
        ) ?? [],
      );
      expect((await stores.items.get({ pk: 'transactions', sk: 'sums' })).attributes).toBeDefined();
      const named = await stores.items.get({ pk: `producer-name#${producer.producerId}`, sk: '-' });
      expect(named.attributes?.n).toBe('sums');
      await bind(b, producer, 0);
      expect(await end(b, producer)).toMatchObject({ producerEpoch: producer.producerEpoch + 1 });
    }
  }
});
