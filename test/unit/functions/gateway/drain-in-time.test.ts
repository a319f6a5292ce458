import { describe, expect, it } from 'vitest';
import { type DrainedParts, drainInTime } from '../../../../functions/gateway/drain-in-time.ts';
import { SimulatedClock } from '../../../support/simulated-clock.ts';

const NEVER = new Promise<never>(() => {});

/** Parts that end at once, except for those that are given, and what was called, in its order. */
function parts(given: {
  leave?: () => Promise<void>;
  finish?: () => Promise<void>;
  close?: () => Promise<void>;
  closed?: () => Promise<void>;
}) {
  const called: string[] = [];
  const stopping = new AbortController();
  stopping.signal.addEventListener('abort', () => called.push('stop'));
  const call =
    (name: string, work: () => Promise<void> = async () => {}) =>
    () => {
      called.push(name);
      return work();
    };
  const drained: DrainedParts = {
    leave: call('leave', given.leave),
    stopping,
    server: {
      finish: call('finish', given.finish),
      closed: call('closed', given.closed),
      cut: () => called.push('cut'),
    },
    broker: { close: call('close', given.close) },
  };
  return { drained, called };
}

const limits = (clock: SimulatedClock, cut = new AbortController().signal) => ({ clock, drainMs: 30_000, cut });

describe('a drain', () => {
  it('leaves the list, ends long polls, answers, settles, and lets clients hang up, in this order', async () => {
    const clock = new SimulatedClock();
    const { drained, called } = parts({});
    const result = await clock.run(drainInTime(limits(clock), drained));
    expect(result).toEqual({ isClean: true, answered: true, settled: true, ms: 0 });
    expect(called).toEqual(['leave', 'stop', 'finish', 'close', 'closed', 'cut']);
  });

  it.each([
    ['does not answer', () => NEVER],
    ['fails', () => Promise.reject(new Error('no'))],
  ])('goes on if the list %s', async (_, leave) => {
    const clock = new SimulatedClock();
    const { drained, called } = parts({ leave });
    expect(await clock.run(drainInTime(limits(clock), drained))).toMatchObject({ isClean: true });
    expect(called).toContain('finish');
  });

  it('waits only a moment for clients that do not hang up, and is clean all the same', async () => {
    const clock = new SimulatedClock();
    const { drained, called } = parts({ closed: () => NEVER });
    expect(await clock.run(drainInTime(limits(clock), drained))).toMatchObject({ isClean: true, ms: 3_000 });
    expect(called.at(-1)).toBe('cut');
  });

  it('cuts what is not answered in time, and says so', async () => {
    const clock = new SimulatedClock();
    const { drained, called } = parts({ finish: () => NEVER });
    const result = await clock.run(drainInTime(limits(clock), drained));
    expect(result).toMatchObject({ isClean: false, answered: false, ms: 30_000 });
    expect(called.slice(0, 4)).toEqual(['leave', 'stop', 'finish', 'cut']);
  });

  it('is not clean if appends are not settled in time', async () => {
    const clock = new SimulatedClock();
    const { drained } = parts({ close: () => NEVER });
    const result = await clock.run(drainInTime(limits(clock), drained));
    expect(result).toEqual({ isClean: false, answered: true, settled: false, ms: 30_000 });
  });

  it('takes the time of all its steps together from one budget', async () => {
    const clock = new SimulatedClock();
    const { drained } = parts({ finish: () => clock.sleep(25_000), close: () => clock.sleep(25_000) });
    expect(await clock.run(drainInTime(limits(clock), drained))).toMatchObject({ settled: false, ms: 30_000 });
  });

  it('ends at once when it is cut', async () => {
    const clock = new SimulatedClock();
    const cut = new AbortController();
    const { drained } = parts({ finish: () => NEVER });
    const draining = drainInTime(limits(clock, cut.signal), drained);
    void clock.sleep(1_000).then(() => cut.abort());
    expect(await clock.run(draining)).toMatchObject({ isClean: false, ms: 1_000 });
    expect(
      await clock.run(drainInTime(limits(clock, AbortSignal.abort()), parts({ finish: () => NEVER }).drained)),
    ).toMatchObject({
      isClean: false,
      ms: 0,
    });
    // No timer is left that would keep the process.
    expect(clock.sleeping).toBe(0);
  });
});
