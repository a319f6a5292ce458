import { type AddressInfo, createServer } from 'node:net';
import { ConditionalCheckFailedException, DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { describe, expect, test } from 'vitest';
import { DynamoItemStore } from '../../../shared/storage/dynamodb/item-store.ts';
import { S3ObjectStore } from '../../../shared/storage/s3/object-store.ts';
import { SeededRandom } from '../../support/memory-broker.ts';
import { type AnswerCommand, awsError, stubDynamoClient, stubS3Client } from '../../support/stub-client.ts';

/** What emulators don't do: every way in which AWS, or the network in between, fails. */

const OK = {};
const waits: number[] = [];
const clock = {
  nowMs: () => 0,
  sleep: async (ms: number) => {
    waits.push(ms);
  },
};

/** Gives one answer after the other, and the last one for good. */
function scripted(answers: readonly (object | Error)[]): { answer: AnswerCommand; sent: () => number } {
  let sent = 0;
  const answer: AnswerCommand = async () => {
    const next = answers[Math.min(sent++, answers.length - 1)] as object | Error;
    if (next instanceof Error) throw next;
    return next;
  };
  return { answer, sent: () => sent };
}

function items(...answers: (object | Error)[]): { store: DynamoItemStore; sent: () => number } {
  const { answer, sent } = scripted(answers);
  const client = stubDynamoClient(answer);
  return { sent, store: new DynamoItemStore({ client, tableName: 'log-table', clock, random: new SeededRandom(1) }) };
}

function objects(...answers: (object | Error)[]): { store: S3ObjectStore; sent: () => number } {
  const { answer, sent } = scripted(answers);
  const client = stubS3Client(answer);
  return { sent, store: new S3ObjectStore({ client, bucketName: 'log-bucket', clock, random: new SeededRandom(1) }) };
}

/** Nothing was applied, and a repeat changes nothing. */
const FINAL = { retry: 'never', outcome: 'not_applied' };
/** Nothing was applied, since no connection was made. */
const UNSENT = { retry: 'as_is', outcome: 'not_applied' };

function refusal(address: string): Error {
  return Object.assign(new Error('refused'), { code: 'ECONNREFUSED', address, port: 9 });
}

async function unusedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const KEY = { pk: 'p', sk: 's' };
const add = [{ do: 'add', name: 'n', by: 1 }] as const;

describe('DynamoItemStore', () => {
  for (const name of [
    'ProvisionedThroughputExceededException',
    'ThrottlingException',
    'RequestLimitExceeded',
    'TransactionConflictException',
  ]) {
    test(`repeats a write that ${name} refused, and then says that nothing was applied`, async () => {
      const once = items(awsError(name), OK);
      expect(await once.store.update(KEY, add)).toMatchObject({ ok: true });
      expect(once.sent()).toBe(2);
      const always = items(awsError(name));
      await expect(always.store.update(KEY, add)).rejects.toMatchObject({
        code: 'throttled',
        outcome: 'not_applied',
        retry: 'as_is',
      });
      expect(always.sent()).toBe(4);
    });
  }

  for (const name of ['TimeoutError', 'ECONNRESET', 'InternalServerError', 'AbortError']) {
    test(`calls a write unknown that ended in ${name}`, async () => {
      const { store } = items(awsError(name));
      await expect(store.put(KEY, {})).rejects.toMatchObject({
        code: 'storage_unavailable',
        outcome: 'unknown',
        retry: 'as_is',
      });
    });
  }

  test('does not forget that an earlier try may have been applied', async () => {
    const { store } = items(awsError('TimeoutError'), awsError('ThrottlingException'));
    await expect(store.update(KEY, add)).rejects.toMatchObject({ code: 'throttled', outcome: 'unknown' });
    const denied = items(awsError('TimeoutError'), awsError('AccessDeniedException'));
    await expect(denied.store.update(KEY, add)).rejects.toMatchObject({ outcome: 'unknown', retry: 'never' });
  });

  test('says of a rejected write whether an earlier try may have been applied', async () => {
    const rejected = new ConditionalCheckFailedException({ message: 'no', $metadata: {} });
    const ifThere = [{ if: 'item_exists' }] as const;
    const lost = items(awsError('TimeoutError'), rejected);
    expect(await lost.store.update(KEY, add, ifThere)).toMatchObject({ ok: false, mayBeApplied: true });
    const throttled = items(awsError('ThrottlingException'), rejected);
    expect(await throttled.store.update(KEY, add, ifThere)).not.toHaveProperty('mayBeApplied');
  });

  test('waits longer from try to try, at random', async () => {
    waits.length = 0;
    await expect(items(awsError('ThrottlingException')).store.get(KEY)).rejects.toThrow();
    expect(waits).toHaveLength(3);
    expect(Math.max(...waits)).toBeLessThanOrEqual(1_000);
    expect(new Set(waits).size).toBe(3);
  });

  test('names the table that is missing, or that the role may not use', async () => {
    for (const name of [
      'ResourceNotFoundException',
      'AccessDeniedException',
      'UnrecognizedClientException',
      'CredentialsProviderError',
    ]) {
      const { store, sent } = items(awsError(name));
      await expect(store.get(KEY)).rejects.toMatchObject({
        code: 'storage_unavailable',
        retry: 'never',
        outcome: 'not_applied',
        message: expect.stringContaining("'log-table'"),
      });
      expect(sent()).toBe(1);
    }
  });

  // The cause, and what to do about it; `sent` is how often the adapter tried.
  const hints: readonly [what: string, answer: Error, facts: object, sent: number, says: readonly string[]][] = [
    [
      'a missing Region',
      awsError('Error', { message: 'Region is missing' }),
      FINAL,
      1,
      ['no AWS Region', 'Set AWS_REGION'],
    ],
    ['missing credentials', awsError('CredentialsProviderError'), FINAL, 1, ['no AWS credentials', 'AWS_PROFILE']],
    ['expired credentials', awsError('ExpiredTokenException'), FINAL, 1, ['have expired']],
    [
      'false credentials',
      awsError('UnrecognizedClientException'),
      FINAL,
      1,
      ['does not accept these credentials', 'clock'],
    ],
    ['a missing permission', awsError('AccessDeniedException'), FINAL, 1, ['no permission']],
    ['a missing table', awsError('ResourceNotFoundException'), FINAL, 1, ['does not exist', 'AWS_REGION']],
    [
      'an unknown certificate',
      awsError('Error', { code: 'SELF_SIGNED_CERT_IN_CHAIN' }),
      FINAL,
      1,
      ['certificate', 'NODE_EXTRA_CA_CERTS'],
    ],
    [
      'an unknown host',
      awsError('Error', { code: 'ENOTFOUND', hostname: 'nowhere.example' }),
      UNSENT,
      4,
      ['nowhere.example', 'network'],
    ],
    [
      'a host without a route',
      awsError('Error', { code: 'EHOSTUNREACH', address: '192.0.2.1', port: 443 }),
      UNSENT,
      4,
      ['192.0.2.1:443'],
    ],
    [
      'a connection refused at every address',
      Object.assign(new AggregateError([refusal('::1'), refusal('127.0.0.1')]), { code: 'ECONNREFUSED' }),
      UNSENT,
      4,
      ['[::1]:9 refused the connection', 'AWS_ENDPOINT_URL'],
    ],
  ];
  test.each(hints)('says what to do about %s', async (_, answer, facts, tries, says) => {
    const { store, sent } = items(answer);
    const error: unknown = await store.put(KEY, {}).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'storage_unavailable', ...facts });
    for (const each of ["'log-table'", ...says]) expect(error).toHaveProperty('message', expect.stringContaining(each));
    expect(sent()).toBe(tries);
  });

  test('names the address that refuses the connection, as Node tells it', async () => {
    const port = await unusedPort();
    const credentials = { accessKeyId: 'a', secretAccessKey: 'b' };
    const endpoint = `http://127.0.0.1:${port}`;
    const client = new DynamoDBClient({ endpoint, credentials, region: 'us-east-1', maxAttempts: 1 });
    const store = new DynamoItemStore({ client, tableName: 'log-table', clock, random: new SeededRandom(1) });
    await expect(store.put(KEY, {})).rejects.toMatchObject({
      ...UNSENT,
      message: expect.stringContaining(`127.0.0.1:${port} refused the connection`),
    });
  });

  test('takes a refusal by the service as bad input, without a second try', async () => {
    const { store, sent } = items(awsError('ValidationException'));
    await expect(store.update(KEY, add)).rejects.toMatchObject({ code: 'invalid_request', outcome: 'not_applied' });
    expect(sent()).toBe(1);
  });
});

