import type { IAlarmAction, IMetric } from 'aws-cdk-lib/aws-cloudwatch';

/** The namespace of the metrics that the functions make (`functions/lambda/metrics.ts`). */
export const METRIC_NAMESPACE = 'Tailrace';

/** What an alarm watches. */
export interface Watched {
  readonly id: string;
  readonly metric: IMetric;
  readonly what: string;
  readonly threshold: number;
  /** The number of consecutive periods. @default 1 */
  readonly periods?: number;
  /** How many of these periods must reach the threshold. @default - all */
  readonly breachingPeriods?: number;
  /** The alarm reports values below the threshold, and that there are none. */
  readonly below?: boolean;
  /** What the alarm starts. @default - what all alarms start */
  readonly actions?: readonly IAlarmAction[];
}
