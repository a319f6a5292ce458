import { Duration } from 'aws-cdk-lib';
import {
  Alarm,
  AlarmStatusWidget,
  ComparisonOperator,
  Dashboard,
  GraphWidget,
  type IAlarmAction,
  type IMetric,
  MathExpression,
  Metric,
  Stats,
  TextWidget,
  TreatMissingData,
} from 'aws-cdk-lib/aws-cloudwatch';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import type { LogBucket } from './access.ts';
import { jobGraphs, type WatchJobsProps, watchedJobs } from './jobs/watch-jobs.ts';
import type { Watched } from './jobs/watched.ts';
import { REQUEST_METRICS_ID } from './storage/segment-bucket.ts';

export interface ObservationProps extends WatchJobsProps {
  readonly bucket: LogBucket;
  readonly bucketRequestMetrics: boolean;
  readonly produce: IFunction | undefined;
  readonly http: IFunction | undefined;
  readonly alarms: boolean;
  readonly alarmActions: readonly IAlarmAction[];
  readonly dashboard: boolean;
}

const PERIOD = Duration.minutes(5);
/** An append of a small batch takes some tens of milliseconds; seconds mean that the storage responds slowly. */
const APPEND_P99_MS_MAX = 2_000;
const TABLE_OPERATIONS = ['GetItem', 'PutItem', 'UpdateItem', 'DeleteItem', 'Query'];

/** Alarms for problems that need attention, and a dashboard that shows these problems and the load. */
export class Observation extends Construct {
  constructor(scope: Construct, id: string, props: ObservationProps) {
    super(scope, id);
    const alarms = props.alarms
      ? this.watched(props).map((watched) => makeAlarm(this, watched, props.alarmActions))
      : [];
    if (props.dashboard) this.addDashboard(props, alarms);
  }

  private watched(props: ObservationProps): Watched[] {
    const { produce, http, table } = props;
    const functions = Object.entries({ Produce: produce, Http: http });
    const watched: Watched[] = functions.flatMap(([name, each]) =>
      each === undefined
        ? []
        : [
            {
              id: `${name}Errors`,
              metric: each.metricErrors({ period: PERIOD }),
              what: `${name}: invocations that crashed, ran out of memory or were ended by their time limit.`,
              threshold: 1,
            },
          ],
    );
    for (const [name, each] of Object.entries({ Produce: produce, Http: http })) {
      if (each === undefined) continue;
      watched.push({
        id: `${name}Throttles`,
        metric: each.metricThrottles({ period: PERIOD }),
        what: `${name}: requests that found no free environment. Raise the concurrency.`,
        threshold: 1,
      });
    }
    if (produce !== undefined) {
      watched.push({
        id: 'ProduceP99',
        metric: produce.metricDuration({ period: PERIOD, statistic: Stats.p(99) }),
        what: 'Appends: one of a hundred takes seconds.',
        threshold: APPEND_P99_MS_MAX,
        periods: 3,
      });
    }
    watched.push(
      {
        id: 'TableThrottles',
        metric: sum(
          table.metric('ReadThrottleEvents', { period: PERIOD, statistic: Stats.SUM }),
          table.metric('WriteThrottleEvents', { period: PERIOD, statistic: Stats.SUM }),
        ),
        what: 'Table: throttled requests. One head takes about 1,000 commits a second; more partitions have more heads.',
        threshold: 10,
        periods: 3,
      },
      {
        id: 'TableSystemErrors',
        metric: sum(
          ...TABLE_OPERATIONS.map((operation) =>
            table.metric('SystemErrors', {
              period: PERIOD,
              statistic: Stats.SUM,
              dimensionsMap: { TableName: table.tableName, Operation: operation },
            }),
          ),
        ),
        what: 'Table: requests that DynamoDB failed. They are repeated, and settle by themselves.',
        threshold: 10,
        periods: 3,
      },
      ...watchedJobs(props),
    );
    if (props.bucketRequestMetrics) {
      watched.push({
        id: 'BucketErrors',
        metric: bucketMetric(props.bucket, '5xxErrors', Stats.SUM),
        what: 'Bucket: requests that S3 failed or asked to slow down.',
        threshold: 10,
        periods: 3,
      });
    }
    return watched;
  }

