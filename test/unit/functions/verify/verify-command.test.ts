import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { verifyCommand } from '../../../../functions/verify/verify-command.ts';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { startTailrace } from '../../../../shared/local/start.ts';
import { ALL_SCOPES } from '../../../../shared/log/scopes.ts';
import { appendTo } from '../../../support/memory-broker.ts';

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

async function run(args: readonly string[], environment: Record<string, string> = {}): Promise<Ran> {
  let out = '';
  let error = '';
  const code = await verifyCommand(args, environment, {
    out: (text) => {
      out += text;
    },
    error: (text) => {
      error += text;
    },
  });
  return { code, out, error };
}

/** Two topics; the hot objects of one are merged, its last records are not. */
async function fill(broker: Broker): Promise<void> {
  const { topic } = await broker.putTopic({ name: 'orders', partitions: 2 });
  await broker.putTopic({ name: 'payments' });
  for (let i = 0; i < 24; i++) await appendTo(broker, 'orders', i % 2, ['v'.repeat(i % 3 === 0 ? 20_000 : 10)]);
  await broker.idle();
  await broker.mergeHead(topic.topicId, 0, { force: true });
  for (let i = 0; i < 8; i++) await appendTo(broker, 'orders', i % 2, ['v'.repeat(20_000)]);
  await broker.idle();
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tailrace-verify-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('npm run verify on a data folder', () => {
  it('prints what each partition has, and finds no problem', async () => {
    const dataFolder = join(folder, 'whole');
    const tailrace = await startTailrace({ dataFolder, port: 0 });
    await fill(tailrace.broker);
    await tailrace.close();
    const { code, out, error } = await run(['--data-folder', dataFolder, '--deep']);
    expect([code, error]).toEqual([0, '']);
    const lines = out.split('\n').map((line) => line.trim().split(/ +/));
    expect(lines[0]).toEqual(['orders']);
    expect(lines[1]?.slice(0, 6)).toEqual(['partition', 'from', 'to', 'records', 'batches', 'bytes']);
    expect(lines[2]?.slice(0, 5)).toEqual(['0', '0', '16', '16', '16']);
    expect(lines[2]?.at(-1)).toBe('0');
    expect(out).toMatch(/\n2 topics, 3 partitions, 32 records, [\d,]+ bytes: no problem\.\n$/);
    // It can be used as before.
    const again = await startTailrace({ dataFolder, port: 0 });
    expect(await appendTo(again.broker, 'orders', 0, ['v'])).toBe(16);
    await again.close();
  });

  it('says what is wrong, and where', async () => {
    const dataFolder = join(folder, 'damaged');
    const tailrace = await startTailrace({ dataFolder, port: 0 });
    await fill(tailrace.broker);
    const [segment] = (await tailrace.broker.listSegments('orders', { partition: 1 })).items;
    await tailrace.close();
    const storedAs = segment?.storedAs ?? '';
    await writeFile(
      join(
        dataFolder,
        'objects',
        `${storedAs.replace(/\/1\/[^/]+$/, '/1/')}${'1'.padStart(16, '0')}-${'9'.padStart(16, '0')}`,
      ),
      'x',
    );
    const orphans = await run(['--data-folder', dataFolder]);
    expect([orphans.code, orphans.error]).toEqual([0, '']);
    expect(orphans.out).toMatch(/ no problem\. 1 orphan: nothing is lost\.\n$/);
    await rm(join(dataFolder, 'objects', storedAs));
    const { code, out } = await run(['--data-folder', dataFolder]);
    expect(code).toBe(1);
    expect(out).toContain(
      `  ! missing_segment: The segment '${storedAs}' is missing.\n    partition 1, offset 0, ${storedAs}\n`,
    );
    expect(out).toMatch(/: 1 problem\. 1 orphan: nothing is lost\.\n$/);
    // Another topic is whole.
    expect((await run(['--data-folder', dataFolder, '--topic', 'payments'])).code).toBe(0);
    expect((await run(['--data-folder', dataFolder, '--topic', 'payments', '--topic', 'orders'])).code).toBe(1);
  });

  it('makes no folder, and leaves one alone that a process has open', async () => {
    const missing = await run(['--data-folder', join(folder, 'none')]);
    expect([missing.code, missing.error]).toEqual([2, expect.stringContaining('There is no log in the folder')]);
    expect(await readdir(folder)).not.toContain('none');
    const dataFolder = join(folder, 'open');
    const tailrace = await startTailrace({ dataFolder, port: 0 });
    const { code, error } = await run(['--data-folder', dataFolder]);
    await tailrace.close();
    expect([code, error]).toEqual([1, expect.stringContaining(String(process.pid))]);
  });
});

describe('npm run verify on a running server', () => {
  const closing: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0)) await close();
  });

  it('takes the key from the environment', async () => {
    const tailrace = await startTailrace({ memory: true, port: 0, keys: true });
    closing.push(() => tailrace.close());
    await fill(tailrace.broker);
    const { key } = await tailrace.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    const { code, out, error } = await run(['--url', `${tailrace.url}/`], { TAILRACE_KEY: key });
    expect([code, error]).toEqual([0, '']);
    expect(out).toMatch(/\n2 topics, 3 partitions, 32 records, [\d,]+ bytes: no problem\.\n$/);
    const without = await run(['--url', tailrace.url]);
    expect([without.code, without.error]).toEqual([1, expect.stringMatching(/401.*Set TAILRACE_KEY/)]);
    const unknown = await run(['--url', tailrace.url, '--topic', 'none'], { TAILRACE_KEY: key });
    expect([unknown.code, unknown.error]).toEqual([1, expect.stringContaining("'none'")]);
  });

  it('follows pages, of topics and of one verification', async () => {
    const tailrace = await startTailrace({ memory: true, port: 0 });
    closing.push(() => tailrace.close());
    for (let i = 0; i < 101; i++) await tailrace.broker.putTopic({ name: `t${i}` });
    await tailrace.broker.putTopic({ name: 'large', partitions: 2, config: { 'max.message.bytes': 4_000_000 } });
    for (let i = 0; i < 20; i++) await appendTo(tailrace.broker, 'large', i % 2, ['v'.repeat(3_900_000)]);
    const { code, out, error } = await run(['--url', tailrace.url]);
    expect([code, error]).toEqual([0, '']);
    expect(out).toMatch(/\n102 topics, 103 partitions, 20 records, 78,/);
  });

  it('says so if no Tailrace answers', async () => {
    const server = createServer((_, answer) => {
      answer.statusCode = 500;
      answer.end('<html>');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    expect(await run(['--url', url])).toEqual({ code: 1, out: '', error: 'The server answered 500.\n' });
    await new Promise((resolve) => server.close(resolve));
    const { code, error } = await run(['--url', url]);
    expect([code, error]).toEqual([1, expect.stringContaining('ECONNREFUSED')]);
  });
});

describe('npm run verify', () => {
  it.each([
    [[]],
    [['--url', 'http://127.0.0.1:1', '--data-folder', 'x']],
    [['--table', 'x']],
    [['--bucket', 'x']],
    [['--table', 'x', '--bucket', 'x', '--url', 'http://127.0.0.1:1']],
    [['--url', 'no address']],
    [['--what']],
    [['orders']],
  ])('says how it is used, for %j', async (args) => {
    const { code, out, error } = await run(args);
    expect([code, out]).toEqual([2, '']);
    expect(error).toMatch(/^[^\n]+\nTo see all options: npm run --silent verify -- --help\n$/);
  });

  it('explains itself', async () => {
    const { code, out, error } = await run(['--help']);
    expect([code, error]).toEqual([0, '']);
    expect(out).toMatch(/^Usage: /);
  });
});
