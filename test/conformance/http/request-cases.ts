import { gzipSync } from 'node:zlib';
import { expect } from 'vitest';
import type { RootOutput, UsageOutput } from '../../../shared/http/service/contract.ts';
import { REQUEST_BYTES_MAX } from '../../../shared/log/limits.ts';
import type { Case } from '../suite.ts';
import { type Client, JSON_TYPE } from './client.ts';

/** What the HTTP API promises of every request, and of the service itself. */
export function requestCases(test: Case<Client>): void {
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
      '/v1/streams',
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
    expect((await http.problem('GET', '/v1/topics', { headers: { Accept: 'text/html' } })).code).toBe('not_acceptable');
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
}
