import type { Broker } from '../../../../shared/broker/broker.ts';
import type { JobTheme } from '../../world/world.ts';

/** A job as a function runs it: all heads that are due, or all topics. */
export interface NamedJob {
  readonly name: string;
  /** Whether due items of its name say when it is to look at a head. */
  readonly hasDueItems?: true;
  /** How often it is chosen, against the others, by what the run is about. */
  readonly weights: Readonly<Record<JobTheme, number>>;
  readonly run: (broker: Broker) => Promise<JobOutcome>;
}

interface JobOutcome {
  readonly error?: Error | undefined;
}

export const SWEEP_DELETED_TOPICS: NamedJob = {
  name: 'deleted topics',
  weights: { all: 1, brief: 0, latest: 0 },
  run: (broker) => broker.sweepDeletedTopics().then(() => ({})),
};

export const SWEEP: NamedJob = {
  name: 'sweep',
  hasDueItems: true,
  weights: { all: 3, brief: 3, latest: 2 },
  run: (broker) => broker.runSweeps(),
};

export const JOBS: readonly NamedJob[] = [
  { name: 'merge', hasDueItems: true, weights: { all: 3, brief: 4, latest: 4 }, run: (broker) => broker.runMerges() },
  {
    name: 'expire',
    hasDueItems: true,
    weights: { all: 2, brief: 4, latest: 1 },
    run: (broker) => broker.runRetention(),
  },
  SWEEP,
  {
    name: 'compact',
    hasDueItems: true,
    weights: { all: 2, brief: 0, latest: 5 },
    run: (broker) => broker.runCompactions(),
  },
  SWEEP_DELETED_TOPICS,
  {
    name: 'orphans',
    weights: { all: 1, brief: 0, latest: 0 },
    run: (broker) => broker.sweepHotOrphans().then(() => ({})),
  },
  { name: 'deletions', weights: { all: 1, brief: 0, latest: 0 }, run: (broker) => broker.resumeDeletions() },
];
