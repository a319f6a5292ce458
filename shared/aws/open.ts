import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { Broker } from '../broker/broker.ts';
import type { BrokerSettings } from '../broker/settings.ts';
import type { AwsAdapterOptions } from '../storage/aws-errors.ts';
import { DynamoItemStore } from '../storage/dynamodb/item-store.ts';
import { OBJECT_PATTERNS } from '../storage/keys.ts';
import type { ObjectStore } from '../storage/ports.ts';
import { RoutedObjectStore } from '../storage/routed-objects.ts';
import { DirectoryBucketObjectStore } from '../storage/s3/directory-bucket.ts';
import { S3ObjectStore } from '../storage/s3/object-store.ts';
import { systemClock } from '../storage/system/clock.ts';
import { systemRandom } from '../storage/system/random.ts';
import type { Settings } from './environment.ts';

const ITEM_TIMEOUT_MS = 1_500;
const OBJECT_TIMEOUT_MS = 10_000;
const CONNECT_TIMEOUT_MS = 1_000;
const SOCKETS_MAX = 64;

/**
 * The broker over S3 and DynamoDB, put together by hand, once per cold start. Makes no request: Region and credentials
 * are the environment's, and the first use opens the first connection. An environment serves one request at a time, so
 * appends wait for no others to share a commit with, which are the broker's own defaults. A process that serves many
 * requests passes settings of its own.
 */
export function composeBroker(settings: Settings, own: Partial<BrokerSettings> = {}): Broker {
  const { tableName, itemTimeoutMs } = settings;
  const parts = { clock: systemClock, random: systemRandom };
  const items = new DynamoItemStore({
    ...parts,
    tableName,
    client: new DynamoDBClient(clientOptions(itemTimeoutMs ?? ITEM_TIMEOUT_MS)),
  });
  const objects = composeObjects(settings, parts);
  return new Broker({ ...parts, objects, items, settings: { ...brokerSettings(settings), ...own } });
}

/** The bucket, or the router over the bucket and the directory bucket of hot objects. */
export function composeObjects(
  { bucketName, hotBucketName, objectTimeoutMs = OBJECT_TIMEOUT_MS }: Settings,
  parts: AwsAdapterOptions,
): ObjectStore {
  const options: S3ClientConfig = {
    ...clientOptions(objectTimeoutMs),
    // Objects are read by ranges, whose checksums S3 does not know; every batch has its own CRC.
    responseChecksumValidation: 'WHEN_REQUIRED',
  };
  const client = new S3Client(options);
  const bucket = new S3ObjectStore({ ...parts, bucketName, client });
  if (hotBucketName === undefined) return bucket;
  const signingClient = new S3Client({ ...options, disableS3ExpressSessionAuth: true });
  const hot = new DirectoryBucketObjectStore({ ...parts, bucketName: hotBucketName, client, signingClient });
  return new RoutedObjectStore({ prefix: OBJECT_PATTERNS.hot.slice(0, -1), routed: hot, others: bucket });
}

/** The adapters repeat requests themselves, since they know which outcomes are unknown. */
function clientOptions(requestTimeout: number) {
  return {
    maxAttempts: 1,
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      // Until the answer begins, and then between any two pieces of it: a body that stops half-way would never end.
      requestTimeout,
      socketTimeout: requestTimeout,
      throwOnRequestTimeout: true,
      httpsAgent: { keepAlive: true, maxSockets: SOCKETS_MAX },
      httpAgent: { keepAlive: true, maxSockets: SOCKETS_MAX },
    },
  };
}

function brokerSettings({ inlineBytesMax, cacheBytesMax, commitTimeoutMs }: Settings): Partial<BrokerSettings> {
  return {
    ...(inlineBytesMax === undefined ? {} : { inlineBytesMax }),
    ...(cacheBytesMax === undefined ? {} : { cacheBytesMax }),
    ...(commitTimeoutMs === undefined ? {} : { commitTimeoutMs }),
  };
}
