import { CfnOutput, RemovalPolicy, Stack, type StackProps } from 'aws-cdk-lib';
import type { Table } from 'aws-cdk-lib/aws-dynamodb';
import { Key } from 'aws-cdk-lib/aws-kms';
import type { Bucket } from 'aws-cdk-lib/aws-s3';
import type { Construct } from 'constructs';
import { MetadataTable } from '../constructs/storage/metadata-table.ts';
import { SegmentBucket } from '../constructs/storage/segment-bucket.ts';

export interface StatefulStackProps extends StackProps {
  /** Whether the deployment is temporary: table and bucket are deleted together with the stack. @default false */
  readonly ephemeral?: boolean;
  /** Whether the bucket counts requests and errors. @default false */
  readonly bucketRequestMetrics?: boolean;
  /** The ARN of a KMS key that encrypts table and bucket. @default - keys of DynamoDB and S3 */
  readonly encryptionKeyArn?: string;
}

/** The stack that must outlive everything else: the records and their order. */
export class StatefulStack extends Stack {
  readonly table: Table;
  readonly bucket: Bucket;

  constructor(
    scope: Construct,
    id: string,
    { ephemeral = false, bucketRequestMetrics, encryptionKeyArn, ...props }: StatefulStackProps = {},
  ) {
    super(scope, id, { terminationProtection: !ephemeral, ...props });
    const removalPolicy = ephemeral ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN;
    const encryption =
      encryptionKeyArn === undefined ? {} : { encryptionKey: Key.fromKeyArn(this, 'EncryptionKey', encryptionKeyArn) };
    this.table = new MetadataTable(this, 'Metadata', {
      removalPolicy,
      deletionProtection: !ephemeral,
      pointInTimeRecovery: !ephemeral,
      ...encryption,
    }).table;
    this.bucket = new SegmentBucket(this, 'Segments', {
      removalPolicy,
      requestMetrics: bucketRequestMetrics ?? false,
      ...encryption,
    }).bucket;
    new CfnOutput(this, 'TableName', { value: this.table.tableName });
    new CfnOutput(this, 'BucketName', { value: this.bucket.bucketName });
  }
}
