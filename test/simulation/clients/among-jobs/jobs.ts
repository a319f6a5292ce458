import type { Broker } from '../../../../shared/broker/broker.ts';

/** A job as a function runs it: all heads that are due, or all topics. */
export interface NamedJob {
  readonly name: string;
  /** Whether due items of its name say when it is to look at a head. */
  readonly hasDueItems?: true;
  /** How often it is chosen, against the others. */
  readonly weight: number;
  /** The same in runs about compaction. */
  readonly compactionWeight: number;
  readonly run: (broker: Broker) => Promise<JobOutcome>;
}

interface JobOutcome {
  readonly error?: Error | undefined;
}

export const SWEEP_DELETED_TOPICS: NamedJob = {
  name: 'deleted topics',
  weight: 1,
  compactionWeight: 0,
  run: (broker) => broker.sweepDeletedTopics().then(() => ({})),
};

export const JOBS: readonly NamedJob[] = [
  { name: 'merge', hasDueItems: true, weight: 3, compactionWeight: 4, run: (broker) => broker.runMerges() },
  { name: 'expire', hasDueItems: true, weight: 2, compactionWeight: 1, run: (broker) => broker.runRetention() },
  { name: 'sweep', hasDueItems: true, weight: 3, compactionWeight: 2, run: (broker) => broker.runSweeps() },
  { name: 'compact', hasDueItems: true, weight: 2, compactionWeight: 5, run: (broker) => broker.runCompactions() },
  SWEEP_DELETED_TOPICS,
  { name: 'orphans', weight: 1, compactionWeight: 0, run: (broker) => broker.sweepHotOrphans().then(() => ({})) },
  { name: 'deletions', weight: 1, compactionWeight: 0, run: (broker) => broker.resumeDeletions() },
];
