import { Duration } from 'aws-cdk-lib';
import { type IMetric, MathExpression, Metric, Stats } from 'aws-cdk-lib/aws-cloudwatch';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import type { IQueue } from 'aws-cdk-lib/aws-sqs';
import type { LogTable } from '../access.ts';
import type { JobName } from './jobs.ts';
import { type LagAlarm, lagGraph, watchedLags } from './measure-lag.ts';
import { METRIC_NAMESPACE, type Watched } from './watched.ts';

export interface WatchedJob<Name extends string = JobName> {
  readonly name: Name;
  /** The name in ids of alarms. */
  readonly id: string;
  readonly function: IFunction;
  readonly every: Duration;
}

export interface WatchJobsProps {
  readonly table: LogTable;
  readonly jobs: readonly WatchedJob[];
  /** The queue of the stream's records that failed; `undefined` without a stream. */
  readonly failedRecords: IQueue | undefined;
  /** The job that measures lag, and what is watched of it; `undefined` without. */
  readonly lag: { readonly job: WatchedJob<'lag'>; readonly alarms: readonly LagAlarm[] } | undefined;
}

const PERIOD = Duration.minutes(15);
/** Each process that dies in an append leaves one. */
const ORPHANS_MAX = 100;
/** Records are merged within an hour, and within a minute if there are many. */
const UNMERGED_MAX = Duration.hours(2);
/** Of a transaction that a producer left, the time is over after 15 minutes at most, and the next sweep aborts it. */
const TRANSACTION_MAX = Duration.hours(1);

export function watchedJobs({ table, jobs, failedRecords, lag }: WatchJobsProps): Watched[] {
  const scheduled = lag === undefined ? jobs : [...jobs, lag.job];
  const longest = alarmPeriod(Math.max(...jobs.map(({ every }) => every.toMinutes())));
  const notFinished = scheduled.map(({ id, name, function: job, every }) => ({
    id: `${id}NotFinished`,
    metric: finishedRuns(job, every),
    what: `The job ${name} has not finished a run for an hour, or for three times its interval. Read its log group.`,
    threshold: 1,
    below: true,
  }));
  return [
    ...notFinished,
    {
      id: 'BlockedHeads',
      metric: sum(
        jobs.map(({ name }) => jobMetric(table, name, 'blocked', Stats.MAXIMUM).with({ period: longest })),
        longest,
      ),
      what: 'Heads that a job cannot process, such as for damaged data. The log of the job names the data.',
      threshold: 1,
      // A request to the storage can fail once. Only runs tell it, so a period of the longest interval has at most one of some
      // jobs, and none if that one takes long.
      periods: 3,
      breachingPeriods: 2,
    },
    {
      id: 'UnmergedNodes',
      metric: jobMetric(table, 'merge', 'waitedMs', Stats.MAXIMUM),
      what: 'Records waited for hours until they were merged. The merges do not keep up.',
      threshold: UNMERGED_MAX.toMilliseconds(),
    },
    {
      id: 'Orphans',
      metric: jobMetric(table, 'sweep', 'orphansDeleted', Stats.SUM),
      what: 'Much data was written whose commit never came, and has been deleted. Look for functions that end too early.',
      threshold: ORPHANS_MAX,
    },
    {
      id: 'HangingTransactions',
      metric: jobMetric(table, 'sweep', 'oldestTransactionMs', Stats.MAXIMUM),
      what:
        'A transaction is open for longer than an hour, so the sweep could not end it, and readers of committed records wait. ' +
        'Find it by GET /v1/transactions?openLongerThanMs=3600000. The log of the ' +
        'job sweep says what it could not do. Once that works again, the next sweep ends the transaction.',
      threshold: TRANSACTION_MAX.toMilliseconds(),
    },
    ...(failedRecords === undefined
      ? []
      : [
          {
            id: 'FailedRecords',
            metric: failedRecords.metricApproximateNumberOfMessagesVisible({
              period: PERIOD,
              statistic: Stats.MAXIMUM,
            }),
            what: 'Merges that the stream started failed too often. The log of the job merge says why; the schedule tries them again.',
            threshold: 1,
          },
        ]),
    ...(lag === undefined ? [] : watchedLags(table, lag.alarms)),
  ];
}

/** What the dashboard shows of the jobs: graphs with their metrics. */
export function jobGraphs({
  table,
  jobs,
  failedRecords,
  lag,
}: WatchJobsProps): (readonly [string, IMetric[], IMetric[]])[] {
  const all = (metric: string, statistic: string): Metric[] =>
    jobs.map(({ name }) => jobMetric(table, name, metric, statistic));
  return [
    [
      'Merges: bytes, and segments written',
      [jobMetric(table, 'merge', 'bytesMerged', Stats.SUM)],
      [jobMetric(table, 'merge', 'segmentsWritten', Stats.SUM), jobMetric(table, 'merge', 'segmentsJoined', Stats.SUM)],
    ],
    [
      'Unmerged: longest wait (ms), and nodes merged',
      [jobMetric(table, 'merge', 'waitedMs', Stats.MAXIMUM)],
      [jobMetric(table, 'merge', 'nodesMerged', Stats.SUM)],
    ],
    [
      'Jobs: blocked heads, and failed records',
      all('blocked', Stats.MAXIMUM),
      failedRecords === undefined ? [] : [failedRecords.metricApproximateNumberOfMessagesVisible({ period: PERIOD })],
    ],
    [
      'Transactions: longest open (ms), and open ones',
      [jobMetric(table, 'sweep', 'oldestTransactionMs', Stats.MAXIMUM)],
      [
        jobMetric(table, 'sweep', 'transactionsOpen', Stats.MAXIMUM),
        jobMetric(table, 'sweep', 'transactionsLate', Stats.MAXIMUM),
      ],
    ],
    ...(lag === undefined ? [] : [lagGraph(table, lag.alarms)]),
  ];
}

/** An alarm's period is at most a day. */
const ALARM_PERIOD_MAX_MINUTES = 24 * 60;

function alarmPeriod(minutes: number): Duration {
  return Duration.minutes(Math.min(ALARM_PERIOD_MAX_MINUTES, minutes));
}

function finishedRuns(job: IFunction, every: Duration): IMetric {
  const period = alarmPeriod(Math.max(60, 3 * every.toMinutes()));
  return new MathExpression({
    expression: 'FILL(invocations, 0) - FILL(errors, 0)',
    usingMetrics: { invocations: job.metricInvocations({ period }), errors: job.metricErrors({ period }) },
    period,
  });
}

function jobMetric(table: LogTable, job: JobName, metricName: string, statistic: string): Metric {
  return new Metric({
    namespace: METRIC_NAMESPACE,
    metricName,
    statistic,
    period: PERIOD,
    dimensionsMap: { table: table.tableName, job },
  });
}

function sum(metrics: readonly IMetric[], period: Duration): IMetric {
  return new MathExpression({
    expression: metrics.map((_, i) => `FILL(m${i}, 0)`).join(' + '),
    usingMetrics: Object.fromEntries(metrics.map((metric, i) => [`m${i}`, metric])),
    period,
  });
}
