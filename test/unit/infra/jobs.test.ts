import { Match, type Template } from 'aws-cdk-lib/assertions';
import { beforeAll, describe, expect, it } from 'vitest';
import { METRIC_NAMESPACE } from '../../../functions/lambda/metrics.ts';
import { nodePartitionKey } from '../../../shared/storage/keys.ts';
import { suffixOf } from '../../support/granted.ts';
import { list, type Resource, resourcesOf, statementsOf, testTemplates } from '../../support/synthesize.ts';

describe('the jobs of the stateless stack', () => {
  let template: Template;
  beforeAll(() => {
    template = testTemplates().stateless;
  });

  it('runs the jobs on a schedule', () => {
    for (const [name, minutes] of [
      ['Merge', 15],
      ['Expire', 30],
      ['Sweep', 15],
      ['Compact', 30],
    ])
      template.hasResourceProperties('AWS::Events::Rule', {
        ScheduleExpression: `rate(${minutes} minutes)`,
        State: 'ENABLED',
        Targets: [Match.objectLike({ Arn: { 'Fn::GetAtt': [Match.stringLikeRegexp(`EventLog${name}Job`), 'Arn'] } })],
      });
    template.hasResourceProperties('AWS::Lambda::Permission', {
      Action: 'lambda:InvokeFunction',
      Principal: 'events.amazonaws.com',
      SourceArn: { 'Fn::GetAtt': [Match.stringLikeRegexp('Schedule'), 'Arn'] },
    });
    template.resourceCountIs('AWS::Scheduler::Schedule', 0);
  });

  it('does not repeat a run that failed: the next one on the schedule does what is left', () => {
    const functions = Object.values(resourcesOf(template, 'AWS::Events::Rule')).map(({ Properties }) => {
      const [target] = Properties.Targets as { Arn: { 'Fn::GetAtt': string[] }; RetryPolicy: object }[];
      // EventBridge's own tries end when Lambda has accepted the event.
      expect(target?.RetryPolicy).toEqual({ MaximumEventAgeInSeconds: 60, MaximumRetryAttempts: 0 });
      return target?.Arn['Fn::GetAtt'][0];
    });
    expect(functions).toHaveLength(4);
    for (const each of functions)
      template.hasResourceProperties('AWS::Lambda::EventInvokeConfig', {
        FunctionName: { Ref: each },
        Qualifier: '$LATEST',
        MaximumEventAgeInSeconds: 60,
        MaximumRetryAttempts: 0,
      });
  });

  it('merges when the stream of the table tells of tail nodes, and keeps what failed', () => {
    template.hasResourceProperties('AWS::Lambda::EventSourceMapping', {
      FunctionName: { Ref: Match.stringLikeRegexp('EventLogMergeJob') },
      StartingPosition: 'TRIM_HORIZON',
      BatchSize: 1_000,
      MaximumBatchingWindowInSeconds: 60,
      ParallelizationFactor: 1,
      FunctionResponseTypes: ['ReportBatchItemFailures'],
      MaximumRetryAttempts: 3,
      MaximumRecordAgeInSeconds: 3_600,
      DestinationConfig: {
        OnFailure: { Destination: { 'Fn::GetAtt': [Match.stringLikeRegexp('NodeStreamFailed'), 'Arn'] } },
      },
    });
    const [mapping] = Object.values(resourcesOf(template, 'AWS::Lambda::EventSourceMapping'));
    const { Filters } = (mapping as Resource).Properties.FilterCriteria as {
      Filters: { Pattern: string }[];
    };
    const node = nodePartitionKey('id', 3);
    expect(Filters.map(({ Pattern }) => JSON.parse(Pattern))).toEqual([
      { eventName: ['INSERT'], dynamodb: { Keys: { pk: { S: [{ prefix: node.slice(0, node.indexOf('id')) }] } } } },
    ]);
    template.hasResourceProperties('AWS::SQS::Queue', {
      SqsManagedSseEnabled: true,
      MessageRetentionPeriod: 1_209_600,
    });
  });

  it('lets merges write segments in parts, and never replace one', () => {
    const ofSegments = statementsOf(template, 'EventLogMerge').filter(
      ({ Action, Resource }) => list(Action).includes('s3:PutObject') && suffixOf(Resource) === '/segments/*',
    );
    expect(ofSegments.map(({ Condition }) => Condition)).toEqual([
      { Null: { 's3:if-none-match': 'false' } },
      // The requests of an upload that make no object.
      { Bool: { 's3:ObjectCreationOperation': 'false' } },
    ]);
  });

  it('sees the heads that any job is blocked on, also one that runs half as often as the others', () => {
    const [{ Properties: alarm }] = Object.entries(resourcesOf(template, 'AWS::CloudWatch::Alarm'))
      .filter(([id]) => id.includes('BlockedHeads'))
      .map(([, resource]) => resource) as [Resource];
    const metrics = (alarm.Metrics as { MetricStat?: { Period: number; Metric: { Dimensions: object[] } } }[]).flatMap(
      ({ MetricStat }) => (MetricStat === undefined ? [] : [MetricStat]),
    );
    expect(metrics.map(({ Metric }) => Metric.Dimensions)).toEqual(
      ['merge', 'expire', 'sweep', 'compact'].map((Value) => expect.arrayContaining([{ Name: 'job', Value }])),
    );
    // A run tells it at its end, and two runs end up to 45 minutes apart: so a period between them may have none.
    for (const { Period } of metrics) expect(Period).toBe(1_800);
    expect([alarm.DatapointsToAlarm, alarm.EvaluationPeriods]).toEqual([2, 3]);
  });

  it('has alarms for what someone must look at', () => {
    const alarms = Object.entries(resourcesOf(template, 'AWS::CloudWatch::Alarm'));
    const names = alarms.map(([id]) => /Observation(\w+?)[0-9A-F]{8}$/.exec(id)?.[1]).sort();
    expect(names).toEqual([
      'BlockedHeads',
      'CompactNotFinished',
      'ExpireNotFinished',
      'FailedRecords',
      'HangingTransactions',
      'HttpErrors',
      'HttpThrottles',
      'MergeNotFinished',
      'Orphans',
      'ProduceErrors',
      'ProduceP99',
      'ProduceThrottles',
      'SweepNotFinished',
      'TableSystemErrors',
      'TableThrottles',
      'UnmergedNodes',
    ]);
    for (const [id, { Properties }] of alarms) {
      const heartbeat = id.includes('NotFinished');
      expect(Properties.TreatMissingData).toBe(heartbeat ? 'breaching' : 'notBreaching');
      expect(Properties.ComparisonOperator).toBe(heartbeat ? 'LessThanThreshold' : 'GreaterThanOrEqualToThreshold');
      expect(Properties.AlarmDescription).toMatch(/^Tailrace: /);
    }
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      MetricName: 'Duration',
      ExtendedStatistic: 'p99',
      EvaluationPeriods: 3,
    });
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      Metrics: Match.arrayWith([
        Match.objectLike({ Expression: 'FILL(invocations, 0) - FILL(errors, 0)' }),
        Match.objectLike({ MetricStat: Match.objectLike({ Period: 3_600 }) }),
      ]),
      EvaluationPeriods: 1,
    });
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      Namespace: METRIC_NAMESPACE,
      MetricName: 'waitedMs',
      Threshold: 7_200_000,
    });
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      Namespace: METRIC_NAMESPACE,
      MetricName: 'oldestTransactionMs',
      Dimensions: Match.arrayWith([{ Name: 'job', Value: 'sweep' }]),
      Statistic: 'Maximum',
      Threshold: 3_600_000,
      EvaluationPeriods: 1,
      AlarmDescription: Match.stringLikeRegexp('GET /v1/transactions.*log of the job sweep'),
    });
    template.resourceCountIs('AWS::CloudWatch::Dashboard', 1);
    const [dashboard] = Object.values(resourcesOf(template, 'AWS::CloudWatch::Dashboard'));
    const shown = JSON.stringify(dashboard?.Properties.DashboardBody);
    for (const name of ['oldestTransactionMs', 'transactionsOpen', 'transactionsLate']) expect(shown).toContain(name);
  });
});
