import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../../../shared/storage/system/clock.ts';
import { systemRandom } from '../../../../shared/storage/system/random.ts';

describe('systemClock', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('tells milliseconds since 1970', () => {
    vi.setSystemTime(1_700_000_000_123);
    expect(systemClock.nowMs()).toBe(1_700_000_000_123);
  });

  it('sleeps for as long as it is told', async () => {
    let awake = false;
    const sleeping = systemClock.sleep(100).then(() => {
      awake = true;
    });
    await vi.advanceTimersByTimeAsync(99);
    expect(awake).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    await sleeping;
    expect(awake).toBe(true);
  });

  it('wakes as soon as its signal is aborted, and leaves no timer', async () => {
    const stop = new AbortController();
    const sleeping = systemClock.sleep(1_000_000, stop.signal);
    expect(vi.getTimerCount()).toBe(1);
    stop.abort();
    await sleeping;
    expect(vi.getTimerCount()).toBe(0);
  });

  it('does not fall asleep where its signal is aborted already', async () => {
    await systemClock.sleep(1_000_000, AbortSignal.abort());
    expect(vi.getTimerCount()).toBe(0);
  });

  it('leaves nothing at a signal that outlives it', async () => {
    const stop = new AbortController();
    const sleeping = systemClock.sleep(1, stop.signal);
    await vi.advanceTimersByTimeAsync(1);
    await sleeping;
    expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
  });
});

describe('systemRandom', () => {
  it('gives as many bytes as it is asked for, however many', () => {
    for (const length of [0, 1, 16, 4_095, 4_096, 4_097, 100_000])
      expect(systemRandom.bytes(length)).toHaveLength(length);
  });

  it('gives no bytes twice', () => {
    const seen = new Set(Array.from({ length: 2_000 }, () => Buffer.from(systemRandom.bytes(16)).toString('hex')));
    expect(seen.size).toBe(2_000);
  });

  it('shares no bytes between its callers', () => {
    const first = systemRandom.bytes(16);
    const second = systemRandom.bytes(16);
    expect(first.buffer).not.toBe(second.buffer);
  });
});
