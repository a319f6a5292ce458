import { expect } from 'vitest';
import type { ProducerOutput } from '../../../shared/http/append/contract.ts';
import type { ReadOutput } from '../../../shared/http/read/contract.ts';
import { concatBytes } from '../../../shared/log/bytes.ts';
import type { Case } from '../suite.ts';
import { type AppendAnswer, BATCHES, batchOf, type Client, JSON_TYPE, NDJSON, recordsOf } from './client.ts';

/** What the HTTP API promises of appends. */
export function appendCases(test: Case<Client>): void {
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
    expect((await send({ 'Producer-Id': '-1', 'Producer-Epoch': '0', 'Producer-Seq': '0' })).field).toBe('Producer-Id');
    expect((await send({ 'Producer-Id': '1x', 'Producer-Epoch': '0', 'Producer-Seq': '0' })).field).toBe('Producer-Id');
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
}
