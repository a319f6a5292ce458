import { expect, it } from 'vitest';
import { BusyHeads, SCHEDULE_AFTER_MS } from '../../../../shared/broker/memory/busy-heads.ts';
import {
  MERGE_AGE_MS,
  MERGE_AGE_MS_MAX,
  MERGE_BYTES_MAX,
  MERGE_NODES,
} from '../../../../shared/log/segment/merge-policy.ts';

const NOW_MS = 1_700_000_000_000;

function move(heads: BusyHeads, headNumber: number, nodes: number, writtenAtMs = NOW_MS, bytes = 10): void {
  for (let i = 0; i < nodes; i++) heads.moved({ topicId: 'id', headNumber, bytes, writtenAtMs: writtenAtMs + i });
}

const numbers = (due: readonly { readonly headNumber: number }[]): number[] => due.map(({ headNumber }) => headNumber);

it('gives a head with many nodes when the oldest is a minute old, once', () => {
  const heads = new BusyHeads();
  move(heads, 0, MERGE_NODES);
  move(heads, 1, MERGE_NODES - 1);
  expect(heads.takeDue(NOW_MS + MERGE_AGE_MS - 1)).toEqual([]);
  expect(heads.takeDue(NOW_MS + MERGE_AGE_MS)).toMatchObject([
    { topicId: 'id', headNumber: 0, nodes: MERGE_NODES, bytes: 10 * MERGE_NODES, oldestMs: NOW_MS },
  ]);
  expect(heads.takeDue(NOW_MS + MERGE_AGE_MS)).toEqual([]);
  expect(heads.size).toBe(1);
});

it('gives a head with much data at once', () => {
  const heads = new BusyHeads();
  move(heads, 0, 1, NOW_MS, MERGE_BYTES_MAX - 1);
  expect(heads.takeDue(NOW_MS)).toEqual([]);
  move(heads, 0, 1, NOW_MS, 1);
  expect(numbers(heads.takeDue(NOW_MS))).toEqual([0]);
});

it('gives the longest waiting first', () => {
  const heads = new BusyHeads();
  move(heads, 0, MERGE_NODES, NOW_MS + 2);
  move(heads, 1, MERGE_NODES, NOW_MS + 1);
  expect(heads.oldestMs()).toBe(NOW_MS + 1);
  expect(numbers(heads.takeDue(NOW_MS + 2 * MERGE_AGE_MS))).toEqual([1, 0]);
  expect(heads.oldestMs()).toBeUndefined();
});

it('gives a quiet head after some minutes, to be scheduled, and then not before it is an hour old', () => {
  const heads = new BusyHeads();
  move(heads, 0, 1);
  expect(heads.takeDue(NOW_MS + SCHEDULE_AFTER_MS - 1)).toEqual([]);
  const [head] = heads.takeDue(NOW_MS + SCHEDULE_AFTER_MS);
  expect(head).toMatchObject({ isScheduled: false });
  if (head !== undefined) heads.putBack({ ...head, isScheduled: true });
  expect(heads.takeDue(NOW_MS + MERGE_AGE_MS_MAX - 1)).toEqual([]);
  expect(numbers(heads.takeDue(NOW_MS + MERGE_AGE_MS_MAX))).toEqual([0]);
});

it('adds what was moved meanwhile to a head that is put back, and leaves it alone for as long as it says', () => {
  const heads = new BusyHeads();
  move(heads, 0, MERGE_NODES);
  const [head] = heads.takeDue(NOW_MS + MERGE_AGE_MS);
  move(heads, 0, 2, NOW_MS + 5);
  if (head !== undefined) heads.putBack({ ...head, notBeforeMs: NOW_MS + 2 * MERGE_AGE_MS });
  move(heads, 0, 1, NOW_MS + 9);
  expect(heads.takeDue(NOW_MS + 2 * MERGE_AGE_MS - 1)).toEqual([]);
  expect(heads.takeDue(NOW_MS + 2 * MERGE_AGE_MS)).toMatchObject([
    { nodes: MERGE_NODES + 3, bytes: 10 * (MERGE_NODES + 3), oldestMs: NOW_MS },
  ]);
});

it('remembers a bounded number of heads, and goes on counting those', () => {
  const heads = new BusyHeads();
  for (let head = 0; head < 10_500; head++) move(heads, head, 1);
  expect(heads.size).toBe(10_000);
  move(heads, 0, MERGE_NODES);
  expect(numbers(heads.takeDue(NOW_MS + MERGE_AGE_MS))).toEqual([0]);
});
