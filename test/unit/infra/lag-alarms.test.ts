import { Validations } from 'aws-cdk-lib';
import { Match, type Template } from 'aws-cdk-lib/assertions';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { AwsSolutionsChecks, ServerlessChecks } from 'cdk-nag';
import { describe, expect, it } from 'vitest';
import { groupsOf } from '../../../functions/lag/measure-and-log.ts';
import { METRIC_NAMESPACE } from '../../../functions/lambda/metrics.ts';
import { LAG } from '../../../infra/constructs/access.ts';
import type { EventLogProps } from '../../../infra/constructs/event-log.ts';
import type { LagAlarm } from '../../../infra/constructs/jobs/measure-lag.ts';
import * as watched from '../../../infra/constructs/jobs/watched.ts';
import { expected, granted } from '../../support/granted.ts';
import { eventLog, resourcesOf, statementsOf } from '../../support/synthesize.ts';

const lagAlarms: LagAlarm[] = [
  { group: 'billing', records: 1_000, seconds: 300 },
  { group: 'a/"', seconds: 60 },
];

function lagAlarmsOf(template: Template) {
  return Object.values(resourcesOf(template, 'AWS::CloudWatch::Alarm'))
    .map(({ Properties }) => Properties)
    .filter(({ MetricName }) => String(MetricName).startsWith('Lag'));
}

describe('alarms on the lag of consumer groups', () => {
  it('measure the named groups each minute, by a function whose role can change nothing', () => {
    const { log, template } = eventLog({ lagAlarms });
    const made = template();
    expect(log.lagFunction).toBeDefined();
    const rules = Object.values(resourcesOf(made, 'AWS::Events::Rule')).map(({ Properties }) => Properties);
    const rule = rules.find(({ ScheduleExpression }) => ScheduleExpression === 'rate(1 minute)');
    const [target] = (rule as (typeof rules)[number]).Targets as [{ Arn: unknown; Input: string }];
    expect(JSON.stringify(target.Arn)).toContain('LogLagJob');
    expect(groupsOf(JSON.parse(target.Input))).toEqual(['billing', 'a/"']);
    // A role whose policies were not found would have no permission at all.
    expect(granted(statementsOf(made, 'LogLagJob'))).toEqual(expected(LAG));
    expect(expected(LAG).filter((what) => /Put|Update|Delete/.test(what))).toEqual(['logs:PutLogEvents']);
  });

  it('go off if the whole of five minutes is behind, and not without figures', () => {
    const found = lagAlarmsOf(eventLog({ lagAlarms }).template());
    expect(found.map(({ MetricName, Threshold }) => [MetricName, Threshold])).toEqual([
      ['LagRecords', 1_000],
      ['LagSeconds', 300],
      ['LagSeconds', 60],
    ]);
    expect(METRIC_NAMESPACE).toBe(watched.METRIC_NAMESPACE);
    for (const alarm of found)
      expect(alarm).toMatchObject({
        Namespace: METRIC_NAMESPACE,
        Statistic: 'Minimum',
        Period: 300,
        EvaluationPeriods: 1,
        ComparisonOperator: 'GreaterThanOrEqualToThreshold',
        TreatMissingData: 'notBreaching',
      });
    expect(
      found.map(({ Dimensions }) => (Dimensions as { Name: string; Value: unknown }[]).map(({ Name }) => Name)),
    ).toEqual(found.map(() => ['group', 'table']));
    expect(found.map(({ Dimensions }) => (Dimensions as { Value: unknown }[])[0]?.Value)).toEqual([
      'billing',
      'billing',
      'a/"',
    ]);
  });

  it('start the actions of the group, or those of the log, and tell if nothing is measured', () => {
    const { template } = eventLog((stack) => {
      const action = (id: string) => new SnsAction(new Topic(stack, id));
      return {
        alarmActions: [action('All')],
        lagAlarms: [
          { group: 'own', records: 1, alarmActions: [action('Own')] },
          { group: 'other', records: 1 },
        ],
      };
    });
    const made = template();
    const actions = lagAlarmsOf(made).map(({ AlarmActions }) => JSON.stringify(AlarmActions));
    expect(actions).toEqual([expect.stringContaining('"Own'), expect.stringContaining('"All')]);
    made.hasResourceProperties('AWS::CloudWatch::Alarm', {
      AlarmDescription: Match.stringLikeRegexp('The job lag has not finished'),
      TreatMissingData: 'breaching',
    });
    expect(JSON.stringify(resourcesOf(made, 'AWS::CloudWatch::Dashboard'))).toContain('other LagRecords');
  });

  it('cost nothing without a group to watch', () => {
    for (const props of [{}, { lagAlarms: [] }] satisfies EventLogProps[]) {
      const { log, template } = eventLog(props);
      expect(log.lagFunction).toBeUndefined();
      expect(JSON.stringify(template().toJSON())).not.toMatch(/lag|Lag/);
    }
  });

  it.each<[LagAlarm[], RegExp]>([
    [[{ group: '', records: 1 }], /1 to 255 printable ASCII characters/],
    [[{ group: 'g'.repeat(256), records: 1 }], /1 to 255/],
    [[{ group: 'g\n', records: 1 }], /printable/],
    [[{ group: 'ä', records: 1 }], /printable ASCII.*'ä'/],
    [[{ group: '  ', records: 1 }], /printable ASCII/],
    [[{ group: 'g' }], /'g' needs records, seconds or both/],
    [[{ group: 'g', records: 0 }], /records .*whole number from 1, not 0/],
    [[{ group: 'g', records: 1, seconds: 0.5 }], /seconds .*whole number from 1, not 0.5/],
    [
      [
        { group: 'g', records: 1 },
        { group: 'g', seconds: 1 },
      ],
      /'g' twice/,
    ],
    [Array.from({ length: 16 }, (_, i) => ({ group: `g${i}`, records: 1 })), /at most 15 groups, not 16/],
  ])('refuse %j', (wrong, message) => {
    expect(() => eventLog({ lagAlarms: wrong })).toThrow(message);
  });

  it('fit into the event of a schedule, however long the ids are', () => {
    const made = eventLog({
      lagAlarms: Array.from({ length: 15 }, (_, i) => ({
        group: `${String.fromCharCode(65 + i)}`.padEnd(255, '"'),
        records: 1,
      })),
    }).template();
    for (const { Properties } of Object.values(resourcesOf(made, 'AWS::Events::Rule')))
      for (const { Input = '' } of Properties.Targets as { Input?: string }[]) expect(Input.length).toBeLessThan(8_192);
  });

  it('have no findings of cdk-nag of their own', () => {
    const findings = (props: EventLogProps): string[] => {
      const { stack } = eventLog(props);
      const app = stack.node.root as never;
      Validations.of(app).addPlugins(new AwsSolutionsChecks(app), new ServerlessChecks(app));
      try {
        (app as { synth(): unknown }).synth();
        return [];
      } catch (error) {
        return [String(error)];
      }
    };
    expect(findings({ lagAlarms })).toEqual([]);
  });
});
