import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CreateTableCommand, DynamoDBClient, UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import {
  CreateFunctionCommand,
  CreateFunctionUrlConfigCommand,
  InvokeCommand,
  type InvokeMode,
  LambdaClient,
  waitUntilFunctionActiveV2,
} from '@aws-sdk/client-lambda';
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Emulator } from './emulator.ts';
import { requestThrough } from './request-through.ts';
import { startLocalStack } from './start-localstack.ts';
import { startMiniStack } from './start-ministack.ts';
import { listenersOf, processesOf } from './support/processes.ts';
import { zip } from './support/zip.ts';

/** The first run on a machine installs, which takes a minute or more. */
const START_MS = 600_000;

/** The first request to DynamoDB starts a Java, which takes 2 s, or 10 where all processors are busy. */
const SLOW_MS = 60_000;
const TIMEOUT_S = 3;

/** `busy` is a file to make before going round for ever. */
const HANDLER = `
  import { writeFileSync } from 'node:fs';
  export async function answer(event) {
    if (event.fail) throw new TypeError('asked to fail');
    if (event.busy) writeFileSync(event.busy, '');
    while (event.busy);
    const binary = event.isBase64Encoded ? Buffer.from(event.body, 'base64') : Buffer.from(event.body ?? '');
    const body = { node: process.version, path: process.execPath, region: process.env.AWS_REGION,
      endpoint: process.env.AWS_ENDPOINT_URL, profile: process.env.AWS_PROFILE, greeting: process.env.GREETING,
      event, sent: [...binary] };
    return { statusCode: 201, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  }`;

const STREAM_HANDLER = `
  export const answer = awslambda.streamifyResponse(async (event, stream) => {
    const out = awslambda.HttpResponseStream.from(stream, { statusCode: 202, headers: { 'x-part': 'all' } });
    for (const part of ['one ', 'two ', 'three']) {
      out.write(part);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    out.end();
  });`;

interface Answer {
  readonly node: string;
  readonly path: string;
  readonly region: string;
  readonly endpoint: string;
  readonly profile?: string;
  readonly greeting: string;
  readonly event: unknown;
  readonly sent: readonly number[];
}

