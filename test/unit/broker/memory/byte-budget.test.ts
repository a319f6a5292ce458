import { expect, it } from 'vitest';
import { ByteBudget } from '../../../../shared/broker/memory/byte-budget.ts';
import { turn } from '../../../support/simulated-clock.ts';

/** Work that is told apart by its name, and ends when it is told to. */
function workshop(bytesMax: number) {
  const budget = new ByteBudget(bytesMax);
  const running = new Map<string, { end: () => void; fail: () => void }>();
  const done: string[] = [];
  return {
    done,
    started: () => [...running.keys()],
    add(name: string, bytes: number): void {
      const work = (): Promise<void> =>
        new Promise((resolve, reject) => running.set(name, { end: resolve, fail: () => reject(new Error(name)) }));
      budget
        .use(bytes, work)
        .catch(() => {})
        .finally(() => done.push(name));
    },
    async end(name: string, how: 'end' | 'fail' = 'end'): Promise<void> {
      running.get(name)?.[how]();
      running.delete(name);
      await turn();
    },
  };
}

it('runs what fits at once, and the rest in the order in which it came', async () => {
  const { add, started, end } = workshop(10);
  for (const [name, bytes] of [
    ['a', 4],
    ['b', 6],
    ['c', 7],
    ['d', 1],
  ] as const)
    add(name, bytes);
  await turn();
  expect(started()).toEqual(['a', 'b']);
  // The last would fit, but it is not its turn: otherwise large work could wait for ever.
  await end('a');
  expect(started()).toEqual(['b']);
  await end('b');
  expect(started()).toEqual(['c', 'd']);
});

it('runs work that needs more than all of it alone', async () => {
  const { add, started, end } = workshop(10);
  add('a', 1);
  add('large', 99);
  add('b', 1);
  await turn();
  expect(started()).toEqual(['a']);
  await end('a');
  expect(started()).toEqual(['large']);
  await end('large');
  expect(started()).toEqual(['b']);
});

it('gives back what failed work had', async () => {
  const { add, started, end, done } = workshop(10);
  add('a', 10);
  add('b', 10);
  await turn();
  await end('a', 'fail');
  expect([done, started()]).toEqual([['a'], ['b']]);
});
