import { performance } from 'node:perf_hooks';
import type { ProcessMetrics } from '../http/handler.ts';
import type { JobStatus } from './job-timers.ts';

/** What this process tells of itself. */
export function processMetrics(jobs: readonly JobStatus[]): ProcessMetrics {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed } = process.memoryUsage();
  return {
    startedAtMs: performance.timeOrigin,
    cpuSeconds: (user + system) / 1e6,
    residentBytes: rss,
    heapUsedBytes: heapUsed,
    eventLoopUtilization: performance.eventLoopUtilization().utilization,
    jobs,
  };
}
