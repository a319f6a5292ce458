import { RemovalPolicy } from 'aws-cdk-lib';
import { CfnDirectoryBucket } from 'aws-cdk-lib/aws-s3express';
import { Construct } from 'constructs';

export interface HotBucketProps {
  /** The id of the Availability Zone, such as `use1-az4`. It names the same zone in every account, unlike `us-east-1a`. */
  readonly availabilityZoneId: string;
  /**
   * What happens to the bucket when it is removed from the stack. A bucket with objects in it is never deleted.
   * @default RemovalPolicy.RETAIN
   */
  readonly removalPolicy?: RemovalPolicy;
}

/** The used part of a directory bucket. */
export interface LogHotBucket {
  readonly bucketArn: string;
  readonly bucketName: string;
}

/**
 * A directory bucket (S3 Express One Zone) for hot objects: the records of large appends until they are merged. It is
 * faster than a `SegmentBucket`, and keeps its objects in one Availability Zone. **If the zone is lost, so are all records
 * that were not merged yet**; see docs/operations.md.
 */
export class HotBucket extends Construct {
  readonly bucket: LogHotBucket;

  constructor(scope: Construct, id: string, { availabilityZoneId, removalPolicy }: HotBucketProps) {
    super(scope, id);
    // `us-east-1a` would be taken for the name of a zone that does not exist only when the stack is deployed.
    if (!/^[a-z0-9]+-az\d+$/.test(availabilityZoneId)) {
      throw new Error(
        `availabilityZoneId takes the id of an Availability Zone, such as 'use1-az4', not '${availabilityZoneId}'.`,
      );
    }
    const bucket = new CfnDirectoryBucket(this, 'Bucket', {
      dataRedundancy: 'SingleAvailabilityZone',
      locationName: availabilityZoneId,
      lifecycleConfiguration: {
        rules: [
          {
            id: 'abort-uploads',
            status: 'Enabled',
            abortIncompleteMultipartUpload: { daysAfterInitiation: 1 },
          },
        ],
      },
    });
    bucket.applyRemovalPolicy(removalPolicy ?? RemovalPolicy.RETAIN);
    this.bucket = { bucketArn: bucket.attrArn, bucketName: bucket.ref };
  }
}
