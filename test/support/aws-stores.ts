import { randomUUID } from 'node:crypto';
import { CreateTableCommand, DynamoDBClient, waitUntilTableExists } from '@aws-sdk/client-dynamodb';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { DynamoItemStore } from '../../shared/storage/dynamodb/item-store.ts';
import { S3ObjectStore } from '../../shared/storage/s3/object-store.ts';
import { systemClock } from '../../shared/storage/system/clock.ts';
import { systemRandom } from '../../shared/storage/system/random.ts';

export interface AwsStores {
  /** The name of the table and of the bucket. */
  readonly name: string;
  readonly items: DynamoItemStore;
  readonly objects: S3ObjectStore;
  /** The number of sent requests, by the name of the SDK's command. */
  readonly sent: Map<string, number>;
  close(): void;
}

const CREDENTIALS = { accessKeyId: 'test', secretAccessKey: 'test' };

/** The AWS adapters over their own table and bucket at an emulator. */
export async function makeAwsStores(endpoint: string): Promise<AwsStores> {
  const name = `tailrace-${randomUUID()}`;
  const { dynamo, s3 } = clientsOf(endpoint);
  await dynamo.send(
    new CreateTableCommand({
      TableName: name,
      BillingMode: 'PAY_PER_REQUEST',
      AttributeDefinitions: [
        { AttributeName: 'pk', AttributeType: 'S' },
        { AttributeName: 'sk', AttributeType: 'S' },
      ],
      KeySchema: [
        { AttributeName: 'pk', KeyType: 'HASH' },
        { AttributeName: 'sk', KeyType: 'RANGE' },
      ],
    }),
  );
  await waitUntilTableExists({ client: dynamo, maxWaitTime: 60 }, { TableName: name });
  await s3.send(new CreateBucketCommand({ Bucket: name }));
  dynamo.destroy();
  s3.destroy();
  return openAwsStores(endpoint, name);
}

/** The AWS adapters over a table and a bucket that `makeAwsStores` made, in this process or another. */
export function openAwsStores(endpoint: string, name: string): AwsStores {
  const { dynamo, s3 } = clientsOf(endpoint);
  const sent = new Map<string, number>();
  const count = (command: string | undefined): void => {
    sent.set(String(command), (sent.get(String(command)) ?? 0) + 1);
  };
  dynamo.middlewareStack.add(
    (next, { commandName }) =>
      (request) => {
        count(commandName);
        return next(request);
      },
    { step: 'finalizeRequest', name: 'count' },
  );
  s3.middlewareStack.add(
    (next, { commandName }) =>
      (request) => {
        count(commandName);
        return next(request);
      },
    { step: 'finalizeRequest', name: 'count' },
  );
  const parts = { clock: systemClock, random: systemRandom };
  return {
    name,
    items: new DynamoItemStore({ ...parts, client: dynamo, tableName: name }),
    objects: new S3ObjectStore({ ...parts, client: s3, bucketName: name }),
    sent,
    close: () => {
      dynamo.destroy();
      s3.destroy();
    },
  };
}

function clientsOf(endpoint: string): { readonly dynamo: DynamoDBClient; readonly s3: S3Client } {
  const config = { endpoint, region: 'us-east-1', credentials: CREDENTIALS, maxAttempts: 1 };
  return { dynamo: new DynamoDBClient(config), s3: new S3Client({ ...config, forcePathStyle: true }) };
}
