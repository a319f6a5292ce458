/** CloudWatch metrics, in the embedded metric format: a field of a log line that says which others are metrics. */

export const METRIC_NAMESPACE = 'Tailrace';

export interface Metric {
  readonly Name: string;
  readonly Unit: 'Bytes' | 'Milliseconds' | 'Seconds' | 'Count';
}

/** The field `_aws` of a line, whose fields of these names are the dimensions and the metrics. */
export function embedded(dimensions: readonly string[], metrics: readonly Metric[]): { readonly _aws: object } {
  const CloudWatchMetrics = [{ Namespace: METRIC_NAMESPACE, Dimensions: [dimensions], Metrics: metrics }];
  return { _aws: { Timestamp: Date.now(), CloudWatchMetrics } };
}

/**
 * Makes metrics of those counts that are not 0, with the job and the table as dimensions. A metric costs $0.30 for each
 * month in which it has data, by the hour: so an idle log has none. A name that ends in a unit tells the unit.
 */
export function metricsOf(
  { job, table }: { readonly job: string; readonly table: string },
  counts: Readonly<Record<string, number>>,
): { readonly _aws?: object; readonly job: string; readonly table: string } {
  const names = Object.keys(counts).filter((name) => counts[name] !== 0);
  if (names.length === 0) return { job, table };
  const metrics = names.map((name) => ({ Name: name, Unit: unitOf(name) }));
  return { job, table, ...embedded(['table', 'job'], metrics) };
}

function unitOf(name: string): Metric['Unit'] {
  if (/^bytes|Bytes$/.test(name)) return 'Bytes';
  return name.endsWith('Ms') ? 'Milliseconds' : 'Count';
}
