import type { ITable } from 'aws-cdk-lib/aws-dynamodb';
import { Grant, type IGrantable, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import type { IBucket } from 'aws-cdk-lib/aws-s3';
import { ITEM_PATTERNS, type ItemKind, OBJECT_PATTERNS, type ObjectKind } from '../../shared/storage/keys.ts';
import { hotStatements, withoutHot } from './storage/hot-access.ts';
import type { LogHotBucket } from './storage/hot-bucket.ts';
import { keyStatements, type MaybeEncrypted } from './storage/key-access.ts';

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
> & {
  /** Without a stream, only the schedule starts merges. */
  readonly tableStreamArn?: string | undefined;
} & MaybeEncrypted;
export type LogBucket = Pick<IBucket, 'bucketArn' | 'bucketName'> & MaybeEncrypted;

export type ItemAction = 'GetItem' | 'PutItem' | 'UpdateItem' | 'DeleteItem' | 'Query';
/** `AbortMultipartUpload` includes what else an upload in parts needs. `ListBucket` lists the keys of its kinds. */
export type ObjectAction = 'GetObject' | 'PutObject' | 'DeleteObject' | 'AbortMultipartUpload' | 'ListBucket';

/** Permissions of idempotency keys, which only HTTP and the direct mode know. */
const IDEMPOTENCY_KEYS: Access = {
  items: { GetItem: ['idempotency'], PutItem: ['idempotency'], UpdateItem: ['idempotency'] },
  objects: {},
};

/** Permissions to append as Kafka's clients do: those of `PRODUCE` without idempotency keys. */
export const APPEND: Access = {
  items: {
    GetItem: ['topic', 'head', 'checkpoint', 'producer', 'use', 'segments', 'counter'],
    Query: ['node'],
    PutItem: ['inlineBatch', 'due', 'node', 'producer', 'aborted'],
    UpdateItem: ['head', 'checkpoint', 'counter'],
  },
  objects: { PutObject: ['hot'] },
};

/**
 * Permissions of producers in transactions, in addition to those to append. They allow giving an outcome to the transactions
 * of all producers: whoever is held up by one completes it. Offsets in a transaction need `GROUPS` too.
 */
export const TRANSACT: Access = {
  items: {
    GetItem: ['transaction', 'producerName', 'offsets'],
    Query: ['transactionListing'],
    PutItem: ['transactionListing', 'producerName'],
    UpdateItem: ['transaction', 'offsets'],
    DeleteItem: ['producerName'],
  },
  objects: {},
};

/**
 * Permissions to append. They allow reading the items that decide order and detect duplicates, but never records: neither
 * objects nor inline batches. In the direct mode a caller runs its own code, so it can write a wrong head or inline batch:
 * the direct mode trusts its callers as much as a broker trusts itself. Objects are the exception: nobody can replace them.
 */
export const PRODUCE: Access = union(APPEND, IDEMPOTENCY_KEYS);

/** Permissions to read records, offsets and the segment map, and to list and describe topics. They allow no change. */
export const CONSUME: Access = {
  items: { GetItem: ['topic', 'head', 'node', 'inlineBatch', 'segments'], Query: ['topic', 'node', 'aborted'] },
  objects: { GetObject: ['hot', 'segment'] },
};

/**
 * Permissions to make, change, delete, list and describe topics, and to delete records. They allow neither appending nor
 * reading records.
 */
export const ADMIN: Access = {
  items: {
    GetItem: ['topic', 'head', 'segments', 'counter'],
    Query: ['topic'],
    // A deletion of records, and a change of the retention, are left to jobs: the segment list names when they look.
    PutItem: ['topic', 'garbage', 'segments', 'due'],
    UpdateItem: ['topic', 'head'],
    DeleteItem: ['due'],
  },
  objects: {},
};

/**
 * Permissions to be a member of consumer groups, to commit and reset offsets, and to see the lag. `CONSUME` must come with
 * it: the lag is measured on records. They allow deleting no group.
 */
export const GROUPS: Access = {
  items: {
    GetItem: ['group', 'member', 'target', 'offsets', 'topic'],
    Query: ['groupListing', 'member', 'offsets', 'topic'],
    PutItem: ['groupListing', 'member', 'target'],
    UpdateItem: ['group', 'member', 'offsets'],
  },
  objects: {},
};

/**
 * Permissions to measure the lag of consumer groups: it takes one record of each partition that is behind, so nodes are read
 * singly. They allow no change.
 */
export const LAG: Access = {
  items: {
    GetItem: ['group', 'topic', 'head', 'node', 'inlineBatch', 'segments'],
    Query: ['member', 'offsets', 'topic'],
  },
  objects: { GetObject: ['hot', 'segment'] },
};

/** Permissions to delete consumer groups that have no members. */
export const DELETE_GROUPS: Access = {
  items: {
    GetItem: ['groupListing', 'group'],
    Query: ['member', 'offsets', 'target'],
    UpdateItem: ['group'],
    DeleteItem: ['groupListing', 'offsets', 'target'],
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

/**
 * Permissions of a Kafka gateway for itself: the id of the log and the secret of its salts, which the first gateway makes,
 * and the list of all gateways. What it does for its clients are the permissions above.
 */
export const SERVE_KAFKA: Access = {
  items: { GetItem: ['cluster'], Query: ['gateway'], PutItem: ['cluster', 'gateway'], DeleteItem: ['gateway'] },
  objects: {},
};

/** Permissions to verify a topic: to read everything that is stored of it. They allow no change. */
export const VERIFY: Access = {
  items: {
    GetItem: ['topic', 'head', 'inlineBatch', 'segments', 'checkpoint', 'due'],
    Query: ['node', 'aborted', 'segments'],
  },
  objects: { GetObject: ['hot', 'segment'], ListBucket: ['segment'] },
};

/**
 * Permissions to merge. They allow reading all records, and writing segments and what is known of them; neither appending
 * nor deleting anything but due items.
 */
export const MERGE: Access = {
  items: {
    GetItem: ['topic', 'head', 'segments', 'inlineBatch', 'checkpoint', 'producer'],
    Query: ['topic', 'node', 'due', 'aborted'],
    PutItem: ['segments', 'due', 'use', 'producer'],
    UpdateItem: ['checkpoint'],
    DeleteItem: ['due'],
  },
  objects: { GetObject: ['hot', 'segment'], PutObject: ['segment'], AbortMultipartUpload: ['segment'] },
};

/** Permissions to find the heads that are due for a job, and to schedule the next visit. */
export const VISIT: Access = {
  items: {
    GetItem: ['topic', 'segments'],
    Query: ['topic', 'due'],
    PutItem: ['segments', 'due'],
    DeleteItem: ['due'],
  },
  objects: {},
};

/** Permissions to compact, in addition to `VISIT`. They allow reading and writing segments, and deleting nothing. */
export const COMPACT: Access = {
  items: { GetItem: ['topic', 'segments'], PutItem: ['segments'] },
  objects: { GetObject: ['segment'], PutObject: ['segment'] },
};

/** Permissions to finish deletions of topics. */
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

/** Permissions of retention. They allow reading no record, and deleting no data: the sweep does that later. */
export const EXPIRE: Access = {
  items: {
    GetItem: ['topic', 'head', 'segments'],
    Query: ['node'],
    PutItem: ['segments', 'due'],
    UpdateItem: ['head'],
    DeleteItem: ['due'],
  },
  objects: {},
};

/** Permissions of the sweep of a head. They allow no writing of objects, and no reading of them. */
export const SWEEP: Access = {
  items: {
    GetItem: ['head', 'segments'],
    Query: ['node', 'inlineBatch', 'aborted'],
    PutItem: ['segments', 'due'],
    UpdateItem: ['head', 'reference'],
    DeleteItem: ['node', 'inlineBatch', 'aborted', 'reference', 'segments', 'due'],
  },
  objects: { DeleteObject: ['hot', 'segment'] },
};

/** Permissions of the sweep of hot objects. What it reads of objects is the names of heads at their beginning. */
export const SWEEP_HOT: Access = {
  items: {
    GetItem: ['head', 'segments', 'job'],
    Query: ['node', 'topic'],
    PutItem: ['job'],
    UpdateItem: ['head'],
    DeleteItem: ['reference'],
  },
  objects: { GetObject: ['hot'], DeleteObject: ['hot'], ListBucket: ['hot'] },
};

/** Permissions of the sweep of consumer groups, which deletes what they have not used for long. */
export const SWEEP_GROUPS: Access = {
  items: {
    GetItem: ['groupListing', 'group', 'topic', 'job'],
    Query: ['groupListing', 'member', 'offsets', 'target', 'topic'],
    PutItem: ['job'],
    UpdateItem: ['group', 'offsets'],
    DeleteItem: ['groupListing', 'offsets', 'target', 'job'],
  },
  objects: {},
};

/** Permissions of the sweep of transactional ids: it ends transactions that nobody else does, and deletes ids out of use. */
export const SWEEP_TRANSACTIONS: Access = union(TRANSACT, {
  items: {
    GetItem: ['topic', 'head', 'checkpoint', 'producer', 'job'],
    Query: ['node'],
    PutItem: ['due', 'node', 'producer', 'aborted', 'job'],
    UpdateItem: ['head', 'checkpoint', 'counter'],
    DeleteItem: ['transactionListing', 'job'],
  },
  objects: {},
});

/** Permissions of the sweep of deleted topics. */
export const SWEEP_TOPICS: Access = {
  items: {
    Query: ['garbage', 'node', 'inlineBatch', 'aborted', 'producer', 'use', 'segments'],
    PutItem: ['garbage', 'head'],
    UpdateItem: ['garbage', 'head', 'reference'],
    DeleteItem: ['garbage', 'node', 'inlineBatch', 'aborted', 'producer', 'use', 'segments', 'checkpoint', 'reference'],
  },
  objects: { DeleteObject: ['hot', 'segment'], ListBucket: ['segment'] },
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
  return [...items, ...objectStatements(access, bucketArn)];
}

function objectStatements({ objects }: Access, bucketArn: string): PolicyStatement[] {
  const { ListBucket: listed = [], ...onObjects } = objects;
  const made = (Object.entries(onObjects) as [ObjectAction, readonly ObjectKind[]][]).map(([action, kinds]) =>
    objectStatement(action, kinds, bucketArn, action === 'PutObject' ? WRITTEN_ONCE : undefined),
  );
  const { AbortMultipartUpload: inParts } = objects;
  if (inParts !== undefined) made.push(objectStatement('PutObject', inParts, bucketArn, PARTS));
  // Without permission to list the bucket, S3 returns "access denied" for a missing object, and damage would look like a
  // mistake in the set-up. Who may read objects can therefore list all of them.
  const prefixes = listed.map((kind) => OBJECT_PATTERNS[kind]).sort();
  const condition = objects.GetObject === undefined ? { conditions: { StringLike: { 's3:prefix': prefixes } } } : {};
  if (objects.GetObject !== undefined || listed.length > 0)
    made.push(new PolicyStatement({ actions: ['s3:ListBucket'], resources: [bucketArn], ...condition }));
  return made;
}

/** Objects are written once: without `If-None-Match` even their writer could replace them. */
const WRITTEN_ONCE = { Null: { 's3:if-none-match': 'false' } };
/**
 * The requests that begin an upload and send its parts cannot have `If-None-Match`, and make no object. The one that
 * completes the upload does, and needs the header.
 */
const PARTS = { Bool: { 's3:ObjectCreationOperation': 'false' } };

function objectStatement(
  action: ObjectAction,
  kinds: readonly ObjectKind[],
  bucketArn: string,
  conditions?: Readonly<Record<string, Readonly<Record<string, string>>>>,
): PolicyStatement {
  return new PolicyStatement({
    actions: [`s3:${action}`],
    resources: kinds.map((kind) => `${bucketArn}/${OBJECT_PATTERNS[kind]}`),
    ...(conditions === undefined ? {} : { conditions }),
  });
}

/** Grants a principal of this account access to table and bucket, and to the bucket of hot objects if there is one. */
export function grantAccess(
  grantee: IGrantable,
  access: Access,
  table: LogTable,
  bucket: LogBucket,
  hotBucket?: LogHotBucket,
): Grant {
  const inBucket = hotBucket === undefined ? access : { ...access, objects: withoutHot(access.objects) };
  const needed = [
    ...statements(inBucket, table.tableArn, bucket.bucketArn),
    ...(hotBucket === undefined ? [] : hotStatements(access.objects, hotBucket)),
    ...keyStatements(inBucket, table, bucket),
  ];
  const grants = needed.map((statement) =>
    Grant.addToPrincipal({
      grantee,
      actions: statement.actions,
      resourceArns: statement.resources,
      conditions: statement.conditions as Record<string, Record<string, unknown>>,
    }),
  );
  return grants.reduce((all, grant) => all.combine(grant));
}
