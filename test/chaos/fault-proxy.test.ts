import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { DynamoDBClient, GetItemCommand, UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FaultProxy, PROXY_FAULTS, type ProxyFaultKind } from './fault-proxy.ts';

/**
 * The proxy between the AWS SDK and a service that counts what reaches it: every fault does to the request, to the reply
 * and to the SDK what it says.
 */

const BODY = 'x'.repeat(1_000);
const DELAY_MS = 150;
/** Of the SDK, for one request. */
const TIMEOUT_MS = 60;

let upstream: http.Server;
let proxy: FaultProxy;
let dynamo: DynamoDBClient;
let s3: S3Client;
/** Bodies of the requests that have arrived. */
let arrived: string[];

beforeEach(async () => {
  arrived = [];
  upstream = http.createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += String(chunk);
    });
    request.on('end', () => {
      arrived.push(body);
      if (request.headers['x-amz-target'] !== undefined) {
        response.writeHead(200, { 'Content-Type': 'application/x-amz-json-1.0' });
        response.end(JSON.stringify({ Item: { value: { S: BODY } } }));
      } else {
        response.writeHead(200, { 'Content-Type': 'text/plain', ETag: '"tag"' });
        response.end(request.method === 'GET' ? BODY : '');
      }
    });
  });
  upstream.listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  proxy = await FaultProxy.start(`http://127.0.0.1:${(upstream.address() as AddressInfo).port}`);
  const config = {
    endpoint: proxy.endpoint,
    region: 'us-east-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    maxAttempts: 1,
    requestHandler: { requestTimeout: TIMEOUT_MS, throwOnRequestTimeout: true, socketTimeout: TIMEOUT_MS },
  };
  dynamo = new DynamoDBClient(config);
  s3 = new S3Client({ ...config, forcePathStyle: true });
});

afterEach(async () => {
  await proxy.close();
  dynamo.destroy();
  s3.destroy();
  upstream.closeAllConnections();
  upstream.close();
});

/** The code of the error of a connection, the name of any other error of the SDK, or the value that came. */
async function answerOf(work: Promise<string | undefined>): Promise<string | undefined> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof Error)) return String(error);
    return 'code' in error ? String(error.code) : error.name;
  }
}

const KEY = { pk: { S: 'a' } };

function getItem(): Promise<string | undefined> {
  const command = new GetItemCommand({ TableName: 't', Key: KEY });
  return answerOf(dynamo.send(command).then((answer) => answer.Item?.value?.S));
}

function updateItem(): Promise<string | undefined> {
  return answerOf(dynamo.send(new UpdateItemCommand({ TableName: 't', Key: KEY })).then(() => 'done'));
}

function putObject(): Promise<string | undefined> {
  const command = new PutObjectCommand({ Bucket: 'b', Key: 'k', Body: 'content', IfNoneMatch: '*' });
  return answerOf(s3.send(command).then((answer) => answer.ETag));
}

function getObject(): Promise<string | undefined> {
  const command = new GetObjectCommand({ Bucket: 'b', Key: 'k' });
  return answerOf(s3.send(command).then((answer) => answer.Body?.transformToString()));
}

function inject(kind: ProxyFaultKind): void {
  proxy.decide = () => ({ kind, delayMs: DELAY_MS });
}

describe('FaultProxy', () => {
  test('passes on requests and replies as they are, and tells what they ask for', async () => {
    const seen: string[] = [];
    proxy.decide = ({ service, operation }) => {
      seen.push(`${service} ${operation}`);
      return undefined;
    };
    expect(await getItem()).toBe(BODY);
    expect(await getObject()).toBe(BODY);
    expect(await putObject()).toBe('"tag"');
    expect(await updateItem()).toBe('done');
    expect(seen).toEqual(['dynamodb GetItem', 's3 GET', 's3 PUT', 'dynamodb UpdateItem']);
    expect(arrived[2]).toContain('content');
    expect(proxy.faults.size).toBe(0);
  });

  /** What the SDK makes of each fault of an item's read, an object's read, and an object's put. */
  const ANSWERS: Readonly<Record<ProxyFaultKind, readonly [string, string, string]>> = {
    reset: ['ECONNRESET', 'ECONNRESET', 'ECONNRESET'],
    unanswered: ['ECONNRESET', 'ECONNRESET', 'ECONNRESET'],
    silent: ['ETIMEDOUT', 'ETIMEDOUT', 'ETIMEDOUT'],
    late: ['ETIMEDOUT', 'ETIMEDOUT', 'ETIMEDOUT'],
    repeated: [BODY, BODY, '"tag"'],
    throttled: ['ProvisionedThroughputExceededException', 'SlowDown', 'SlowDown'],
    failed: ['InternalServerError', 'InternalError', 'InternalError'],
    failed_applied: ['InternalServerError', 'InternalError', 'InternalError'],
    conflict: ['TransactionConflictException', 'ConditionalRequestConflict', 'ConditionalRequestConflict'],
    truncated: ['ECONNRESET', 'ECONNRESET', '"tag"'],
    slow: [BODY, BODY, '"tag"'],
    stalled: ['TimeoutError', 'TimeoutError', '"tag"'],
  };

  for (const [kind, effect] of Object.entries(PROXY_FAULTS) as [ProxyFaultKind, 'applied' | 'lost'][]) {
    test(`${kind}: the request is ${effect}, and the SDK hears what it would of AWS`, async () => {
      inject(kind);
      expect([await getItem(), await getObject(), await putObject()]).toEqual(ANSWERS[kind]);
      await proxy.idle();
      const times = { applied: kind === 'repeated' ? 2 : 1, lost: 0 }[effect];
      expect(arrived).toHaveLength(3 * times);
      expect(Object.fromEntries(proxy.faults)).toEqual({ [kind]: 3 });
    });
  }

  test('delivers late what its sender has given up, and only then is idle', async () => {
    inject('late');
    expect(await updateItem()).toBe('ETIMEDOUT');
    expect(arrived).toEqual([]);
    await proxy.idle();
    expect(arrived).toHaveLength(1);
    expect(arrived[0]).toContain('"TableName":"t"');
  });

  test('delivers a second time what has been answered', async () => {
    inject('repeated');
    expect(await updateItem()).toBe('done');
    expect(arrived).toHaveLength(1);
    await proxy.idle();
    expect(arrived).toHaveLength(2);
    expect(arrived[1]).toBe(arrived[0]);
  });

  test('forgets at its end what has not arrived yet', async () => {
    inject('late');
    await updateItem();
    await proxy.close();
    await sleep(2 * DELAY_MS);
    expect(arrived).toEqual([]);
  });

  test('resets the connection where the service does not answer', async () => {
    upstream.closeAllConnections();
    upstream.close();
    expect(await getItem()).toBe('ECONNRESET');
  });
});
