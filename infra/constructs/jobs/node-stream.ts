import { Duration } from 'aws-cdk-lib';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import {
  EventSourceMapping,
  FilterCriteria,
  FilterRule,
  type Function as LambdaFunction,
  StartingPosition,
} from 'aws-cdk-lib/aws-lambda';
import { SqsDlq } from 'aws-cdk-lib/aws-lambda-event-sources';
import { Queue, QueueEncryption } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import { ITEM_PATTERNS } from '../../../shared/storage/keys.ts';
import type { LogTable } from '../access.ts';
import { acknowledge, nameInFindings } from '../acknowledge.ts';

export interface NodeStreamProps {
  readonly table: LogTable;
  /** The stream of the table, which publishes the keys of changed items. */
  readonly streamArn: string;
  /** The function that is invoked with the tail nodes that were put. */
  readonly target: LambdaFunction;
  /** How long records gather before the function is invoked. */
  readonly window: Duration;
}

/** About a minute of a head that takes 150 appends a second. */
const RECORDS_MAX = 1_000;
const RETRIES = 3;
/** By then the schedule has found the head. */
const RECORD_AGE = Duration.hours(1);
const FAILED_KEPT = Duration.days(14);

/**
 * Invokes a function when tail nodes are put. One invocation at a time for each shard of the stream: DynamoDB makes a shard
 * for about 1,000 writes a second. The function's own writes invoke it never: it puts no nodes.
 */
export class NodeStream extends Construct {
  /** Where Lambda tells of batches that failed too often: when, and which part of the stream. The schedule finds their heads. */
  readonly failed: Queue;

  constructor(scope: Construct, id: string, { table, streamArn, target, window }: NodeStreamProps) {
    super(scope, id);
    this.failed = new Queue(this, 'Failed', {
      encryption: QueueEncryption.SQS_MANAGED,
      enforceSSL: true,
      retentionPeriod: FAILED_KEPT,
    });
    target.addToRolePolicy(
      new PolicyStatement({
        actions: ['dynamodb:DescribeStream', 'dynamodb:GetRecords', 'dynamodb:GetShardIterator'],
        resources: [streamArn],
      }),
    );
    // Lambda asks for this one on all streams of the table.
    const streams = `${table.tableArn}/stream/*`;
    target.addToRolePolicy(new PolicyStatement({ actions: ['dynamodb:ListStreams'], resources: [streams] }));
    const mapping = new EventSourceMapping(this, 'Mapping', {
      target,
      eventSourceArn: streamArn,
      startingPosition: StartingPosition.TRIM_HORIZON,
      batchSize: RECORDS_MAX,
      maxBatchingWindow: window,
      parallelizationFactor: 1,
      filters: [
        FilterCriteria.filter({
          eventName: FilterRule.isEqual('INSERT'),
          dynamodb: { Keys: { pk: { S: FilterRule.beginsWith(ITEM_PATTERNS.node.replace('*', '')) } } },
        }),
      ],
      reportBatchItemFailures: true,
      retryAttempts: RETRIES,
      maxRecordAge: RECORD_AGE,
      onFailure: new SqsDlq(this.failed),
    });
    // Without its permissions the mapping cannot be made.
    if (target.role !== undefined) mapping.node.addDependency(target.role);
    acknowledge(this.failed, {
      'AwsSolutions-SQS3': 'It is the queue of what failed. Nothing reads it but people, whom an alarm calls.',
      'Serverless-SQSRedrivePolicy':
        'It is the queue of what failed. Nothing reads it but people, whom an alarm calls.',
    });
    acknowledge(target.role ?? target, {
      [`AwsSolutions-IAM5[Resource::${nameInFindings(this, table.tableArn)}/stream/*]`]:
        'The id of a stream is the time when it was made, which cannot be told beforehand. It lists the streams of this one table.',
    });
  }
}
