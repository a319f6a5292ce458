import { expect, it } from 'vitest';
import { S3ObjectStore } from '../../../shared/storage/s3/object-store.ts';
import { SeededRandom } from '../../support/memory-broker.ts';
import { S3Bucket } from '../../support/s3-bucket.ts';
import { type AnswerCommand, awsError, stubS3Client } from '../../support/stub-client.ts';

/** What `concat` asks of S3, and what becomes of an upload that does not end well. */

const MIB = 1024 * 1024;
const WHOLE = { start: 0, end: Number.MAX_SAFE_INTEGER };

async function make(answerOf: (bucket: S3Bucket) => AnswerCommand = ({ answer }) => answer) {
  const bucket = new S3Bucket();
  const system = { clock: { nowMs: () => 0, sleep: async () => {} }, random: new SeededRandom(1) };
  const store = new S3ObjectStore({ ...system, client: stubS3Client(answerOf(bucket)), bucketName: 'b' });
  await store.put('small', [new Uint8Array(MIB).fill(1)]);
  await store.put('large', [new Uint8Array(12 * MIB).fill(2)]);
  bucket.sent.length = 0;
  return { store, bucket, commands: () => bucket.sent.map(({ command }) => command.replace('Command', '')) };
}

const SMALL = { key: 'small', range: { start: 0, end: MIB } };
const LARGE = { key: 'large', range: { start: 0, end: 12 * MIB } };

it('a small object is one put, and a large one has its large ranges copied by S3', async () => {
  const { store, bucket, commands } = await make();
  await store.concat('a', [SMALL, SMALL], []);
  expect(commands()).toEqual(['GetObject', 'GetObject', 'PutObject']);
  bucket.sent.length = 0;
  const answer = await store.concat('b', [SMALL, LARGE], [new Uint8Array(9)]);
  expect(commands().filter((command) => command !== 'GetObject')).toEqual([
    'CreateMultipartUpload',
    'UploadPart',
    'UploadPartCopy',
    'UploadPart',
    'CompleteMultipartUpload',
  ]);
  expect(answer).toEqual({
    result: 'created',
    puts: 5,
    gets: 2,
    bytesRead: 5 * MIB,
    bytesWritten: 5 * MIB + 9,
  });
  expect(bucket.sent.at(-1)?.input).toMatchObject({ IfNoneMatch: '*' });
  expect((await store.get('b', WHOLE))?.length).toBe(13 * MIB + 9);
});

it('leaves no upload behind where the key is taken or a source is missing', async () => {
  const { store, bucket } = await make();
  expect(await store.concat('small', [LARGE], [])).toMatchObject({ result: 'exists' });
  const missing = { key: 'none', range: LARGE.range };
  await expect(store.concat('a', [LARGE, missing], [])).rejects.toMatchObject({ code: 'corrupt_data' });
  expect(bucket.uploads.size).toBe(0);
});

it('takes an upload whose completion was not answered for an object that is there', async () => {
  let lost = 0;
  const { store } = await make(({ answer }) => async (sent) => {
    const reply = await answer(sent);
    if (sent.command === 'CompleteMultipartUploadCommand' && lost++ === 0) throw awsError('TimeoutError');
    return reply;
  });
  expect(await store.concat('a', [LARGE], [])).toMatchObject({ result: 'exists' });
  expect((await store.get('a', WHOLE))?.length).toBe(12 * MIB);
});

it.each([
  ['UploadPartCopyCommand', 'not_applied'],
  ['CompleteMultipartUploadCommand', 'unknown'],
] as const)('where %s is never answered the outcome is %s', async (command, outcome) => {
  const { store, bucket } = await make(({ answer }) => async (sent) => {
    if (sent.command === command) throw awsError('TimeoutError');
    return answer(sent);
  });
  await expect(store.concat('a', [LARGE], [])).rejects.toMatchObject({ code: 'storage_unavailable', outcome });
  expect(bucket.uploads.size).toBe(0);
});