describe.each([
  ['LocalStack', startLocalStack],
  ['MiniStack', startMiniStack],
])('%s', { timeout: SLOW_MS }, (name, start) => {
  const isLocalStack = name === 'LocalStack';
  let emulator: Emulator;
  let lambda: LambdaClient;
  let dynamoDb: DynamoDBClient;
  let s3: S3Client;

  beforeAll(async () => {
    emulator = await start();
    const credentials = { accessKeyId: 'test', secretAccessKey: 'test' };
    const config = { endpoint: emulator.endpoint, region: 'us-east-1', credentials, maxAttempts: 1 };
    [lambda, dynamoDb, s3] = [new LambdaClient(config), new DynamoDBClient(config), new S3Client(config)];
  }, START_MS);

  afterAll(async () => {
    for (const client of [lambda, dynamoDb, s3]) client?.destroy();
    await emulator?.stop();
  });

  async function createFunction(name: string, source: string, runtime: 'nodejs24.x' | 'nodejs22.x' = 'nodejs24.x') {
    await lambda.send(
      new CreateFunctionCommand({
        FunctionName: name,
        Runtime: runtime,
        Handler: 'index.answer',
        Role: 'arn:aws:iam::000000000000:role/any',
        Code: { ZipFile: zip('index.mjs', source) },
        Environment: { Variables: { GREETING: 'hello' } },
        MemorySize: 256,
        Timeout: TIMEOUT_S,
      }),
    );
    await waitUntilFunctionActiveV2(
      { client: lambda, maxWaitTime: 30, minDelay: 0.1, maxDelay: 1 },
      { FunctionName: name },
    );
  }

  async function invoke(name: string, event: object): Promise<{ error: string | undefined; payload: unknown }> {
    const sent = new InvokeCommand({ FunctionName: name, Payload: Buffer.from(JSON.stringify(event)) });
    const { FunctionError, Payload } = await lambda.send(sent);
    return { error: FunctionError, payload: JSON.parse(Buffer.from(Payload ?? []).toString()) };
  }

  async function functionUrl(name: string, mode: InvokeMode): Promise<string> {
    const created = new CreateFunctionUrlConfigCommand({ FunctionName: name, AuthType: 'NONE', InvokeMode: mode });
    return (await lambda.send(created)).FunctionUrl as string;
  }

  test('of puts that ask for a key to be free, one succeeds', async () => {
    await s3.send(new CreateBucketCommand({ Bucket: 'bucket' }));
    const writers = Array.from({ length: 8 }, (_, writer) => `writer ${writer}`);
    const put = (Body: string) =>
      s3.send(new PutObjectCommand({ Bucket: 'bucket', Key: 'key', Body, IfNoneMatch: '*' }));
    const results = await Promise.allSettled(writers.map(put));
    const winners = writers.filter((_, writer) => results[writer]?.status === 'fulfilled');
    expect(winners).toHaveLength(1);
    const { Body } = await s3.send(new GetObjectCommand({ Bucket: 'bucket', Key: 'key' }));
    expect(await Body?.transformToString()).toBe(winners[0]);
    await expect(put('late')).rejects.toMatchObject({ name: 'PreconditionFailed', $metadata: { httpStatusCode: 412 } });
  });

  test('an update with a condition answers what was there, also when it is refused', async () => {
    await dynamoDb.send(
      new CreateTableCommand({
        TableName: 'table',
        BillingMode: 'PAY_PER_REQUEST',
        KeySchema: [{ AttributeName: 'pk', KeyType: 'HASH' }],
        AttributeDefinitions: [{ AttributeName: 'pk', AttributeType: 'S' }],
      }),
    );
    const advance = (expected: number, count: number) =>
      dynamoDb.send(
        new UpdateItemCommand({
          TableName: 'table',
          Key: { pk: { S: 'head' } },
          UpdateExpression: 'SET nextOffset = :next',
          ConditionExpression: expected === 0 ? 'attribute_not_exists(nextOffset)' : 'nextOffset = :expected',
          ExpressionAttributeValues: {
            ':next': { N: String(expected + count) },
            ...(expected === 0 ? {} : { ':expected': { N: String(expected) } }),
          },
          ReturnValues: 'ALL_OLD',
          ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
        }),
      );
    expect((await advance(0, 3)).Attributes).toBeUndefined();
    expect((await advance(3, 2)).Attributes).toEqual({ pk: { S: 'head' }, nextOffset: { N: '3' } });
    await expect(advance(3, 1)).rejects.toMatchObject({
      name: 'ConditionalCheckFailedException',
      Item: { nextOffset: { N: '5' } },
    });
  });

  test('a nodejs24.x function runs, on the Node that runs this test', async () => {
    await createFunction('plain', HANDLER);
    const { error, payload } = await invoke('plain', { n: 1 });
    expect(error).toBeUndefined();
    const answer = JSON.parse((payload as { body: string }).body) as Answer;
    expect(answer).toMatchObject({ node: process.version, region: 'us-east-1', greeting: 'hello', event: { n: 1 } });
    expect(answer.path).toBe(process.execPath);
    expect(answer.profile).toBeUndefined();
    expect(new URL(answer.endpoint).port).toBe(new URL(emulator.endpoint).port);
  });

  test('an error of a function is the error of its invocation', async () => {
    const { error, payload } = await invoke('plain', { fail: true });
    expect(error).toBeDefined();
    expect(payload).toMatchObject({ errorMessage: 'asked to fail' });
  });

  test('a function that takes too long is ended, and its next invocation answers', async () => {
    const { error, payload } = await invoke('plain', { busy: join(emulator.folder, 'late') });
    expect(error).toBeDefined();
    expect(payload).toMatchObject({ errorMessage: expect.stringContaining('timed out') });
    expect((await invoke('plain', {})).error).toBeUndefined();
  });

  test('the URL of a function takes bytes and answers', async () => {
    const url = await functionUrl('plain', 'BUFFERED');
    const body = new Uint8Array([0, 1, 255]);
    const answer = await requestThrough(emulator.endpoint, `${url}topics/a?limit=2`, { method: 'POST', body });
    expect(answer.status).toBe(201);
    const { sent, event } = JSON.parse(answer.body.toString()) as Answer;
    expect(sent).toEqual([...body]);
    expect(event).toMatchObject({ rawPath: '/topics/a', rawQueryString: 'limit=2' });
  });

  test.runIf(isLocalStack)('a streamed answer of a function arrives whole, and all at once', async () => {
    await createFunction('stream', STREAM_HANDLER);
    const answer = await requestThrough(emulator.endpoint, await functionUrl('stream', 'RESPONSE_STREAM'));
    expect({ status: answer.status, body: answer.body.toString() }).toEqual({ status: 202, body: 'one two three' });
    expect(answer.headers['x-part']).toBe('all');
    expect(answer.headers['content-length']).toBe('13');
  });

  test.runIf(process.platform === 'linux')('it listens on the loopback alone', async () => {
    const pids = await processesOf(emulator.folder);
    // The keeper, the emulator, a function; with LocalStack DynamoDB Local, and another function.
    expect(pids.length).toBeGreaterThanOrEqual(isLocalStack ? 5 : 3);
    const listeners = await listenersOf(pids);
    expect(listeners).toContain(new URL(emulator.endpoint).host);
    // DynamoDB Local, and a Runtime API for each of the functions.
    expect(listeners.length).toBeGreaterThanOrEqual(isLocalStack ? 4 : 1);
    expect(listeners.filter((address) => !address.startsWith('127.0.0.1:'))).toEqual([]);
  });

  test.runIf(process.platform === 'linux')('nothing is left after the stop, a busy function included', async () => {
    const started = join(emulator.folder, 'started');
    const busy = invoke('plain', { busy: started });
    busy.catch(() => undefined);
    await vi.waitFor(() => expect(existsSync(started)).toBe(true), 10_000);
    const { folder, stop } = emulator;
    expect(await processesOf(folder)).not.toEqual([]);
    await stop();
    expect(await processesOf(folder)).toEqual([]);
    expect(existsSync(folder)).toBe(false);
    await expect(busy).rejects.toThrow();
  });
});
