import type { Broker } from '../../broker/broker.ts';
import { invalidField } from '../../log/errors.ts';
import type { Known } from '../process-metrics.ts';
import type { TimedJob } from './job-timers.ts';

/** The jobs of the embedded log. */
export interface JobIntervals {
  /** Merges the heads that are busy now. It costs nothing if there are none. */
  readonly mergeBusyHeads: number;
  /** Merges the other heads that are due. Like the ones below it costs eight small requests if there are none. */
  readonly merge: number;
  /** Drops what retention no longer keeps. */
  readonly expire: number;
  /** Deletes what nothing refers to. */
  readonly sweep: number;
  /** Deletes what groups without members have committed long ago. */
  readonly sweepGroups: number;
  /** Ends transactions that were left open, deletes transactional ids that are not used, and counts what is open. */
  readonly sweepTransactions: number;
  /** Compacts topics that keep the newest record of each key. */
  readonly compact: number;
  /** Measures how far consumer groups are behind, for `GET /metrics`. It costs one small request if there are no groups. */
  readonly measureLag: number;
}

export const DEFAULT_JOB_INTERVALS: JobIntervals = {
  mergeBusyHeads: 5_000,
  merge: 60_000,
  expire: 60_000,
  sweep: 60_000,
  sweepGroups: 3_600_000,
  sweepTransactions: 60_000,
  compact: 60_000,
  measureLag: 15_000,
};
/** A timer of Node cannot wait for longer. */
const JOB_INTERVAL_MS_MAX = 2_147_483_647;

/** The jobs of a log with their intervals; none if they are switched off. */
export function timedJobs(broker: Broker, known: Known, intervals: false | Partial<JobIntervals> = {}): TimedJob[] {
  if (intervals === false) return [];
  const every = { ...DEFAULT_JOB_INTERVALS, ...intervals };
  const runs: Readonly<Record<keyof JobIntervals, TimedJob['run']>> = {
    mergeBusyHeads: (options) => broker.mergeBusyHeads(options),
    merge: (options) => broker.runMerges(options),
    expire: (options) => broker.runRetention(options),
    sweep: (options) => broker.sweep(options),
    sweepGroups: (options) => broker.sweepGroups(options),
    sweepTransactions: (options) => known.transactions.sweep(broker, options),
    compact: (options) => broker.runCompactions(options),
    measureLag: (options) => known.lags.measure(broker, options),
  };
  return (Object.keys(runs) as (keyof JobIntervals)[]).map((name) => ({ name, everyMs: every[name], run: runs[name] }));
}

/** @throws EventLogError `invalid_request` */
export function checkIntervals(jobs: false | Partial<JobIntervals> = {}): void {
  for (const [name, ms] of Object.entries(jobs)) {
    if (!(name in DEFAULT_JOB_INTERVALS))
      throw invalidField(
        `jobs.${name}`,
        `There is no job '${name}'. Jobs: ${Object.keys(DEFAULT_JOB_INTERVALS).join(', ')}.`,
      );
    if (!Number.isSafeInteger(ms) || ms < 1 || ms > JOB_INTERVAL_MS_MAX)
      throw invalidField(
        `jobs.${name}`,
        `The interval of a job is a whole number of milliseconds from 1 to ${JOB_INTERVAL_MS_MAX}, not ${ms}.`,
      );
  }
}
