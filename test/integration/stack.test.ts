import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { DynamoDBClient, GetItemCommand, UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import { S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Broker } from '../../shared/broker/broker.ts';
import { decodeRecords, encodeBatch, readBatchHeader } from '../../shared/log/batch/record-batch.ts';
import { DynamoItemStore } from '../../shared/storage/dynamodb/item-store.ts';
import { DUE_SHARDS, duePartitionKey, segmentObjectPrefix } from '../../shared/storage/keys.ts';
import type { ItemKey } from '../../shared/storage/ports.ts';
import { S3ObjectStore } from '../../shared/storage/s3/object-store.ts';
import { systemClock } from '../../shared/storage/system/clock.ts';
import { systemRandom } from '../../shared/storage/system/random.ts';
import { type DeployedStack, deployStack } from '../localstack/deploy-stack.ts';
import type { Emulator } from '../localstack/emulator.ts';
import { EMULATOR_NAME, startChosenEmulator } from '../localstack/start-emulator.ts';
import { positionsOf } from '../support/event-reader.ts';
import { appendTo } from '../support/memory-broker.ts';
import { SignedClient } from '../support/signed-client.ts';

/**
 * The whole of it, as it runs on AWS: both stacks deployed by the CDK on an emulator, and everything asked through the
 * function URLs, in requests signed with SigV4.
 */

const DEPLOY_MS = 600_000;
const HOUR_MS = 3_600_000;
/** The window of the stream takes a second of it, and the start of a function some more. */
const MERGED_MS = 60_000;

let emulator: Emulator;
let stack: DeployedStack;
let api: SignedClient;
let produce: SignedClient;

beforeAll(async () => {
  emulator = await startChosenEmulator();
  // MiniStack does not run functions that stream.
  const streaming = EMULATOR_NAME === 'LocalStack';
  stack = await deployStack(emulator, ['jobMinutes=1', 'mergeWindowSeconds=1', `streaming=${streaming}`]);
  api = new SignedClient(emulator.endpoint, stack.apiUrl);
  produce = new SignedClient(emulator.endpoint, stack.produceUrl);
}, DEPLOY_MS);

afterAll(async () => {
  await emulator?.stop();
}, 60_000);

interface Placed {
  readonly partition: number;
  readonly offset: number;
}

interface Page {
  readonly records: readonly { readonly offset: number; readonly key: string | null; readonly value: unknown }[];
  readonly nextOffset: number;
  readonly highWatermark: number;
}

/** The log without HTTP, by a clock that is late: what it appends is as old as if it had waited since. */
function directLog({ endpoint }: Emulator, { tableName, bucketName }: DeployedStack, lateMs: number) {
  const config = { endpoint, region: 'us-east-1', credentials: { accessKeyId: 'test', secretAccessKey: 'test' } };
  const dynamo = new DynamoDBClient(config);
  const s3 = new S3Client({ ...config, forcePathStyle: true });
  const clock = { ...systemClock, nowMs: () => systemClock.nowMs() - lateMs };
  const common = { clock, random: systemRandom };
  const items = new DynamoItemStore({ ...common, client: dynamo, tableName });
  const objects = new S3ObjectStore({ ...common, client: s3, bucketName });
  const close = (): void => {
    dynamo.destroy();
    s3.destroy();
  };
  return { broker: new Broker({ ...common, items, objects }), items, objects, close };
}

describe('the deployed stack', () => {
  test('makes, describes and lists topics', async () => {
    await api.json('/v1/topics/made', 'PUT', { partitions: 3, config: { 'retention.ms': 1_000 } }, 201);
    await api.json('/v1/topics/made', 'PUT', { partitions: 3 }, 200);
    expect(await api.json('/v1/topics/made', 'GET')).toMatchObject({
      partitions: 3,
      config: { 'retention.ms': { value: 1_000, source: 'topic' } },
      partitionStates: [{ highWatermark: 0 }, { highWatermark: 0 }, { highWatermark: 0 }],
    });
    const page = await api.json<{ items: { name: string }[] }>('/v1/topics', 'GET');
    expect(page.items.map((topic) => topic.name)).toContain('made');
  });

  test('gives 32 concurrent writers of one head contiguous offsets, each record once', async () => {
    await api.json('/v1/topics/race', 'PUT', { partitions: 2 }, 201);
    const acknowledged = new Map<string, Placed>();
    await Promise.all(
      Array.from({ length: 32 }, async (_, writer) => {
        for (let n = 0; n < 3; n++) {
          const value = `writer ${writer} record ${n}`;
          const record = { value, partition: writer % 2 };
          for (let tries = 0; ; tries++) {
            const headers = { 'content-type': 'application/json', 'idempotency-key': value };
            const response = await produce.send('/v1/topics/race/records', {
              method: 'POST',
              headers,
              body: JSON.stringify({ records: [record] }),
            });
            if (response.status === 200) {
              const [placed] = (JSON.parse(response.body.toString()) as { records: Placed[] }).records;
              acknowledged.set(value, { partition: placed?.partition ?? -1, offset: placed?.offset ?? -1 });
              break;
            }
            // A function that is not started yet, or too many at once.
            if (tries === 20 || ![429, 500, 502, 503, 504].includes(response.status))
              throw new Error(`${response.status} ${response.body.toString()}`);
            await new Promise((resolve) => setTimeout(resolve, 200 * (1 + Math.random())));
          }
        }
      }),
    );
    const found = new Map<string, Placed>();
    for (const partition of [0, 1]) {
      const page = await api.json<Page>(`/v1/topics/race/partitions/${partition}/records?limit=1000`, 'GET');
      expect(page.records.map((record) => record.offset)).toEqual(Array.from({ length: 48 }, (_, offset) => offset));
      for (const { value, offset } of page.records) found.set(String(value), { partition, offset });
    }
    expect(found).toEqual(acknowledged);
  }, 300_000);

  test('takes raw batches, large ones into objects, and gives the same bytes back', async () => {
    await api.json('/v1/topics/raw', 'PUT', {}, 201);
    const value = new Uint8Array(200_000).map((_, i) => i % 251);
    const batch = encodeBatch([{ key: null, value, headers: [], timestampMs: 1_700_000_000_000 }]);
    const type = 'application/vnd.apache.kafka.record-batches';
    const posted = await produce.send('/v1/topics/raw/records?partition=0', {
      method: 'POST',
      headers: { 'content-type': type },
      body: batch,
    });
    expect(posted.status, posted.body.toString()).toBe(200);
    const read = await api.send('/v1/topics/raw/partitions/0/records?offset=0', { headers: { accept: type } });
    expect(read.status).toBe(200);
    expect(read.headers['tailrace-next-offset']).toBe('1');
    const bytes = new Uint8Array(read.body);
    const [record] = decodeRecords(bytes, 0, readBatchHeader(bytes));
    expect(Buffer.from(record?.value ?? []).equals(Buffer.from(value))).toBe(true);
  });

  test('plans fetches that plain HTTP can do, without credentials', async () => {
    const plan = await api.json<{
      partitions: { parts: { url: string; headers: Record<string, string>; bytes: number }[] }[];
    }>('/v1/topics/raw/fetch-plan', 'POST', { partitions: [{ partition: 0, offset: 0 }] });
    const part = plan.partitions[0]?.parts[0];
    if (part === undefined) throw new Error('The plan has no part.');
    const fetched = await fetch(part.url, { headers: part.headers });
    expect([200, 206]).toContain(fetched.status);
    const bytes = new Uint8Array(await fetched.arrayBuffer());
    expect(bytes.length).toBe(part.bytes);
    expect(readBatchHeader(bytes).recordCount).toBe(1);
  });

  test('holds a long poll until a record comes', async () => {
    await api.json('/v1/topics/poll', 'PUT', {}, 201);
    const waiting = api.json<Page>('/v1/topics/poll/partitions/0/records?offset=0&waitMs=15000', 'GET');
    await produce.json('/v1/topics/poll/records', 'POST', { records: [{ value: 'at last' }] });
    expect(await waiting).toMatchObject({ records: [{ offset: 0, value: 'at last' }], nextOffset: 1 });
  });

  test('takes the producer sequence and the conditional append to the table', async () => {
    await api.json('/v1/topics/once', 'PUT', {}, 201);
    const send = async (headers: Record<string, string>): Promise<{ status: number; offset: unknown }> => {
      const all = { 'content-type': 'application/json', ...headers };
      const response = await produce.send('/v1/topics/once/records', {
        method: 'POST',
        headers: all,
        body: '{"records":[{"value":1,"partition":0}]}',
      });
      const body = JSON.parse(response.body.toString()) as { records?: Placed[]; nextOffset?: number };
      return { status: response.status, offset: body.records?.[0]?.offset ?? body.nextOffset };
    };
    const first = { 'producer-id': '7', 'producer-epoch': '0', 'producer-seq': '0' };
    expect([await send(first), await send(first)]).toEqual([
      { status: 200, offset: 0 },
      { status: 200, offset: 0 },
    ]);
    expect(await send({ 'if-match': '"1"' })).toEqual({ status: 200, offset: 1 });
    expect(await send({ 'if-match': '"1"' })).toEqual({ status: 412, offset: 2 });
  });

  test('answers errors as problems', async () => {
    const missing = await api.send('/v1/topics/none');
    expect(missing.status).toBe(404);
    expect(missing.headers['content-type']).toContain('application/problem+json');
    expect(JSON.parse(missing.body.toString())).toMatchObject({ code: 'unknown_topic' });
    const wrong = await produce.send('/v1/topics/raw/records', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"records":[{}]}',
    });
    expect(wrong.status).toBe(400);
    const reads = await produce.send('/v1/topics/raw/partitions/0/records');
    expect(reads.status).toBe(404);
  });

  test('tails records as events, as far as the emulator streams', async () => {
    await api.json('/v1/topics/live', 'PUT', {}, 201);
    await produce.json('/v1/topics/live/records', 'POST', { records: [{ value: 'before' }] });
    // An emulator that buffers answers when the tail has ended by itself, before Lambda would end it.
    const tail = api.send('/v1/topics/live/tail?from=earliest');
    await produce.json('/v1/topics/live/records', 'POST', { records: [{ value: 'meanwhile' }] });
    const { status, headers, body } = await tail;
    expect(status).toBe(200);
    expect(headers['content-type']).toContain('text/event-stream');
    const events = body
      .toString()
      .split('\n\n')
      .filter((event) => event.startsWith('event: record'));
    expect(events.map((event) => /"value":"(\w+)"/.exec(event)?.[1])).toEqual(['before', 'meanwhile']);
    expect(positionsOf(/^id: (.*)$/m.exec(events.at(-1) ?? '')?.[1])).toBe('0:2');
  });

  test('runs consumer groups: polls, heartbeats, commits, lag, resets', async () => {
    await api.json('/v1/topics/grouped', 'PUT', { partitions: 2 }, 201);
    const records = [0, 0, 1].map((partition, i) => ({ partition, value: i }));
    await produce.json('/v1/topics/grouped/records', 'POST', { records });
    interface Polled {
      readonly token: string;
      readonly commits: readonly object[];
      readonly partitions: readonly { readonly records: readonly object[] }[];
    }
    const polled: object[] = [];
    let after: string | undefined;
    for (let i = 0; i < 20 && polled.length < 3; i++) {
      const body = after === undefined ? { topics: ['grouped'], memberId: 'cron' } : { after };
      const answer = await api.json<Polled>('/v1/groups/stack/poll', 'POST', { waitMs: 5_000, ...body });
      polled.push(...answer.partitions.flatMap((partition) => partition.records));
      after = answer.token;
    }
    expect(polled).toHaveLength(3);
    expect(await api.json('/v1/groups/stack/lag', 'GET')).toMatchObject({ group: 'stack', partitionsWithLag: 0 });
    await api.json('/v1/groups/stack/members/cron/extend', 'POST', { token: after });
    const last = await api.json<Polled>('/v1/groups/stack/poll', 'POST', { after, maxRecords: 0 });
    expect(last.commits.every((commit) => !('error' in commit))).toBe(true);
    expect(await api.json('/v1/groups/stack/lag', 'GET')).toMatchObject({ totalLagRecords: 0 });
    expect(await api.json('/v1/groups/stack', 'GET')).toMatchObject({ members: [{ memberId: 'cron' }] });
    expect((await api.send('/v1/groups/stack', { method: 'DELETE' })).status).toBe(409);
    expect((await api.send('/v1/groups/stack/members/cron', { method: 'DELETE' })).status).toBe(204);

    interface Beat {
      readonly memberEpoch: number;
      readonly heartbeatIntervalMs: number;
      readonly assignment: readonly object[];
    }
    const member = '/v1/groups/stack/members/one';
    let beat = await api.json<Beat>(member, 'PUT', { memberEpoch: 0, topics: ['grouped'] });
    for (let i = 0; i < 40 && beat.assignment.length === 0; i++) {
      await new Promise((resolve) => setTimeout(resolve, Math.min(500, beat.heartbeatIntervalMs)));
      beat = await api.json<Beat>(member, 'PUT', { memberEpoch: beat.memberEpoch });
    }
    expect(beat.assignment).toMatchObject([{ topic: 'grouped', partitions: [0, 1] }]);
    const offsets = [{ topic: 'grouped', partition: 0, offset: 1 }];
    await api.json('/v1/groups/stack/offsets', 'PUT', { memberId: 'one', memberEpoch: beat.memberEpoch, offsets });
    expect(await api.json('/v1/groups/stack/lag', 'GET')).toMatchObject({ totalLagRecords: 1 });
    expect((await api.send(member, { method: 'DELETE' })).status).toBe(204);

    const reset = { topics: [{ topic: 'grouped', partitions: [0] }], to: 'latest', dryRun: true };
    expect(await api.json('/v1/groups/stack/offsets/reset', 'POST', reset)).toMatchObject({
      partitions: [{ oldOffset: 1, newOffset: 2 }],
    });
    // The emulator decodes paths on their way, so a slash or a question mark in a name would not arrive as one.
    await api.json('/v1/groups/team%20%C3%A4/offsets', 'PUT', { offsets });
    expect(await api.json('/v1/groups', 'GET')).toMatchObject({ items: [{ group: 'stack' }, { group: 'team ä' }] });
    for (const group of ['stack', 'team%20%C3%A4'])
      expect((await api.send(`/v1/groups/${group}`, { method: 'DELETE' })).status).toBe(204);
    expect((await api.send('/v1/groups/stack')).status).toBe(404);
  }, 120_000);

  test('merges what the stream of the table tells of, without any schedule', async () => {
    const { broker, items, objects, close } = directLog(emulator, stack, 2 * HOUR_MS);
    try {
      await broker.putTopic({ name: 'merged' });
      const { topicId } = await broker.describeTopic('merged');
      await appendTo(broker, 'merged', 0, ['first']);
      // The first append left a due item. Without it, no schedule finds the head.
      const due: ItemKey[] = [];
      for (let shard = 0; shard < DUE_SHARDS; shard++) {
        const pk = duePartitionKey('merge', shard);
        const { items: found } = await items.query({ pk, limit: 100 });
        due.push(...found.filter(({ sk }) => sk.includes(topicId)).map(({ sk }) => ({ pk, sk })));
      }
      expect(due).toHaveLength(1);
      for (const key of due) await items.delete(key);
      for (let i = 0; i < 15; i++) await appendTo(broker, 'merged', 0, [`value ${i}`]);
      await broker.idle();
      const endMs = Date.now() + MERGED_MS;
      while ((await objects.list(segmentObjectPrefix(topicId), { limit: 1 })).keys.length === 0) {
        if (Date.now() > endMs) throw new Error('The stream has not started a merge.');
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
    } finally {
      close();
    }
  }, 180_000);

  test('finishes on schedule a deletion that was broken off', async () => {
    await api.json('/v1/topics/half-deleted', 'PUT', {}, 201);
    const client = new DynamoDBClient({
      endpoint: emulator.endpoint,
      region: 'us-east-1',
      credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    });
    const item = { TableName: stack.tableName, Key: { pk: { S: 'topics' }, sk: { S: 'half-deleted' } } };
    const names = { ExpressionAttributeNames: { '#d': 'deleting' }, ExpressionAttributeValues: { ':d': { N: '1' } } };
    await client.send(new UpdateItemCommand({ ...item, ...names, UpdateExpression: 'SET #d = :d' }));
    const endMs = Date.now() + 150_000;
    while ((await client.send(new GetItemCommand({ ...item, ConsistentRead: true }))).Item?.deleted === undefined) {
      if (Date.now() > endMs) throw new Error('The scheduled job has not finished the deletion.');
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
    client.destroy();
  }, 180_000);

  test('is given its first key from the command line', async () => {
    const script = fileURLToPath(new URL('../../functions/make-key/main.ts', import.meta.url));
    const args = [script, '--table', stack.tableName, '--bucket', stack.bucketName];
    const { stdout } = await promisify(execFile)(process.execPath, args, {
      env: { ...process.env, ...emulator.environment },
    });
    expect(stdout).toMatch(/^tlr_[0-9a-f]{16}_[\w-]{43}\n$/);
    const keys = await api.json<{ items: { name: string }[] }>('/v1/api-keys', 'GET');
    expect(keys.items).toMatchObject([{ name: 'admin' }]);
  });

  test('deletes a topic', async () => {
    const deleted = await api.send('/v1/topics/made', { method: 'DELETE' });
    expect(deleted.status).toBe(204);
    expect((await api.send('/v1/topics/made')).status).toBe(404);
  });
});
