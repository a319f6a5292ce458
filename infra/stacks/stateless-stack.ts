import { CfnOutput, Stack, type StackProps } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import { EventLog, type EventLogProps } from '../constructs/event-log.ts';
import type { StatefulStack } from './stateful-stack.ts';

export interface StatelessStackProps extends StackProps {
  readonly stateful: Pick<StatefulStack, 'table' | 'bucket'>;
  /** Everything except the resources of the other stack. */
  readonly eventLog?: Omit<EventLogProps, 'table' | 'bucket'>;
}

/** The stack of everything that can be made again at any time: functions, their addresses, the schedule, alarms. */
export class StatelessStack extends Stack {
  readonly eventLog: EventLog;

  constructor(scope: Construct, id: string, { stateful, eventLog, ...props }: StatelessStackProps) {
    super(scope, id, props);
    this.eventLog = new EventLog(this, 'EventLog', { ...eventLog, table: stateful.table, bucket: stateful.bucket });
    const { apiUrl, produceUrl, table, bucket } = this.eventLog;
    if (apiUrl !== undefined) new CfnOutput(this, 'ApiUrl', { value: apiUrl });
    if (produceUrl !== undefined) new CfnOutput(this, 'ProduceUrl', { value: produceUrl });
    new CfnOutput(this, 'TableName', { value: table.tableName });
    new CfnOutput(this, 'BucketName', { value: bucket.bucketName });
  }
}
