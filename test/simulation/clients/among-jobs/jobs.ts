import { Broker } from '../../../../shared/broker/broker.ts';

/** A job as a function runs it: all heads that are due. */
export interface NamedJob {
  readonly name: string;
  readonly weight: number;
  readonly run: (broker: Broker) => Promise<JobOutcome>;
}

export interface JobOutcome {
  readonly error?: Error | undefined;
}

/** Job -> the broker's method, and how often it is chosen. */
const METHODS: Readonly<Record<string, readonly [method: string, weight: number]>> = {
  merge: ['runMerges', 3],
  expire: ['runRetention', 2],
  sweep: ['runSweeps', 3],
  compact: ['runCompactions', 2],
  'deleted topics': ['sweepDeletedTopics', 1],
  orphans: ['sweepHotOrphans', 1],
  'resume-deletions': ['resumeDeletions', 1],
};

export function hasJob(name: string): boolean {
  return JOBS.some((job) => job.name === name);
}

/** The jobs that this log has. */
export const JOBS: readonly NamedJob[] = Object.entries(METHODS)
  .filter(([, [method]]) => method in Broker.prototype)
  .map(([name, [method, weight]]) => ({
    name,
    weight,
    run: (broker) =>
      (broker as unknown as Record<string, () => Promise<JobOutcome>>)[method]?.() ?? Promise.resolve({}),
  }));
