import { describe, expect, it } from 'vitest';
import { encodeBatch } from '../../../shared/log/batch/record-batch.ts';
import { type ErrorCode, EventLogError } from '../../../shared/log/errors.ts';
import { EventReader } from '../../support/event-reader.ts';
import { type MemoryApp, memoryApp } from '../../support/memory-app.ts';

async function codeOf(response: Response | Promise<Response>): Promise<string> {
  return ((await (await response).json()) as { code: string }).code;
}

async function topicOf(memory: MemoryApp, partitions = 1): Promise<void> {
  expect((await memory.call('PUT', '/v1/topics/t', { body: { partitions } })).status).toBe(201);
}

describe('a server that stops', () => {
  it('ends tails and waits, and takes no more requests', async () => {
    const stopping = new AbortController();
    const memory = memoryApp({ http: { stopping: stopping.signal } });
    await topicOf(memory);
    const tail = await EventReader.open((init) => Promise.resolve(memory.app.request('/v1/topics/t/tail', init)));
    expect((await tail.next())?.event).toBe('heartbeat');
    const end = tail.next();
    const waiting = memory.call('GET', '/v1/topics/t/partitions/0/records?waitMs=20000');
    await new Promise((resolve) => setTimeout(resolve, 20));
    stopping.abort();
    expect(await end).toBeUndefined();
    expect((await waiting).status).toBe(200);
    const refused = await memory.call('GET', '/v1/health');
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
    expect(await codeOf(refused)).toBe('shutting_down');
  });
});

describe('errors', () => {
  it('that are bugs are told to the server and not to the client', async () => {
    const memory = memoryApp();
    const error = new TypeError('secret');
    memory.broker.listTopics = () => Promise.reject(error);
    const response = await memory.call('GET', '/v1/topics');
    expect(response.status).toBe(500);
    expect(response.headers.get('content-type')).toBe('application/problem+json');
    const text = await response.text();
    expect(text).toContain('"code":"internal"');
    expect(text).not.toContain('secret');
    expect(memory.errors).toEqual([error]);
  });

  it('of stored data that is missing come before the status', async () => {
    const memory = memoryApp();
    await topicOf(memory);
    await memory.call('POST', '/v1/topics/t', { body: 'x'.repeat(100_000) });
    memory.objects.get = async () => undefined;
    memory.items.get = (
      (get) => async (key) =>
        key.pk.startsWith('batch#') ? { attributes: undefined, units: 1 } : get.call(memory.items, key)
    )(memory.items.get);
    // A broker that has nothing in memory.
    const fresh = memoryApp();
    const app = memoryApp({ http: { broker: freshBroker(memory, fresh) } });
    for (const accept of ['application/json', 'application/x-ndjson', 'application/vnd.apache.kafka.record-batches']) {
      const response = await app.call('GET', '/v1/topics/t/partitions/0/records', { headers: { Accept: accept } });
      expect(response.status).toBe(500);
      expect(await codeOf(response)).toBe('corrupt_data');
    }
  });

  it('of an append whose records all failed is one that leaves it open whether it was applied, if there is one', async () => {
    const memory = memoryApp();
    const errorsOf = (...codes: ErrorCode[]) =>
      codes.map((code) => ({ ok: false as const, error: new EventLogError(code, 'No.') }));
    const send = () => codeOf(memory.call('POST', '/v1/topics/t/records', { body: { records: [{ value: 1 }] } }));
    memory.broker.appendRecords = async () => errorsOf('unknown_partition', 'storage_unavailable');
    expect(await send()).toBe('storage_unavailable');
    memory.broker.appendRecords = async () => errorsOf('atomic_append_refused', 'unknown_partition');
    expect(await send()).toBe('unknown_partition');
    memory.broker.appendRecords = async () => errorsOf('atomic_append_refused');
    expect(await send()).toBe('atomic_append_refused');
  });

  it('of throttling say when to come back', async () => {
    const memory = memoryApp({ broker: { pendingBytesMax: 1, lingerMs: 50 } });
    await topicOf(memory, 2);
    const [first, second] = await Promise.all([
      memory.call('POST', '/v1/topics/t?partition=0', { body: 'a' }),
      memory.call('POST', '/v1/topics/t?partition=0', { body: 'b' }),
    ]);
    expect(first.status).toBe(200);
    expect([second.status, second.headers.get('retry-after')]).toEqual([429, '1']);
  });
});

function freshBroker(memory: MemoryApp, fresh: MemoryApp): MemoryApp['broker'] {
  fresh.objects.get = (key, range) => memory.objects.get(key, range);
  fresh.items.get = (key) => memory.items.get(key);
  return fresh.broker;
}

describe('paths', () => {
  it('are matched as they were sent, and decoded once', async () => {
    const { call } = memoryApp();
    expect(await codeOf(call('GET', '/v1/t%6Fpics'))).toBe('not_found');
    expect((await call('PUT', '/v1/topics/a%2Db')).status).toBe(201);
    expect((await call('GET', '/v1/topics/a-b')).status).toBe(200);
    expect(await codeOf(call('GET', '/v1/topics/a%252Db'))).toBe('invalid_request');
  });
});

