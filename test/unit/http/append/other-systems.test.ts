import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { memoryApp } from '../../../support/memory-app.ts';

/** What other systems send: webhooks, CloudEvents, log shippers, and programs that print every member. */

interface Sent {
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
}

interface ReadBack {
  readonly key: unknown;
  readonly value: unknown;
  readonly headers: readonly { readonly name: string; readonly value: unknown }[];
}

/** The status of a request to a topic of one partition, the field of its problem, and the records that it left there. */
async function send({ path = '', headers = {}, body }: Sent) {
  const { call } = memoryApp();
  await call('PUT', '/v1/topics/t');
  const response = await call('POST', `/v1/topics/t${path}`, { headers, body });
  const answer = (await response.json()) as { field?: string; detail?: string };
  const { records } = (await (await call('GET', '/v1/topics/t/partitions/0/records')).json()) as {
    records: readonly ReadBack[];
  };
  return {
    status: response.status,
    field: answer.field,
    detail: answer.detail,
    records: records.map(({ key, value }) => [key, value]),
    headers: records.map((record) => Object.fromEntries(record.headers.map(({ name, value }) => [name, value]))),
  };
}

const JSON_TYPE = { 'content-type': 'application/json' };
const EVENT = { 'ce-specversion': '1.0', 'ce-type': 'com.example.x', 'ce-source': '/a', 'ce-id': 'A234' };

describe('a webhook', () => {
  const webhook = {
    ...JSON_TYPE,
    'X-GitHub-Event': 'push',
    'X-Hub-Signature-256': 'sha256=00',
    'X-Hub-Signature': 'sha1=00',
    Authorization: 'Bearer secret',
  };
  const body = '{\n  "n": 1.50\n}\n';

  it('keeps its body to the letter, and the request headers that are asked for', async () => {
    const { call } = memoryApp();
    await call('PUT', '/v1/topics/t');
    await call('POST', '/v1/topics/t?keepHeaders=x-github-event,X-Hub-*', { headers: webhook, body });
    const read = await call('GET', '/v1/topics/t/partitions/0/records?encoding=string');
    const [record] = ((await read.json()) as { records: ReadBack[] }).records;
    expect(record?.value).toBe(body);
    expect(record?.headers).toEqual([
      { name: 'content-type', value: 'application/json' },
      { name: 'x-github-event', value: 'push' },
      { name: 'x-hub-signature', value: 'sha1=00' },
      { name: 'x-hub-signature-256', value: 'sha256=00' },
    ]);
  });

  it('keeps no header that is not asked for, and never a credential', async () => {
    expect((await send({ headers: webhook, body })).headers).toEqual([{ 'content-type': 'application/json' }]);
    const all = await send({ path: '?keepHeaders=*', headers: webhook, body });
    expect(Object.keys(all.headers[0] ?? {})).not.toContain('authorization');
    expect(Object.keys(all.headers[0] ?? {})).toContain('x-github-event');
    const asked = await send({ path: '?keepHeaders=x-github-event,authorization', headers: webhook, body });
    expect([asked.status, asked.field, asked.records]).toEqual([400, 'keepHeaders', []]);
  });

  it.each(['', 'a b', 'a,,b', 'a*b', 'ü', Array.from({ length: 51 }, (_, i) => `h${i}`).join(',')])(
    'with the names %j is rejected',
    async (names) => {
      const sent = await send({ path: `?keepHeaders=${encodeURIComponent(names)}`, body });
      expect([sent.status, sent.field, sent.records]).toEqual([400, 'keepHeaders', []]);
    },
  );
});

describe('a CloudEvent', () => {
  it('in binary mode keeps its attributes as record headers, decoded, and its partition key as the key', async () => {
    const headers = { ...JSON_TYPE, ...EVENT, 'ce-subject': 'Gr%C3%BC%C3%9Fe', 'ce-partitionkey': 'k' };
    const sent = await send({ headers, body: '{"a":1}' });
    expect(sent.records).toEqual([['k', { a: 1 }]]);
    expect(sent.headers).toEqual([
      {
        'content-type': 'application/json',
        ce_id: 'A234',
        ce_partitionkey: 'k',
        ce_source: '/a',
        ce_specversion: '1.0',
        ce_subject: 'Grüße',
        ce_type: 'com.example.x',
      },
    ]);
    expect((await send({ path: '?key=own', headers, body: '{}' })).records).toEqual([['own', {}]]);
  });

  it.each(['ce-specversion', 'ce-type', 'ce-source', 'ce-id'])(
    'in binary mode is rejected without %s',
    async (name) => {
      const headers = Object.fromEntries(Object.entries(EVENT).filter(([each]) => each !== name));
      const sent = await send({ headers, body: 'x' });
      expect([sent.status, sent.field, sent.records]).toEqual([400, name, []]);
    },
  );

  it('in binary mode is rejected if an attribute is not percent-encoded UTF-8', async () => {
    const sent = await send({ headers: { ...EVENT, 'ce-subject': '%ff' }, body: 'x' });
    expect([sent.status, sent.field]).toEqual([400, 'ce-subject']);
  });

  const event = { specversion: '1.0', type: 'com.example.t', source: '/s', id: '1', partitionkey: 'p', data: { n: 1 } };
  const kept = { 'content-type': 'application/cloudevents+json' };

  it('in structured mode is stored whole', async () => {
    const sent = await send({ path: '/records', headers: kept, body: JSON.stringify(event) });
    expect([sent.status, sent.records, sent.headers]).toEqual([200, [['p', event]], [kept]]);
    const single = await send({ headers: kept, body: JSON.stringify(event) });
    expect([single.records, single.headers]).toEqual([[[null, event]], [kept]]);
  });

  it('in a batch is stored as one record each', async () => {
    const headers = { 'content-type': 'application/cloudevents-batch+json; charset=utf-8' };
    const second = { ...event, id: '2', partitionkey: undefined };
    const sent = await send({ path: '/records', headers, body: JSON.stringify([event, second]) });
    expect(sent.status).toBe(200);
    expect(sent.records).toEqual([
      ['p', event],
      [null, JSON.parse(JSON.stringify(second))],
    ]);
    expect(sent.headers).toEqual([kept, kept]);
    const bad = await send({ path: '/records', headers, body: JSON.stringify([event, { ...event, type: '' }]) });
    expect([bad.status, bad.field, bad.records]).toEqual([400, '[1].type', []]);
    const single = await send({ headers, body: JSON.stringify([event]) });
    expect([single.status, single.records]).toEqual([415, []]);
    expect(single.detail).toContain('/records');
  });
});

