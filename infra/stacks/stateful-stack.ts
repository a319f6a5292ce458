import { CfnOutput, RemovalPolicy, Stack, type StackProps } from 'aws-cdk-lib';
import type { Table } from 'aws-cdk-lib/aws-dynamodb';
import type { Bucket } from 'aws-cdk-lib/aws-s3';
import type { Construct } from 'constructs';
import { MetadataTable } from '../constructs/metadata-table.ts';
import { SegmentBucket } from '../constructs/segment-bucket.ts';

export interface StatefulStackProps extends StackProps {
  /** Whether the deployment is temporary: table and bucket are deleted together with the stack. @default false */
  readonly ephemeral?: boolean;
  /** Whether the bucket counts requests and errors. @default false */
  readonly bucketRequestMetrics?: boolean;
}

/** The stack that must outlive everything else: the records and their order. */
export class StatefulStack extends Stack {
  readonly table: Table;
  readonly bucket: Bucket;

  constructor(
    scope: Construct,
    id: string,
    { ephemeral = false, bucketRequestMetrics, ...props }: StatefulStackProps = {},
  ) {
    super(scope, id, { terminationProtection: !ephemeral, ...props });
    const removalPolicy = ephemeral ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN;
    this.table = new MetadataTable(this, 'Metadata', {
      removalPolicy,
      deletionProtection: !ephemeral,
      pointInTimeRecovery: !ephemeral,
    }).table;
    this.bucket = new SegmentBucket(this, 'Segments', {
      removalPolicy,
      requestMetrics: bucketRequestMetrics ?? false,
    }).bucket;
    new CfnOutput(this, 'TableName', { value: this.table.tableName });
    new CfnOutput(this, 'BucketName', { value: this.bucket.bucketName });
  }
}
