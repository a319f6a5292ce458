import { expect, it } from 'vitest';
import {
  changeTransaction,
  createTransaction,
  readProducerName,
  readTransaction,
} from '../../../../shared/broker/transactions/items.ts';
import { NO_PARTICIPANTS } from '../../../../shared/log/transaction/transaction.ts';
import { newTransaction, type StoredTransaction } from '../../../../shared/log/transaction/transitions.ts';
import { transactionKey } from '../../../../shared/storage/transaction-keys.ts';
import { memoryStores } from '../../../support/memory-broker.ts';
import { head, page } from '../../../support/transaction-world.ts';

const MADE = newTransaction('sums/ä', 0, { timeoutMs: 60_000, nowMs: 1_000, before: undefined });
const OPEN: StoredTransaction = {
  ...MADE,
  producer: { producerId: 5, producerEpoch: 3 },
  previous: { producerId: 4, producerEpoch: 32_766 },
  number: 9,
  phase: 'open',
  participants: { heads: [head(1)], pages: [page(2)], groups: ['totals'] },
  lastOutcome: 'aborted',
  startedAtMs: 2_000,
  deadlineMs: 62_000,
};

it('stores every state', async () => {
  const { items } = memoryStores();
  expect(await createTransaction(items, MADE)).toEqual({ ok: true, transaction: MADE });
  expect(await createTransaction(items, OPEN)).toEqual({ ok: false, transaction: MADE });
  let seen = MADE;
  for (const next of [OPEN, { ...OPEN, phase: 'aborting' as const, lastOutcome: 'committed' as const }, MADE]) {
    expect(await changeTransaction(items, seen, next)).toEqual({ ok: true, transaction: next });
    expect(await readTransaction(items, 'sums/ä')).toEqual(next);
    seen = next;
  }
  expect(await readTransaction(items, 'other')).toBeUndefined();
  expect(await readProducerName(items, 0)).toBeUndefined();
});

it('is stored as docs/format.md says', async () => {
  const { items } = memoryStores();
  await createTransaction(items, { ...OPEN, isRetired: true });
  expect((await items.get({ pk: 'txn#sums%2F%C3%A4', sk: '-' })).attributes).toEqual({
    p: 5,
    c: 3,
    lp: 4,
    lc: 32_766,
    k: 9,
    s: 1,
    h: expect.any(Uint8Array),
    n: 3,
    r: 2,
    t: 60_000,
    b: 2_000,
    d: 62_000,
    u: 1_000,
    x: 1,
    e: 604_801,
  });
});

it('leaves exactly the state that was seen', async () => {
  const { items } = memoryStores();
  await createTransaction(items, OPEN);
  const others: Partial<StoredTransaction>[] = [
    { producer: { ...OPEN.producer, producerId: 6 } },
    { producer: { ...OPEN.producer, producerEpoch: 2 } },
    { number: 8 },
    { phase: 'empty' },
    { participants: { ...NO_PARTICIPANTS, heads: [head(1), head(2)] } },
  ];
  for (const other of others)
    expect(
      await changeTransaction(
        items,
        { ...OPEN, ...other },
        { ...OPEN, ...other, number: 10, participants: NO_PARTICIPANTS },
      ),
    ).toEqual({ ok: false, transaction: OPEN });
  // An end writes no participants, and requires none.
  const stale = { ...OPEN, participants: NO_PARTICIPANTS };
  expect(await changeTransaction(items, stale, { ...stale, phase: 'committing' })).toEqual({
    ok: true,
    transaction: { ...OPEN, phase: 'committing' },
  });
});

it('does not bring an item back', async () => {
  const { items } = memoryStores();
  // An absent number counts as 0 in a condition.
  const zero = { ...MADE, number: 0 };
  expect(await changeTransaction(items, zero, { ...zero, phase: 'open' })).toEqual({
    ok: false,
    transaction: undefined,
  });
  expect((await items.get(transactionKey('sums/ä'))).attributes).toBeUndefined();
});
