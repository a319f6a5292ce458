import type { Broker } from '../../shared/broker/broker.ts';
import { invalidField } from '../../shared/log/errors.ts';
import type { JobRun } from '../lambda/job.ts';
import type { logLine } from '../lambda/log-line.ts';
import { embedded, type Metric } from '../lambda/metrics.ts';

interface MeasureAndLogRequest {
  readonly groups: readonly string[];
  readonly tableName: string;
  readonly signal: AbortSignal;
  readonly log: typeof logLine;
}

const DIMENSIONS = ['table', 'group'];
const METRICS: readonly Metric[] = [
  { Name: 'LagRecords', Unit: 'Count' },
  { Name: 'LagSeconds', Unit: 'Seconds' },
  { Name: 'PartitionsWithLag', Unit: 'Count' },
];

/** @throws EventLogError `invalid_request` if the event of the schedule names no groups */
export function groupsOf(event: unknown): readonly string[] {
  const groups = (event as { readonly groups?: unknown } | null | undefined)?.groups;
  if (Array.isArray(groups) && groups.length > 0 && groups.every((group) => typeof group === 'string')) return groups;
  throw invalidField('groups', 'The event needs the groups to measure, such as {"groups":["billing"]}.');
}

/**
 * Measures the groups, and writes a line with metrics for each that exists, also if nothing is behind: an alarm needs the
 * figures of when the group has caught up. A run that was stopped before its last group has an error.
 */
export async function measureAndLog(
  broker: Pick<Broker, 'measureLag'>,
  { groups, tableName, signal, log }: MeasureAndLogRequest,
): Promise<JobRun> {
  const { lags, ...run } = await broker.measureLag({ groups, signal });
  for (const { group, totalLagRecords, maxLagMs, partitionsWithLag, partitionsWithoutOffset } of lags)
    log('INFO', 'The lag of a consumer group was measured.', {
      table: tableName,
      group,
      LagRecords: totalLagRecords,
      LagSeconds: maxLagMs / 1_000,
      PartitionsWithLag: partitionsWithLag,
      partitionsWithoutOffset,
      ...embedded(DIMENSIONS, METRICS),
    });
  // The next run begins with the same groups, so those after them would never be measured, and nobody would know.
  const late = run.complete ? undefined : new Error('The time was over before all groups were measured. Name fewer.');
  // The figures of groups are no counts that could be added up.
  return { results: [], ...run, error: run.error ?? late };
}
