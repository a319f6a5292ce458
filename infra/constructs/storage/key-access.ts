import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import type { IKey } from 'aws-cdk-lib/aws-kms';

/** A table or a bucket that may be encrypted with a customer's key. */
export interface MaybeEncrypted {
  readonly encryptionKey?: IKey | undefined;
}

/** What a role may do, by action: see `access.ts`. */
interface Actions {
  readonly items: Readonly<Record<string, readonly string[] | undefined>>;
  readonly objects: Readonly<Record<string, readonly string[] | undefined>>;
}

/**
 * The permissions on the keys of table and bucket that an access needs. They hold only for requests that DynamoDB and S3
 * make for the role, so a role can encrypt and decrypt nothing but what it may write and read there.
 *
 * DynamoDB decrypts the key of the table for each role that uses the table. S3 generates a data key for what is written.
 * It decrypts one for what is read, and also for a multipart upload, whose parts it reads again.
 */
export function keyStatements(access: Actions, table: MaybeEncrypted, bucket: MaybeEncrypted): PolicyStatement[] {
  const { objects } = access;
  const ofObjects = [
    ...(objects.GetObject !== undefined || objects.AbortMultipartUpload !== undefined ? ['kms:Decrypt'] : []),
    ...(objects.PutObject === undefined ? [] : ['kms:GenerateDataKey']),
  ];
  const ofItems = Object.keys(access.items).length === 0 ? [] : ['kms:Decrypt'];
  return [
    ...throughService(table.encryptionKey, 'dynamodb', ofItems),
    ...throughService(bucket.encryptionKey, 's3', ofObjects),
  ];
}

function throughService(key: IKey | undefined, service: 'dynamodb' | 's3', actions: string[]): PolicyStatement[] {
  if (key === undefined || actions.length === 0) return [];
  return [
    new PolicyStatement({
      actions,
      resources: [key.keyArn],
      conditions: { StringEquals: { 'kms:ViaService': `${service}.${key.env.region}.amazonaws.com` } },
    }),
  ];
}
