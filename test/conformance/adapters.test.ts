import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DynamoItemStore } from '../../shared/storage/dynamodb/item-store.ts';
import { type DataFolder, openDataFolder } from '../../shared/storage/file/data-folder.ts';
import { createUrlSigner } from '../../shared/storage/file/url-signer.ts';
import { MemoryItemStore } from '../../shared/storage/memory/item-store.ts';
import { MemoryObjectStore } from '../../shared/storage/memory/object-store.ts';
import { RoutedObjectStore } from '../../shared/storage/routed-objects.ts';
import { DirectoryBucketObjectStore } from '../../shared/storage/s3/directory-bucket.ts';
import { S3ObjectStore } from '../../shared/storage/s3/object-store.ts';
import { systemClock } from '../../shared/storage/system/clock.ts';
import { systemRandom } from '../../shared/storage/system/random.ts';
import { drivenStores } from '../simulation/world/driven-stores.ts';
import { DirectoryBucket } from '../support/directory-bucket.ts';
import { DynamoTable } from '../support/dynamo-table.ts';
import { S3Bucket } from '../support/s3-bucket.ts';
import { stubDynamoClient, stubS3Client } from '../support/stub-client.ts';
import { itemBesideSuite } from './item-beside-cases.ts';
import { expiringItemsSuite } from './item-expiry-cases.ts';
import { itemStoreSuite } from './item-store-suite.ts';
import { objectStoreSuite } from './object-store-suite.ts';
import type { Make } from './suite.ts';

const baseUrl = () => 'http://localhost:1';

const signer = createUrlSigner({ secret: new Uint8Array(32), baseUrl });

objectStoreSuite('MemoryObjectStore', async () => {
  return { store: new MemoryObjectStore({ signer }), close: async () => undefined };
});
objectStoreSuite('the simulated object store', async () => ({
  store: drivenStores(1, signer).objects,
  close: async () => undefined,
}));
objectStoreSuite(
  'FileObjectStore',
  inFolder((folder) => folder.objects),
);

itemStoreSuite('MemoryItemStore', async () => ({ store: new MemoryItemStore(), close: async () => undefined }));
itemStoreSuite('the simulated item store', async () => ({
  store: drivenStores(2, signer).items,
  close: async () => undefined,
}));
itemStoreSuite(
  'SqliteItemStore',
  inFolder((folder) => folder.items),
);

itemBesideSuite('MemoryItemStore', async () => ({
  store: new MemoryItemStore({ putsBeside: true }),
  close: async () => undefined,
}));
itemBesideSuite('the simulated item store', async () => ({
  store: drivenStores(3, signer, { putsBeside: true }).items,
  close: async () => undefined,
}));
itemBesideSuite(
  'SqliteItemStore',
  inFolder((folder) => folder.items),
);

expiringItemsSuite('MemoryItemStore', async () => ({ store: new MemoryItemStore(), close: async () => undefined }));
expiringItemsSuite(
  'SqliteItemStore',
  inFolder((folder) => folder.items),
);

const system = { clock: systemClock, random: systemRandom };

objectStoreSuite('S3ObjectStore over a bucket in memory', async () => {
  const client = stubS3Client(new S3Bucket().answer);
  return { store: new S3ObjectStore({ ...system, client, bucketName: 'b' }), close: async () => client.destroy() };
});
objectStoreSuite('DirectoryBucketObjectStore over a directory bucket in memory', async () => {
  const { store, destroy } = directoryBucket();
  return { store, close: async () => destroy() };
});
objectStoreSuite('RoutedObjectStore over two stores in memory', async () => ({
  // Some cases are in one of them, some in the other.
  store: new RoutedObjectStore({
    prefix: 'case-1',
    routed: new MemoryObjectStore({ signer }),
    others: new MemoryObjectStore({ signer }),
  }),
  close: async () => undefined,
}));
objectStoreSuite('RoutedObjectStore over a directory bucket and a bucket in memory', async () => {
  const hot = directoryBucket();
  const client = stubS3Client(new S3Bucket().answer);
  return {
    store: new RoutedObjectStore({
      prefix: 'case-2',
      routed: hot.store,
      others: new S3ObjectStore({ ...system, client, bucketName: 'b' }),
    }),
    close: async () => {
      hot.destroy();
      client.destroy();
    },
  };
});

itemStoreSuite('DynamoItemStore over a table in memory', async () => {
  const client = stubDynamoClient(new DynamoTable().answer);
  return { store: new DynamoItemStore({ ...system, client, tableName: 't' }), close: async () => client.destroy() };
});

function directoryBucket(): { readonly store: DirectoryBucketObjectStore; destroy(): void } {
  const bucket = new DirectoryBucket();
  const client = stubS3Client(bucket.answer);
  const signingClient = stubS3Client(bucket.answer, { disableS3ExpressSessionAuth: true });
  const store = new DirectoryBucketObjectStore({ ...system, client, signingClient, bucketName: 'b--use1-az1--x-s3' });
  return {
    store,
    destroy: () => {
      client.destroy();
      signingClient.destroy();
    },
  };
}

function inFolder<Store>(storeOf: (folder: DataFolder) => Store): Make<Store> {
  return async () => {
    const path = await mkdtemp(join(tmpdir(), 'tailrace-'));
    const folder = await openDataFolder(path, { baseUrl });
    return {
      store: storeOf(folder),
      close: async () => {
        await folder.close();
        await rm(path, { recursive: true });
      },
    };
  };
}
