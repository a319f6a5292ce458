/** CloudWatch metrics of the jobs, in the embedded metric format: a field of a log line that says which others are metrics. */

export const METRIC_NAMESPACE = 'Tailrace';

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
  return {
    job,
    table,
    _aws: {
      Timestamp: Date.now(),
      CloudWatchMetrics: [
        {
          Namespace: METRIC_NAMESPACE,
          Dimensions: [['table', 'job']],
          Metrics: names.map((name) => ({ Name: name, Unit: unitOf(name) })),
        },
      ],
    },
  };
}

function unitOf(name: string): 'Bytes' | 'Milliseconds' | 'Count' {
  if (/^bytes|Bytes$/.test(name)) return 'Bytes';
  return name.endsWith('Ms') ? 'Milliseconds' : 'Count';
}
