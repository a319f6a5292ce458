import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import type { LogHotBucket } from './hot-bucket.ts';

type Objects = Readonly<Partial<Record<string, readonly string[]>>>;

/** The kinds of objects of an access without hot objects. An action that has no kind left is absent. */
export function withoutHot<Kinds extends Objects>(objects: Kinds): Kinds {
  const others = Object.entries(objects).flatMap(([action, kinds = []]) => {
    const left = kinds.filter((kind) => kind !== 'hot');
    return left.length === 0 ? [] : [[action, left]];
  });
  return Object.fromEntries(others) as Kinds;
}

/**
 * The permission on a directory bucket that an access needs. IAM can give only sessions of the whole bucket there: `ReadOnly`
 * for whoever only gets hot objects, and otherwise `ReadWrite`, which reads, replaces and deletes too.
 */
export function hotStatements(objects: Objects, bucket: LogHotBucket): PolicyStatement[] {
  const actions = Object.keys(objects).filter((action) => objects[action]?.includes('hot'));
  if (actions.length === 0) return [];
  const readsOnly = actions.every((action) => action === 'GetObject');
  return [
    new PolicyStatement({
      actions: ['s3express:CreateSession'],
      resources: [bucket.bucketArn],
      // The SDK asks for no mode, and S3 then gives the widest one that is allowed.
      ...(readsOnly ? { conditions: { StringEquals: { 's3express:SessionMode': 'ReadOnly' } } } : {}),
    }),
  ];
}
