import { performance } from 'node:perf_hooks';
import type { Broker } from '../broker/broker.ts';
import type { MeasuredLag } from '../broker/groups/offsets/measure-lag.ts';
import type { ProcessMetrics } from '../http/handler.ts';
import type { JobStatus, TimedRun } from './jobs/job-timers.ts';

/** The first groups in the byte order of their ids. So the number of samples, and the work of a run, are bounded. */
export const GROUPS_MEASURED_MAX = 100;

/** The lag of consumer groups as it was last measured, so that whoever asks for it costs no request. */
export class KnownLags {
  #lags: readonly MeasuredLag[] = [];

  get lags(): readonly MeasuredLag[] {
    return this.#lags;
  }

  /** Lags that could not be measured now are forgotten: an old one would look as if nothing had changed. */
  async measure(
    broker: Pick<Broker, 'listGroups' | 'measureLag'>,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<TimedRun> {
    let lags: readonly MeasuredLag[] = [];
    try {
      const { items } = await broker.listGroups({ limit: GROUPS_MEASURED_MAX });
      const run = await broker.measureLag({ groups: items.map(({ group }) => group), signal });
      lags = run.lags;
      return run;
    } finally {
      this.#lags = lags;
    }
  }
}

/** What this process tells of itself. */
export function processMetrics(jobs: readonly JobStatus[], groupLags: readonly MeasuredLag[]): ProcessMetrics {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed } = process.memoryUsage();
  return {
    startedAtMs: performance.timeOrigin,
    cpuSeconds: (user + system) / 1e6,
    residentBytes: rss,
    heapUsedBytes: heapUsed,
    eventLoopUtilization: performance.eventLoopUtilization().utilization,
    jobs,
    groupLags,
  };
}
