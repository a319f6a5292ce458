import { describe, expect, test } from 'vitest';
import { CLOSE_MS, type ClosingSteps, closeInTime } from '../../../shared/local/close-in-time.ts';
import { SimulatedClock } from '../../support/simulated-clock.ts';

/** Steps that take this long, or never end; `cut` ends the requests. */
function timedSteps(clock: SimulatedClock, requestsMs: number, appendsMs: number, storageMs: number) {
  const done: string[] = [];
  const step = (name: string, ms: number) => async () => {
    if (ms === Number.POSITIVE_INFINITY) await new Promise<never>(() => {});
    await clock.sleep(ms);
    done.push(name);
  };
  const steps: ClosingSteps = {
    finishRequests: step('requests', requestsMs),
    cutRequests: () => done.push('cut'),
    finishAppends: step('appends', appendsMs),
    closeStorage: step('storage', storageMs),
  };
  return { steps, done };
}

const NEVER = Number.POSITIVE_INFINITY;

describe('closeInTime', () => {
  test('takes only as long as its steps, and leaves no timer that would keep the process alive', async () => {
    const clock = new SimulatedClock(0);
    const { steps, done } = timedSteps(clock, 10, 20, 30);
    await clock.run(closeInTime(clock, steps));
    expect([clock.nowMs(), done, clock.sleeping]).toEqual([60, ['requests', 'appends', 'storage'], 0]);
  });

  test.each([
    ['requests that never end', NEVER, 0, 0],
    ['appends that are never settled', 0, NEVER, 0],
    ['requests and appends that never end', NEVER, NEVER, 0],
    ['every step as slow as it may be', 3_400, 700, 600],
  ])('stays within one budget with %s', async (_, requestsMs, appendsMs, storageMs) => {
    const clock = new SimulatedClock(0);
    const { steps, done } = timedSteps(clock, requestsMs, appendsMs, storageMs);
    await clock.run(closeInTime(clock, steps));
    expect(clock.nowMs()).toBeLessThan(CLOSE_MS);
    expect(done).toContain('storage');
    expect(done.includes('cut')).toBe(requestsMs === NEVER);
  });

  test('says that the storage is still held, before the time is up', async () => {
    const clock = new SimulatedClock(0);
    const { steps } = timedSteps(clock, NEVER, NEVER, NEVER);
    await expect(clock.run(closeInTime(clock, steps))).rejects.toMatchObject({ code: 'storage_unavailable' });
    expect(clock.nowMs()).toBeLessThan(CLOSE_MS);
  });

  test('keeps to its budget when a step that was late ends by an error afterwards', async () => {
    const clock = new SimulatedClock(0);
    const { steps, done } = timedSteps(clock, 0, 0, 0);
    const lateError = async (): Promise<void> => {
      await clock.sleep(4_000);
      throw new Error('too late to matter');
    };
    await clock.run(closeInTime(clock, { ...steps, finishRequests: lateError, finishAppends: () => clock.sleep(600) }));
    expect(done).toEqual(['cut', 'storage']);
  });
});
