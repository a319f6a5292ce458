import type { ITable } from 'aws-cdk-lib/aws-dynamodb';
import { Grant, type IGrantable, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import type { IBucket } from 'aws-cdk-lib/aws-s3';
import { ITEM_PATTERNS, type ItemKind, OBJECT_PATTERNS, type ObjectKind } from '../../shared/storage/keys.ts';

/**
 * The permissions on table and bucket that the broker's operations need, by action and kind of key: least privilege as
 * data. `test/unit/infra/access.test.ts` runs every operation over stores that reject all other requests. It also checks
 * that each permission is used by at least one operation.
 */
export interface Access {
  readonly items: Partial<Readonly<Record<ItemAction, readonly ItemKind[]>>>;
  readonly objects: Partial<Readonly<Record<ObjectAction, readonly ObjectKind[]>>>;
}

/** The used part of a table. `ITable` is too wide: under `exactOptionalPropertyTypes` even a `Table` does not match it. */
export type LogTable = Pick<
  ITable,
  'tableArn' | 'tableName' | 'metric' | 'metricConsumedReadCapacityUnits' | 'metricConsumedWriteCapacityUnits'
>;
export type LogBucket = Pick<IBucket, 'bucketArn' | 'bucketName'>;

export type ItemAction = 'GetItem' | 'PutItem' | 'UpdateItem' | 'DeleteItem' | 'Query';
/** `ListBucket` lists the keys of its kinds. */
export type ObjectAction = 'GetObject' | 'PutObject' | 'DeleteObject' | 'AbortMultipartUpload' | 'ListBucket';

/**
 * Permissions to append. They allow reading the items that decide order and detect duplicates, but never records: neither
 * objects nor inline batches. In the direct mode a caller runs its own code, so it can write a wrong head or inline batch:
 * the direct mode trusts its callers as much as a broker trusts itself. Objects are the exception: nobody can replace them.
 */
export const PRODUCE: Access = {
  items: {
    GetItem: ['topic', 'head', 'checkpoint', 'producer', 'idempotency', 'use', 'segments', 'counter'],
    Query: ['node'],
    PutItem: ['inlineBatch', 'due', 'node', 'producer', 'idempotency'],
    UpdateItem: ['head', 'checkpoint', 'idempotency', 'counter'],
  },
  objects: { PutObject: ['hot'] },
};

/** Permissions to read records, offsets and the segment map, and to list and describe topics. They allow no change. */
export const CONSUME: Access = {
  items: { GetItem: ['topic', 'head', 'node', 'inlineBatch', 'segments'], Query: ['topic', 'node'] },
  objects: { GetObject: ['hot', 'segment'] },
};

/** Permissions to make, change, delete, list and describe topics. They allow neither appending nor reading records. */
export const ADMIN: Access = {
  items: {
    GetItem: ['topic', 'head', 'segments'],
    Query: ['topic'],
    PutItem: ['topic', 'garbage'],
    UpdateItem: ['topic', 'head'],
  },
  objects: {},
};

/**
 * Permissions to make, list and revoke API keys. A principal with these permissions in the direct mode could do everything
 * over HTTP, so no grant includes them.
 */
export const MANAGE_KEYS: Access = {
  items: { Query: ['apiKey'], PutItem: ['apiKey'], UpdateItem: ['apiKey'] },
  objects: {},
};

/** Permissions to check the API keys of requests. */
export const CHECK_KEYS: Access = { items: { GetItem: ['apiKey'] }, objects: {} };

/** Permissions to verify a topic: to read everything that is stored of it. They allow no change. */
export const VERIFY: Access = {
  items: {
    GetItem: ['topic', 'head', 'inlineBatch', 'segments', 'checkpoint', 'due'],
    Query: ['node', 'segments'],
  },
  objects: { GetObject: ['hot', 'segment'], ListBucket: ['segment'] },
};

/** Permissions of the scheduled jobs. */
export const MAINTAIN: Access = {
  items: {
    GetItem: ['topic', 'job'],
    Query: ['topic'],
    PutItem: ['garbage', 'job'],
    UpdateItem: ['topic', 'head'],
    DeleteItem: ['topic', 'job'],
  },
  objects: {},
};

export function union(...all: readonly Access[]): Access {
  return { items: merge(all.map(({ items }) => items)), objects: merge(all.map(({ objects }) => objects)) };
}

function merge<Action extends string, Kind>(
  all: readonly Partial<Readonly<Record<Action, readonly Kind[]>>>[],
): Partial<Record<Action, Kind[]>> {
  const merged: Partial<Record<Action, Kind[]>> = {};
  for (const access of all) {
    for (const [action, kinds] of Object.entries(access) as [Action, readonly Kind[]][]) {
      merged[action] = [...new Set([...(merged[action] ?? []), ...kinds])];
    }
  }
  return merged;
}

/** Makes one statement for each action on items, and one for each action on objects. */
export function statements(access: Access, tableArn: string, bucketArn: string): PolicyStatement[] {
  const items = (Object.entries(access.items) as [ItemAction, readonly ItemKind[]][]).map(
    ([action, kinds]) =>
      new PolicyStatement({
        actions: [`dynamodb:${action}`],
        resources: [tableArn],
        // Each of these requests names a partition key, so the condition is never true because a key is missing.
        conditions: {
          'ForAllValues:StringLike': { 'dynamodb:LeadingKeys': kinds.map((kind) => ITEM_PATTERNS[kind]).sort() },
        },
      }),
  );
  const { ListBucket: listed = [], ...onObjects } = access.objects;
  const objects = (Object.entries(onObjects) as [ObjectAction, readonly ObjectKind[]][]).map(
    ([action, kinds]) =>
      new PolicyStatement({
        actions: [`s3:${action}`],
        resources: kinds.map((kind) => `${bucketArn}/${OBJECT_PATTERNS[kind]}`),
        // Objects are written once: without `If-None-Match` even their writer could replace them.
        ...(action === 'PutObject' ? { conditions: { Null: { 's3:if-none-match': 'false' } } } : {}),
      }),
  );
  // Without permission to list the bucket, S3 returns "access denied" for a missing object, and damage would look like a
  // mistake in the set-up. A request for an object has no prefix, so this cannot be limited to one.
  const listing =
    access.objects.GetObject === undefined
      ? []
      : [new PolicyStatement({ actions: ['s3:ListBucket'], resources: [bucketArn] })];
  if (listed.length > 0) {
    const prefixes = listed.map((kind) => OBJECT_PATTERNS[kind]).sort();
    listing.push(
      new PolicyStatement({
        actions: ['s3:ListBucket'],
        resources: [bucketArn],
        conditions: { StringLike: { 's3:prefix': prefixes } },
      }),
    );
  }
  return [...items, ...objects, ...listing];
}

/** Grants a principal of this account access to table and bucket. */
export function grantAccess(grantee: IGrantable, access: Access, table: LogTable, bucket: LogBucket): Grant {
  const grants = statements(access, table.tableArn, bucket.bucketArn).map((statement) =>
    Grant.addToPrincipal({
      grantee,
      actions: statement.actions,
      resourceArns: statement.resources,
      conditions: statement.conditions as Record<string, Record<string, unknown>>,
    }),
  );
  return grants.reduce((all, grant) => all.combine(grant));
}
