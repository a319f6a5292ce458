import { EventLogError } from '../../../log/errors.ts';
import type { BrokerContext } from '../../context.ts';
import type { JobRequest, JobRun } from '../../jobs/job-run.ts';
import { type GroupLag, groupLag } from './lag.ts';

/** How far a group is behind, in figures that a metric can show. */
export type MeasuredLag = Pick<
  GroupLag,
  'group' | 'totalLagRecords' | 'partitionsWithLag' | 'partitionsWithoutOffset'
> & {
  readonly maxLagMs: number;
};

export interface MeasureLagRequest extends JobRequest {
  readonly groups: readonly string[];
}

export interface MeasuredLags extends JobRun {
  /** In the order of the request; without groups that do not exist, or could not be measured. */
  readonly lags: readonly MeasuredLag[];
}

/**
 * Measures the lag of groups, one after the other, with times. A group that cannot be measured is blocked, and the others are
 * measured. A group that does not exist is left out: it may not have begun yet.
 *
 * Costs what `groupLag` costs for each group.
 * @throws any error that is not an `EventLogError`: such an error is a bug
 */
export async function measureLag(context: BrokerContext, { groups, signal }: MeasureLagRequest): Promise<MeasuredLags> {
  const lags: MeasuredLag[] = [];
  let blocked = 0;
  let first: EventLogError | undefined;
  for (const group of groups) {
    if (signal?.aborted) return { lags, blocked, error: first, complete: false };
    try {
      const { totalLagRecords, maxLagMs, partitionsWithLag, partitionsWithoutOffset } = await groupLag(context, {
        group,
      });
      lags.push({ group, totalLagRecords, maxLagMs: maxLagMs ?? 0, partitionsWithLag, partitionsWithoutOffset });
    } catch (error) {
      if (!(error instanceof EventLogError)) throw error;
      if (error.code === 'unknown_group') continue;
      first ??= error;
      blocked++;
    }
  }
  return { lags, blocked, error: first, complete: true };
}
