import type { Broker } from '../../shared/broker/broker.ts';
import type { SweptGroups } from '../../shared/broker/groups/sweep-groups.ts';
import type { SweepRun } from '../../shared/broker/jobs/sweep/run-sweep.ts';
import type { SweptTransactions } from '../../shared/broker/transactions/sweep-transactions.ts';
import { EventLogError } from '../../shared/log/errors.ts';

type Counts<Swept> = Omit<Swept, 'error' | 'complete' | 'blocked'>;
type SweptAll = SweepRun & Partial<Counts<SweptGroups> & Counts<SweptTransactions>>;

/**
 * Sweeps the log, then its consumer groups and its transactions, and says as one run what was done. If one of them cannot be
 * swept, what the others did is still told. @throws any error that is not an `EventLogError`: such an error is a bug
 */
export async function sweepAll(
  broker: Pick<Broker, 'sweep' | 'sweepGroups' | 'sweepTransactions'>,
  options: { readonly signal: AbortSignal },
): Promise<SweptAll> {
  let all: SweptAll = await broker.sweep(options);
  for (const sweep of [() => broker.sweepGroups(options), () => broker.sweepTransactions(options)])
    all = await withRun(all, sweep);
  return all;
}

async function withRun(all: SweptAll, sweep: () => Promise<SweptGroups | SweptTransactions>): Promise<SweptAll> {
  try {
    const { blocked, error, complete, ...counts } = await sweep();
    return {
      ...all,
      ...counts,
      blocked: all.blocked + blocked,
      error: all.error ?? error,
      complete: all.complete && complete,
    };
  } catch (error) {
    if (!(error instanceof EventLogError)) throw error;
    return { ...all, blocked: all.blocked + 1, error: all.error ?? error, complete: false };
  }
}
