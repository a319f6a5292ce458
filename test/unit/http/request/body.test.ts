import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { decodeBody, parseJson, readBody, refuseBody } from '../../../../shared/http/request/body.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { REQUEST_BYTES_MAX } from '../../../../shared/log/limits.ts';

function post(body: BodyInit | null, headers: Record<string, string> = {}): Request {
  return new Request('http://localhost/', { method: 'POST', body, headers, duplex: 'half' } as RequestInit);
}

async function errorOf(work: Promise<unknown>): Promise<EventLogError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof EventLogError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** Gives chunks as long as it is asked, and counts them. */
function endless(chunkBytes: number): {
  stream: ReadableStream<Uint8Array>;
  taken: () => number;
  cancelled: () => boolean;
} {
  let taken = 0;
  let cancelled = false;
  const stream = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        taken++;
        controller.enqueue(new Uint8Array(chunkBytes));
      },
      cancel() {
        cancelled = true;
      },
    },
    { highWaterMark: 0 },
  );
  return { stream, taken: () => taken, cancelled: () => cancelled };
}

describe('a body', () => {
  const bytes = new Uint8Array([1, 2, 255]);

  it('is read, told its length or not', async () => {
    expect(await readBody(post(bytes))).toEqual(bytes);
    expect(await readBody(post(bytes, { 'content-length': '3' }))).toEqual(bytes);
    expect(await readBody(post(null))).toEqual(new Uint8Array(0));
    expect(await readBody(post(bytes, { 'content-encoding': 'identity' }))).toEqual(bytes);
  });

  it('may have just the most bytes there may be', async () => {
    expect(await readBody(post(new Uint8Array(REQUEST_BYTES_MAX)))).toHaveLength(REQUEST_BYTES_MAX);
  });

  it('that says it is too large is not read at all', async () => {
    const { stream, taken } = endless(1_024);
    const error = await errorOf(readBody(post(stream, { 'content-length': String(REQUEST_BYTES_MAX + 1) })));
    expect(error.code).toBe('request_too_large');
    expect(error.details.bytesMax).toBe(REQUEST_BYTES_MAX);
    expect(error.message).toContain('several smaller requests');
    expect(taken()).toBe(0);
  });

  it('that does not say how large it is, is read no further than the limit', async () => {
    const { stream, taken, cancelled } = endless(65_536);
    expect((await errorOf(readBody(post(stream)))).code).toBe('request_too_large');
    expect(taken()).toBe(REQUEST_BYTES_MAX / 65_536 + 1);
    expect(cancelled()).toBe(true);
  });

  it.each(['4', '2', '0'])('of another length than it says (%s) is refused', async (length) => {
    const error = await errorOf(readBody(post(bytes, { 'content-length': length })));
    expect(error.code).toBe('invalid_request');
  });

  it.each(['-1', '1e3', '0x10', '3, 3', 'x'])('with the length %s is refused', async (length) => {
    expect((await errorOf(readBody(post(bytes, { 'content-length': length })))).details.field).toBe('Content-Length');
  });

  it('that breaks off is refused', async () => {
    const stream = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(bytes);
        controller.error(new Error('connection reset'));
      },
    });
    expect((await errorOf(readBody(post(stream)))).message).toContain('ended before');
    expect(
      (
        await errorOf(
          readBody(post(new ReadableStream({ pull: (c) => c.error(new Error('reset')) }), { 'content-length': '5' })),
        )
      ).code,
    ).toBe('invalid_request');
  });

  it('in gzip is unpacked', async () => {
    expect(await readBody(post(gzipSync(bytes), { 'content-encoding': 'GZIP' }))).toEqual(bytes);
    expect(await readBody(post(null, { 'content-encoding': 'gzip' }))).toEqual(new Uint8Array(0));
  });

  it('in gzip of several members is unpacked whole', async () => {
    const packed = Buffer.concat([gzipSync('one\n'), gzipSync('two\n'), gzipSync('')]);
    const body = await readBody(post(packed, { 'content-encoding': 'gzip' }));
    expect(new TextDecoder().decode(body)).toBe('one\ntwo\n');
  });

  it.each([
    ['x-gzip', 1],
    ['gzip, identity', 1],
    [' identity ,, GZIP', 1],
    ['gzip, x-gzip', 2],
  ])('in the encoding %j is unpacked', async (encoding, times) => {
    let packed: Uint8Array<ArrayBuffer> = new Uint8Array(bytes);
    for (let i = 0; i < times; i++) packed = new Uint8Array(gzipSync(packed));
    expect(await readBody(post(packed, { 'content-encoding': encoding }))).toEqual(bytes);
  });

  it('in gzip that is broken, cut or followed by something is refused', async () => {
    const packed = gzipSync(bytes);
    for (const broken of [bytes, packed.subarray(0, -1), packed.subarray(0, 5), Buffer.concat([packed, bytes])]) {
      const error = await errorOf(readBody(post(new Uint8Array(broken), { 'content-encoding': 'gzip' })));
      expect(error.details.field).toBe('Content-Encoding');
    }
  });

  it('that unpacks to too much is refused on the way', async () => {
    const bomb = gzipSync(new Uint8Array(512 * 1024 * 1024), { level: 9 });
    expect(bomb.length).toBeLessThan(REQUEST_BYTES_MAX);
    const before = process.memoryUsage().arrayBuffers;
    const error = await errorOf(readBody(post(bomb, { 'content-encoding': 'gzip' })));
    expect(error.code).toBe('request_too_large');
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024 * 1024);
  });

  it.each(['br', 'deflate', 'gzip, br', 'x', 'gzip, gzip, gzip, gzip, gzip'])(
    'in the encoding %s is refused',
    async (encoding) => {
      expect((await errorOf(readBody(post(bytes, { 'content-encoding': encoding })))).code).toBe(
        'unsupported_media_type',
      );
    },
  );
});

