import { CfnOutput, Stack, type StackProps } from 'aws-cdk-lib';
import { HostedZone, type IHostedZone } from 'aws-cdk-lib/aws-route53';
import type { Construct } from 'constructs';
import { EventLog, type EventLogProps } from '../constructs/event-log.ts';
import { KafkaGateway, type KafkaGatewayProps } from '../constructs/kafka/kafka-gateway.ts';
import type { StatefulStack } from './stateful-stack.ts';

export interface StatelessStackProps extends StackProps {
  readonly stateful: Pick<StatefulStack, 'table' | 'bucket'>;
  /** Everything except the resources of the other stack. */
  readonly eventLog?: Omit<EventLogProps, 'table' | 'bucket'>;
  /** A gateway for Kafka's clients, which costs something when idle. @default - none */
  readonly kafkaGateway?: Omit<KafkaGatewayProps, 'log' | 'hostedZone'> & {
    /** The id of the zone in which a record for the host name is made. @default - none is made */
    readonly hostedZoneId?: string;
  };
}

/** The stack of everything that can be made again at any time: functions, their addresses, the schedule, alarms. */
export class StatelessStack extends Stack {
  readonly eventLog: EventLog;

  constructor(scope: Construct, id: string, { stateful, eventLog, kafkaGateway, ...props }: StatelessStackProps) {
    super(scope, id, props);
    this.eventLog = new EventLog(this, 'EventLog', { ...eventLog, table: stateful.table, bucket: stateful.bucket });
    const { apiUrl, produceUrl, table, bucket } = this.eventLog;
    if (apiUrl !== undefined) new CfnOutput(this, 'ApiUrl', { value: apiUrl });
    if (produceUrl !== undefined) new CfnOutput(this, 'ProduceUrl', { value: produceUrl });
    new CfnOutput(this, 'TableName', { value: table.tableName });
    new CfnOutput(this, 'BucketName', { value: bucket.bucketName });
    if (kafkaGateway === undefined) return;
    const { hostedZoneId, ...gateway } = kafkaGateway;
    const { bootstrapServers, loadBalancerDnsName } = new KafkaGateway(this, 'Kafka', {
      ...gateway,
      ...(hostedZoneId === undefined ? {} : { hostedZone: this.zoneOf(hostedZoneId, gateway.hostName) }),
      log: this.eventLog,
    });
    new CfnOutput(this, 'KafkaBootstrapServers', { value: bootstrapServers });
    new CfnOutput(this, 'KafkaLoadBalancer', { value: loadBalancerDnsName });
  }

  /** The name of the zone is not needed: the record's own name is absolute. */
  private zoneOf(hostedZoneId: string, hostName: string): IHostedZone {
    const zoneName = hostName.slice(hostName.indexOf('.') + 1);
    return HostedZone.fromHostedZoneAttributes(this, 'Zone', { hostedZoneId, zoneName });
  }
}
