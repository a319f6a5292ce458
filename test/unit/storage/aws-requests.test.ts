import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DynamoItemStore } from '../../../shared/storage/dynamodb/item-store.ts';
import type { ItemMethod, ItemStore } from '../../../shared/storage/ports.ts';
import { S3ObjectStore } from '../../../shared/storage/s3/object-store.ts';
import { DynamoTable } from '../../support/dynamo-table.ts';
import { SeededRandom } from '../../support/memory-broker.ts';
import { S3Bucket } from '../../support/s3-bucket.ts';
import { type AnswerCommand, stubDynamoClient, stubS3Client } from '../../support/stub-client.ts';

/** What the adapters ask of AWS, as the SDK gets it. */

const NOW_MS = 1_700_000_000_000;
const system = { clock: { nowMs: () => NOW_MS, sleep: async () => {} }, random: new SeededRandom(1) };

describe('DynamoItemStore', () => {
  const KEY = { pk: 'p', sk: 's' };
  const COMMANDS = {
    get: 'GetItemCommand',
    put: 'PutItemCommand',
    update: 'UpdateItemCommand',
    delete: 'DeleteItemCommand',
    query: 'QueryCommand',
  } as const satisfies Readonly<Record<ItemMethod, string>>;

  const CALLS: { readonly [Method in ItemMethod]: ((items: ItemStore) => Promise<unknown>)[] } = {
    get: [(items) => items.get(KEY)],
    put: [(items) => items.put(KEY, { n: 1 }), (items) => items.put(KEY, { n: 1 }, [{ if: 'item_absent' }])],
    update: [
      (items) => items.update(KEY, [{ do: 'add', name: 'n', by: 1 }]),
      (items) => items.update(KEY, [], [{ if: 'equals', name: 'n', value: 5 }]),
    ],
    delete: [(items) => items.delete(KEY), (items) => items.delete(KEY, [{ if: 'equals', name: 'n', value: 5 }])],
    query: [
      { limit: 1 },
      { limit: 1_000_000_000, descending: true },
      { limit: 1, from: 'a' },
      { limit: 1, to: 'z' },
      { limit: 1, from: 'a', to: 'z', descending: true },
    ].map((range) => (items: ItemStore) => items.query({ pk: 'p', ...range })),
  };

  async function inputsOf(method: ItemMethod): Promise<Readonly<Record<string, unknown>>[]> {
    const table = new DynamoTable();
    const items = new DynamoItemStore({ ...system, client: stubDynamoClient(table.answer), tableName: 'log-table' });
    for (const call of CALLS[method]) await call(items);
    expect(table.sent.map(({ command }) => command)).toEqual(CALLS[method].map(() => COMMANDS[method]));
    return table.sent.map(({ input }) => input);
  }

  it.each(['get', 'query'] as const)('%s reads strongly consistent', async (method) => {
    for (const input of await inputsOf(method)) expect(input).toMatchObject({ ConsistentRead: true });
  });

  it.each(['put', 'update', 'delete'] as const)('%s asks for the item that a refused write meets', async (method) => {
    for (const input of await inputsOf(method))
      expect(input).toMatchObject({ ReturnValuesOnConditionCheckFailure: 'ALL_OLD' });
  });

  it.each(Object.keys(COMMANDS) as ItemMethod[])('%s names the table and asks for its cost', async (method) => {
    for (const input of await inputsOf(method))
      expect(input).toMatchObject({ TableName: 'log-table', ReturnConsumedCapacity: 'TOTAL' });
  });

  it('sends every condition with the write that it guards', async () => {
    for (const [method, condition] of [
      ['put', 'attribute_not_exists(#0)'],
      ['delete', '#0 = :0'],
    ] as const) {
      const [free, guarded] = await inputsOf(method);
      expect(free).not.toHaveProperty('ConditionExpression');
      expect(guarded).toMatchObject({ ConditionExpression: condition });
    }
    const [, update] = await inputsOf('update');
    expect(update).toMatchObject({ ReturnValues: 'ALL_NEW', ConditionExpression: '#0 = :0' });
  });

  it('never asks for more than a page can hold, whatever the limit', async () => {
    for (const input of await inputsOf('query')) expect(input.Limit).toBeLessThan(2 ** 31);
  });

  it('repeats a read that is asked to be consistent as one that is', async () => {
    const table = new DynamoTable();
    let throttled = true;
    const once: AnswerCommand = async (sent) => {
      const answer = await table.answer(sent);
      if (throttled) {
        throttled = false;
        throw Object.assign(new Error('slow down'), { name: 'ThrottlingException' });
      }
      return answer;
    };
    const items = new DynamoItemStore({ ...system, client: stubDynamoClient(once), tableName: 't' });
    await items.get(KEY);
    expect(table.sent.map(({ input }) => input.ConsistentRead)).toEqual([true, true]);
  });
});

