import { createRequire } from 'node:module';
import type * as eventLog from './event-log.ts';
import type * as kafkaGateway from './kafka/kafka-gateway.ts';
import type * as hotBucket from './storage/hot-bucket.ts';
import type * as metadataTable from './storage/metadata-table.ts';
import type * as segmentBucket from './storage/segment-bucket.ts';

/**
 * The package's entry `./cdk`. The CDK is an optional peer dependency, and Node links imports before it runs anything: only
 * because the constructs are loaded here, rather than imported, can this say what to install if the CDK is missing.
 */
export type { LogBucket, LogTable } from './access.ts';
export type { EventLogProps, JwtProps } from './event-log.ts';
export type { LagAlarm } from './jobs/measure-lag.ts';
export type { KafkaGatewayProps } from './kafka/kafka-gateway.ts';
export type { HotBucketProps, LogHotBucket } from './storage/hot-bucket.ts';
export type { MetadataTableProps } from './storage/metadata-table.ts';
export type { SegmentBucketProps } from './storage/segment-bucket.ts';

export const { EventLog } = load<typeof eventLog>('event-log');
export type EventLog = eventLog.EventLog;
export const { HotBucket } = load<typeof hotBucket>('storage/hot-bucket');
export type HotBucket = hotBucket.HotBucket;
export const { KafkaGateway } = load<typeof kafkaGateway>('kafka/kafka-gateway');
export type KafkaGateway = kafkaGateway.KafkaGateway;
export const { MetadataTable } = load<typeof metadataTable>('storage/metadata-table');
export type MetadataTable = metadataTable.MetadataTable;
export const { SegmentBucket } = load<typeof segmentBucket>('storage/segment-bucket');
export type SegmentBucket = segmentBucket.SegmentBucket;

/** @throws Error if the CDK is not installed, with the command that installs it */
function load<Exports>(name: string): Exports {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  try {
    return createRequire(import.meta.url)(`./${name}.${extension}`) as Exports;
  } catch (cause) {
    const missing = /Cannot find package '(aws-cdk-lib|constructs)'/.exec(String(cause))?.[1];
    if (missing === undefined) throw cause;
    throw new Error(
      `tailrace/cdk needs the AWS CDK, and '${missing}' is not installed. Run: npm install aws-cdk-lib constructs`,
      { cause },
    );
  }
}