describe('a log shipper', () => {
  const first = '{"date":1732000000.123456,"log":"a"}';
  const path = '/records?envelope=false';

  it('sends an array, of which each element is the value of a record, to the letter', async () => {
    const { call } = memoryApp();
    await call('PUT', '/v1/topics/t');
    const body = gzipSync(`[${first}, "text", 5, null,{"$base64":"AP8="}]`);
    const headers = { ...JSON_TYPE, 'content-encoding': 'gzip' };
    expect((await call('POST', `/v1/topics/t${path}`, { headers, body: new Uint8Array(body) })).status).toBe(200);
    const read = await call('GET', '/v1/topics/t/partitions/0/records?encoding=string');
    const { records } = (await read.json()) as { records: ReadBack[] };
    expect(records.map(({ key, value }) => [key, value])).toEqual([
      [null, first],
      [null, 'text'],
      [null, '5'],
      [null, null],
      [null, { $base64: 'AP8=' }],
    ]);
  });

  it.each(['application/x-ndjson', 'application/ndjson', 'application/jsonl'])('sends lines as %s', async (type) => {
    const body = `\ufeff${first}\r\n\r\n\ufeff{"log":"b"}`;
    const sent = await send({ path, headers: { 'content-type': type }, body });
    expect(sent.records).toEqual([
      [null, JSON.parse(first)],
      [null, { log: 'b' }],
    ]);
  });

  it('sends a single object', async () => {
    expect((await send({ path, headers: JSON_TYPE, body: first })).records).toEqual([[null, JSON.parse(first)]]);
  });

  it('is told of envelope=false if it sends an array without it', async () => {
    const sent = await send({ path: '/records', headers: JSON_TYPE, body: `[${first}]` });
    expect([sent.status, sent.records]).toEqual([400, []]);
    expect(sent.detail).toContain('?envelope=false');
  });

  it.each(['[]', '[{"a":"\\ud83d"}]', '{', ''])('is rejected whole with the body %j', async (body) => {
    const sent = await send({ path, headers: JSON_TYPE, body });
    expect([sent.status, sent.records]).toEqual([400, []]);
  });
});

describe('a request', () => {
  it('may have null in place of an optional member that is absent', async () => {
    const { call } = memoryApp();
    expect((await call('PUT', '/v1/topics/t', { body: { partitions: null, config: null } })).status).toBe(201);
    const body = { records: [{ key: null, value: 'v', partition: null, headers: null, timestamp: null }] };
    expect((await call('POST', '/v1/topics/t/records', { body })).status).toBe(200);
    const plan = { partitions: [{ partition: 0, offset: 0, maxBytes: null }] };
    expect((await call('POST', '/v1/topics/t/fetch-plan', { body: plan })).status).toBe(200);
    const key = { name: 'k', scopes: [{ actions: ['produce'], topics: ['*'], groups: null }], expiresAtMs: null };
    expect((await call('POST', '/v1/api-keys', { body: key })).status).toBe(201);
  });

  it.each([
    ['PUT', '/v1/topics/u', '{"partitions":1,"partitions":3}', 'partitions'],
    ['PUT', '/v1/topics/u', '{"config":{"retention.ms":1,"retention.ms":2}}', 'retention.ms'],
    ['POST', '/v1/api-keys', '{"name":"k","scopes":[],"name":"l"}', 'name'],
  ])('%s %s with a member that is given twice is rejected', async (method, path, body, field) => {
    const { call } = memoryApp();
    const response = await call(method, path, { headers: JSON_TYPE, body });
    expect([response.status, ((await response.json()) as { field: string }).field]).toEqual([400, field]);
  });

  it('keeps the bytes of a content type that is not ASCII', async () => {
    const { call } = memoryApp();
    await call('PUT', '/v1/topics/t');
    // As Node's server has it: one character a byte.
    const contentType = Buffer.from('text/plain; title="Grüße"').toString('latin1');
    await call('POST', '/v1/topics/t', { headers: { 'content-type': contentType }, body: 'x' });
    const read = await call('GET', '/v1/topics/t/partitions/0/records');
    const [record] = ((await read.json()) as { records: ReadBack[] }).records;
    expect(record?.headers).toEqual([{ name: 'content-type', value: 'text/plain; title="Grüße"' }]);
  });
});
