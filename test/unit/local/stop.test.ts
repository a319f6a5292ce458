import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CLOSE_MS } from '../../../shared/local/close-in-time.ts';
import { startTailrace } from '../../../shared/local/start.ts';

const MAIN = join(import.meta.dirname, '../../../shared/local/main.ts');
const WRITERS = 64;
const READERS = 8;
const PARTITIONS = 8;

let folder: string;
let child: ChildProcess | undefined;
let agent: http.Agent;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tailrace-stop-'));
  agent = new http.Agent({ keepAlive: true });
});

afterEach(async () => {
  agent.destroy();
  if (child !== undefined && child.exitCode === null && child.signalCode === null) {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  await rm(folder, { recursive: true, force: true });
});

function spawnServer(): {
  readonly server: ChildProcess;
  readonly url: Promise<string>;
  readonly printed: () => string;
} {
  const server = spawn(process.execPath, [MAIN, '--port', '0', '--data', folder], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child = server;
  let printed = '';
  const url = new Promise<string>((resolve) => {
    const read = (chunk: Buffer): void => {
      printed += chunk.toString();
      const found = /HTTP API {3}(http:\S+)\/v1/.exec(printed)?.[1];
      if (found !== undefined) resolve(found);
    };
    server.stdout?.on('data', read);
    server.stderr?.on('data', read);
  });
  return { server, url, printed: () => printed };
}

/** Sends the signals one after the other; how it ended, and when. */
async function stop(server: ChildProcess, ...signals: NodeJS.Signals[]) {
  const beganMs = performance.now();
  const exited = once(server, 'exit') as Promise<[number | null, string | null]>;
  for (const signal of signals) {
    server.kill(signal);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const [code, signal] = await exited;
  return { code, signal, tookMs: performance.now() - beganMs };
}

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

/** Over a connection that is kept. @throws as Node does for a connection that is refused or reset */
function send(method: string, url: string, body = ''): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    const request = http.request(url, { method, agent, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const { statusCode = 0, headers } = response;
        resolve({ status: statusCode, headers, body: Buffer.concat(chunks).toString() });
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}

/** Appends until it is refused; the values that were acknowledged, and the last answer if there was one. */
async function write(url: string, writer: number) {
  const acknowledged: string[] = [];
  for (let count = 0; ; count++) {
    const value = `${writer}:${count}:`.padEnd(1_000, 'x');
    const records = [{ key: `${writer}`, value }];
    const answer = await send('POST', `${url}/v1/topics/busy/records`, JSON.stringify({ records })).catch(
      (error: NodeJS.ErrnoException) => {
        // As certain as an answer. A later reset is not: a client could only guess whether its append was applied.
        if (error.syscall === 'connect') return undefined;
        throw error;
      },
    );
    if (answer?.status !== 200) return { acknowledged, answer };
    acknowledged.push(value);
  }
}

/** Follows a tail to its end; whether that was in order. */
function follow(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = http.get(`${url}/v1/topics/busy/tail`, { agent }, (response) => {
      response.resume();
      response.on('close', () => resolve(response.complete));
    });
    request.on('error', () => resolve(false));
  });
}

describe('npm start, told to stop', () => {
  test('under load: answers what was begun, refuses the rest, ends in time, and has kept what it acknowledged', async () => {
    const { server, url: starting, printed } = spawnServer();
    const url = await starting;
    for (const [topic, partitions] of [
      ['busy', PARTITIONS],
      ['quiet', 1],
    ] as const)
      expect((await send('PUT', `${url}/v1/topics/${topic}`, JSON.stringify({ partitions }))).status).toBe(201);
    const writers = Array.from({ length: WRITERS }, (_, writer) => write(url, writer));
    const tails = Array.from({ length: READERS }, () => follow(url));
    const polls = Array.from({ length: READERS }, () =>
      send('GET', `${url}/v1/topics/quiet/partitions/0/records?waitMs=20000`),
    );
    await new Promise((resolve) => setTimeout(resolve, 1_000));

    const { code, signal, tookMs } = await stop(server, 'SIGTERM');
    expect({ code, signal, printed: printed() }).toEqual({
      code: 0,
      signal: null,
      printed: expect.stringContaining('Stopped.'),
    });
    expect(tookMs).toBeLessThan(CLOSE_MS);
    expect(await Promise.all(tails)).toEqual(tails.map(() => true));
    for (const poll of await Promise.all(polls)) expect(poll.status).toBe(200);
    const written = await Promise.all(writers);
    const refusals = written.flatMap(({ answer }) => answer ?? []);
    expect(refusals.length).toBeGreaterThan(0);
    for (const answer of refusals) {
      expect(answer.status).toBe(503);
      expect(answer.headers).toMatchObject({ connection: 'close', 'retry-after': '1' });
      expect(JSON.parse(answer.body)).toMatchObject({ code: 'shutting_down', retry: 'as_is', outcome: 'not_applied' });
    }

    const again = await startTailrace({ dataFolder: folder });
    const kept: string[] = [];
    try {
      for (let partition = 0; partition < PARTITIONS; partition++) {
        const path = `${again.url}/v1/topics/busy/partitions/${partition}/records`;
        for (let offset = 0; ; ) {
          const answer = await send('GET', `${path}?offset=${offset}`);
          const page = JSON.parse(answer.body) as { records: { value: string }[]; nextOffset: number };
          kept.push(...page.records.map(({ value }) => value));
          if (page.nextOffset === offset) break;
          offset = page.nextOffset;
        }
      }
    } finally {
      await again.close();
    }
    // Neither fewer nor more: what was refused was refused for certain.
    expect(kept.sort()).toEqual(written.flatMap(({ acknowledged }) => acknowledged).sort());
  }, 60_000);

  test.each<[string, NodeJS.Signals[], 'unread'?]>([
    ['SIGTERM twice', ['SIGTERM', 'SIGTERM']],
    ['SIGTERM after the readers of its output have ended', ['SIGTERM'], 'unread'],
    ['SIGINT twice, as npm and the terminal send it', ['SIGINT', 'SIGINT']],
    ['SIGINT and then SIGTERM', ['SIGINT', 'SIGTERM']],
  ])(
    'by %s: still answers the request under way',
    async (_, signals, unread) => {
      const { server, url: starting } = spawnServer();
      const url = await starting;
      if (unread) for (const output of [server.stdout, server.stderr]) output?.destroy();
      await send('PUT', `${url}/v1/topics/slow`, '{}');
      const body = JSON.stringify({ records: [{ key: 'a', value: 'b' }] });
      const headers = { 'content-type': 'application/json', 'content-length': body.length, expect: '100-continue' };
      const request = http.request(`${url}/v1/topics/slow/records`, { method: 'POST', headers });
      const answered = once(request, 'response') as Promise<[http.IncomingMessage]>;
      request.flushHeaders();
      // The server has begun with the request when it asks for the body.
      await once(request, 'continue');
      const ended = stop(server, ...signals);
      setTimeout(() => request.end(body), 300);
      const [answer] = await answered;
      answer.resume();
      expect([answer.statusCode, answer.headers.connection]).toEqual([200, 'close']);
      expect(await ended).toMatchObject({ code: 0, signal: null });
    },
    20_000,
  );

  test('while it starts: ends in order, and leaves a folder that can be opened', async () => {
    const { server, printed } = spawnServer();
    while (!existsSync(join(folder, 'items.sqlite'))) await new Promise((resolve) => setTimeout(resolve, 1));
    const { code, signal, tookMs } = await stop(server, 'SIGTERM');
    expect([code, signal]).toEqual([0, null]);
    expect(printed()).toContain('Stopped.');
    expect(tookMs).toBeLessThan(CLOSE_MS);
    await (await startTailrace({ dataFolder: folder })).close();
  }, 20_000);
});
