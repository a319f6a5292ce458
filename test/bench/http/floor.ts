import { fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { count, measure, row } from '../measure.ts';
import { HttpLoad } from './load.ts';

/**
 * What bounds small requests: the same request of 1 KiB by 64 connections against layer upon layer of the local server, each
 * in a process of its own. CPU time says more than the rate, since the load generator shares the cores.
 */

const SERVER = fileURLToPath(new URL('./floor-server.ts', import.meta.url));
const CONNECTIONS = 64;
const REQUESTS = 40_000;
const WARM_UP = 10_000;
const BODY = Buffer.alloc(1_024, 'x');

const LAYERS = [
  ['node', "Node's HTTP server, no code"],
  ['adapter', '+ Request and Response'],
  ['hono', '+ router'],
  ['memory', 'append, in memory'],
  ['files', 'append, durable'],
] as const;

interface Cpu {
  readonly main: NodeJS.CpuUsage;
  readonly all: NodeJS.CpuUsage;
}

async function measureLayer(kind: string, what: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tailrace-bench-'));
  const child = fork(SERVER, [kind, folder]);
  const next = <T>(): Promise<T> => new Promise((resolve) => child.once('message', (message) => resolve(message as T)));
  try {
    const load = new HttpLoad(await next<string>(), CONNECTIONS);
    const headers = { 'content-type': 'application/octet-stream' };
    const send = () => load.send('POST', '/v1/topics/bench', headers, BODY);
    const cpu = (): Promise<Cpu> => {
      const answer = next<Cpu>();
      child.send('cpu');
      return answer;
    };
    await measure(CONNECTIONS, WARM_UP, send);
    const before = await cpu();
    const { perSecond, p50Ms, p99Ms } = await measure(CONNECTIONS, REQUESTS, send);
    const after = await cpu();
    const micros = (of: keyof Cpu): string =>
      ((after[of].user + after[of].system - before[of].user - before[of].system) / REQUESTS).toFixed(1);
    row(
      what,
      `${count(perSecond)}/s`,
      '',
      `CPU ${micros('main')} µs of the main thread, ${micros('all')} µs of all; p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms`,
    );
    load.close();
  } finally {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.disconnect();
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
}

for (const [kind, what] of LAYERS) await measureLayer(kind, what);
