import { Duration, RemovalPolicy } from 'aws-cdk-lib';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import { BlockPublicAccess, Bucket, BucketEncryption, ObjectOwnership } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { acknowledge } from '../acknowledge.ts';

export interface SegmentBucketProps {
  /**
   * What happens to the bucket when it is removed from the stack. A bucket with objects in it is never deleted.
   * @default RemovalPolicy.RETAIN
   */
  readonly removalPolicy?: RemovalPolicy;
  /**
   * Your key, which encrypts new objects. S3 derives a key for the bucket from it and keeps that for a short time, so S3 does
   * not call KMS for each object: that would cost $3 for a million requests, which is more than half of what they cost
   * themselves. If the key is disabled, no object can be written or read. @default - a key of S3, which costs nothing
   */
  readonly encryptionKey?: IKey;
  /** Whether S3 counts requests and errors. Each of up to 16 metrics costs $0.30 a month. @default false */
  readonly requestMetrics?: boolean;
}

/**
 * The bucket of records. It is not versioned: objects are written once and never changed, and objects that retention
 * deletes must be gone. The bucket cannot be reached from outside the account, or without TLS 1.2.
 */
export class SegmentBucket extends Construct {
  readonly bucket: Bucket;

  constructor(scope: Construct, id: string, props: SegmentBucketProps = {}) {
    super(scope, id);
    this.bucket = new Bucket(this, 'Bucket', {
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      objectOwnership: ObjectOwnership.BUCKET_OWNER_ENFORCED,
      ...(props.encryptionKey === undefined
        ? { encryption: BucketEncryption.S3_MANAGED }
        : { encryption: BucketEncryption.KMS, encryptionKey: props.encryptionKey, bucketKeyEnabled: true }),
      enforceSSL: true,
      minimumTLSVersion: 1.2,
      removalPolicy: props.removalPolicy ?? RemovalPolicy.RETAIN,
      lifecycleRules: [{ id: 'abort-uploads', abortIncompleteMultipartUploadAfter: Duration.days(1) }],
      ...(props.requestMetrics ? { metrics: [{ id: REQUEST_METRICS_ID }] } : {}),
    });
    acknowledge(this.bucket, {
      'AwsSolutions-S1':
        'An access log would be an object for about every request, and so cost more than what it tells of. CloudTrail data events can be turned on where and while they are needed.',
    });
  }
}

/** The name under which S3 counts the requests of the whole bucket. */
export const REQUEST_METRICS_ID = 'EntireBucket';
