import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, test, vi } from 'vitest';
import { reservePorts, startKeptServer } from './emulator.ts';
import { commandOf, processesOf } from './support/processes.ts';
import { startFakeEmulator } from './support/start-fake-emulator.ts';

const FAKE_RUN = fileURLToPath(new URL('./support/fake-run.ts', import.meta.url));
/** The keeper, the emulator, and the process that this started. */
const PROCESSES = 3;

async function expectNothingLeft(folder: string, endpoint: string): Promise<void> {
  await vi.waitFor(async () => expect(await processesOf(folder)).toEqual([]), 5_000);
  await vi.waitFor(() => expect(existsSync(folder)).toBe(false), 5_000);
  await expect(fetch(endpoint)).rejects.toThrow();
}

async function folders(): Promise<string[]> {
  return (await readdir(tmpdir())).filter((name) => name.startsWith('tailrace-fake-'));
}

test('it is there after the start, and nothing of it after the stop', async () => {
  const { endpoint, folder, stop, ended } = await startFakeEmulator();
  expect(endpoint).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
  expect(await processesOf(folder)).toHaveLength(PROCESSES);
  await Promise.all([stop(), stop(), ended]);
  expect(await processesOf(folder)).toEqual([]);
  expect(existsSync(folder)).toBe(false);
  await expectNothingLeft(folder, endpoint);
});

test('it sees this Node, and neither an account nor a setting of the one who runs the tests', async () => {
  for (const name of ['AWS_PROFILE', 'AWS_SESSION_TOKEN', 'NODE_OPTIONS', 'DEBUG']) vi.stubEnv(name, '');
  const { endpoint, folder, stop } = await startFakeEmulator();
  vi.unstubAllEnvs();
  const environment = (await (await fetch(endpoint)).json()) as Record<string, string>;
  await stop();
  expect(
    Object.keys(environment)
      .filter((name) => !['LANG', 'LC_ALL', 'TZ'].includes(name))
      .sort(),
  ).toEqual(['HOME', 'PATH']);
  expect(environment.HOME).toBe(folder);
  expect(environment.PATH?.split(':')[0]).toBe(dirname(process.execPath));
});

test('it can end in order, and then nothing of it is left', async () => {
  const script = 'process.on("SIGTERM", () => { console.log("ended"); process.exit(); }); setInterval(() => {}, 1000);';
  const lines: string[] = [];
  const { folder, finish } = await startKeptServer(
    'fake',
    () => ({
      command: process.execPath,
      parameters: ['-e', `${script} console.log("ready");`],
      environment: {},
    }),
    () => Promise.resolve(lines.includes('ready')),
    { log: (line) => lines.push(line) },
  );
  await finish();
  expect(lines.slice(0, 2)).toEqual(['ready', 'ended']);
  expect(existsSync(folder)).toBe(false);
  expect(await processesOf(folder)).toEqual([]);
});

test('nothing is left when the test run is killed', async () => {
  const run = spawn(process.execPath, [FAKE_RUN], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(createInterface({ input: run.stdout }), 'line')) as [string];
  const { endpoint, folder } = JSON.parse(line) as { endpoint: string; folder: string };
  expect(await processesOf(folder)).toHaveLength(PROCESSES);
  run.kill('SIGKILL');
  await expectNothingLeft(folder, endpoint);
});

test('nothing is left when the keeper is killed', async () => {
  const { endpoint, folder, ended } = await startFakeEmulator();
  for (const pid of await processesOf(folder)) {
    if ((await commandOf(pid)).includes('keeper.ts')) process.kill(pid, 'SIGKILL');
  }
  await ended;
  await expectNothingLeft(folder, endpoint);
});

test('nothing is left when the emulator dies', async () => {
  const { endpoint, folder, ended } = await startFakeEmulator();
  for (const pid of await processesOf(folder)) {
    if (/^\S+ \S+fake-emulator\.ts/.test(await commandOf(pid))) process.kill(pid, 'SIGKILL');
  }
  await ended;
  await expectNothingLeft(folder, endpoint);
});

test('an emulator that ends at once is reported with its last lines, and leaves nothing', async () => {
  const before = await folders();
  const lines: string[] = [];
  const start = startFakeEmulator({ crash: true, log: (line) => lines.push(line) });
  await expect(start).rejects.toThrow(/fake did not start .*it ended by itself(.|\n)*no component plugins found/);
  expect(lines).toContain('about to start');
  expect(await folders()).toEqual(before);
});

test('an emulator that does not answer in time is reported and ended', async () => {
  const before = await folders();
  await expect(startFakeEmulator({ readyMs: 0 })).rejects.toThrow('it did not answer within 0 ms');
  expect(await folders()).toEqual(before);
});

test('a port that is taken is refused, even if something on it answers like an emulator', async () => {
  const first = await startFakeEmulator();
  const port = Number(new URL(first.endpoint).port);
  await expect(startFakeEmulator({ port })).rejects.toThrow('EADDRINUSE');
  await first.stop();
  const again = await startFakeEmulator({ port });
  expect(again.endpoint).toBe(first.endpoint);
  await again.stop();
});

test('reserved ports are distinct, and nobody else gets them before they are released', async () => {
  const [first, second] = await Promise.all([reservePorts(100), reservePorts(100)]);
  const ports = [...first.ports, ...second.ports];
  expect(new Set(ports).size).toBe(200);
  const [port = 0] = ports;
  const listen = () => {
    const server = createServer().listen(port, '127.0.0.1');
    return once(server, 'listening').finally(() => server.close());
  };
  await expect(listen()).rejects.toThrow('EADDRINUSE');
  await Promise.all([first.release(), first.release(), second.release()]);
  await listen();
});

test('a free port is found beside taken ones', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { endpoint, stop } = await startFakeEmulator();
  expect(Number(new URL(endpoint).port)).not.toBe((server.address() as AddressInfo).port);
  await stop();
  server.close();
});
