import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type CacheOptions, cacheRoot, installOnce } from './cache.ts';

const INSTALLER = fileURLToPath(new URL('./support/install-once.ts', import.meta.url));

let root: string;
let recipe: string;
let note: string;

beforeEach(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tailrace-cache-'));
  [root, recipe, note] = [join(folder, 'cache'), join(folder, 'recipe'), join(folder, 'note')];
  await writeFile(recipe, 'flour');
});

afterEach(() => rm(join(root, '..'), { recursive: true, force: true }));

function installer(): ChildProcess {
  return spawn(process.execPath, [INSTALLER, root, recipe, note], { stdio: ['ignore', 'ignore', 'inherit'] });
}

async function installations(): Promise<number> {
  return (await readFile(note, 'utf8').catch(() => '')).split('\n').length - 1;
}

async function install(fill: (folder: string) => Promise<void>, options: CacheOptions = {}): Promise<string> {
  return installOnce({ name: 'thing-1', recipe: [pathToFileURL(recipe)], install: fill }, { root, ...options });
}

test('the folder is the one named in the environment, else the one for caches', () => {
  expect(cacheRoot({ TAILRACE_CACHE: '/a', XDG_CACHE_HOME: '/b' })).toBe('/a');
  expect(cacheRoot({ TAILRACE_CACHE: '', XDG_CACHE_HOME: '/b' })).toBe(join('/b', 'tailrace'));
  expect(cacheRoot({ XDG_CACHE_HOME: '' })).toBe(join(homedir(), '.cache', 'tailrace'));
});

test('processes that ask at once get one installation', async () => {
  const running = Array.from({ length: 4 }, installer);
  const codes = await Promise.all(running.map(async (child) => (await once(child, 'exit'))[0]));
  expect(codes).toEqual([0, 0, 0, 0]);
  expect(await installations()).toBe(1);
  const [only, ...others] = await readdir(root);
  expect(others).toEqual([]);
  expect((await readdir(join(root, only as string))).sort()).toEqual(['first', 'last']);
});

test('another recipe is another installation', async () => {
  const before = await install(async () => undefined);
  await writeFile(recipe, 'grain');
  expect(await install(async () => undefined)).not.toBe(before);
  await writeFile(recipe, 'flour');
  expect(await install(() => Promise.reject(new Error('once is enough')))).toBe(before);
});

test('a killed installer leaves no installation, and the next one starts afresh and clears up', async () => {
  const child = installer();
  while ((await installations()) === 0) await sleep(10);
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect((await readdir(root)).filter((name) => /^thing-1-[0-9a-f]{12}$/.test(name))).toEqual([]);
  await sleep(400);
  const folder = await install((folder) => writeFile(join(folder, 'mine'), ''), { staleMs: 300 });
  expect(await readdir(folder)).toEqual(['mine']);
  expect(await readdir(root)).toHaveLength(1);
});

test('an installer that is slow, but alive, keeps its lock', async () => {
  const options = { staleMs: 300, heartbeatMs: 50 };
  const slow = install(() => sleep(1_000), options);
  await sleep(50);
  await install(() => Promise.reject(new Error('another is at it')), options);
  await slow;
});

test('a failed installation leaves nothing and can be tried again', async () => {
  const failing = install(async (folder) => {
    await writeFile(join(folder, 'half'), '');
    throw new Error('no network');
  });
  await expect(failing).rejects.toThrow('no network');
  expect(await readdir(root)).toEqual([]);
  expect(existsSync(await install(async () => undefined))).toBe(true);
});

test('an installation that can no longer be used is made again', async () => {
  const isUsable = (folder: string) => existsSync(join(folder, 'python'));
  const again = { name: 'thing-1', recipe: [pathToFileURL(recipe)], isUsable };
  const write = (name: string) => (folder: string) => writeFile(join(folder, name), name);
  const folder = await installOnce({ ...again, install: write('python') }, { root });
  await rm(join(folder, 'python'));
  await writeFile(join(folder, 'rest'), '');
  await installOnce({ ...again, install: write('python') }, { root });
  expect(await readdir(folder)).toEqual(['python']);
});
