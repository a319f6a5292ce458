import { Duration, RemovalPolicy } from 'aws-cdk-lib';
import { BlockPublicAccess, Bucket, BucketEncryption, ObjectOwnership } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { acknowledge } from './acknowledge.ts';

export interface SegmentBucketProps {
  /**
   * What happens to the bucket when it is removed from the stack. A bucket with objects in it is never deleted.
   * @default RemovalPolicy.RETAIN
   */
  readonly removalPolicy?: RemovalPolicy;
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
      encryption: BucketEncryption.S3_MANAGED,
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
