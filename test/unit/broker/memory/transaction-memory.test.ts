import { expect, it } from 'vitest';
import { TransactionMemory } from '../../../../shared/broker/memory/transaction-memory.ts';
import { NO_PARTICIPANTS } from '../../../../shared/log/transaction/transaction.ts';
import { newTransaction, retired, type StoredTransaction } from '../../../../shared/log/transaction/transitions.ts';
import { head } from '../../../support/transaction-world.ts';

const MADE = newTransaction('sums', 0, { timeoutMs: 1, nowMs: 0, before: undefined });
const participants = { ...NO_PARTICIPANTS, heads: [head(0)] };
/** In the order in which they follow each other. */
const STATES: readonly StoredTransaction[] = [
  MADE,
  { ...MADE, phase: 'open' },
  { ...MADE, phase: 'open', participants },
  { ...MADE, phase: 'committing', participants },
  { ...MADE, number: 2 },
  { ...MADE, number: 2, phase: 'open' },
];

it('keeps the latest state, in whatever order replies come', () => {
  for (const [i, later] of STATES.entries()) {
    for (const earlier of STATES.slice(0, i)) {
      const memory = new TransactionMemory();
      memory.put('sums', later, 0);
      memory.put('sums', earlier, 1);
      expect(memory.get('sums', 2)).toBe(later);
      memory.put('sums', { ...later }, 3);
      expect(memory.get('sums', 900_002)).toEqual(later);
    }
  }
});

it('forgets what is old, retired or not there any more', () => {
  const memory = new TransactionMemory();
  memory.put('sums', MADE, 1_000);
  expect(memory.get('sums', 900_999)).toBe(MADE);
  expect(memory.get('sums', 901_000)).toBeUndefined();
  expect(memory.get('sums', 999)).toBeUndefined();
  memory.put('sums', retired(MADE, 0), 1_000);
  expect(memory.get('sums', 1_000)).toBeUndefined();
  memory.put('sums', MADE, 1_000);
  memory.put('sums', undefined, 1_000);
  expect(memory.get('sums', 1_000)).toBeUndefined();
});

it('lets somebody look after a producer once a second', () => {
  const memory = new TransactionMemory();
  expect([0, 999, 1_000, 1_999].map((nowMs) => memory.isTimeToLook(7, nowMs))).toEqual([true, false, true, false]);
  expect(memory.isTimeToLook(8, 1_999)).toBe(true);
  // The clock was set back.
  expect(memory.isTimeToLook(7, 500)).toBe(true);
});