  private addDashboard(props: ObservationProps, alarms: readonly Alarm[]): void {
    const { produce, http, jobs, lag, table, bucket } = props;
    const functions = [produce, http, ...jobs.map((job) => job.function), lag?.job.function].filter(
      (each) => each !== undefined,
    );
    const dashboard = new Dashboard(this, 'Dashboard', { defaultInterval: Duration.hours(3) });
    const graph = (title: string, left: IMetric[], right: IMetric[] = []): GraphWidget =>
      new GraphWidget({ title, left, right, width: 8, height: 6 });
    dashboard.addWidgets(
      new TextWidget({ markdown: '# Tailrace', width: 24, height: 1 }),
      graph(
        'Requests',
        functions.map((each) => each.metricInvocations({ period: PERIOD })),
      ),
      graph(
        'Errors and throttles',
        functions.flatMap((each) => [each.metricErrors({ period: PERIOD }), each.metricThrottles({ period: PERIOD })]),
      ),
      graph(
        'Duration of appends',
        produce === undefined
          ? []
          : [Stats.p(50), Stats.p(99)].map((statistic) => produce.metricDuration({ period: PERIOD, statistic })),
      ),
      graph('Table: units', [
        table.metricConsumedReadCapacityUnits({ period: PERIOD }),
        table.metricConsumedWriteCapacityUnits({ period: PERIOD }),
      ]),
      graph('Table: throttles and refused commits', [
        table.metric('ReadThrottleEvents', { period: PERIOD, statistic: Stats.SUM }),
        table.metric('WriteThrottleEvents', { period: PERIOD, statistic: Stats.SUM }),
        table.metric('ConditionalCheckFailedRequests', { period: PERIOD, statistic: Stats.SUM }),
      ]),
      graph(
        'Environments in use',
        functions.map((each) => each.metric('ConcurrentExecutions', { period: PERIOD, statistic: Stats.MAXIMUM })),
      ),
      ...jobGraphs(props).map(([title, left, right]) => graph(title, left, right)),
      graph(
        'Bucket: bytes and objects, once a day',
        [storageMetric(bucket, 'BucketSizeBytes', 'StandardStorage')],
        [storageMetric(bucket, 'NumberOfObjects', 'AllStorageTypes')],
      ),
      ...(props.bucketRequestMetrics
        ? [
            graph(
              'Bucket: requests and errors',
              [bucketMetric(bucket, 'AllRequests', Stats.SUM)],
              [bucketMetric(bucket, '5xxErrors', Stats.SUM)],
            ),
          ]
        : []),
      ...(alarms.length === 0
        ? []
        : [new AlarmStatusWidget({ title: 'Alarms', alarms: [...alarms], width: 8, height: 6 })]),
    );
  }
}

/** `alarmActions`: what an alarm starts that names nothing else. */
export function makeAlarm(
  scope: Construct,
  { id, metric, what, threshold, periods = 1, breachingPeriods, below = false, actions }: Watched,
  alarmActions: readonly IAlarmAction[],
): Alarm {
  const alarm = new Alarm(scope, id, {
    metric,
    threshold,
    evaluationPeriods: periods,
    ...(breachingPeriods === undefined ? {} : { datapointsToAlarm: breachingPeriods }),
    alarmDescription: `Tailrace: ${what}`,
    comparisonOperator: below
      ? ComparisonOperator.LESS_THAN_THRESHOLD
      : ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
    // Without activity there are no data points. Only what must happen all the time has an alarm on their absence.
    treatMissingData: below ? TreatMissingData.BREACHING : TreatMissingData.NOT_BREACHING,
  });
  alarm.addAlarmAction(...(actions ?? alarmActions));
  return alarm;
}

function sum(...metrics: IMetric[]): MathExpression {
  const usingMetrics = Object.fromEntries(metrics.map((metric, i) => [`m${i}`, metric]));
  return new MathExpression({
    expression: metrics.map((_, i) => `FILL(m${i}, 0)`).join(' + '),
    usingMetrics,
    period: PERIOD,
  });
}

function bucketMetric(bucket: LogBucket, metricName: string, statistic: string): Metric {
  return new Metric({
    namespace: 'AWS/S3',
    metricName,
    statistic,
    period: PERIOD,
    dimensionsMap: { BucketName: bucket.bucketName, FilterId: REQUEST_METRICS_ID },
  });
}

function storageMetric(bucket: LogBucket, metricName: string, StorageType: string): Metric {
  return new Metric({
    namespace: 'AWS/S3',
    metricName,
    statistic: Stats.AVERAGE,
    period: Duration.days(1),
    dimensionsMap: { BucketName: bucket.bucketName, StorageType },
  });
}
