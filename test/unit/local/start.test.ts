import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import http from 'node:http';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { LocalHttpServer } from '../../../shared/local/http-server.ts';
import { startTailrace, type Tailrace } from '../../../shared/local/start.ts';
import { ALL_SCOPES } from '../../../shared/log/scopes.ts';
import { openDataFolder } from '../../../shared/storage/file/data-folder.ts';
import { EXPIRES_AT } from '../../../shared/storage/key-parts.ts';
import { CLUSTER_KEY } from '../../../shared/storage/keys.ts';
import { VERSION } from '../../../shared/version.ts';

const run = promisify(execFile);
const MAIN = join(import.meta.dirname, '../../../shared/local/main.ts');
const started: Tailrace[] = [];

async function start(...args: Parameters<typeof startTailrace>): Promise<Tailrace> {
  const tailrace = await startTailrace(...args);
  started.push(tailrace);
  return tailrace;
}

afterEach(async () => {
  for (const tailrace of started.splice(0)) await tailrace.close();
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** `fetch` doesn't let a caller set the Host header. */
function getWithHost(url: string, host: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const request = http.get(`${url}/v1/topics`, { headers: { host } }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on('error', reject);
  });
}

describe('startTailrace', () => {
  test('keeps records from one start to the next', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tailrace-start-'));
    try {
      const first = await start({ dataFolder: folder });
      const posted = await fetch(`${first.url}/v1/topics/kept`, { method: 'PUT' });
      expect(posted.status).toBe(201);
      await fetch(`${first.url}/v1/topics/kept?key=a`, { method: 'POST', body: 'one' });
      await first.close();
      const second = await start({ dataFolder: folder });
      const read = await fetch(`${second.url}/v1/topics/kept/partitions/0/records`);
      expect(await read.json()).toMatchObject({ records: [{ offset: 0, key: 'a', value: 'one' }], highWatermark: 1 });
      await second.close();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  test('removes items that have expired', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tailrace-start-'));
    try {
      const before = await openDataFolder(folder);
      await before.items.put({ pk: 'p', sk: 'expired' }, { [EXPIRES_AT]: 1_700_000_000 });
      await before.items.put({ pk: 'p', sk: 'kept' }, { [EXPIRES_AT]: 100_000_000_000 });
      await before.close();
      // The first step begins with the start, and closing waits for it.
      await (await start({ dataFolder: folder })).close();
      const after = await openDataFolder(folder);
      expect((await after.items.query({ pk: 'p', limit: 10 })).items.map(({ sk }) => sk)).toEqual(['kept']);
      await after.close();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  test('refuses a folder that is in use, naming who has it', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tailrace-start-'));
    try {
      const first = await start({ dataFolder: folder });
      await expect(startTailrace({ dataFolder: folder })).rejects.toMatchObject({
        code: 'data_folder_unusable',
        message: expect.stringContaining(String(process.pid)),
      });
      await first.close();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  test('runs the jobs while it lives, at the given times', async () => {
    const merged = async (options: Parameters<typeof startTailrace>[0]): Promise<boolean> => {
      const { broker, url } = await start({ memory: true, ...options });
      await broker.putTopic({ name: 'busy' });
      const [value] = [new Uint8Array(1_000_000).fill(7)];
      // More data than may wait.
      for (let i = 0; i < 80; i++)
        await broker.appendRecords({ topic: 'busy', records: [{ key: null, value, headers: [] }] });
      await broker.idle();
      const { heads } = broker.unmerged();
      expect(heads).toBe(1);
      for (let tries = 0; tries < 100 && broker.unmerged().heads > 0; tries++)
        await new Promise((resolve) => setTimeout(resolve, 20));
      const metrics = await (await fetch(`${url}/metrics`)).text();
      expect(metrics.includes('tailrace_job_runs_total{job="merge"}')).toBe(options?.jobs !== false);
      return broker.unmerged().heads === 0;
    };
    expect(await merged({ jobs: { mergeBusyHeads: 10 } })).toBe(true);
    expect(await merged({ jobs: false })).toBe(false);
  }, 30_000);

  test('measures the lag of groups by a timer, and tells it at /metrics', async () => {
    const { broker, url } = await start({ memory: true, jobs: { measureLag: 10 } });
    await broker.putTopic({ name: 'orders' });
    await broker.appendRecords({ topic: 'orders', records: [{ key: null, value: null, headers: [] }] });
    await broker.commitOffsets({ group: 'billing', offsets: [{ topic: 'orders', partition: 0, offset: 0 }] });
    await vi.waitFor(async () => {
      const metrics = await (await fetch(`${url}/metrics`)).text();
      expect(metrics).toContain('tailrace_group_lag_records{group="billing"} 1\n');
    });
  });

  test('runs no job once it is closed', async () => {
    const tailrace = await start({ memory: true, jobs: { merge: 5 } });
    const runs = vi.spyOn(tailrace.broker, 'runMerges');
    await vi.waitFor(() => expect(runs).toHaveBeenCalled());
    await tailrace.close();
    const before = runs.mock.calls.length;
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(runs.mock.calls.length).toBe(before);
  });

  test('refuses an interval that is none, and a job that it has not', async () => {
    for (const wrong of [0, -1, 1.5, Number.NaN, 2 ** 31]) {
      await expect(startTailrace({ memory: true, jobs: { merge: wrong } })).rejects.toMatchObject({
        code: 'invalid_request',
        details: { field: 'jobs.merge' },
      });
    }
    const unknown = { mergge: 1_000 } as object;
    await expect(startTailrace({ memory: true, jobs: unknown })).rejects.toThrow(/'mergge'.*mergeBusyHeads/);
  });

  test('says which port is taken, and refuses ports that are none', async () => {
    const { url } = await start({ memory: true });
    const port = Number(new URL(url).port);
    await expect(startTailrace({ memory: true, port })).rejects.toMatchObject({
      message: expect.stringContaining(`${port}`),
    });
    for (const wrong of [-1, 65_536, 1.5, Number.NaN]) {
      await expect(startTailrace({ memory: true, port: wrong })).rejects.toMatchObject({ details: { field: 'port' } });
    }
  });

  test("ends the connections of Kafka's clients if it fails behind them", async () => {
    const port = Number(new URL((await start({ memory: true })).url).port);
    const kafkaPort = await freePort();
    const { listen } = LocalHttpServer.prototype;
    let client: Socket | undefined;
    vi.spyOn(LocalHttpServer.prototype, 'listen').mockImplementationOnce(async function (this: LocalHttpServer, ...at) {
      // One that does not hang up by itself.
      client = connect({ port: kafkaPort, host: '127.0.0.1', allowHalfOpen: true });
      await once(client, 'connect');
      return listen.apply(this, at);
    });
    const failing = startTailrace({ memory: true, port, kafka: { port: kafkaPort } });
    await expect(failing).rejects.toMatchObject({ details: { field: 'port' } });
    const ended = vi.fn();
    client?.on('error', ended);
    await vi.waitFor(() => {
      client?.write('x');
      expect(ended).toHaveBeenCalled();
    });
  });

  test('npm start ends if its port is taken', async () => {
    const { port } = new URL((await start({ memory: true })).url);
    // A process that does not end is not asked to: it would, with the same code.
    const limits = { timeout: 20_000, killSignal: 'SIGKILL' } as const;
    const running = run(process.execPath, [MAIN, '--memory', '--port', port, '--kafka-port', '0'], limits);
    await expect(running).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining(`Port ${port}`) });
  }, 30_000);

  test("does not listen for Kafka's clients if it can not serve them", async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tailrace-start-'));
    try {
      const before = await openDataFolder(folder);
      await before.items.put(CLUSTER_KEY, {});
      await before.close();
      const database = new DatabaseSync(join(folder, 'items.sqlite'));
      database.prepare("UPDATE items SET attributes = x'ff' WHERE pk = ?").run(CLUSTER_KEY.pk);
      database.close();
      const port = await freePort();
      await expect(startTailrace({ dataFolder: folder, kafka: { port } })).rejects.toMatchObject({
        code: 'corrupt_data',
      });
      await expect(once(connect(port, '127.0.0.1'), 'connect')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
      await (await start({ dataFolder: folder })).close();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  test('answers under loopback names alone', async () => {
    const { url } = await start({ memory: true });
    expect(await getWithHost(url, 'localhost')).toBe(200);
    expect(await getWithHost(url, 'rebound.example')).toBe(403);
  });

  test('serves the objects of its own fetch plans', async () => {
    const { url, broker } = await start({ memory: true });
    await broker.putTopic({ name: 'large' });
    const value = new Uint8Array(300_000).fill(7);
    await broker.appendRecords({ topic: 'large', records: [{ key: null, value, headers: [] }] });
    const plan = await broker.planFetch({ topic: 'large', partitions: [{ partition: 0, offset: 0 }] });
    const [part] = plan.partitions[0]?.parts ?? [];
    if (part?.storage !== 'hot') throw new Error('The batch should be in an object.');
    expect(part.url.startsWith(url)).toBe(true);
    const bytes = new Uint8Array(await (await fetch(part.url)).arrayBuffer());
    expect(bytes.length).toBe(part.bytes);
    const tampered = part.url.replace(/end=\d+/, 'end=1');
    expect((await fetch(tampered)).status).toBe(403);
  });

  test('tells the addresses of objects by the one at which it was asked', async () => {
    const { url, broker } = await start({ memory: true, host: '0.0.0.0' });
    const { key } = await broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    await broker.putTopic({ name: 'large' });
    const value = new Uint8Array(300_000).fill(7);
    await broker.appendRecords({ topic: 'large', records: [{ key: null, value, headers: [] }] });
    const reached = url.replace('0.0.0.0', '127.0.0.2');
    const response = await fetch(`${reached}/v1/topics/large/fetch-plan`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ partitions: [{ partition: 0, offset: 0 }] }),
    });
    const plan = (await response.json()) as { partitions: { parts: { url: string; bytes: number }[] }[] };
    const part = plan.partitions[0]?.parts[0];
    expect(part?.url).toMatch(new RegExp(`^${reached}/v1/objects/`));
    expect((await (await fetch(part?.url ?? '')).arrayBuffer()).byteLength).toBe(part?.bytes);
  });

  test('ends waiting reads and live tails when it is closed', async () => {
    const { url, broker, close } = await start({ memory: true });
    await fetch(`${url}/v1/topics/quiet`, { method: 'PUT' });
    const tail = await fetch(`${url}/v1/topics/quiet/tail`);
    const waiting = fetch(`${url}/v1/topics/quiet/partitions/0/records?waitMs=20000`).then(
      (response) => response.status,
    );
    const reader = (tail.body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    // The read has reached the broker when it has asked for its head.
    const reads = (): number => broker.usage().find((row) => row.purpose === 'read')?.counts.getItem ?? 0;
    for (const before = reads(); reads() === before; ) await new Promise((resolve) => setTimeout(resolve, 10));
    const beganMs = performance.now();
    await close();
    expect(performance.now() - beganMs).toBeLessThan(5_000);
    expect(await waiting).toBe(200);
    while (!(await reader.read()).done);
  });

  test('tells the version of the package', async () => {
    const { version } = JSON.parse(await readFile(new URL('../../../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    expect(VERSION).toBe(version);
    const { url } = await start({ memory: true });
    expect(await (await fetch(`${url}/v1/health`)).json()).toMatchObject({ version });
  });
});
