import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { startServer } from '../support/server-process.ts';
import { DisturbedServer } from './disturbed-server.ts';
import { HttpLogClient } from './http-client.ts';
import { makeSmallDisk } from './small-disk.ts';

/** That what is done to a server is really done to it. */

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tailrace-chaos-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function start(folder: string, prefix?: readonly string[]): Promise<DisturbedServer> {
  const server = await DisturbedServer.start(1, () => startServer(join(folder, 'data'), { prefix }));
  onTestFinished(() => server.close());
  const made = await fetch(`${server.current.url}/v1/topics/t`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: '{"partitions":1}',
  });
  expect(made.status).toBe(201);
  return server;
}

function append(server: DisturbedServer, value: string): ReturnType<DisturbedServer['way']['append']> {
  return server.patientWay().append('t', { f: 'append', records: [{ value, partition: 0 }] });
}

async function valuesOf(server: DisturbedServer): Promise<string[]> {
  const { records = [] } = await server.patientWay().read('t', { partition: 0, offset: 0, waitMs: 0 });
  return records.map(({ value }) => value.slice(0, 20));
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test('what a stopped server was asked is done when it goes on, though the asker has given up', async () => {
  const server = await start(temporaryFolder());
  const hasty = new HttpLogClient(
    () => server.current.url,
    () => 300,
  );
  const pause = server.perform({ do: 'pause', waitMs: 0, forMs: 800 });
  await sleep(200);
  const asked = { f: 'append', records: [{ value: 'late', partition: 0 }] } as const;
  expect(await hasty.append('t', asked)).toEqual({ type: 'info', error: 'timeout' });
  await pause;
  await expect.poll(() => valuesOf(server)).toEqual(['late']);
});

test('a killed server is another process afterwards, with the same records', async () => {
  const server = await start(temporaryFolder());
  await append(server, 'before');
  for (const step of [
    { do: 'kill', waitMs: 0 },
    { do: 'restart', waitMs: 0 },
    { do: 'pause_and_kill', waitMs: 0, forMs: 200 },
  ] as const) {
    const { pid } = server.current;
    await server.perform(step);
    expect(server.current.pid).not.toBe(pid);
    expect(isRunning(pid)).toBe(false);
    expect(await valuesOf(server)).toEqual(['before']);
  }
  await expect(server.perform({ do: 'fill', waitMs: 0, forMs: 0 })).rejects.toThrow("knows nothing of 'fill'");
});

test('a stopped server ends with its parent', async () => {
  const script = `
    const { startServer } = await import(process.argv[1]);
    const server = await startServer(process.argv[2]);
    console.log(server.pid);
    await server.pause(500);
  `;
  const module = pathToFileURL(join(import.meta.dirname, '../support/server-process.ts')).href;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script, module, temporaryFolder()]);
  const [pid] = (await once(createInterface({ input: parent.stdout }), 'line')) as [string];
  await sleep(200);
  parent.kill('SIGKILL');
  await once(parent, 'exit');
  expect(isRunning(Number(pid))).toBe(true);
  await expect.poll(() => isRunning(Number(pid)), { timeout: 10_000 }).toBe(false);
});

test('a full disk takes no appends and gives what it has, until there is room again', async () => {
  const folder = temporaryFolder();
  const disk = await makeSmallDisk(folder);
  onTestFinished(() => disk.close());
  const server = await start(folder, disk.prefix);
  await append(server, 'before');
  await disk.fill(server.current);
  // More than is kept inline: it needs a file of its own.
  const large = 'large'.padEnd(200_000, ' ');
  expect(await append(server, large)).toEqual({ type: 'fail', error: 'storage_full' });
  expect(await valuesOf(server)).toEqual(['before']);
  await server.restart('SIGKILL');
  await disk.fill(server.current);
  expect(await append(server, large)).toEqual({ type: 'fail', error: 'storage_full' });
  expect(await valuesOf(server)).toEqual(['before']);
  await disk.free(server.current);
  expect(await append(server, large)).toMatchObject({ type: 'ok' });
});
