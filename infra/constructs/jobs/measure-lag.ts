import { Duration } from 'aws-cdk-lib';
import { type IAlarmAction, Metric, Stats } from 'aws-cdk-lib/aws-cloudwatch';
import type { LogTable } from '../access.ts';
import { METRIC_NAMESPACE, type Watched } from './watched.ts';

/** An alarm on the lag of a consumer group. It needs `records`, `seconds` or both. */
export interface LagAlarm {
  /** The id of the group. It need not exist yet: until then there are no figures and no alarm. */
  readonly group: string;
  /** The alarm goes off if at least this many records are not read yet, for five minutes. @default - no such alarm */
  readonly records?: number;
  /**
   * The alarm goes off if the oldest record that is not read yet is at least this many seconds old, for five minutes.
   * @default - no such alarm
   */
  readonly seconds?: number;
  /** Actions that these alarms start. @default - those of `alarmActions` of the log */
  readonly alarmActions?: readonly IAlarmAction[];
}

/** The event that names the groups has 8,192 characters at most; an id in JSON has up to 512. */
const GROUPS_MAX = 15;
const PERIOD = Duration.minutes(5);
/** What CloudWatch takes as the value of a dimension: printable ASCII, not spaces alone. Of these, ids of groups have up to 255. */
const DIMENSION_VALUE = /^(?=.*\S)[ -~]{1,255}$/;

/** @throws Error if an alarm cannot be made, or would never go off */
export function checkLagAlarms(alarms: readonly LagAlarm[]): void {
  if (alarms.length > GROUPS_MAX)
    throw new Error(`lagAlarms takes at most ${GROUPS_MAX} groups, not ${alarms.length}.`);
  const seen = new Set<string>();
  for (const { group, records, seconds } of alarms) {
    if (!DIMENSION_VALUE.test(group))
      throw new Error(
        `lagAlarms takes groups of 1 to 255 printable ASCII characters, as CloudWatch does, not '${group}'.`,
      );
    if (seen.has(group))
      throw new Error(`lagAlarms names the group '${group}' twice. Give it records and seconds at once.`);
    seen.add(group);
    if (records === undefined && seconds === undefined)
      throw new Error(`The alarm on the lag of the group '${group}' needs records, seconds or both.`);
    for (const [name, value] of Object.entries({ records, seconds }))
      if (value !== undefined && !(Number.isSafeInteger(value) && value >= 1))
        throw new Error(
          `${name} of the alarm on the lag of the group '${group}' is a whole number from 1, not ${value}.`,
        );
  }
}

export function watchedLags(table: LogTable, alarms: readonly LagAlarm[]): Watched[] {
  return alarms.flatMap(({ group, records, seconds, alarmActions }) => {
    const actions = alarmActions === undefined ? {} : { actions: alarmActions };
    const both = { LagRecords: records, LagSeconds: seconds };
    return Object.entries(both).flatMap(([name, threshold]) =>
      threshold === undefined
        ? []
        : [
            {
              id: `${name}-${group}`,
              // The smallest of the five figures: a moment's backlog is no reason to call anybody.
              metric: lagMetric(table, group, name, Stats.MINIMUM),
              what: `The consumer group ${group} is behind for five minutes. Look whether its members run, and what they wait for.`,
              threshold,
              ...actions,
            },
          ],
    );
  });
}

/** For the dashboard: how long records wait, and how many. */
export function lagGraph(table: LogTable, alarms: readonly LagAlarm[]): readonly [string, Metric[], Metric[]] {
  const of = (name: string): Metric[] =>
    alarms.map(({ group }) => lagMetric(table, group, name, Stats.MAXIMUM).with({ label: `${group} ${name}` }));
  return ['Consumer groups: oldest unread record (s), and unread records', of('LagSeconds'), of('LagRecords')];
}

function lagMetric({ tableName: table }: LogTable, group: string, metricName: string, statistic: string): Metric {
  const dimensionsMap = { table, group };
  return new Metric({ namespace: METRIC_NAMESPACE, metricName, statistic, period: PERIOD, dimensionsMap });
}
