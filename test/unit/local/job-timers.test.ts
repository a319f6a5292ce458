import { expect, it } from 'vitest';
import { JobTimers, RUN_MS_MAX, type TimedJob, type TimedRun } from '../../../shared/local/jobs/job-timers.ts';
import { SimulatedClock } from '../../support/simulated-clock.ts';

const FINE: TimedRun = { blocked: 0, error: undefined };

function timers(...jobs: readonly TimedJob[]) {
  const clock = new SimulatedClock();
  const errors: unknown[] = [];
  const made = new JobTimers({ jobs, clock, onError: (job, error) => errors.push([job, error]) });
  made.start();
  return { clock, errors, timers: made };
}

it('runs each job again and again, each at its own times', async () => {
  const runs: string[] = [];
  const job = (name: string, everyMs: number): TimedJob => ({
    name,
    everyMs,
    run: async () => {
      runs.push(name);
      return FINE;
    },
  });
  const { clock, timers: made } = timers(job('often', 1_000), job('seldom', 2_500));
  await clock.advance(5_000);
  expect(runs.filter((name) => name === 'often')).toHaveLength(5);
  expect(runs.filter((name) => name === 'seldom')).toHaveLength(2);
  expect(made.statuses()).toMatchObject([{ name: 'often', runs: 5, failures: 0, lastSuccessMs: clock.nowMs() }, {}]);
  await made.stop();
});

it('never runs a job twice at once, and no job waits for another', async () => {
  let active = 0;
  let most = 0;
  let others = 0;
  const { clock, timers: made } = timers(
    {
      name: 'slow',
      everyMs: 1_000,
      async run() {
        most = Math.max(most, ++active);
        await clock.sleep(10_000);
        active--;
        return FINE;
      },
    },
    {
      name: 'other',
      everyMs: 1_000,
      async run() {
        others++;
        return FINE;
      },
    },
  );
  await clock.advance(33_000);
  expect([most, others]).toEqual([1, 33]);
  expect(made.statuses()[0]).toMatchObject({ runs: 3 });
  const stopped = made.stop();
  await clock.advance(10_000);
  await stopped;
});

it('goes on after a run that failed, and tells of it', async () => {
  const failure = new Error('no answer');
  const outcomes: (() => Promise<TimedRun>)[] = [
    async () => {
      throw failure;
    },
    async () => ({ blocked: 3, error: failure }),
    async () => FINE,
  ];
  let run = 0;
  const job = { name: 'merge', everyMs: 1_000, run: () => (outcomes[run++] as () => Promise<TimedRun>)() };
  const { clock, errors, timers: made } = timers(job);
  await clock.advance(1_000);
  expect(made.statuses()).toEqual([{ name: 'merge', runs: 1, failures: 1, blocked: 0, lastSuccessMs: undefined }]);
  await clock.advance(1_000);
  expect(made.statuses()).toEqual([{ name: 'merge', runs: 2, failures: 2, blocked: 3, lastSuccessMs: undefined }]);
  await clock.advance(1_000);
  expect(made.statuses()).toEqual([{ name: 'merge', runs: 3, failures: 2, blocked: 0, lastSuccessMs: clock.nowMs() }]);
  expect(errors).toEqual([
    ['merge', failure],
    ['merge', failure],
  ]);
  await made.stop();
});

it('asks a long run to stop, so that the work of a run is bounded', async () => {
  const lengths: number[] = [];
  const { clock, timers: made } = timers({
    name: 'long',
    everyMs: 1_000,
    async run({ signal }) {
      const startMs = clock.nowMs();
      await clock.sleep(Number.MAX_SAFE_INTEGER, signal);
      lengths.push(clock.nowMs() - startMs);
      return FINE;
    },
  });
  await clock.advance(2 * (RUN_MS_MAX + 1_000));
  expect(lengths).toEqual([RUN_MS_MAX, RUN_MS_MAX]);
  await made.stop();
});

it('stops the runs under way, waits for their ends, and begins no other', async () => {
  let began = 0;
  let ended = 0;
  const {
    clock,
    errors,
    timers: made,
  } = timers({
    name: 'merge',
    everyMs: 1_000,
    async run({ signal }) {
      began++;
      await clock.sleep(Number.MAX_SAFE_INTEGER, signal);
      await clock.sleep(50);
      ended++;
      // What fails because all ends is nobody's concern.
      return { blocked: 1, error: new Error('closed') };
    },
  });
  await clock.advance(1_500);
  let isStopped = false;
  const stopped = made.stop().then(() => {
    isStopped = true;
  });
  await clock.advance(49);
  expect([began, ended, isStopped]).toEqual([1, 0, false]);
  await clock.advance(1);
  await stopped;
  await clock.advance(10_000);
  expect([began, ended, errors]).toEqual([1, 1, []]);
  // No timer keeps the process from ending.
  expect(clock.sleeping).toBe(0);
});