describe('text', () => {
  it.each([[[0xff]], [[0xc3]], [[0xed, 0xa0, 0x80]], [[0xc0, 0x80]]])('of the bytes %j is not UTF-8', (bytes) => {
    expect(() => decodeBody(new Uint8Array(bytes))).toThrow(/not UTF-8/);
  });

  it('may begin with a byte order mark', () => {
    expect(decodeBody(new Uint8Array([0xef, 0xbb, 0xbf, 0x61]))).toBe('a');
  });

  it('that is not JSON is refused without telling what it is', () => {
    for (const text of ['{"a": secret}', '{"secret', '', 'secret', '{"a":1}secret']) {
      const error = (() => {
        try {
          return parseJson(text);
        } catch (thrown) {
          return thrown as EventLogError;
        }
      })() as EventLogError;
      expect(error.code).toBe('invalid_request');
      expect(error.message).not.toContain('secret');
    }
  });
});

describe('an operation that takes no body', () => {
  it.each([
    ['none', post(null)],
    ['none that says so', post(null, { 'content-length': '0', 'content-type': 'application/json' })],
    ['an empty one', post('')],
    ['a stream that ends at once', post(new ReadableStream({ start: (controller) => controller.close() }))],
    ['a stream of empty chunks', post(streamOf(new Uint8Array(0), new Uint8Array(0)))],
    ['none, as a GET', new Request('http://localhost/')],
  ])('accepts %s', async (_, request) => {
    await expect(refuseBody(request, [])).resolves.toBeUndefined();
  });

  it('refuses any other, and says where its parameters belong', async () => {
    const requests = [
      post('not json'),
      post('{}', { 'content-length': '2' }),
      post(streamOf(new Uint8Array(0), new Uint8Array(1))),
      new Request('http://localhost/', { headers: { 'content-length': '2' } }),
    ];
    for (const request of requests) {
      const { code, details, message } = await errorOf(refuseBody(request, ['timeoutMs']));
      expect([code, details.field]).toEqual(['invalid_request', 'body']);
      expect(message).toContain('takes no body');
      expect(message).toContain('in the query (timeoutMs)');
    }
    expect((await errorOf(refuseBody(post('x'), []))).message).toMatch(/in the path\.$/);
  });

  it('does not read a large one', async () => {
    const { stream, taken, cancelled } = endless(1_024);
    await errorOf(refuseBody(post(stream), []));
    expect([taken(), cancelled()]).toEqual([1, true]);
  });
});

function streamOf(...chunks: readonly Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
}