describe('web pages', () => {
  const headers = { Origin: 'https://console.example' };

  it('of an allowed origin may ask and read', async () => {
    const { call } = memoryApp({ http: { settings: { allowedOrigins: ['https://console.example'] } } });
    const preflight = await call('OPTIONS', '/v1/topics/t', { headers });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('access-control-allow-origin')).toBe('https://console.example');
    expect(preflight.headers.get('access-control-allow-methods')).toContain('PUT');
    expect(preflight.headers.get('access-control-allow-headers')).toContain('Idempotency-Key');
    const put = await call('PUT', '/v1/topics/t', { headers });
    expect(put.status).toBe(201);
    expect(put.headers.get('access-control-allow-origin')).toBe('https://console.example');
    expect(put.headers.get('vary')).toBe('Origin');
    const missing = await call('GET', '/v1/topics/x', { headers });
    expect([missing.status, missing.headers.get('access-control-allow-origin')]).toEqual([
      404,
      'https://console.example',
    ]);
  });

  it('are told nothing by a server that has something before it which tells them', async () => {
    const { call } = memoryApp({
      http: { settings: { allowedOrigins: ['https://console.example'], corsInFront: true } },
    });
    const told = (answer: Response): string[] =>
      [...answer.headers.keys()].filter((name) => name.startsWith('access-'));
    const put = await call('PUT', '/v1/topics/t', { headers });
    expect([put.status, told(put)]).toEqual([201, []]);
    const preflight = await call('OPTIONS', '/v1/topics/t', { headers });
    expect([preflight.status, told(preflight)]).toEqual([204, []]);
    expect((await call('GET', '/v1/topics', { headers: { Origin: 'https://evil.example' } })).status).toBe(403);
  });

  it('of the server itself may do all, without any header of that', async () => {
    const { call } = memoryApp();
    const response = await call('PUT', '/v1/topics/t', { headers: { Origin: 'http://localhost' } });
    expect([response.status, response.headers.get('access-control-allow-origin')]).toEqual([201, null]);
  });

  it('that point their own name at this machine are refused', async () => {
    const { call } = memoryApp({ http: { settings: { allowedHosts: [] } } });
    expect((await call('GET', '/v1/health')).status).toBe(200);
    const rebound = await call('PUT', '/v1/topics/t', {
      headers: { Host: 'evil.example', Origin: 'http://evil.example' },
    });
    expect(rebound.status).toBe(403);
    expect((await call('GET', '/v1/health', { headers: { Host: 'evil.example' } })).status).toBe(403);
  });
});

describe('a live tail that no one listens to', () => {
  it('costs nothing: HEAD opens none, and one that is left ends', async () => {
    const stopping = new AbortController();
    let listeners = 0;
    const { signal } = stopping;
    const add = signal.addEventListener.bind(signal);
    signal.addEventListener = ((type: string, listener: EventListener, options: AddEventListenerOptions) => {
      listeners++;
      options.signal?.addEventListener('abort', () => listeners--);
      add(type, listener, options);
    }) as typeof signal.addEventListener;
    const memory = memoryApp({ http: { stopping: signal } });
    await topicOf(memory);
    expect((await memory.call('HEAD', '/v1/topics/t/tail')).status).toBe(200);
    expect((await memory.call('GET', '/v1/topics/none/tail')).status).toBe(404);
    const tail = await EventReader.open((init) => Promise.resolve(memory.app.request('/v1/topics/t/tail', init)));
    await tail.next();
    expect(listeners).toBe(1);
    await tail.close();
    const abort = new AbortController();
    await memory.call('GET', '/v1/topics/t/tail', { signal: abort.signal });
    abort.abort();
    await memory.call('GET', '/v1/topics/t/partitions/0/records?waitMs=1');
    expect(listeners).toBe(0);
  });
});

describe('a client that has left before it is answered', () => {
  it('gets no tail and no wait', async () => {
    const memory = memoryApp();
    await topicOf(memory);
    const gone = { signal: AbortSignal.abort() };
    const tail = await memory.call('GET', '/v1/topics/t/tail', gone);
    expect(await tail.text()).toContain('event: heartbeat');
    const before = performance.now();
    await memory.call('GET', '/v1/topics/t/partitions/0/records?waitMs=20000', gone);
    expect(performance.now() - before).toBeLessThan(5_000);
  });
});

describe('many small records', () => {
  it('come in pieces, of which only two are made ahead', async () => {
    const memory = memoryApp();
    await topicOf(memory);
    const values = Array.from({ length: 5_000 }, (_, i) => `value ${i} ${'x'.repeat(100)}`);
    const batch = encodeBatch(
      values.map((value) => ({ timestampMs: 1, key: null, value: new TextEncoder().encode(value), headers: [] })),
    );
    await memory.call('POST', '/v1/topics/t/records?partition=0', {
      body: batch,
      headers: { 'Content-Type': 'application/vnd.apache.kafka.record-batches' },
    });
    const response = await memory.call('GET', '/v1/topics/t/partitions/0/records?limit=5000');
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    const lengths: number[] = [];
    const decoder = new TextDecoder();
    let text = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      lengths.push(value.length);
      text += decoder.decode(value, { stream: true });
    }
    expect(lengths.length).toBeGreaterThan(8);
    expect(Math.max(...lengths)).toBeLessThan(70_000);
    const { records } = JSON.parse(text) as { records: { value: string }[] };
    expect(records.map(({ value }) => value)).toEqual(values);
  });
});
