import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type AnswerContext, live, stream } from '../../../../shared/http/answer/respond.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';

const CONTEXT: AnswerContext = { requestId: 'request-1', allowedOrigin: undefined };
const HEADERS = { 'Content-Type': 'application/json' };

const reported: unknown[] = [];
const report = (error: unknown): void => {
  reported.push(error);
};

interface Source {
  readonly chunks: AsyncGenerator<Uint8Array>;
  made: number;
  ended: boolean;
}

/** So many pieces, then an error if there is one. */
function source(pieces: number, error?: Error, bytes = 10): Source {
  const state = { made: 0, ended: false } as { made: number; ended: boolean; chunks: AsyncGenerator<Uint8Array> };
  state.chunks = (async function* () {
    try {
      for (; state.made < pieces; ) {
        state.made++;
        yield new Uint8Array(bytes).fill(97);
      }
      if (error !== undefined) throw error;
    } finally {
      state.ended = true;
    }
  })();
  return state;
}

const servers: Server[] = [];

async function serve(answer: () => Response | Promise<Response>): Promise<number> {
  const server = createAdaptorServer({ fetch: answer, overrideGlobalObjects: false }) as Server;
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

afterEach(() => {
  vi.restoreAllMocks();
  reported.length = 0;
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

describe('a streamed answer', () => {
  it.each([0, 1, 2, 3, 50])('of %d pieces is whole', async (pieces) => {
    const { chunks } = source(pieces);
    const response = await stream(CONTEXT, chunks, HEADERS, report);
    expect(response.status).toBe(200);
    expect((await response.arrayBuffer()).byteLength).toBe(pieces * 10);
  });

  it.each([0, 1])('that fails after %d pieces is no answer yet', async (pieces) => {
    const { chunks } = source(pieces, new EventLogError('corrupt_data', 'Missing.'));
    await expect(stream(CONTEXT, chunks, HEADERS, report)).rejects.toThrow('Missing.');
  });

  it('that fails later breaks', async () => {
    const lost = new Error('lost');
    const { chunks } = source(5, lost);
    const response = await stream(CONTEXT, chunks, HEADERS, report);
    expect(reported).toEqual([]);
    await expect(response.arrayBuffer()).rejects.toThrow('lost');
    expect(reported).toEqual([lost]);
  });

  it('is made no faster than it is taken', async () => {
    const state = source(1_000);
    const response = await stream(CONTEXT, state.chunks, HEADERS, report);
    expect(state.made).toBe(2);
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    for (let i = 0; i < 10; i++) await reader.read();
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(state.made).toBe(10);
    await reader.cancel();
    expect(state.ended).toBe(true);
    expect(state.made).toBe(10);
  });

  it('that no one takes any more is stopped, also while it waits', async () => {
    const stop = new AbortController();
    let ended = false;
    const chunks = (async function* () {
      try {
        yield new Uint8Array(1);
        await new Promise<void>((resolve) => stop.signal.addEventListener('abort', () => resolve()));
      } finally {
        ended = true;
      }
    })();
    const reader = (live(CONTEXT, chunks, HEADERS, stop).body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    const waiting = reader.read();
    // Until the generator itself waits.
    await new Promise((resolve) => setTimeout(resolve, 5));
    await reader.cancel();
    expect((await waiting).done).toBe(true);
    expect(ended).toBe(true);
  });
});

describe('behind a server of Node', () => {
  it('an answer that fails half-way never looks complete', async () => {
    // The server prints what it met.
    vi.spyOn(console, 'error').mockImplementation(() => {});
    for (const pieces of [3, 200]) {
      const port = await serve(() =>
        stream(CONTEXT, source(pieces, new Error('lost'), 100_000).chunks, HEADERS, report),
      );
      const raw = await new Promise<string>((resolve, reject) => {
        let text = '';
        const socket = connect(port, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
        socket.setEncoding('latin1');
        socket.on('data', (chunk: string) => {
          text += chunk;
        });
        socket.on('close', () => resolve(text));
        socket.on('error', (error: NodeJS.ErrnoException) => (error.code === 'ECONNRESET' ? undefined : reject(error)));
      });
      expect(raw).toMatch(/^HTTP\/1.1 200/);
      expect(raw.toLowerCase()).toContain('transfer-encoding: chunked');
      // The last chunk of a complete answer.
      expect(raw.endsWith('0\r\n\r\n')).toBe(false);
      expect(raw).not.toContain('lost');
      const response = await fetch(`http://127.0.0.1:${port}/`);
      await expect(response.arrayBuffer()).rejects.toThrow();
    }
  });

  it('a client that goes away ends the answer', async () => {
    const state = source(1_000_000, undefined, 10_000);
    const port = await serve(() => stream(CONTEXT, state.chunks, HEADERS, report));
    const abort = new AbortController();
    const response = await fetch(`http://127.0.0.1:${port}/`, { signal: abort.signal });
    await (response.body as ReadableStream<Uint8Array>).getReader().read();
    abort.abort();
    while (!state.ended) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(state.made).toBeLessThan(1_000_000);
  });

  it('a client that takes slowly holds little in memory', async () => {
    const state = source(100_000, undefined, 65_536);
    const port = await serve(() => stream(CONTEXT, state.chunks, HEADERS, report));
    const socket = connect(port, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
    socket.pause();
    let before = -1;
    while (before !== state.made) {
      before = state.made;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    // What the sockets of both sides buffer, and one piece.
    expect(state.made).toBeLessThan(300);
    socket.destroy();
  });
});
