import type { Broker } from '../../shared/broker/broker.ts';
import type { SweptGroups } from '../../shared/broker/groups/sweep-groups.ts';
import type { SweepRun } from '../../shared/broker/jobs/sweep/run-sweep.ts';
import { EventLogError } from '../../shared/log/errors.ts';

type SweptAll = SweepRun & Partial<Omit<SweptGroups, 'error' | 'complete' | 'blocked'>>;

/**
 * Sweeps the log, then its consumer groups, and says as one run what was done. If the groups cannot be swept, what the log's
 * sweep did is still told. @throws any error that is not an `EventLogError`: such an error is a bug
 */
export async function sweepAll(
  broker: Pick<Broker, 'sweep' | 'sweepGroups'>,
  options: { readonly signal: AbortSignal },
): Promise<SweptAll> {
  const run = await broker.sweep(options);
  try {
    const { blocked, error, complete, ...counts } = await broker.sweepGroups(options);
    return {
      ...run,
      ...counts,
      blocked: run.blocked + blocked,
      error: run.error ?? error,
      complete: run.complete && complete,
    };
  } catch (error) {
    if (!(error instanceof EventLogError)) throw error;
    return { ...run, blocked: run.blocked + 1, error: run.error ?? error, complete: false };
  }
}
