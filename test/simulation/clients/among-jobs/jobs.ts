import type { Broker } from '../../../../shared/broker/broker.ts';
import type { VerificationPage } from '../../../../shared/broker/verify/report.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import type { JobTheme } from '../../world/world.ts';

/** A job as a function runs it: all heads that are due, or all topics. */
export interface NamedJob {
  readonly name: string;
  /** Whether due items of its name say when it is to look at a head. */
  readonly hasDueItems?: true;
  /** How often it is chosen, against the others, by what the run is about. */
  readonly weights: Readonly<Partial<Record<JobTheme, number>>>;
  readonly run: (broker: Broker) => Promise<JobOutcome>;
}

interface JobOutcome {
  readonly error?: Error | undefined;
}

export const SWEEP_DELETED_TOPICS: NamedJob = {
  name: 'deleted topics',
  weights: { all: 1, transactions: 1 },
  run: (broker) => broker.sweepDeletedTopics(),
};

export const SWEEP: NamedJob = {
  name: 'sweep',
  hasDueItems: true,
  weights: { all: 3, brief: 3, latest: 2, transactions: 3 },
  run: (broker) => broker.runSweeps(),
};

export const JOBS: readonly NamedJob[] = [
  {
    name: 'merge',
    hasDueItems: true,
    weights: { all: 3, brief: 4, latest: 4, transactions: 4 },
    run: (broker) => broker.runMerges(),
  },
  {
    name: 'expire',
    hasDueItems: true,
    weights: { all: 2, brief: 4, latest: 1, transactions: 3 },
    run: (broker) => broker.runRetention(),
  },
  SWEEP,
  {
    name: 'compact',
    hasDueItems: true,
    weights: { all: 2, latest: 5, transactions: 5 },
    run: (broker) => broker.runCompactions(),
  },
  SWEEP_DELETED_TOPICS,
  {
    name: 'orphans',
    weights: { all: 1 },
    run: (broker) => broker.sweepHotOrphans().then(() => ({})),
  },
  { name: 'deletions', weights: { all: 1 }, run: (broker) => broker.resumeDeletions() },
];

/** The jobs of runs of transactions. */
const JOBS_AMONG_TRANSACTIONS: readonly NamedJob[] = [
  ...JOBS,
  { name: 'transactions', weights: { transactions: 2 }, run: (broker) => broker.sweepTransactions() },
  { name: 'verify', weights: { transactions: 1 }, run: verifyTopics },
];

export function jobsOf(theme: JobTheme): readonly NamedJob[] {
  return theme === 'transactions' ? JOBS_AMONG_TRANSACTIONS : JOBS;
}

/** Finds nothing wrong, whatever runs beside it. What crashes leave is no loss. */
async function verifyTopics(broker: Broker): Promise<JobOutcome> {
  const { items: topics } = await broker.listTopics();
  for (const { name } of topics) {
    for (let pageToken: string | undefined, isFirst = true; isFirst || pageToken !== undefined; isFirst = false) {
      let page: VerificationPage;
      try {
        page = await broker.verifyTopic(name, { deep: true, ...(pageToken !== undefined && { pageToken }) });
      } catch (error) {
        if (error instanceof EventLogError && ['unknown_topic', 'invalid_request'].includes(error.code)) break;
        throw error;
      }
      const wrong = page.problems.find(({ kind }) => kind !== 'orphan');
      if (wrong !== undefined)
        return { error: new Error(`${wrong.kind} in head ${wrong.headNumber} of ${name}: ${wrong.message}`) };
      pageToken = page.nextPageToken;
    }
  }
  return {};
}
