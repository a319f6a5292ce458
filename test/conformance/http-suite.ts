import { gzipSync } from 'node:zlib';
import { expect } from 'vitest';
import type { ProducerOutput } from '../../shared/http/append/contract.ts';
import type { Problem } from '../../shared/http/contract.ts';
import type { FetchPlanOutput, ReadOutput, SegmentPage } from '../../shared/http/read/contract.ts';
import type { RootOutput, UsageOutput } from '../../shared/http/service/contract.ts';
import type { TopicDetail, TopicOutput, TopicPage } from '../../shared/http/topics/contract.ts';
import { decodeRecords, encodeBatch, readBatchHeader } from '../../shared/log/batch/record-batch.ts';
import { concatBytes } from '../../shared/log/bytes.ts';
import { REQUEST_BYTES_MAX } from '../../shared/log/limits.ts';
import { EventReader, positionsOf } from '../support/event-reader.ts';
import { HttpContract } from '../support/http-contract.ts';
import { type SuiteOptions, suite } from './suite.ts';

/** A server, or an app in this process: `path` is what comes after the origin. */
export interface HttpTarget {
  fetch(path: string, init?: RequestInit): Promise<Response>;
  close(): Promise<void>;
}

const JSON_TYPE = 'application/json';
const NDJSON = 'application/x-ndjson';
const BATCHES = 'application/vnd.apache.kafka.record-batches';
const SSE = 'text/event-stream';

interface CallOptions {
  readonly body?: unknown;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Answer<T> {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly bytes: Uint8Array;
  /** Parsed, where it is JSON. The document says what it is; `T` is what the test takes it for. */
  readonly json: T;
}

interface Appended {
  readonly partition: number;
  readonly offset: number;
  readonly timestamp: number;
}

interface AppendAnswer {
  readonly records: readonly Appended[];
}

type Loose = Readonly<Record<string, unknown>>;

class Client {
  readonly target: HttpTarget;
  private contract: HttpContract | undefined;

  constructor(target: HttpTarget) {
    this.target = target;
  }

  /** Sends a request and checks the answer against the server's own OpenAPI document. */
  async call<T = Loose>(
    method: string,
    path: string,
    { body, type, headers = {} }: CallOptions = {},
  ): Promise<Answer<T>> {
    this.contract ??= new HttpContract(await (await this.target.fetch('/openapi.json')).json());
    const plain = body === undefined || typeof body === 'string' || body instanceof Uint8Array;
    const contentType = type ?? (plain ? undefined : JSON_TYPE);
    const response = await this.target.fetch(path, {
      method,
      headers: { ...(contentType === undefined ? {} : { 'Content-Type': contentType }), ...headers },
      ...(body === undefined ? {} : { body: (plain ? body : JSON.stringify(body)) as BodyInit }),
    });
    const bytes = new Uint8Array(await response.arrayBuffer());
    const text = new TextDecoder().decode(bytes);
    const contentTypeOfAnswer = response.headers.get('content-type');
    if (method !== 'HEAD' && method !== 'OPTIONS') {
      const answered = { status: response.status, contentType: contentTypeOfAnswer, body: text };
      expect(this.contract.fault(method, path, answered)).toBeUndefined();
    }
    expect(response.headers.get('request-id')).toMatch(/^\S{8,}$/);
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    expect(response.headers.get('cache-control')).toMatch(/^no-store(, no-transform)?$/);
    const isJson = /^application\/(problem\+)?json/.test(contentTypeOfAnswer ?? '') && text !== '';
    return {
      status: response.status,
      headers: response.headers,
      text,
      bytes,
      json: (isJson ? JSON.parse(text) : undefined) as T,
    };
  }

  /** As `call`, for what must fail: the code, with the status that belongs to it. */
  async problem(method: string, path: string, options?: CallOptions): Promise<Problem> {
    const { status, json, headers, text } = await this.call<Problem>(method, path, options);
    expect(status, text).toBeGreaterThanOrEqual(400);
    expect(json.status).toBe(status);
    expect(json.type).toBe(`/errors/${json.code}`);
    expect(json.instance).toBe(headers.get('request-id'));
    return json;
  }

  async topic(name: string, partitions = 1, config: Record<string, unknown> = {}): Promise<void> {
    const { status } = await this.call('PUT', `/v1/topics/${name}`, { body: { partitions, config } });
    expect(status).toBe(201);
  }

  async append(topic: string, records: readonly unknown[], options: CallOptions = {}): Promise<readonly Appended[]> {
    const answer = await this.call<AppendAnswer>('POST', `/v1/topics/${topic}/records`, {
      body: { records },
      ...options,
    });
    expect(answer.status, answer.text).toBe(200);
    return answer.json.records;
  }

  async values(topic: string, partition = 0): Promise<unknown[]> {
    const { json } = await this.call<ReadOutput>(
      'GET',
      `/v1/topics/${topic}/partitions/${partition}/records?limit=10000`,
    );
    return json.records.map(({ value }) => value);
  }

