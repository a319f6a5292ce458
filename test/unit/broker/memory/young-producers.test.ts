import { describe, expect, it } from 'vitest';
import { dayOf, YoungProducers } from '../../../../shared/broker/memory/young-producers.ts';
import { UsageMeter } from '../../../../shared/broker/usage/usage-meter.ts';
import { PRODUCER_ID_COUNTER } from '../../../../shared/storage/keys.ts';
import { type Fault, faultyStores } from '../../../support/faulty-stores.ts';
import { codeOf, type MemoryStores, memoryStores } from '../../../support/memory-broker.ts';

const HOUR_MS = 3_600_000;

function youngProducers(stores: MemoryStores): { young: YoungProducers; reads: () => number } {
  const usage = new UsageMeter(stores);
  return { young: new YoungProducers(usage, stores.clock), reads: () => usage.total().getItem };
}

async function setCounter(
  stores: MemoryStores,
  counter: { n: number; d: number; y: number; x: number },
): Promise<void> {
  await stores.items.put(PRODUCER_ID_COUNTER, counter);
}

describe('young producer ids', () => {
  it.each([
    ['today: the ids of today and yesterday', 0, 20],
    ['a process whose clock is a little ahead, and there it is tomorrow: those of today and tomorrow', 1, 20],
    ['yesterday: its ids, since today has none', -1, 50],
    ['two days ago: those that nobody was given yet', -2, 90],
    ['long ago: those that nobody was given yet', -1_000, 90],
    ['a day that can not be yet: those that nobody was given yet', 2, 90],
    ['a day that is years ahead: those that nobody was given yet', 5_000, 90],
  ])('are, where the counter is of %s', async (_, daysAhead, firstYoungId) => {
    const stores = memoryStores();
    await setCounter(stores, { n: 90, d: dayOf(stores.clock.nowMs()) + daysAhead, y: 50, x: 20 });
    const { young } = youngProducers(stores);
    await young.load();
    const ids = [0, 19, 20, 21, 49, 50, 89, 90, 91, 2 ** 53 - 1];
    expect(ids.filter((id) => young.isYoung(id))).toEqual(ids.filter((id) => id >= firstYoungId));
  });

  it('are all ids where none was ever given out', async () => {
    const { young } = youngProducers(memoryStores());
    await young.load();
    expect(young.isYoung(0)).toBe(true);
  });

  it('are read once an hour, and again when the clock was set back', async () => {
    const stores = memoryStores();
    const day = dayOf(stores.clock.nowMs());
    let nowMs = day * 24 * HOUR_MS;
    const { young, reads } = youngProducers({ ...stores, clock: { nowMs: () => nowMs, sleep: async () => {} } });
    await setCounter(stores, { n: 9, d: day, y: 5, x: 3 });
    for (const [waitMs, expected] of [
      [0, 1],
      [HOUR_MS - 1, 1],
      [1, 2],
      [-1, 3],
      [HOUR_MS, 4],
    ] as const) {
      nowMs += waitMs;
      await young.load();
      expect(reads()).toBe(expected);
    }
    // What was read counts until the hour is over.
    await setCounter(stores, { n: 9, d: day, y: 5, x: 4 });
    await young.load();
    expect(young.isYoung(3)).toBe(true);
    nowMs += HOUR_MS;
    await young.load();
    expect(young.isYoung(3)).toBe(false);
  });

  it('are not taken from a read that failed', async () => {
    const stores = memoryStores();
    await setCounter(stores, { n: 9, d: dayOf(stores.clock.nowMs()), y: 5, x: 3 });
    const faults: (Fault | undefined)[] = ['throttled', undefined];
    const { young } = youngProducers(
      faultyStores(stores, () => {
        const fault = faults.shift();
        return fault === undefined ? undefined : { fault };
      }),
    );
    expect(await codeOf(young.load())).toBe('throttled');
    await young.load();
    expect([2, 3].map((id) => young.isYoung(id))).toEqual([false, true]);
  });
});
