import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { makeKey } from '../../../shared/local/make-key.ts';
import { startTailrace, type Tailrace, type TailraceOptions } from '../../../shared/local/start.ts';
import { ALL_SCOPES } from '../../../shared/log/scopes.ts';

const lookups = vi.hoisted(() => new Map<string, string>());

vi.mock('node:dns/promises', () => ({
  lookup: (name: string) => {
    const address = lookups.get(name);
    if (address === undefined) return Promise.reject(new Error('ENOTFOUND'));
    return Promise.resolve({ address, family: address.includes(':') ? 6 : 4 });
  },
}));

const MAIN = join(import.meta.dirname, '../../../shared/local/main.ts');
const started: Tailrace[] = [];
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tailrace-access-'));
  lookups.clear();
  lookups.set('localhost', '127.0.0.1');
});

afterEach(async () => {
  for (const tailrace of started.splice(0)) await tailrace.close();
  await rm(folder, { recursive: true, force: true });
});

async function start(options: TailraceOptions): Promise<Tailrace> {
  const tailrace = await startTailrace({ memory: true, ...options });
  started.push(tailrace);
  return tailrace;
}

async function statusOf(url: string, key?: string): Promise<number> {
  const response = await fetch(
    `${url}/v1/topics`,
    key === undefined ? {} : { headers: { authorization: `Bearer ${key}` } },
  );
  await response.arrayBuffer();
  return response.status;
}

describe('an address that nobody else reaches', () => {
  it.each(['127.0.0.1', '127.0.0.2', 'localhost'])('%s is open', async (host) => {
    const { url, keys } = await start({ host });
    expect([keys, await statusOf(url)]).toEqual([false, 200]);
  });

  it('asks for keys where it is told to', async () => {
    const { url, keys, broker } = await start({ keys: true });
    const { key } = await broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    expect([keys, await statusOf(url), await statusOf(url, key)]).toEqual([true, 401, 200]);
  });
});

describe('an issuer of tokens', () => {
  const jwt = { issuer: 'i', audience: 'a', keys: { keys: [] } };

  it('is never given in vain: requests then need tokens or keys, on every address', async () => {
    const { url, keys, broker } = await start({ jwt });
    const { key } = await broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    expect([keys, await statusOf(url), await statusOf(url, key)]).toEqual([true, 401, 200]);
    await expect(startTailrace({ memory: true, jwt, keys: false })).rejects.toMatchObject({
      code: 'invalid_request',
      details: { field: 'keys' },
    });
  });
});

describe('an address that others reach', () => {
  it('asks for keys, on every interface', async () => {
    const host = '0.0.0.0';
    const { url, keys, broker } = await start({ host });
    const { key } = await broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    const { port } = new URL(url);
    expect(keys).toBe(true);
    const addresses = Object.values(networkInterfaces()).flatMap(
      (all) => all?.filter(({ family }) => family === 'IPv4') ?? [],
    );
    expect(addresses.length).toBeGreaterThan(0);
    for (const { address } of addresses) {
      const at = `http://${address}:${port}`;
      expect([address, await statusOf(at), await statusOf(at, key)]).toEqual([address, 401, 200]);
    }
  });

  it.each<[string, string | undefined]>([
    ['0.0.0.0', undefined],
    ['::', undefined],
    ['::ffff:0.0.0.0', undefined],
    ['192.0.2.1', undefined],
    // A name is what it stands for, whatever it looks like.
    ['127.example', '192.0.2.1'],
    ['127.0.0.1.example', '0.0.0.0'],
    ['localhost', '0.0.0.0'],
  ])('%s is never open', async (host, address) => {
    if (address !== undefined) lookups.set(host, address);
    await expect(startTailrace({ memory: true, host, keys: false })).rejects.toMatchObject({
      code: 'invalid_request',
      details: { field: 'keys' },
    });
  });

  it.each(['', 'nowhere.example', '127.0.0.1:80', '127.1.1.1.1'])("is none of the name '%s'", async (host) => {
    await expect(startTailrace({ memory: true, host })).rejects.toMatchObject({ details: { field: 'host' } });
    await expect(startTailrace({ memory: true, host, keys: false })).rejects.toMatchObject({
      details: { field: 'host' },
    });
  });
});

describe('the first key', () => {
  it('is made in a data folder that nobody has open, and nowhere written in it', async () => {
    const key = await makeKey(folder, 'admin');
    const { url, broker } = await start({ memory: false, dataFolder: folder, keys: true });
    expect([await statusOf(url), await statusOf(url, key)]).toEqual([401, 200]);
    expect((await broker.listApiKeys()).items).toMatchObject([{ name: 'admin', scopes: ALL_SCOPES }]);
    await expect(makeKey(folder, 'other')).rejects.toMatchObject({ code: 'data_folder_unusable' });
    for (const name of await readdir(folder, { recursive: true, withFileTypes: true })) {
      if (!name.isFile()) continue;
      const bytes = await readFile(join(name.parentPath, name.name));
      expect(bytes.includes(key.slice(21))).toBe(false);
    }
  });

  it('is refused where its name is none', async () => {
    await expect(makeKey(folder, '')).rejects.toMatchObject({ details: { field: 'name' } });
  });
});

describe('npm start', () => {
  const run = promisify(execFile);

  it('makes a key, and takes it', async () => {
    const { stdout, stderr } = await run(process.execPath, [MAIN, '--data', folder, '--make-key', 'admin']);
    expect(stdout).toMatch(/^tlr_[0-9a-f]{16}_[A-Za-z0-9_-]{43}\n$/);
    expect(stderr).not.toContain(stdout.trim());
    const server = spawn(process.execPath, [MAIN, '--data', folder, '--port', '0', '--keys']);
    try {
      let printed = '';
      const url = await new Promise<string>((resolve, reject) => {
        server.once('exit', reject);
        server.stdout.on('data', (chunk: Buffer) => {
          printed += chunk.toString();
          const found = /HTTP API {3}(http:\S+)\/v1/.exec(printed)?.[1];
          if (found !== undefined) resolve(found);
        });
      });
      expect([await statusOf(url), await statusOf(url, stdout.trim())]).toEqual([401, 200]);
      expect(printed).not.toContain('tlr_');
    } finally {
      const ended = new Promise((resolve) => server.once('exit', resolve));
      server.kill('SIGTERM');
      await ended;
    }
  });

  it('says what is wrong with what it was told', async () => {
    await expect(run(process.execPath, [MAIN, '--memory', '--make-key', 'admin'])).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--memory'),
    });
  });
});
