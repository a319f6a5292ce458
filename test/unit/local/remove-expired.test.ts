import { describe, expect, test } from 'vitest';
import { INTERVAL_MS, removeExpired, STEP_ITEMS_MAX } from '../../../shared/local/jobs/remove-expired.ts';
import { EventLogError } from '../../../shared/log/errors.ts';
import { EXPIRES_AT } from '../../../shared/storage/key-parts.ts';
import { MemoryItemStore } from '../../../shared/storage/memory/item-store.ts';
import type { ExpiringItems } from '../../../shared/storage/ports.ts';
import { SimulatedClock, turn } from '../../support/simulated-clock.ts';

const NOW_S = 1_700_000_000;

function start(items: ExpiringItems, clock: SimulatedClock) {
  const stopping = new AbortController();
  const steps: number[] = [];
  const errors: unknown[] = [];
  const watched: ExpiringItems = {
    removeExpired: (nowMs, limit) => {
      steps.push(nowMs - NOW_S * 1_000);
      return items.removeExpired(nowMs, limit);
    },
  };
  const ended = removeExpired({
    items: watched,
    clock,
    stopping: stopping.signal,
    onError: (error) => errors.push(error),
  });
  return { steps, errors, ended, stop: () => stopping.abort() };
}

describe('removeExpired', () => {
  test('removes an item within a minute of its expiry', async () => {
    const clock = new SimulatedClock(NOW_S * 1_000);
    const items = new MemoryItemStore();
    const key = { pk: 'p', sk: 's' };
    await items.put(key, { [EXPIRES_AT]: NOW_S + 100 });
    const { stop, ended } = start(items, clock);
    await clock.advance(100_000);
    expect((await items.get(key)).attributes).toEqual({ [EXPIRES_AT]: NOW_S + 100 });
    await clock.advance(INTERVAL_MS + 1_000);
    expect((await items.get(key)).attributes).toBeUndefined();
    stop();
    await ended;
  });

  test('begins at once, continues soon while there is more, and then rests', async () => {
    const clock = new SimulatedClock(NOW_S * 1_000);
    const items = new MemoryItemStore();
    for (let i = 0; i < 2 * STEP_ITEMS_MAX + 1; i++) await items.put({ pk: 'p', sk: `${i}` }, { [EXPIRES_AT]: 1 });
    const { steps, stop, ended } = start(items, clock);
    expect(steps).toEqual([0]);
    await clock.advance(2 * INTERVAL_MS);
    expect(steps).toEqual([0, 100, 200, 200 + INTERVAL_MS]);
    expect((await items.query({ pk: 'p', limit: 1 })).items).toEqual([]);
    stop();
    await ended;
  });

  test('leaves a slow storage to others for ten times as long as a step took', async () => {
    const clock = new SimulatedClock(NOW_S * 1_000);
    const slow: ExpiringItems = {
      removeExpired: async () => {
        await clock.sleep(500);
        return { removed: 1, more: true };
      },
    };
    const { steps, stop, ended } = start(slow, clock);
    await clock.advance(11_000);
    expect(steps).toEqual([0, 5_500, 11_000]);
    stop();
    await clock.advance(500);
    await ended;
  });

  test.each([3_600_000, -3_600_000])('continues when the clock is set by %i ms during a step', async (ms) => {
    let skewMs = 0;
    const clock = new SimulatedClock(NOW_S * 1_000);
    let steps = 0;
    const stopping = new AbortController();
    const ended = removeExpired({
      items: {
        removeExpired: async () => {
          if (steps++ === 0) skewMs = ms;
          return { removed: 1, more: true };
        },
      },
      clock: { nowMs: () => clock.nowMs() + skewMs, sleep: (sleepMs, signal) => clock.sleep(sleepMs, signal) },
      stopping: stopping.signal,
      onError: () => undefined,
    });
    await clock.advance(INTERVAL_MS);
    expect(steps).toBeGreaterThan(1);
    stopping.abort();
    await ended;
  });

  test('reports a step that failed, and tries again after the interval', async () => {
    const clock = new SimulatedClock(NOW_S * 1_000);
    const failed = new EventLogError('storage_full', 'No space is left for items.');
    let isFull = true;
    const { steps, errors, stop, ended } = start(
      {
        removeExpired: async () => {
          if (isFull) throw failed;
          return { removed: 0, more: false };
        },
      },
      clock,
    );
    await clock.advance(INTERVAL_MS - 1);
    expect(steps).toEqual([0]);
    isFull = false;
    await clock.advance(INTERVAL_MS);
    expect(steps).toEqual([0, INTERVAL_MS]);
    expect(errors).toEqual([failed]);
    stop();
    await ended;
  });

  test('begins no step after it is stopped, and leaves no timer', async () => {
    const clock = new SimulatedClock(NOW_S * 1_000);
    const resting = start(new MemoryItemStore(), clock);
    await turn();
    expect(clock.sleeping).toBe(1);
    resting.stop();
    await resting.ended;
    expect(clock.sleeping).toBe(0);

    let finish: () => void = () => undefined;
    const removal = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const working = start({ removeExpired: () => removal.then(() => ({ removed: 1, more: true })) }, clock);
    working.stop();
    finish();
    await working.ended;
    await clock.advance(10 * INTERVAL_MS);
    expect(working.steps).toEqual([0]);
    expect(clock.sleeping).toBe(0);
  });
});
