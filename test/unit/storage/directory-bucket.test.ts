import { describe, expect, it } from 'vitest';
import { DirectoryBucketObjectStore } from '../../../shared/storage/s3/directory-bucket.ts';
import { DirectoryBucket } from '../../support/directory-bucket.ts';
import { SeededRandom } from '../../support/memory-broker.ts';
import { type AnswerCommand, awsError, stubS3Client } from '../../support/stub-client.ts';

const BUCKET_NAME = 'hot--use1-az1--x-s3';
const clock = { nowMs: () => Date.now(), sleep: async () => undefined };

function storeOver(answer: AnswerCommand): DirectoryBucketObjectStore {
  return new DirectoryBucketObjectStore({
    client: stubS3Client(answer),
    signingClient: stubS3Client(answer, { disableS3ExpressSessionAuth: true }),
    bucketName: BUCKET_NAME,
    clock,
    random: new SeededRandom(1),
  });
}

function make(): { bucket: DirectoryBucket; store: DirectoryBucketObjectStore; commands(): string[] } {
  const bucket = new DirectoryBucket();
  return { bucket, store: storeOver(bucket.answer), commands: () => bucket.sent.map(({ command }) => command) };
}

describe('DirectoryBucketObjectStore', () => {
  it('makes one session for many requests, and none to sign a URL', async () => {
    const { store, commands } = make();
    const { url, headers } = await store.presign('hot/1/a', { start: 5, end: 10 }, Date.now() + 300_000);
    expect(commands()).toEqual([]);
    const { hostname, pathname, searchParams } = new URL(url);
    expect(hostname).toBe(`${BUCKET_NAME}.s3express-use1-az1.us-east-1.amazonaws.com`);
    expect(pathname).toBe('/hot/1/a');
    expect(headers).toEqual({ range: 'bytes=5-9' });
    expect(searchParams.get('X-Amz-Credential')).toMatch(/^a\/\d{8}\/us-east-1\/s3express\/aws4_request$/);
    expect([...searchParams.keys()].filter((name) => /session/i.test(name))).toEqual([]);
    expect(Number(searchParams.get('X-Amz-Expires'))).toBeGreaterThan(290);

    for (let i = 0; i < 5; i++) await store.put(`hot/1/${i}`, []);
    await store.list('hot/1/', { limit: 10 });
    expect(commands().filter((command) => command === 'CreateSessionCommand')).toHaveLength(1);
  });

  it('replaces no object', async () => {
    const { bucket, store } = make();
    await store.put('hot/1/a', []);
    expect(bucket.sent.find(({ command }) => command === 'PutObjectCommand')?.input.IfNoneMatch).toBe('*');
  });

  it('reads only the folders that can hold the next keys', async () => {
    const { bucket, store } = make();
    for (let hour = 10; hour < 30; hour++) for (const name of ['a', 'b']) await store.put(`hot/${hour}/${name}`, []);
    const folders = async (...args: Parameters<typeof store.list>): Promise<unknown[]> => {
      bucket.sent.splice(0);
      await store.list(...args);
      return [...new Set(bucket.sent.map(({ input }) => input.Prefix))];
    };
    expect(await folders('hot/12/', { limit: 10 })).toEqual(['hot/12/']);
    expect(await folders('hot/12/a', { limit: 10 })).toEqual(['hot/12/']);
    expect(await folders('hot/', { after: 'hot/20/a', limit: 2 })).toEqual(['hot/', 'hot/20/', 'hot/21/']);
    expect(await folders('hot/', { after: 'hot/20/b', limit: 1 })).toEqual(['hot/', 'hot/20/', 'hot/21/']);
    expect(await folders('hot/29', { limit: 5 })).toEqual(['hot/', 'hot/29/']);
  });

  it('lists a folder once for each page, and not again for what it has found', async () => {
    const { store, commands, bucket } = make();
    for (let i = 0; i < 20; i++) await store.put(`hot/1/${i}`, []);
    for (const limit of [1, 5, 19, 20, 100]) {
      bucket.sent.splice(0);
      expect((await store.list('hot/1/', { limit })).keys).toHaveLength(Math.min(limit, 20));
      // The bucket's pages hold 7 names.
      expect(commands().filter((command) => command === 'ListObjectsV2Command')).toHaveLength(3);
    }
  });

  it('finds the keys behind any number of folders in which there is nothing yet', async () => {
    const { bucket, store } = make();
    for (let i = 10; i < 40; i++)
      await bucket.answer({ command: 'CreateMultipartUploadCommand', input: { Key: `hot/${i}/unfinished` } });
    for (const key of ['hot/25/a', 'hot/25/b', 'hot/50/a']) await store.put(key, []);
    expect(await store.list('hot/', { limit: 1 })).toEqual({ keys: ['hot/25/a'], more: true });
    expect(await store.list('hot/', { after: 'hot/25/a', limit: 2 })).toEqual({
      keys: ['hot/25/b', 'hot/50/a'],
      more: false,
    });
    expect(await store.list('hot/', { after: 'hot/50/a', limit: 2 })).toEqual({ keys: [], more: false });
  });

  it('lists the same keys as they come and go elsewhere', async () => {
    const { bucket, store } = make();
    const keys = Array.from({ length: 60 }, (_, i) => `hot/1/${String(i).padStart(2, '0')}`);
    for (const key of keys) await store.put(key, []);
    // A put between any two pages of the bucket.
    let others = 0;
    const meddling = storeOver(async (sent) => {
      const answer = await bucket.answer(sent);
      if (sent.command === 'ListObjectsV2Command') await store.put(`hot/1/0${others++}-other`, []);
      return answer;
    });
    const listed = (await meddling.list('hot/1/', { limit: 1_000 })).keys.filter((key) => !key.endsWith('other'));
    expect(listed).toEqual(keys);
  });

  it('repeats a page that was throttled, and takes no page without a token for the last', async () => {
    const { bucket, store } = make();
    for (let i = 0; i < 20; i++) await store.put(`hot/1/${i}`, []);
    let lists = 0;
    const throttled = storeOver(async (sent) => {
      if (sent.command === 'ListObjectsV2Command' && lists++ % 2 === 0) throw awsError('SlowDown');
      return bucket.answer(sent);
    });
    expect((await throttled.list('hot/1/', { limit: 100 })).keys).toHaveLength(20);
    const cut = storeOver(async (sent) => ({ ...(await bucket.answer(sent)), NextContinuationToken: undefined }));
    await expect(cut.list('hot/1/', { limit: 100 })).rejects.toMatchObject({ code: 'storage_unavailable' });
  });
});