describe('S3ObjectStore', () => {
  test('repeats after SlowDown and after a conflict of conditional puts', async () => {
    for (const name of ['SlowDown', 'ServiceUnavailable', 'ConditionalRequestConflict']) {
      const { store, sent } = objects(awsError(name), OK);
      expect(await store.put('hot/a', [new Uint8Array(3)])).toBe('created');
      expect(sent()).toBe(2);
    }
  });

  test('answers exists to a put that an earlier try has done, or another', async () => {
    const { store } = objects(awsError('TimeoutError'), awsError('PreconditionFailed'));
    expect(await store.put('hot/a', [new Uint8Array(3)])).toBe('exists');
  });

  test('calls a put unknown that timed out every time', async () => {
    await expect(objects(awsError('TimeoutError')).store.put('hot/a', [])).rejects.toMatchObject({
      code: 'storage_unavailable',
      outcome: 'unknown',
    });
  });

  test('says what to do about a key that cannot be used', async () => {
    for (const name of ['KMS.DisabledException', 'KMS.KMSInvalidStateException', 'KMS.NotFoundException']) {
      const { store, sent } = objects(awsError(name));
      await expect(store.put('hot/a', [])).rejects.toMatchObject({
        code: 'storage_unavailable',
        ...FINAL,
        message: expect.stringContaining(`the encryption key cannot be used (${name}). Enable the key`),
      });
      expect(sent()).toBe(1);
    }
  });

  test('answers undefined for what is not there, and names a missing bucket', async () => {
    const range = { start: 0, end: 1 };
    expect(await objects(awsError('NoSuchKey')).store.get('hot/a', range)).toBeUndefined();
    await expect(objects(awsError('NoSuchBucket')).store.get('hot/a', range)).rejects.toMatchObject({
      code: 'storage_unavailable',
      retry: 'never',
      message: expect.stringContaining("'log-bucket'"),
    });
  });
});