describe('S3ObjectStore', () => {
  const range = fc.tuple(fc.nat(40), fc.nat(40)).map(([start, length]) => ({ start, end: start + length }));

  function bucketStore(answer?: (bucket: S3Bucket) => AnswerCommand): { bucket: S3Bucket; objects: S3ObjectStore } {
    const bucket = new S3Bucket();
    const client = stubS3Client(answer?.(bucket) ?? bucket.answer);
    return { bucket, objects: new S3ObjectStore({ ...system, client, bucketName: 'log-bucket' }) };
  }

  it('asks for exactly the bytes of a range, and for one where it is empty', async () => {
    const { bucket, objects } = bucketStore();
    await fc.assert(
      fc.asyncProperty(range, async ({ start, end }) => {
        bucket.sent.length = 0;
        await objects.get('hot/a', { start, end });
        const { Range, ...input } = bucket.sent[0]?.input ?? {};
        expect(input).toMatchObject({ Bucket: 'log-bucket', Key: 'hot/a' });
        expect(Range).toBe(`bytes=${start}-${Math.max(start, end - 1)}`);
      }),
    );
  });

  it('signs exactly the bytes of a range into a URL, with the range under the signature', async () => {
    const { objects } = bucketStore();
    await fc.assert(
      fc.asyncProperty(
        range.filter(({ start, end }) => start < end),
        async ({ start, end }) => {
          const { url, headers } = await objects.presign('hot/a', { start, end }, NOW_MS + 60_000);
          expect(headers).toEqual({ range: `bytes=${start}-${end - 1}` });
          const query = new URL(url).searchParams;
          expect(query.get('X-Amz-SignedHeaders')?.split(';')).toEqual(['host', 'range']);
          expect(query.get('X-Amz-Expires')).toBe('60');
          expect([...query.keys()].map((name) => name.toLowerCase())).not.toContain('range');
          expect(query.get('X-Amz-Date')).toBe('20231114T221320Z');
        },
      ),
      { numRuns: 20 },
    );
  });

  it('signs another range differently', async () => {
    const { objects } = bucketStore();
    const signatures = new Set<string | null>();
    for (const end of [2, 3, 4]) {
      const { url } = await objects.presign('hot/a', { start: 1, end }, NOW_MS + 60_000);
      signatures.add(new URL(url).searchParams.get('X-Amz-Signature'));
    }
    expect(signatures.size).toBe(3);
  });

  it('refuses a URL of an empty range, which would open the whole object', async () => {
    const { objects } = bucketStore();
    await expect(objects.presign('hot/a', { start: 5, end: 5 }, NOW_MS + 60_000)).rejects.toMatchObject({
      code: 'invalid_request',
    });
  });

  it.each([
    ['ends before its time where its second is not over', 59_999, '59'],
    ['is signed for a week at most', 30 * 24 * 3_600_000, '604800'],
    ['is signed for a second where its time is over', -5, '1'],
  ])('a URL %s', async (_, lifetimeMs, expires) => {
    const { objects } = bucketStore();
    const { url } = await objects.presign('hot/a', { start: 0, end: 1 }, NOW_MS + lifetimeMs);
    expect(new URL(url).searchParams.get('X-Amz-Expires')).toBe(expires);
  });

  it('creates an object only where there is none', async () => {
    const { bucket, objects } = bucketStore();
    await objects.put('hot/a', [new Uint8Array(2), new Uint8Array(3)]);
    expect(bucket.sent[0]?.input).toMatchObject({
      Bucket: 'log-bucket',
      Key: 'hot/a',
      IfNoneMatch: '*',
      ContentLength: 5,
      Body: new Uint8Array(5),
    });
  });

  const OBJECT = Uint8Array.from({ length: 10 }, (_, i) => i);
  it.each<[string, (output: Record<string, unknown>) => object]>([
    ['a byte too few', (output) => ({ ...output, Body: bodyOf(OBJECT.slice(2, 5)) })],
    ['a byte too many', (output) => ({ ...output, Body: bodyOf(OBJECT.slice(2, 7)) })],
    ['another range', () => answerOf(OBJECT.slice(1, 5), 'bytes 1-4/10')],
    ['a shorter range', () => answerOf(OBJECT.slice(2, 5), 'bytes 2-4/10')],
    ['the whole object', () => ({ ContentLength: 10, Body: bodyOf(OBJECT) })],
    ['no body', () => ({ ContentRange: 'bytes 2-5/10' })],
    ['a range that it does not name', (output) => ({ ...output, ContentRange: 'bytes */10' })],
  ])('does not take %s for what it asked for, and asks again', async (_, spoil) => {
    let gets = 0;
    const { objects } = bucketStore((bucket) => async (sent) => {
      const output = (await bucket.answer(sent)) as Record<string, unknown>;
      return sent.command === 'GetObjectCommand' && gets++ < 1 ? spoil(output) : output;
    });
    await objects.put('hot/a', [OBJECT]);
    expect(await objects.get('hot/a', { start: 2, end: 6 })).toEqual(OBJECT.slice(2, 6));
    expect(gets).toBe(2);
  });

  it('says what came instead, after as many tries as any request gets', async () => {
    const { bucket, objects } = bucketStore((inner) => async (sent) => ({
      ...(await inner.answer(sent)),
      ContentRange: 'bytes 0-0/10',
    }));
    await bucket.answer({ command: 'PutObjectCommand', input: { Key: 'a', Body: OBJECT, ContentLength: 10 } });
    bucket.sent.length = 0;
    await expect(objects.get('a', { start: 0, end: 4 })).rejects.toMatchObject({
      code: 'storage_unavailable',
      outcome: 'not_applied',
      message: "GetObject sent 4 bytes as 'bytes 0-0/10' for bytes=0-3.",
    });
    expect(bucket.sent).toHaveLength(4);
  });
});

function answerOf(bytes: Uint8Array, contentRange: string): object {
  return { ContentLength: bytes.length, ContentRange: contentRange, Body: bodyOf(bytes) };
}

function bodyOf(bytes: Uint8Array): object {
  return { transformToByteArray: async () => bytes };
}