  events(path: string, headers: Record<string, string> = {}): Promise<EventReader> {
    return EventReader.open((init) => this.target.fetch(path, init), headers);
  }
}

/** The HTTP API as clients see it, over any server of it. */
export function httpSuite(name: string, make: () => Promise<HttpTarget>, options: SuiteOptions = {}): void {
  const makeClient = async () => {
    const target = await make();
    return { store: new Client(target), close: () => target.close() };
  };
  suite(name, makeClient, options, (test) => {
    test('makes a topic, finds it the same, and changes it', async (http, topic) => {
      const path = `/v1/topics/${topic}`;
      const made = await http.call<TopicOutput>('PUT', path, {
        body: { partitions: 2, config: { 'retention.ms': 60_000 } },
      });
      expect(made.status).toBe(201);
      expect(made.json).toMatchObject({ name: topic, partitions: 2 });
      expect(made.json.config['retention.ms']).toEqual({ value: 60_000, source: 'topic' });
      expect(made.json.config['cleanup.policy']).toEqual({ value: 'delete', source: 'default' });
      const same = await http.call('PUT', path, { body: { partitions: 2, config: { 'retention.ms': '60000' } } });
      expect(same.status).toBe(200);
      expect(same.json).toEqual(made.json);
      const grown = await http.call<TopicOutput>('PUT', path, {
        body: { partitions: 3, config: { 'retention.ms': null } },
      });
      expect(grown.status).toBe(200);
      expect(grown.json).toMatchObject({ partitions: 3, topicId: made.json.topicId });
      expect(grown.json.config['retention.ms'].source).toBe('default');
      expect(await http.problem('PUT', path, { body: { partitions: 2 } })).toMatchObject({
        code: 'topic_conflict',
        status: 409,
      });
    });

    test('makes a topic without a body', async (http, topic) => {
      const { status, json } = await http.call('PUT', `/v1/topics/${topic}`);
      expect(status).toBe(201);
      expect(json.partitions).toBe(1);
    });

    test('describes a topic with its partitions', async (http, topic) => {
      await http.topic(topic, 2);
      await http.append(topic, [
        { value: 'a', partition: 1 },
        { value: 'b', partition: 1 },
      ]);
      const { json } = await http.call<TopicDetail>('GET', `/v1/topics/${topic}`);
      expect(json.partitionStates).toEqual([
        { partition: 0, logStartOffset: 0, highWatermark: 0, bytes: 0 },
        { partition: 1, logStartOffset: 0, highWatermark: 2, bytes: expect.any(Number) },
      ]);
      expect(json.partitionStates[1]?.bytes).toBeGreaterThan(60);
    });

    test('lists topics in pages, in order', async (http, prefix) => {
      const names = Array.from({ length: 5 }, (_, i) => `${prefix}-page-${i}`);
      for (const topic of names) await http.topic(topic);
      const found: string[] = [];
      let token: string | undefined;
      do {
        const query: string = token === undefined ? '' : `&pageToken=${encodeURIComponent(token)}`;
        const { json } = await http.call<TopicPage>('GET', `/v1/topics?limit=2${query}`);
        expect(json.items.length).toBeLessThanOrEqual(2);
        found.push(...json.items.map((item) => item.name));
        token = json.nextPageToken;
      } while (token !== undefined);
      expect(found.filter((topic) => topic.startsWith(`${prefix}-page`))).toEqual(names);
      expect(found).toEqual([...found].sort());
      expect((await http.problem('GET', '/v1/topics?pageToken=!')).field).toBe('pageToken');
      expect((await http.problem('GET', '/v1/topics?limit=0')).field).toBe('limit');
    });

    test('deletes a topic, once', async (http, topic) => {
      await http.topic(topic);
      const { status, text } = await http.call('DELETE', `/v1/topics/${topic}`);
      expect([status, text]).toEqual([204, '']);
      for (const method of ['GET', 'DELETE']) {
        expect(await http.problem(method, `/v1/topics/${topic}`)).toMatchObject({ code: 'unknown_topic', status: 404 });
      }
      await http.topic(topic);
      expect(await http.values(topic)).toEqual([]);
    });

    test('appends records and answers where each is, in order', async (http, topic) => {
      await http.topic(topic, 3);
      const at = 1_763_722_800_000;
      const records = await http.append(topic, [
        { value: 'a', partition: 2, timestamp: at },
        { value: 'b', partition: 0 },
        { value: 'c', partition: 2 },
      ]);
      expect(records).toMatchObject([
        { partition: 2, offset: 0, timestamp: at },
        { partition: 0, offset: 0 },
        { partition: 2, offset: 1 },
      ]);
      const { json } = await http.call<ReadOutput>('GET', `/v1/topics/${topic}/partitions/2/records`);
      expect(json).toEqual({
        records: [
          { offset: 0, timestamp: at, key: null, value: 'a', headers: [] },
          { offset: 1, timestamp: expect.any(Number), key: null, value: 'c', headers: [] },
        ],
        nextOffset: 2,
        logStartOffset: 0,
        highWatermark: 2,
      });
    });

    test('puts equal keys into one partition, as Kafka does', async (http, topic) => {
      await http.topic(topic, 12);
      const keys = ['JFK', 'LAX', 'SFO', 'JFK'];
      const records = await http.append(
        topic,
        keys.map((key) => ({ key, value: 1 })),
      );
      expect(records[3]?.partition).toBe(records[0]?.partition);
      // As kafkajs chooses it.
      expect(records[0]?.partition).toBe(1);
    });

    test('keeps JSON as it was sent', async (http, topic) => {
      await http.topic(topic);
      const texts = ['{"id":12345678901234567890,"b":1.0,"2":0,"1":[1e3]}', '[1,{"__proto__":2}]', '{"a":1,"a":2}'];
      const body = `{"records":[${texts.map((text) => `{"value": ${text.replaceAll(',', ' ,\n')}}`).join()}]}`;
      await http.call('POST', `/v1/topics/${topic}/records`, { body, type: JSON_TYPE });
      const { text } = await http.call('GET', `/v1/topics/${topic}/partitions/0/records`);
      for (const each of texts) expect(text).toContain(`"value":${each},`);
    });

    test('stores strings as text, other values as their JSON, and bytes as they are', async (http, topic) => {
      await http.topic(topic);
      const values = ['007', '', 'é😀', 7.5, true, { a: [1] }, [], null, { $base64: '/wA=' }, { $base64: '' }];
      await http.append(
        topic,
        values.map((value) => ({ value, key: value })),
      );
      const expected = ['007', '', 'é😀', '7.5', 'true', { a: [1] }, [], null, { $base64: '/wA=' }, ''];
      const read = async (encoding: string) => {
        const { json } = await http.call<ReadOutput>(
          'GET',
          `/v1/topics/${topic}/partitions/0/records?encoding=${encoding}`,
        );
        return json.records;
      };
      const auto = await read('auto');
      expect(auto.map(({ value }) => value)).toEqual(expected);
      expect(auto.map(({ key }) => key)).toEqual(expected);
      const parsed = await read('json');
      expect(parsed.map(({ value }) => value).slice(3, 7)).toEqual([7.5, true, { a: [1] }, []]);
      expect((await read('string')).map(({ value }) => value).slice(5, 9)).toEqual([
        '{"a":[1]}',
        '[]',
        null,
        { $base64: '/wA=' },
      ]);
      expect((await read('base64'))[0]?.value).toEqual({ $base64: 'MDA3' });
    });

    test('can tell a stored object that looks like bytes from bytes', async (http, topic) => {
      await http.topic(topic);
      const text = '{"$base64":"AA=="}';
      await http.append(topic, [{ value: { $base64: btoa(text) } }, { value: { $base64: 'AA==' } }]);
      expect(await http.values(topic)).toEqual([{ $base64: btoa(text) }, '\0']);
      for (const value of [{ $base64: 1 }, { $base64: 'A' }, { $base64: 'AB==' }]) {
        const { field, detail } = await http.problem('POST', `/v1/topics/${topic}/records`, {
          body: { records: [{ value }] },
        });
        expect(field).toBe('records[0].value');
        expect(detail).toContain('$base64');
      }
    });

    test('keeps headers in order, repeated and null', async (http, topic) => {
      await http.topic(topic);
      const headers = [
        { name: 'a', value: '1' },
        { name: 'b', value: null },
        { name: 'a', value: { $base64: '/w==' } },
        { name: '', value: '' },
        { name: '__proto__', value: 'x' },
      ];
      await http.append(topic, [{ value: 1, headers }]);
      const { json } = await http.call<ReadOutput>('GET', `/v1/topics/${topic}/partitions/0/records`);
      expect(json.records[0]?.headers).toEqual(headers);
    });

    test('appends NDJSON', async (http, topic) => {
      await http.topic(topic);
      const body = '{"value":{"n":1.0}}\n\n{"value":"b"}\r\n{"value":null,"key":"k"}';
      const { status, json } = await http.call<AppendAnswer>('POST', `/v1/topics/${topic}/records`, {
        body,
        type: NDJSON,
      });
      expect(status).toBe(200);
      expect(json.records).toHaveLength(3);
      expect(await http.values(topic)).toEqual([{ n: 1 }, 'b', null]);
    });

    test('appends one record by one plain request', async (http, topic) => {
      await http.topic(topic);
      const one = await http.call('POST', `/v1/topics/${topic}?key=JFK&partition=0`, {
        body: '{"delay": 5}',
        type: 'application/json; charset=utf-8',
      });
      expect(one.json).toEqual({ partition: 0, offset: 0, timestamp: expect.any(Number) });
      await http.call('POST', `/v1/topics/${topic}`, { body: new Uint8Array([255]), type: 'image/png' });
      await http.call('POST', `/v1/topics/${topic}?key=`, {});
      const { json } = await http.call<ReadOutput>('GET', `/v1/topics/${topic}/partitions/0/records`);
      expect(json.records).toMatchObject([
        {
          key: 'JFK',
          value: { delay: 5 },
          headers: [{ name: 'content-type', value: 'application/json; charset=utf-8' }],
        },
        { key: null, value: { $base64: '/w==' }, headers: [{ name: 'content-type', value: 'image/png' }] },
        { key: '', value: '' },
      ]);
    });

    test('appends and reads raw record batches', async (http, topic) => {
      await http.topic(topic, 2);
      const batches = [batchOf(['a', 'b']), batchOf(['c'])];
      const path = `/v1/topics/${topic}/records?partition=1`;
      const { json } = await http.call('POST', path, { body: concatBytes(batches), type: BATCHES });
      expect(json.batches).toEqual([
        { partition: 1, baseOffset: 0, records: 2, duplicate: false },
        { partition: 1, baseOffset: 2, records: 1, duplicate: false },
      ]);
      const answer = await http.call('GET', `/v1/topics/${topic}/partitions/1/records?offset=1`, {
        headers: { Accept: BATCHES },
      });
      expect(answer.headers.get('content-type')).toBe(BATCHES);
      expect(answer.headers.get('tailrace-next-offset')).toBe('3');
      expect(answer.headers.get('tailrace-high-watermark')).toBe('3');
      expect(answer.headers.get('tailrace-log-start-offset')).toBe('0');
      expect(recordsOf(answer.bytes)).toEqual([
        [0, 'a'],
        [1, 'b'],
        [2, 'c'],
      ]);
    });

    test('refuses raw batches that are damaged, cut short, or come with what they can’t have', async (http, topic) => {
      await http.topic(topic);
      const path = `/v1/topics/${topic}/records?partition=0`;
      const good = batchOf(['a']);
      const bad = good.slice();
      bad[bad.length - 2] = (bad[bad.length - 2] as number) ^ 1;
      for (const body of [bad, good.subarray(0, -1), new Uint8Array(0), new Uint8Array(100)]) {
        expect((await http.problem('POST', path, { body, type: BATCHES })).code).toBe('invalid_batch');
      }
      const raw = { body: good, type: BATCHES };
      expect((await http.problem('POST', `/v1/topics/${topic}/records`, raw)).field).toBe('partition');
      expect((await http.problem('POST', path, { ...raw, headers: { 'Idempotency-Key': 'k' } })).field).toBe(
        'Idempotency-Key',
      );
      expect((await http.problem('POST', path, { body: { records: [{ value: 1 }] } })).field).toBe('partition');
      // One of two: that one has an error, the other is appended.
      const { json } = await http.call('POST', path, { body: concatBytes([good, bad]), type: BATCHES });
      expect(json.batches).toMatchObject([{ baseOffset: 0 }, { error: { code: 'invalid_batch', status: 400 } }]);
      // Both or none: none.
      const both = await http.problem('POST', `${path}&atomic=true`, { body: concatBytes([good, bad]), type: BATCHES });
      expect(both.code).toBe('invalid_batch');
      expect(await http.values(topic)).toEqual(['a']);
    });

    test('answers for each record that fails, and never 200 where all do', async (http, topic) => {
      await http.topic(topic);
      const path = `/v1/topics/${topic}/records`;
      const records = [{ value: 'a' }, { value: 'b', partition: 7 }];
      const { status, json } = await http.call('POST', path, { body: { records } });
      expect(status).toBe(200);
      expect(json.records).toMatchObject([
        { offset: 0 },
        { error: { code: 'unknown_partition', status: 404, partition: 7 } },
      ]);
      const all = await http.problem('POST', path, { body: { records: [records[1]] } });
      expect(all).toMatchObject({ code: 'unknown_partition', status: 404 });
      const atomic = await http.problem('POST', `${path}?atomic=true`, { body: { records } });
      expect(atomic).toMatchObject({ code: 'unknown_partition', outcome: 'not_applied' });
      expect(await http.values(topic)).toEqual(['a']);
    });

    test('appends nothing of a request in which one record is malformed', async (http, topic) => {
      await http.topic(topic);
      const body = { records: [{ value: 'a' }, { valeu: 'b' }] };
      expect(await http.problem('POST', `/v1/topics/${topic}/records`, { body })).toMatchObject({
        code: 'invalid_request',
        status: 400,
      });
      expect(await http.values(topic)).toEqual([]);
    });

    test('appends to several topics, each entry with its own outcome', async (http, topic) => {
      await http.topic(topic);
      await http.topic(`${topic}-other`);
      const entries = [
        { id: 'one', topic, records: [{ value: 1 }, { value: 2, partition: 9 }] },
        { id: 'two', topic: `${topic}-other`, records: [{ value: 3 }] },
        { id: 'three', topic: `${topic}-missing`, records: [{ value: 4 }] },
      ];
      const { json } = await http.call('POST', '/v1/records', { body: { entries } });
      expect(json.entries).toMatchObject([
        { id: 'one', records: [{ offset: 0 }, { error: { code: 'unknown_partition' } }] },
        { id: 'two', records: [{ partition: 0, offset: 0 }] },
        { id: 'three', error: { code: 'unknown_topic', status: 404 } },
      ]);
      const failed = await http.problem('POST', '/v1/records', { body: { entries: entries.slice(2) } });
      expect(failed).toMatchObject({ code: 'unknown_topic', status: 404 });
      const across = await http.problem('POST', '/v1/records?atomic=true', { body: { entries } });
      expect(across).toMatchObject({ status: 400, field: 'entries[1].topic' });
      expect(await http.values(topic)).toEqual(['1']);
    });

    test('appends entries of one topic all or none', async (http, topic) => {
      await http.topic(topic);
      const entry = (id: string, partition: number) => ({ id, topic, records: [{ value: id, partition }] });
      const path = '/v1/records?atomic=true';
      const { json } = await http.call('POST', path, { body: { entries: [entry('a', 0), entry('b', 0)] } });
      expect(json.entries).toMatchObject([
        { id: 'a', records: [{ offset: 0 }] },
        { id: 'b', records: [{ offset: 1 }] },
      ]);
      const none = await http.problem('POST', path, { body: { entries: [entry('c', 0), entry('d', 1)] } });
      expect(none.code).toBe('unknown_partition');
      expect(await http.values(topic)).toEqual(['a', 'b']);
    });

    test('appends once what a producer sends again, and fences its older epochs', async (http, topic) => {
      await http.topic(topic);
      const { status, json: producer } = await http.call<ProducerOutput>('POST', '/v1/producers');
      expect(status).toBe(201);
      expect(producer.producerEpoch).toBe(0);
      const send = (epoch: number, sequence: number, ...values: string[]) =>
        http.call<AppendAnswer>('POST', `/v1/topics/${topic}/records`, {
          body: { records: values.map((value) => ({ value, partition: 0 })) },
          headers: {
            'Producer-Id': String(producer.producerId),
            'Producer-Epoch': String(epoch),
            'Producer-Seq': String(sequence),
          },
        });
      const first = await send(0, 0, 'a', 'b');
      const again = await send(0, 0, 'a', 'b');
      expect(again.json.records.map(({ offset }) => offset)).toEqual([0, 1]);
      expect(first.status).toBe(again.status);
      expect((await send(0, 2, 'c')).json.records[0]?.offset).toBe(2);
      expect((await send(0, 9, 'd')).json).toMatchObject({ code: 'out_of_order_sequence', status: 409 });
      expect((await send(1, 0, 'e')).json.records[0]?.offset).toBe(3);
      expect((await send(0, 3, 'f')).json).toMatchObject({ code: 'producer_fenced', status: 409 });
      expect(await http.values(topic)).toEqual(['a', 'b', 'c', 'e']);
      const next = await http.call<ProducerOutput>('POST', '/v1/producers');
      expect(next.json.producerId).not.toBe(producer.producerId);
    });

    test('wants the three producer headers together, and no key beside them', async (http, topic) => {
      await http.topic(topic);
      const send = (headers: Record<string, string>) =>
        http.problem('POST', `/v1/topics/${topic}/records`, { body: { records: [{ value: 1 }] }, headers });
      expect((await send({ 'Producer-Id': '1' })).field).toBe('Producer-Epoch');
      expect((await send({ 'Producer-Id': '1', 'Producer-Epoch': '0' })).field).toBe('Producer-Seq');
      expect((await send({ 'Producer-Id': '1', 'Producer-Epoch': '40000', 'Producer-Seq': '0' })).field).toBe(
        'Producer-Epoch',
      );
      expect((await send({ 'Producer-Id': '-1', 'Producer-Epoch': '0', 'Producer-Seq': '0' })).field).toBe(
        'Producer-Id',
      );
      expect((await send({ 'Producer-Id': '1x', 'Producer-Epoch': '0', 'Producer-Seq': '0' })).field).toBe(
        'Producer-Id',
      );
      const both = { 'Producer-Id': '1', 'Producer-Epoch': '0', 'Producer-Seq': '0', 'Idempotency-Key': 'k' };
      expect((await send(both)).field).toBe('Idempotency-Key');
    });

    test('gives the first answer again for the same idempotency key', async (http, topic) => {
      await http.topic(topic, 4);
      const send = (key: string, value: string) =>
        http.call<AppendAnswer>('POST', `/v1/topics/${topic}/records`, {
          body: { records: [{ value }, { value, key: 'k' }] },
          headers: { 'Idempotency-Key': key },
        });
      const first = await send('key-1', 'a');
      const again = await send('key-1', 'a');
      expect(again.text).toBe(first.text);
      expect((await send('key-1', 'b')).json).toMatchObject({ code: 'idempotency_key_reused', status: 422 });
      expect((await send('key-2', 'a')).json.records[1]?.offset).toBe((first.json.records[1]?.offset ?? 0) + 1);
      for (const key of ['', 'x'.repeat(256)]) {
        const { field } = await http.problem('POST', `/v1/topics/${topic}/records`, {
          body: { records: [{ value: 1 }] },
          headers: { 'Idempotency-Key': key },
        });
        expect(field).toBe('Idempotency-Key');
      }
    });

    test('appends only at the offset that If-Match names', async (http, topic) => {
      await http.topic(topic);
      const send = (offset: string, value: string) =>
        http.call('POST', `/v1/topics/${topic}/records`, {
          body: { records: [{ value, partition: 0 }] },
          headers: { 'If-Match': offset },
        });
      expect((await send('"0"', 'a')).status).toBe(200);
      expect((await send('"0"', 'b')).json).toMatchObject({
        code: 'offset_mismatch',
        status: 412,
        nextOffset: 1,
        outcome: 'not_applied',
      });
      expect((await send('"1"', 'c')).status).toBe(200);
      for (const wrong of ['0', 'W/"0"', '*', '"-1"', '"a"', '"9007199254740992"', '"1", "2"']) {
        expect((await send(wrong, 'x')).json, wrong).toMatchObject({ code: 'invalid_request', field: 'If-Match' });
      }
      const raw = await http.problem('POST', `/v1/topics/${topic}/records?partition=0`, {
        body: batchOf(['x']),
        type: BATCHES,
        headers: { 'If-Match': '"7"' },
      });
      expect(raw).toMatchObject({ code: 'offset_mismatch', nextOffset: 2 });
      expect(
        (await http.problem('POST', `/v1/topics/${topic}`, { body: 'x', headers: { 'If-Match': '"7"' } })).code,
      ).toBe('offset_mismatch');
      expect(await http.values(topic)).toEqual(['a', 'c']);
    });

    test('refuses conditions where it could only ignore them', async (http) => {
      for (const header of ['If-Match', 'Idempotency-Key', 'Producer-Id']) {
        const body = { entries: [{ id: 'a', topic: 't', records: [{ value: 1 }] }] };
        expect((await http.problem('POST', '/v1/records', { body, headers: { [header]: '"1"' } })).field).toBe(header);
      }
    });

    test('reads from an offset, a time, or the end, so many records', async (http, topic) => {
      await http.topic(topic);
      await http.append(
        topic,
        Array.from({ length: 10 }, (_, i) => ({ value: `v${i}`, timestamp: 1_763_722_800_000 + i * 1_000 })),
      );
      const read = async (query: string) => {
        const { json } = await http.call<ReadOutput>('GET', `/v1/topics/${topic}/partitions/0/records?${query}`);
        return [json.records.map(({ offset }) => offset), json.nextOffset];
      };
      expect(await read('offset=7')).toEqual([[7, 8, 9], 10]);
      expect(await read('offset=10')).toEqual([[], 10]);
      expect(await read('limit=3')).toEqual([[0, 1, 2], 3]);
      expect(await read('offset=8&limit=2')).toEqual([[8, 9], 10]);
      expect(await read('timestamp=1763722804500')).toEqual([[5, 6, 7, 8, 9], 10]);
      expect(await read('timestamp=1763722899999')).toEqual([[], 10]);
      expect(await read('tail=2')).toEqual([[8, 9], 10]);
      expect(await read('tail=0')).toEqual([[], 10]);
      expect(await read('tail=99999')).toEqual([[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 10]);
      expect(await read('maxBytes=1')).toEqual([[0], 1]);
      expect(await read('maxBytes=5&offset=2')).toEqual([[2, 3, 4], 5]);
      const path = `/v1/topics/${topic}/partitions/0/records`;
      expect(await http.problem('GET', `${path}?offset=11`)).toMatchObject({
        code: 'offset_out_of_range',
        status: 416,
        logStartOffset: 0,
        highWatermark: 10,
      });
      expect((await http.problem('GET', `${path}?offset=1&tail=1`)).field).toBe('tail');
      expect((await http.problem('GET', `/v1/topics/${topic}/partitions/1/records`)).code).toBe('unknown_partition');
    });

    test('reads on from page to page without loss', async (http, topic) => {
      await http.topic(topic);
      for (let i = 0; i < 5; i++)
        await http.append(
          topic,
          Array.from({ length: 7 }, (_, k) => ({ value: i * 7 + k })),
        );
      const values: unknown[] = [];
      let offset = 0;
      for (;;) {
        const { json } = await http.call<ReadOutput>(
          'GET',
          `/v1/topics/${topic}/partitions/0/records?offset=${offset}&limit=4&encoding=json`,
        );
        if (json.records.length === 0) break;
        values.push(...json.records.map(({ value }) => value));
        offset = json.nextOffset;
      }
      expect(values).toEqual(Array.from({ length: 35 }, (_, i) => i));
    });

    test('reads NDJSON, the positions on the last line', async (http, topic) => {
      await http.topic(topic);
      const path = `/v1/topics/${topic}/partitions/0/records`;
      const empty = await http.call('GET', path, { headers: { Accept: NDJSON } });
      expect(empty.text).toBe('{"end":{"nextOffset":0,"logStartOffset":0,"highWatermark":0}}\n');
      await http.append(topic, [{ value: { $base64: btoa('{\n"a":\r1}') } }, { value: 'b\n' }]);
      const { text, headers } = await http.call('GET', path, { headers: { Accept: NDJSON } });
      expect(headers.get('content-type')).toBe(NDJSON);
      const lines = text.split('\n');
      expect(lines.pop()).toBe('');
      const parsed = lines.map((line) => JSON.parse(line));
      expect(parsed.slice(0, -1).map(({ value }) => value)).toEqual([{ a: 1 }, 'b\n']);
      expect(parsed.at(-1)).toEqual({ end: { nextOffset: 2, logStartOffset: 0, highWatermark: 2 } });
    });

    test('streams answers of many megabytes', async (http, topic) => {
      await http.topic(topic);
      const value = 'x'.repeat(100_000);
      for (let i = 0; i < 4; i++)
        await http.append(
          topic,
          Array.from({ length: 20 }, () => ({ value })),
        );
      const path = `/v1/topics/${topic}/partitions/0/records?maxBytes=60000000`;
      const { json } = await http.call<ReadOutput>('GET', path);
      expect(json.records).toHaveLength(80);
      expect(json.records.every((record) => record.value === value)).toBe(true);
      const raw = await http.call('GET', path, { headers: { Accept: BATCHES } });
      expect(recordsOf(raw.bytes)).toHaveLength(80);
      const ndjson = await http.call('GET', path, { headers: { Accept: NDJSON } });
      expect(ndjson.text.trimEnd().split('\n')).toHaveLength(81);
    });

    test('waits at the end for records, and no longer than asked', async (http, topic) => {
      await http.topic(topic);
      const path = `/v1/topics/${topic}/partitions/0/records?offset=0`;
      const before = performance.now();
      expect((await http.call('GET', `${path}&waitMs=200`)).json.records).toEqual([]);
      expect(performance.now() - before).toBeGreaterThanOrEqual(190);
      const waiting = http.call('GET', `${path}&waitMs=15000`);
      await new Promise((resolve) => setTimeout(resolve, 50));
      await http.append(topic, [{ value: 'now' }]);
      expect((await waiting).json.records).toMatchObject([{ value: 'now' }]);
    });

    test('follows all partitions of a topic as events', async (http, topic) => {
      await http.topic(topic, 2);
      await http.append(topic, [{ value: 'old', partition: 0 }]);
      const events = await http.events(`/v1/topics/${topic}/tail`);
      try {
        expect(events.response.headers.get('content-type')).toBe(SSE);
        const opening = await events.next();
        expect([opening?.event, positionsOf(opening?.id)]).toEqual(['heartbeat', '0:1,1:0']);
        await http.append(topic, [{ value: { n: 1 }, key: 'k', partition: 1, timestamp: 1_763_722_800_000 }]);
        const first = await events.nextOf('record');
        expect(positionsOf(first.id)).toBe('0:1,1:1');
        expect(JSON.parse(first.data)).toEqual({
          partition: 1,
          offset: 0,
          timestamp: 1_763_722_800_000,
          key: 'k',
          value: { n: 1 },
          headers: [],
        });
        await http.append(topic, [{ value: 'line\nbreak', partition: 0 }]);
        const second = await events.nextOf('record');
        expect(positionsOf(second.id)).toBe('0:2,1:1');
        expect(JSON.parse(second.data).value).toBe('line\nbreak');
      } finally {
        await events.close();
      }
    });

    test('goes on behind the last event that was seen', async (http, topic) => {
      await http.topic(topic, 2);
      const records = Array.from({ length: 10 }, (_, i) => ({ value: `v${i}`, partition: i % 2 }));
      await http.append(topic, records);
      const seen: string[] = [];
      let id = '';
      for (let turn = 0; turn < 5; turn++) {
        const events = await http.events(
          `/v1/topics/${topic}/tail?from=earliest`,
          id === '' ? {} : { 'Last-Event-ID': id },
        );
        for (let i = 0; i < 2; i++) {
          const event = await events.nextOf('record');
          seen.push(JSON.parse(event.data).value);
          id = event.id as string;
        }
        await events.close();
      }
      expect(seen.sort()).toEqual(records.map(({ value }) => value).sort());
      const byQuery = await http.events(`/v1/topics/${topic}/tail?from=${encodeURIComponent('0:5,1:4')}`);
      expect(JSON.parse((await byQuery.nextOf('record')).data)).toMatchObject({ partition: 1, offset: 4 });
      await byQuery.close();
    });

    test('follows from a time, and only what has a text', async (http, topic) => {
      await http.topic(topic);
      await http.append(
        topic,
        ['apple', 'pear', 'apple pie'].map((value, i) => ({ value, timestamp: 1_763_722_800_000 + i })),
      );
      const late = await http.events(`/v1/topics/${topic}/tail?from=ts:1763722800001`);
      expect(JSON.parse((await late.nextOf('record')).data).value).toBe('pear');
      await late.close();
      const filtered = await http.events(`/v1/topics/${topic}/tail?from=earliest&filter=apple`);
      expect(JSON.parse((await filtered.nextOf('record')).data).value).toBe('apple');
      const second = await filtered.nextOf('record');
      expect([JSON.parse(second.data).value, positionsOf(second.id)]).toEqual(['apple pie', '0:3']);
      await filtered.close();
    });

    test('finds partitions that are added while it follows', async (http, topic) => {
      await http.topic(topic);
      const events = await http.events(`/v1/topics/${topic}/tail`);
      await http.call('PUT', `/v1/topics/${topic}`, { body: { partitions: 3 } });
      await http.append(topic, [{ value: 'new', partition: 2 }]);
      const event = await events.nextOf('record');
      expect([positionsOf(event.id), JSON.parse(event.data).partition]).toEqual(['0:0,1:0,2:1', 2]);
      await events.close();
    });

    test('ends a tail whose topic is deleted, with the problem', async (http, topic) => {
      await http.topic(topic);
      const events = await http.events(`/v1/topics/${topic}/tail`);
      await http.call('DELETE', `/v1/topics/${topic}`);
      const event = await events.nextOf('error');
      expect(JSON.parse(event.data)).toMatchObject({ code: 'unknown_topic', status: 404 });
      expect(await events.next()).toBeUndefined();
    });

    test('tells a tail that is resumed that its topic was made again, and begins with its first record', async (http, topic) => {
      await http.topic(topic);
      await http.append(topic, [{ value: 'old' }]);
      const events = await http.events(`/v1/topics/${topic}/tail?from=earliest`);
      const { id = '' } = await events.nextOf('record');
      await events.close();
      await http.call('DELETE', `/v1/topics/${topic}`);
      await http.topic(topic);
      await http.append(topic, [{ value: 'new' }, { value: 'newer' }]);
      const resumed = await http.events(`/v1/topics/${topic}/tail?lastEventId=${id}`);
      const gap = await resumed.next();
      expect([gap?.event, JSON.parse(gap?.data ?? '{}').reason]).toEqual(['gap', 'topic_recreated']);
      expect(JSON.parse((await resumed.nextOf('record')).data)).toMatchObject({ offset: 0, value: 'new' });
      await resumed.close();
    });

    test('follows one partition as events', async (http, topic) => {
      await http.topic(topic, 2);
      await http.append(
        topic,
        ['a', 'b', 'c'].map((value) => ({ value, partition: 1 })),
      );
      const path = `/v1/topics/${topic}/partitions/1/records`;
      const events = await http.events(`${path}?offset=1`, { Accept: SSE });
      const first = await events.nextOf('record');
      expect([positionsOf(first.id), JSON.parse(first.data).value]).toEqual(['1:2', 'b']);
      await events.close();
      const resumed = await http.events(`${path}?offset=0`, { Accept: SSE, 'Last-Event-ID': first.id as string });
      expect(JSON.parse((await resumed.nextOf('record')).data).value).toBe('c');
      await resumed.close();
      const asEvents = { headers: { Accept: SSE } };
      expect((await http.problem('GET', `${path}?offset=9`, asEvents)).code).toBe('offset_out_of_range');
      expect((await http.problem('GET', `${path}?limit=9`, asEvents)).field).toBe('limit');
      expect((await http.problem('GET', `/v1/topics/${topic}/partitions/2/records`, asEvents)).code).toBe(
        'unknown_partition',
      );
    });

    test('refuses beginnings of a tail that make no sense', async (http, topic) => {
      await http.topic(topic);
      for (const from of [
        'x',
        '0',
        '0:',
        '0:-1',
        '0:1,0:2',
        '0:1,',
        'ts:',
        'ts:99999999999999999',
        '0:99999999999999999',
        '0:5',
      ]) {
        const problem = await http.problem('GET', `/v1/topics/${topic}/tail?from=${encodeURIComponent(from)}`);
        expect(problem, from).toMatchObject({ code: 'invalid_request', field: 'from' });
      }
      const again = await http.problem('GET', `/v1/topics/${topic}/tail`, { headers: { 'Last-Event-ID': 'x' } });
      expect(again.field).toBe('Last-Event-ID');
      expect((await http.problem('GET', `/v1/topics/${topic}/tail?filter=`)).field).toBe('filter');
      expect((await http.problem('GET', `/v1/topics/${topic}-missing/tail`)).code).toBe('unknown_topic');
    });

    test('plans fetches whose addresses give the batches', async (http, topic) => {
      await http.topic(topic, 2);
      await http.append(topic, [{ value: 'small', partition: 0 }]);
      const big = Array.from({ length: 3 }, () => 'y'.repeat(200_000));
      await http.append(
        topic,
        big.map((value) => ({ value, partition: 1 })),
      );
      const { json } = await http.call<FetchPlanOutput>('POST', `/v1/topics/${topic}/fetch-plan`, {
        body: {
          partitions: [
            { partition: 0, offset: 0 },
            { partition: 1, offset: 0, maxBytes: 1_000_000 },
            { partition: 0, offset: 1 },
          ],
        },
      });
      expect(json.partitions.map((partition) => [partition.partition, partition.nextOffset])).toEqual([
        [0, 1],
        [1, 3],
        [0, 1],
      ]);
      const values: string[] = [];
      for (const partition of json.partitions) {
        for (const part of partition.parts) {
          const bytes =
            part.storage === 'inline' ? new Uint8Array(Buffer.from(part.data, 'base64')) : await taken(http, part);
          expect(bytes.length).toBe(part.bytes);
          values.push(...recordsOf(bytes).map(([, value]) => value));
        }
      }
      expect(values).toEqual(['small', ...big]);
      expect(
        (
          await http.problem('POST', `/v1/topics/${topic}/fetch-plan`, {
            body: { partitions: [{ partition: 0, offset: 5 }] },
          })
        ).code,
      ).toBe('offset_out_of_range');
      expect((await http.problem('POST', `/v1/topics/${topic}/fetch-plan`, { body: { partitions: [] } })).field).toBe(
        'partitions',
      );
    });

    test('tells where every offset lies', async (http, topic) => {
      await http.topic(topic, 2);
      for (let i = 0; i < 6; i++)
        await http.append(topic, [
          { value: i, partition: i % 2 },
          { value: i, partition: i % 2 },
        ]);
      const items: SegmentPage['items'][number][] = [];
      let query = 'limit=2';
      for (;;) {
        const { json } = await http.call<SegmentPage>('GET', `/v1/topics/${topic}/segments?${query}`);
        items.push(...json.items);
        if (json.nextPageToken === undefined) break;
        query = `limit=2&pageToken=${encodeURIComponent(json.nextPageToken)}`;
      }
      for (const partition of [0, 1]) {
        const own = items.filter((item) => item.partition === partition);
        expect(own.map((item) => item.startOffset)).toEqual([0, ...own.slice(0, -1).map((item) => item.endOffset)]);
        expect(own.at(-1)?.endOffset).toBe(6);
      }
      const one = await http.call<SegmentPage>('GET', `/v1/topics/${topic}/segments?partition=1`);
      expect(new Set(one.json.items.map((item) => item.partition))).toEqual(new Set([1]));
    });

    test('tells the offset at a time', async (http, topic) => {
      await http.topic(topic);
      await http.append(
        topic,
        [1, 2, 3].map((i) => ({ value: i, timestamp: 1_763_722_800_000 + i * 10 })),
      );
      const at = async (timestamp: number) =>
        (await http.call('GET', `/v1/topics/${topic}/partitions/0/offsets?timestamp=${timestamp}`)).json;
      expect(await at(1_763_722_800_015)).toEqual({
        offset: 1,
        timestamp: 1_763_722_800_020,
        logStartOffset: 0,
        highWatermark: 3,
      });
      expect(await at(1_763_722_800_099)).toEqual({ offset: 3, timestamp: null, logStartOffset: 0, highWatermark: 3 });
      expect((await http.problem('GET', `/v1/topics/${topic}/partitions/0/offsets`)).field).toBe('timestamp');
    });

    test('counts what the storage was asked for, in dollars', async (http, topic) => {
      await http.topic(topic);
      await http.append(topic, [{ value: 1 }]);
      const { json } = await http.call<UsageOutput>('GET', '/v1/usage');
      const row = json.rows.find((each) => each.topic === topic);
      expect(row?.counts).toMatchObject({ updateItem: 1 });
      expect(row?.dollars).toBeGreaterThan(0);
      expect(json.total.dollars).toBeGreaterThanOrEqual(row?.dollars ?? 0);
      expect(json.note).toContain('not included');
      const byPurpose = await http.call<UsageOutput>('GET', '/v1/usage?by=purpose');
      expect(byPurpose.json.rows.map((each) => each.purpose)).toContain('append');
      expect((await http.problem('GET', '/v1/usage?by=colour')).field).toBe('by');
    });

    test('answers at its root and for its health', async (http) => {
      const root = await http.call<RootOutput>('GET', '/');
      expect((await http.call('GET', root.json.openapi)).json.openapi).toMatch(/^3\.1\./);
      expect((await http.call('GET', root.json.health)).json.status).toBe('ok');
    });

    test('answers HEAD as GET without the body, and OPTIONS with what there is', async (http, topic) => {
      await http.topic(topic);
      for (const path of [
        '/',
        '/v1/health',
        `/v1/topics/${topic}`,
        `/v1/topics/${topic}/tail`,
        `/v1/topics/${topic}/partitions/0/records`,
      ]) {
        const head = await http.call('HEAD', path);
        expect([head.status, head.text]).toEqual([200, '']);
        const options = await http.call('OPTIONS', path);
        expect(options.status).toBe(204);
        expect(options.headers.get('allow')).toContain('GET, ');
      }
      expect((await http.call('HEAD', '/v1/topics/missing-topic')).status).toBe(404);
    });

    test('answers for unknown paths and methods with a problem', async (http, topic) => {
      for (const path of [
        '/nope',
        '/v1',
        '/v1/',
        '/v1/topics/',
        `/v1/topics/${topic}/`,
        '/v1/topics/a/b/c',
        '//v1/topics',
        '/V1/topics',
        '/v1/groups',
      ]) {
        expect(await http.problem('GET', path), path).toMatchObject({ code: 'not_found', status: 404 });
      }
      const { headers, json } = await http.call('PATCH', `/v1/topics/${topic}`);
      expect(json).toMatchObject({ code: 'method_not_allowed', status: 405 });
      expect(headers.get('allow')).toBe('GET, PUT, POST, DELETE, HEAD, OPTIONS');
      expect((await http.call('DELETE', '/v1/topics')).headers.get('allow')).toBe('GET, HEAD, OPTIONS');
      expect((await http.call('GET', '/v1/records')).headers.get('allow')).toBe('POST, OPTIONS');
      expect((await http.call('OPTIONS', '/nope')).status).toBe(404);
    });

    test('refuses names that are none', async (http) => {
      const names = [
        '%2e%2e%2f',
        'a%2Fb',
        'a%00b',
        'x'.repeat(250),
        'a%20b',
        'caf%C3%A9',
        'a%3Fb',
        '%252e',
        'a:b',
        '*',
        '.%2f',
      ];
      for (const topic of names) {
        const problem = await http.problem('PUT', `/v1/topics/${topic}`, { body: {} });
        expect(problem, topic).toMatchObject({ code: 'invalid_request', field: 'topic' });
      }
      for (const topic of ['%ff', '%', '%zz', '%c0%ae']) {
        expect(await http.problem('GET', `/v1/topics/${topic}`), topic).toMatchObject({
          code: 'invalid_request',
          field: 'path',
        });
      }
      await http.topic('x'.repeat(249));
      for (const partition of ['-1', '1.5', 'x', '1e3', '01', '99999999999999999999', '', '0x1', '%20']) {
        const path = `/v1/topics/t/partitions/${partition}/records`;
        const { code } = await http.problem('GET', path);
        expect(code, path).toBe(partition === '' ? 'not_found' : 'invalid_request');
      }
    });

    test('takes __proto__ and its like for names of nothing special', async (http, topic) => {
      for (const strange of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
        const { status } = await http.call('PUT', `/v1/topics/${strange}`, { body: {} });
        expect([200, 201]).toContain(status);
        expect((await http.call('GET', `/v1/topics/${strange}`)).json.name).toBe(strange);
        expect((await http.problem('GET', `/v1/topics?${strange}=1`)).field).toBe(strange);
        const config = `{"config":{"${strange}":1}}`;
        expect((await http.problem('PUT', `/v1/topics/${topic}`, { body: config, type: JSON_TYPE })).field).toBe(
          `config.${strange}`,
        );
        await http.call('DELETE', `/v1/topics/${strange}`);
      }
      expect(Object.keys(Object.prototype)).toEqual([]);
    });

    test('names every parameter that is unknown, repeated or wrong', async (http, topic) => {
      await http.topic(topic);
      const path = `/v1/topics/${topic}/partitions/0/records`;
      const cases: Record<string, string> = {
        'offst=1': 'offst',
        'offset=1&offset=1': 'offset',
        'offset=1&%6fffset=1': 'offset',
        'offset=-1': 'offset',
        'offset=': 'offset',
        offset: 'offset',
        'offset=1.5': 'offset',
        'offset=1e3': 'offset',
        'offset=%201': 'offset',
        'offset=9007199254740992': 'offset',
        'limit=0': 'limit',
        'limit=100001': 'limit',
        'maxBytes=0': 'maxBytes',
        'waitMs=20001': 'waitMs',
        'encoding=xml': 'encoding',
        'encoding=%ff': 'encoding',
        '%ff=1': 'query',
      };
      for (const [query, field] of Object.entries(cases)) {
        expect(await http.problem('GET', `${path}?${query}`), query).toMatchObject({ code: 'invalid_request', field });
      }
      expect(
        (await http.problem('POST', `/v1/topics/${topic}/records?atomic=yes`, { body: { records: [{ value: 1 }] } }))
          .field,
      ).toBe('atomic');
      expect((await http.problem('DELETE', `/v1/topics/${topic}?force=true`)).field).toBe('force');
    });

    test('names every field that is unknown or wrong', async (http, topic) => {
      const put = async (body: unknown) => (await http.problem('PUT', `/v1/topics/${topic}`, { body })).field;
      expect(await put({ partition: 1 })).toBe('partition');
      expect(await put({ partitions: 0 })).toBe('partitions');
      expect(await put({ partitions: '3' })).toBe('partitions');
      expect(await put({ partitions: 10_001 })).toBe('partitions');
      expect(await put({ config: { 'retention.msx': 1 } })).toBe('config.retention.msx');
      expect(await put({ config: { 'retention.ms': true } })).toBe('config.retention.ms');
      expect(await put({ config: { 'retention.ms': 'soon' } })).toBe('config.retention.ms');
      expect(await put([])).toBe('body');
    });

    test('refuses content types and encodings that it does not know', async (http, topic) => {
      await http.topic(topic);
      const path = `/v1/topics/${topic}/records`;
      const body = '{"records":[{"value":1}]}';
      for (const type of [
        'text/plain',
        'application/x-www-form-urlencoded',
        'application/json; charset=utf-16',
        'application/json5',
      ]) {
        expect(await http.problem('POST', path, { body, type }), type).toMatchObject({
          code: 'unsupported_media_type',
          status: 415,
        });
      }
      const encoded = { body, type: JSON_TYPE, headers: { 'Content-Encoding': 'br' } };
      expect((await http.problem('POST', path, encoded)).code).toBe('unsupported_media_type');
      const packed = { body: new Uint8Array(gzipSync(body)), type: JSON_TYPE, headers: { 'Content-Encoding': 'gzip' } };
      expect((await http.call('POST', path, packed)).status).toBe(200);
      expect((await http.problem('GET', '/v1/topics', { headers: { Accept: 'text/html' } })).code).toBe(
        'not_acceptable',
      );
      expect((await http.problem('GET', `/v1/topics/${topic}/tail`, { headers: { Accept: JSON_TYPE } })).code).toBe(
        'not_acceptable',
      );
      expect((await http.problem('PUT', `/v1/topics/${topic}`, { body: '{}', type: 'text/plain' })).code).toBe(
        'unsupported_media_type',
      );
    });

    test('refuses bodies that are no JSON, no UTF-8, too deep or too large', async (http, topic) => {
      await http.topic(topic);
      const post = (body: string | Uint8Array) =>
        http.problem('POST', `/v1/topics/${topic}/records`, { body, type: JSON_TYPE });
      const broken = [
        '',
        '{',
        '{"records":[{"value":1}]} x',
        '{"records":[{"value":"\\ud800"}]}',
        `{"records":[{"value":${'['.repeat(100_000)}${']'.repeat(100_000)}}]}`,
        '['.repeat(100_000),
        new Uint8Array([
          ...new TextEncoder().encode('{"records":[{"value":"'),
          0xff,
          ...new TextEncoder().encode('"}]}'),
        ]),
      ];
      for (const body of broken) expect((await post(body)).code).toBe('invalid_request');
      const large = await post(`{"records":[{"value":"${'x'.repeat(REQUEST_BYTES_MAX)}"}]}`);
      expect(large).toMatchObject({ code: 'request_too_large', status: 413, bytesMax: REQUEST_BYTES_MAX });
      const record = await post(`{"records":[{"value":"${'x'.repeat(2_000_000)}"}]}`);
      expect(record).toMatchObject({ code: 'record_too_large', status: 413 });
      expect(await http.values(topic)).toEqual([]);
    });

    test('refuses web pages of other origins', async (http, topic) => {
      const headers = { Origin: 'https://evil.example' };
      expect(await http.problem('PUT', `/v1/topics/${topic}`, { body: {}, headers })).toMatchObject({
        code: 'access_denied',
        status: 403,
      });
      expect((await http.problem('GET', '/v1/topics', { headers })).code).toBe('access_denied');
      expect((await http.call('OPTIONS', '/v1/topics', { headers })).status).toBe(403);
      expect((await http.call('GET', '/v1/topics')).headers.get('access-control-allow-origin')).toBeNull();
      expect((await http.problem('GET', `/v1/topics/${topic}`)).code).toBe('unknown_topic');
    });

    test('gives every request an id of its own', async (http) => {
      const ids = await Promise.all(
        Array.from({ length: 200 }, async () => (await http.call('GET', '/v1/health')).headers.get('request-id')),
      );
      expect(new Set(ids).size).toBe(200);
    });
  });
}

function batchOf(values: readonly string[]): Uint8Array<ArrayBuffer> {
  const records = values.map((value) => ({
    timestampMs: 1_763_722_800_000,
    key: null,
    value: new TextEncoder().encode(value),
    headers: [],
  }));
  return new Uint8Array(encodeBatch(records));
}

function recordsOf(bytes: Uint8Array): [offset: number, value: string][] {
  const records: [number, string][] = [];
  for (let position = 0; position < bytes.length; ) {
    const header = readBatchHeader(bytes, position);
    for (const record of decodeRecords(bytes, position, header)) {
      records.push([record.offset, new TextDecoder().decode(record.value as Uint8Array)]);
    }
    position += header.bytes;
  }
  return records;
}

async function taken(
  http: Client,
  part: { readonly url: string; readonly headers: Record<string, string> },
): Promise<Uint8Array> {
  const url = new URL(part.url);
  // An address of this server goes through the target; one of S3 is asked there.
  const isOurs = url.pathname.startsWith('/v1/objects/');
  const response = isOurs
    ? await http.target.fetch(url.pathname + url.search, { headers: part.headers })
    : await fetch(url, { headers: part.headers });
  expect(response.status).toBe(200);
  if (isOurs) {
    const altered = new URL(url);
    altered.searchParams.set('end', String(Number(altered.searchParams.get('end')) + 1));
    for (const bad of [
      url.pathname,
      altered.pathname + altered.search,
      `${url.pathname}x${url.search}`,
      `${url.pathname}${url.search}&start=0`,
      '/v1/objects/none?start=0&end=1&expires=9999999999999&signature=x',
    ]) {
      expect((await http.problem('GET', bad)).code).toBe('access_denied');
    }
  }
  return new Uint8Array(await response.arrayBuffer());
}
