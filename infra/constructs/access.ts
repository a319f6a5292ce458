import type { ITable } from 'aws-cdk-lib/aws-dynamodb';
import { Grant, type IGrantable, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import type { IBucket } from 'aws-cdk-lib/aws-s3';
import { ITEM_PATTERNS, type ItemKind, OBJECT_PATTERNS, type ObjectKind } from '../../shared/storage/keys.ts';

/**
 * What the broker's operations ask of table and bucket, by action and by kind of key: least privilege as data.
 * `test/unit/infra/access.test.ts` runs every operation over stores that refuse everything else, and finds no permission
 * that none of them uses.
 */
export interface Access {
  readonly items: Partial<Readonly<Record<ItemAction, readonly ItemKind[]>>>;
  readonly objects: Partial<Readonly<Record<ObjectAction, readonly ObjectKind[]>>>;
}

/** What is used of a table; narrower than `ITable`, which under `exactOptionalPropertyTypes` not even a `Table` is. */
export type LogTable = Pick<
  ITable,
  'tableArn' | 'tableName' | 'metric' | 'metricConsumedReadCapacityUnits' | 'metricConsumedWriteCapacityUnits'
>;
export type LogBucket = Pick<IBucket, 'bucketArn' | 'bucketName'>;

export type ItemAction = 'GetItem' | 'PutItem' | 'UpdateItem' | 'DeleteItem' | 'Query';
export type ObjectAction = 'GetObject' | 'PutObject';

/**
 * To append. Reads what decides order and repeats, never records: neither objects nor inline batches. Note that whoever
 * may append with their own code may also write a head or an inline batch wrongly: the direct mode trusts its callers as
 * far as a broker trusts itself, but for objects, which nobody can replace.
 */
export const PRODUCE: Access = {
  items: {
    GetItem: ['topic', 'head', 'checkpoint', 'producer', 'idempotency', 'counter'],
    Query: ['node'],
    PutItem: ['inlineBatch', 'reference', 'node', 'producer', 'idempotency'],
    UpdateItem: ['head', 'checkpoint', 'idempotency', 'counter'],
  },
  objects: { PutObject: ['hot'] },
};

/** To read records, offsets and the segment map, and to list and describe topics. Changes nothing. */
export const CONSUME: Access = {
  items: { GetItem: ['topic', 'head', 'node', 'inlineBatch'], Query: ['topic', 'node'] },
  objects: { GetObject: ['hot'] },
};

/** To make, change, delete, list and describe topics. Neither appends nor reads records. */
export const ADMIN: Access = {
  items: {
    GetItem: ['topic', 'head'],
    Query: ['topic'],
    PutItem: ['topic', 'garbage'],
    UpdateItem: ['topic', 'head'],
  },
  objects: {},
};

/** To make, list and revoke API keys. Who may do so in the direct mode may do everything over HTTP, so no grant has it. */
export const MANAGE_KEYS: Access = {
  items: { Query: ['apiKey'], PutItem: ['apiKey'], UpdateItem: ['apiKey'] },
  objects: {},
};

/** To check the API keys that come with requests. */
export const CHECK_KEYS: Access = { items: { GetItem: ['apiKey'] }, objects: {} };

/** For the scheduled jobs. */
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

/** One statement for each action on items, and one for each on objects. */
export function statements(access: Access, tableArn: string, bucketArn: string): PolicyStatement[] {
  const items = (Object.entries(access.items) as [ItemAction, readonly ItemKind[]][]).map(
    ([action, kinds]) =>
      new PolicyStatement({
        actions: [`dynamodb:${action}`],
        resources: [tableArn],
        // Each of these requests names a partition key, so the condition is never met for want of one.
        conditions: {
          'ForAllValues:StringLike': { 'dynamodb:LeadingKeys': kinds.map((kind) => ITEM_PATTERNS[kind]).sort() },
        },
      }),
  );
  const objects = (Object.entries(access.objects) as [ObjectAction, readonly ObjectKind[]][]).map(
    ([action, kinds]) =>
      new PolicyStatement({
        actions: [`s3:${action}`],
        resources: kinds.map((kind) => `${bucketArn}/${OBJECT_PATTERNS[kind]}`),
        // Objects are written once: without `If-None-Match` not even their writer may replace them.
        ...(action === 'PutObject' ? { conditions: { Null: { 's3:if-none-match': 'false' } } } : {}),
      }),
  );
  // Who may not list a bucket is told "access denied" of an object that is missing, and damage would look like a mistake
  // in the set-up. Nothing is ever listed.
  const listing =
    access.objects.GetObject === undefined
      ? []
      : [new PolicyStatement({ actions: ['s3:ListBucket'], resources: [bucketArn] })];
  return [...items, ...objects, ...listing];
}

/** Gives a principal of this account an access to table and bucket. */
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
