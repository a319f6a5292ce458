import { PassThrough, type Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import {
  type LambdaEdgeComponents,
  type LambdaResult,
  lambdaHandlers,
  RESULT_BYTES_MAX,
} from '../../../../functions/lambda/edge.ts';
import { type HttpEvent, toRequest } from '../../../../functions/lambda/event.ts';
import { composeHttp } from '../../../../functions/lambda/http.ts';
import { Broker } from '../../../../shared/broker/broker.ts';
import { encodeBatch } from '../../../../shared/log/batch/record-batch.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { systemClock } from '../../../../shared/storage/system/clock.ts';
import { systemRandom } from '../../../../shared/storage/system/random.ts';
import {
  EVENT_FORMATS,
  functionUrlEvent,
  httpApiEvent,
  lambdaContext,
  restApiEvent,
} from '../../../support/lambda-events.ts';
import { bytes, memoryStores } from '../../../support/memory-broker.ts';

const BATCHES = 'application/vnd.apache.kafka.record-batches';

function memoryApp(): { broker: Broker; parts: LambdaEdgeComponents } {
  const broker = new Broker({ ...memoryStores(), clock: systemClock, random: systemRandom });
  const fetch = composeHttp(broker, { tableName: 't', bucketName: 'b' });
  return { broker, parts: { fetch, idle: () => broker.idle() } };
}

async function call(parts: LambdaEdgeComponents, event: HttpEvent, remainingMs?: number): Promise<LambdaResult> {
  return lambdaHandlers(parts).handler(event, lambdaContext(remainingMs));
}

/** Lambda's side of a streamed answer: the status and headers it was given, and what came after them. */
function streamingRuntime() {
  const stream = new PassThrough();
  const log: string[] = [];
  const chunks: Buffer[] = [];
  let prelude: { statusCode: number; headers: Readonly<Record<string, string>> } | undefined;
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('finish', () => log.push('ended'));
  type Run = (event: HttpEvent, stream: Writable, context: ReturnType<typeof lambdaContext>) => Promise<void>;
  const streaming = {
    streamifyResponse: (run: Run): unknown => run,
    HttpResponseStream: {
      from(given: Writable, metadata: { statusCode: number; headers: Readonly<Record<string, string>> }): Writable {
        const write = given.write.bind(given);
        // The runtime sends them with the first write, and not before.
        given.write = ((chunk: Uint8Array | string) => {
          prelude ??= metadata;
          return write(chunk);
        }) as Writable['write'];
        return given;
      },
    },
  };
  return {
    stream,
    log,
    run: async (parts: LambdaEdgeComponents, event: HttpEvent, remainingMs?: number) => {
      const handler = lambdaHandlers({ ...parts, streaming }).streamHandler as Run;
      await handler(event, stream, lambdaContext(remainingMs));
      return { prelude, body: Buffer.concat(chunks) };
    },
    prelude: () => prelude,
  };
}

describe.each(EVENT_FORMATS)('%s events', (name, event) => {
  it('carry requests and answers of JSON', async () => {
    const { parts } = memoryApp();
    const made = await call(
      parts,
      event({
        method: 'PUT',
        path: '/v1/topics/orders',
        headers: { 'Content-Type': 'application/json' },
        body: '{"partitions":2}',
      }),
    );
    expect(made).toMatchObject({ statusCode: 201, isBase64Encoded: false });
    expect(made.headers['content-type']).toBe('application/json');
    const appended = await call(
      parts,
      event({
        method: 'POST',
        path: '/v1/topics/orders/records',
        headers: { 'Content-Type': 'application/json' },
        body: '{"records":[{"value":"grüße 🌊","partition":1}]}',
      }),
    );
    expect(JSON.parse(appended.body)).toMatchObject({ records: [{ partition: 1, offset: 0 }] });
    const read = await call(parts, event({ path: '/v1/topics/orders/partitions/1/records?offset=0&limit=10' }));
    expect(JSON.parse(read.body)).toMatchObject({ records: [{ value: 'grüße 🌊' }], nextOffset: 1 });
  });

  it('carry bytes, both ways', async () => {
    const { broker, parts } = memoryApp();
    await broker.putTopic({ name: 'orders' });
    // Every byte there is, which no text would survive.
    const value = Uint8Array.from({ length: 512 }, (_, i) => i % 256);
    const batch = encodeBatch([{ key: null, value, headers: [], timestampMs: Date.now() }], { compression: 'none' });
    const appended = await call(
      parts,
      event({
        method: 'POST',
        path: '/v1/topics/orders/records?partition=0',
        headers: { 'Content-Type': BATCHES },
        body: batch,
      }),
    );
    expect(appended).toMatchObject({ statusCode: 200, isBase64Encoded: false });
    const read = await call(
      parts,
      event({ path: '/v1/topics/orders/partitions/0/records', headers: { Accept: BATCHES } }),
    );
    expect(read).toMatchObject({ statusCode: 200, isBase64Encoded: true });
    expect(read.headers['tailrace-next-offset']).toBe('1');
    expect(Buffer.from(read.body, 'base64').includes(Buffer.from(value))).toBe(true);
    const one = await call(
      parts,
      event({ method: 'POST', path: '/v1/topics/orders', headers: { 'Content-Type': 'image/png' }, body: value }),
    );
    expect(JSON.parse(one.body)).toMatchObject({ offset: 1 });
  });

  it('carry queries with several values and with characters that need encoding', () => {
    const request = toRequest(event({ path: '/v1/topics?key=a%20%26%3D%C3%A4&from=1&from=2' }));
    const query = new URL(request.url).searchParams;
    expect([query.get('key'), query.getAll('from')]).toEqual(['a &=ä', ['1', '2']]);
    expect(new URL(request.url).host).toMatch(name === 'Function URL' ? /lambda-url/ : /execute-api/);
  });

  it('carry names in the path with characters that need encoding', async () => {
    const { broker, parts } = memoryApp();
    await broker.putTopic({ name: 'orders' });
    for (const group of ['50%', 'a%2Fb', 'grün & \u2028', 'back\\slash', '#?+', ';,=:@']) {
      const path = `/v1/groups/${encodeURIComponent(group)}/offsets`;
      const committed = await call(
        parts,
        event({
          method: 'PUT',
          path,
          headers: { 'Content-Type': 'application/json' },
          body: '{"offsets":[{"topic":"orders","partition":0,"offset":0}]}',
        }),
      );
      expect(committed.statusCode, `${group}: ${committed.body}`).toBeLessThan(300);
      expect((await broker.listGroups()).items.map((each) => each.group)).toContain(group);
    }
  });

  it('answer errors as problems', async () => {
    const { parts } = memoryApp();
    const missing = await call(parts, event({ path: '/v1/topics/missing' }));
    expect(missing).toMatchObject({ statusCode: 404, isBase64Encoded: false });
    expect(JSON.parse(missing.body)).toMatchObject({ code: 'unknown_topic' });
    expect(missing.headers['content-type']).toBe('application/problem+json');
  });

  it('may have no body, or one that a GET may not have', async () => {
    const { parts } = memoryApp();
    expect(await call(parts, event({ method: 'PUT', path: '/v1/topics/a' }))).toMatchObject({ statusCode: 201 });
    expect(await call(parts, event({ path: '/v1/health', body: 'x' }))).toMatchObject({ statusCode: 200 });
    expect(await call(parts, event({ method: 'DELETE', path: '/v1/topics/a' }))).toMatchObject({
      statusCode: 204,
      body: '',
    });
  });
});

describe('requests', () => {
  it('keep every value of a header', () => {
    const event = restApiEvent({ path: '/' });
    const request = toRequest({ ...event, multiValueHeaders: { ...event.multiValueHeaders, 'X-Two': ['1', '2'] } });
    expect(request.headers.get('x-two')).toBe('1, 2');
    expect(toRequest({ ...event, multiValueHeaders: null }).headers.get('x-forwarded-proto')).toBe('https');
  });

  it('keep headers that are empty, or beyond Latin-1', () => {
    const request = toRequest(
      functionUrlEvent({ path: '/', headers: { 'X-Empty': '', 'Idempotency-Key': 'ключ', 'X-Latin': 'grün' } }),
    );
    expect(request.headers.get('x-empty')).toBe('');
    expect(Buffer.from(request.headers.get('idempotency-key') ?? '', 'latin1').toString('utf8')).toBe('ключ');
    expect(request.headers.get('x-latin')).toBe('grün');
  });

  it.each([
    ['$default', '/v1/topics', '/v1/topics'],
    ['prod', '/v1/topics', '/v1/topics'],
    ['v1', '/v1/topics', '/v1/topics'],
  ])("are freed of an HTTP API's stage %s", (stage, path, expected) => {
    expect(new URL(toRequest(httpApiEvent({ path }, stage)).url).pathname).toBe(expected);
  });

  it('keep a path that only begins like the stage', () => {
    const event = httpApiEvent({ path: '/production' });
    const staged = { ...event, requestContext: { ...event.requestContext, stage: 'prod' } };
    expect(new URL(toRequest(staged).url).pathname).toBe('/production');
  });

  it.each(['/v1//topics', '//elsewhere.example/v1', '/v1/topics/a%2Fb'])('keep the path %s as it is', (path) => {
    const url = new URL(toRequest(functionUrlEvent({ path })).url);
    expect([url.pathname, url.host]).toEqual([path, expect.stringContaining('.on.aws')]);
  });

  it('keep what API Gateway decoded within the path', () => {
    const event = restApiEvent({ path: '/v1/x' });
    const url = new URL(toRequest({ ...event, path: '/v1/a?b#c d' }).url);
    expect([url.pathname, url.search, url.hash]).toEqual(['/v1/a%3Fb%23c%20d', '', '']);
  });

  it.each([
    { method: 'BAD METHOD' },
    { method: 'TRACE' },
    { headers: { 'bad name': 'x' } },
    { headers: { 'x-bad': 'a\nb' } },
  ])('that HTTP does not allow are refused: %j', async (bad) => {
    const result = await call(memoryApp().parts, functionUrlEvent({ path: '/v1/health', ...bad }));
    expect(result.statusCode).toBe(400);
    expect(JSON.parse(result.body)).toMatchObject({
      code: 'invalid_request',
      instance: expect.stringContaining('c6af9ac6'),
    });
  });
});

describe('answers', () => {
  const failing = (error: unknown): LambdaEdgeComponents => ({
    fetch: () => Promise.reject(error),
    idle: async () => {},
  });
  const broken = (): Response =>
    new Response(
      new ReadableStream({
        start: (controller) => controller.enqueue(bytes('{"records":[')),
        pull: (controller) => controller.error(new EventLogError('corrupt_data', 'damaged')),
      }),
    );

  it('are a problem that tells nothing of a bug', async () => {
    const result = await call(failing(new Error('secret detail')), functionUrlEvent({ path: '/' }));
    expect(result.statusCode).toBe(500);
    expect(result.body).not.toContain('secret');
  });

  it('that break off half-way are a problem as long as nothing was sent', async () => {
    const result = await call({ fetch: broken, idle: async () => {} }, functionUrlEvent({ path: '/' }));
    expect(JSON.parse(result.body)).toMatchObject({ code: 'corrupt_data' });
  });

  it.each([
    ['application/octet-stream', Math.ceil((RESULT_BYTES_MAX * 3) / 4)],
    ['application/json', RESULT_BYTES_MAX - 2],
  ])('of %s that Lambda would not take are refused', async (type, largest) => {
    const answer = (length: number): LambdaEdgeComponents => ({
      fetch: () => new Response('x'.repeat(length), { headers: { 'content-type': type } }),
      idle: async () => {},
    });
    const fits = await call(answer(largest - 3), functionUrlEvent({ path: '/' }));
    expect(fits.statusCode).toBe(200);
    expect(JSON.stringify(fits).length).toBeLessThan(6 * 1024 * 1024);
    const refused = await call(answer(largest + 3), functionUrlEvent({ path: '/' }));
    expect(JSON.parse(refused.body)).toMatchObject({ status: 400, code: 'invalid_request', field: 'maxBytes' });
  });

  it('count as large as their JSON is', async () => {
    // Each takes two bytes more within a JSON string, or three within UTF-8.
    for (const character of ['"', '€']) {
      const body = character.repeat(RESULT_BYTES_MAX / 2);
      const parts = {
        fetch: () => new Response(body, { headers: { 'content-type': 'text/plain' } }),
        idle: async () => {},
      };
      expect((await call(parts, functionUrlEvent({ path: '/' }))).statusCode).toBe(400);
    }
  });

  it('of waits come before Lambda ends the invocation', async () => {
    const { broker, parts } = memoryApp();
    await broker.putTopic({ name: 'orders' });
    const startMs = Date.now();
    const event = functionUrlEvent({ path: '/v1/topics/orders/partitions/0/records?waitMs=20000' });
    const result = await call(parts, event, 2_400);
    expect(result.statusCode).toBe(200);
    expect(JSON.parse(result.body)).toMatchObject({ records: [], nextOffset: 0 });
    expect(Date.now() - startMs).toBeLessThan(2_000);
  });

  it('of live tails end before Lambda ends the invocation', async () => {
    const { broker, parts } = memoryApp();
    await broker.putTopic({ name: 'orders' });
    const startMs = Date.now();
    const { prelude, body } = await streamingRuntime().run(
      parts,
      functionUrlEvent({ path: '/v1/topics/orders/tail' }),
      2_400,
    );
    expect(prelude).toMatchObject({ statusCode: 200, headers: { 'content-type': 'text/event-stream' } });
    expect(body.toString()).toContain('event: heartbeat');
    expect(Date.now() - startMs).toBeLessThan(2_000);
  });
});

describe('streamed answers', () => {
  it('carry status, headers and bytes', async () => {
    const { broker, parts } = memoryApp();
    await broker.putTopic({ name: 'orders' });
    const { prelude, body } = await streamingRuntime().run(parts, functionUrlEvent({ path: '/v1/topics/orders' }));
    expect(prelude).toMatchObject({ statusCode: 200, headers: { 'content-type': 'application/json' } });
    expect(JSON.parse(body.toString())).toMatchObject({ name: 'orders' });
  });

  it('have a status even when they are empty', async () => {
    const { broker, parts } = memoryApp();
    await broker.putTopic({ name: 'orders' });
    const runtime = streamingRuntime();
    const { prelude, body } = await runtime.run(
      parts,
      functionUrlEvent({ method: 'DELETE', path: '/v1/topics/orders' }),
    );
    expect([prelude?.statusCode, body.length, runtime.log]).toEqual([204, 0, ['ended']]);
  });

  it('that break off do not look whole', async () => {
    const fetch = (): Response =>
      new Response(
        new ReadableStream({
          start: (controller) => controller.enqueue(bytes('half')),
          pull: (controller) => controller.error(new Error('gone')),
        }),
      );
    const runtime = streamingRuntime();
    await expect(runtime.run({ fetch, idle: async () => {} }, functionUrlEvent({ path: '/' }))).rejects.toThrow('gone');
    expect([runtime.prelude()?.statusCode, runtime.log]).toEqual([200, []]);
  });

  it('let go of their source when nobody takes them any more', async () => {
    let cancelled = false;
    const fetch = (): Response =>
      new Response(
        new ReadableStream({
          async pull(controller) {
            await new Promise((resolve) => setImmediate(resolve));
            controller.enqueue(bytes('more'));
          },
          cancel() {
            cancelled = true;
          },
        }),
      );
    const runtime = streamingRuntime();
    setTimeout(() => runtime.stream.destroy(), 10);
    await expect(runtime.run({ fetch, idle: async () => {} }, functionUrlEvent({ path: '/' }))).rejects.toThrow();
    expect(cancelled).toBe(true);
  });

  it('are taken only as fast as they are sent', async () => {
    let made = 0;
    const fetch = (): Response =>
      new Response(
        new ReadableStream({
          pull(controller) {
            if (++made > 200) return controller.close();
            controller.enqueue(new Uint8Array(16_384));
          },
        }),
      );
    const runtime = streamingRuntime();
    runtime.stream.pause();
    const running = runtime.run({ fetch, idle: async () => {} }, functionUrlEvent({ path: '/' }));
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(made).toBeLessThan(20);
    runtime.stream.resume();
    expect((await running).body.length).toBe(200 * 16_384);
  });

  it('are not there outside of Lambda', () => {
    const { parts } = memoryApp();
    expect(lambdaHandlers(parts).streamHandler).toBeUndefined();
    // What the AWS SDK leaves there is no runtime.
    expect(lambdaHandlers({ ...parts, streaming: {} }).streamHandler).toBeUndefined();
  });
});

describe('work that is left after an answer', () => {
  const slow = (log: string[]): LambdaEdgeComponents => ({
    fetch: () => new Response('ok'),
    idle: async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      log.push('idle');
    },
  });

  it('is done before the environment may freeze', async () => {
    const log: string[] = [];
    await call(slow(log), functionUrlEvent({ path: '/' }));
    expect(log).toEqual(['idle']);
  });

  it('does not delay an answer that is streamed', async () => {
    const runtime = streamingRuntime();
    await runtime.run(slow(runtime.log), functionUrlEvent({ path: '/' }));
    expect(runtime.log).toEqual(['ended', 'idle']);
  });

  it('is done after an answer that failed, too', async () => {
    const log: string[] = [];
    await call({ ...slow(log), fetch: () => Promise.reject(new Error('bug')) }, functionUrlEvent({ path: '/' }));
    expect(log).toEqual(['idle']);
  });

  it('is let go before Lambda ends the invocation', async () => {
    const parts = { fetch: () => new Response('ok'), idle: () => new Promise<void>(() => {}) };
    const startMs = Date.now();
    expect(await call(parts, functionUrlEvent({ path: '/' }), 400)).toMatchObject({ statusCode: 200, body: 'ok' });
    expect(Date.now() - startMs).toBeLessThan(400);
  });

  it('moves the tail', async () => {
    const { broker, parts } = memoryApp();
    await broker.putTopic({ name: 'orders' });
    for (let i = 0; i < 8; i++)
      await call(
        parts,
        functionUrlEvent({
          method: 'POST',
          path: '/v1/topics/orders',
          headers: { 'Content-Type': 'text/plain' },
          body: 'x',
        }),
      );
    const moves = broker.usage().filter((row) => row.purpose === 'move_tail');
    expect(moves.map(({ counts }) => [counts.putItem, counts.updateItem])).toEqual([[1, 1]]);
  });
});
