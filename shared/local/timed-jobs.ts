import type { Broker } from '../broker/broker.ts';
import { invalidField } from '../log/errors.ts';
import type { TimedJob } from './job-timers.ts';

/** The jobs of the embedded log. */
export interface JobIntervals {
  /** Merges the heads that are busy now. It costs nothing if there are none. */
  readonly mergeBusyHeads: number;
  /** Merges the other heads that are due. */
  readonly merge: number;
  /** Finishes deletions of topics that were interrupted. */
  readonly resumeDeletions: number;
}

export const DEFAULT_JOB_INTERVALS: JobIntervals = {
  mergeBusyHeads: 5_000,
  merge: 60_000,
  resumeDeletions: 300_000,
};
/** A timer of Node cannot wait for longer. */
const JOB_INTERVAL_MS_MAX = 2_147_483_647;

/** The jobs of a log with their intervals; none if they are switched off. */
export function timedJobs(broker: Broker, intervals: false | Partial<JobIntervals> = {}): TimedJob[] {
  if (intervals === false) return [];
  const every = { ...DEFAULT_JOB_INTERVALS, ...intervals };
  const runs: Readonly<Record<keyof JobIntervals, TimedJob['run']>> = {
    mergeBusyHeads: (options) => broker.mergeBusyHeads(options),
    merge: (options) => broker.runMerges(options),
    resumeDeletions: async (options) => {
      const { topicsFailed, error } = await broker.resumeDeletions(options);
      return { blocked: topicsFailed, error };
    },
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
