import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import { openDataFolder } from '../../../shared/storage/file/data-folder.ts';
import {
  ended,
  fingerprint,
  firstLine,
  mountingImpossible,
  scriptPath,
  start,
  temporaryPath,
  unshare,
} from './child/support.ts';

const range = { start: 0, end: 1_000 };

describe('openDataFolder', () => {
  it('makes a folder for its owner alone, and keeps what is in it', async () => {
    const path = join(temporaryPath(), 'deep', 'er');
    const first = await openDataFolder(path);
    await first.items.put({ pk: 'p', sk: 's' }, { n: 1 });
    await first.objects.put('a/b', [new Uint8Array([1, 2])]);
    await first.close();
    const mode = (name: string) => statSync(join(path, name)).mode & 0o777;
    expect(['.', 'objects', 'objects/a', 'tmp'].map(mode)).toEqual([0o700, 0o700, 0o700, 0o700]);
    expect(['secret', 'items.sqlite', 'objects/a/b'].map(mode)).toEqual([0o600, 0o600, 0o600]);

    const second = await openDataFolder(path);
    expect((await second.items.get({ pk: 'p', sk: 's' })).attributes).toEqual({ n: 1 });
    expect(await second.objects.get('a/b', range)).toEqual(new Uint8Array([1, 2]));
    await second.close();
  });

  it('marks its database', async () => {
    const path = temporaryPath();
    await (await openDataFolder(path)).close();
    const header = readFileSync(join(path, 'items.sqlite'));
    expect(header.toString('latin1', 68, 72)).toBe('TLRC');
    expect(header.readUInt32BE(60)).toBe(3);
  });

  it('is held by one opening in this process, which names itself to the other', async () => {
    const path = temporaryPath();
    const folder = await openDataFolder(path);
    await expect(openDataFolder(path)).rejects.toMatchObject({
      code: 'data_folder_unusable',
      message: expect.stringContaining(`${path} is in use by this process (${process.pid})`),
      details: { reason: 'in_use', folder: path, pid: process.pid },
    });
    // The refused opening must not have cost the first one its lock.
    const child = start('hold.ts', path);
    expect(JSON.parse(await firstLine(child))).toMatchObject({ details: { reason: 'in_use', pid: process.pid } });
    await folder.items.put({ pk: 'p', sk: 's' }, {});
    await folder.close();
    await (await openDataFolder(path)).close();
  });

  it('is held by another process until that is killed', async () => {
    const path = temporaryPath();
    const child = start('hold.ts', path);
    expect(await firstLine(child)).toBe('open');
    const before = fingerprint(path);
    await expect(openDataFolder(path)).rejects.toMatchObject({
      code: 'data_folder_unusable',
      message: `The data folder ${path} is in use by process ${child.pid}. Stop it first, or choose another data folder.`,
      details: { reason: 'in_use', pid: child.pid },
    });
    expect(fingerprint(path)).toEqual(before);
    child.kill('SIGKILL');
    await ended(child);
    const folder = await openDataFolder(path);
    expect(JSON.parse(readFileSync(join(path, 'holder.json'), 'utf8'))).toMatchObject({ pid: process.pid });
    await folder.close();
    expect(existsSync(join(path, 'holder.json'))).toBe(false);
  });

  it('is let go of when its holder ends', async () => {
    const path = temporaryPath();
    const child = start('hold.ts', path);
    expect(await firstLine(child)).toBe('open');
    child.stdin.end();
    await ended(child);
    expect(child.exitCode).toBe(0);
    await (await openDataFolder(path)).close();
  });

  it('lets one of several that open a new folder at once have it', async () => {
    const path = join(temporaryPath(), 'new');
    const results = await Promise.allSettled(Array.from({ length: 6 }, () => openDataFolder(path)));
    const opened = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const reasons = results.flatMap((result) => (result.status === 'rejected' ? [result.reason.details.reason] : []));
    expect(opened).toHaveLength(1);
    expect(reasons).toEqual(Array(5).fill('in_use'));
    await opened[0]!.items.put({ pk: 'p', sk: 's' }, {});
    await opened[0]!.close();
  });

  it('is let go of when it can not be opened for what else it holds', async () => {
    const path = temporaryPath();
    mkdirSync(join(path, 'secret'));
    await expect(openDataFolder(path)).rejects.toMatchObject({ code: 'storage_unavailable', outcome: 'not_applied' });
    rmdirSync(join(path, 'secret'));
    await (await openDataFolder(path)).close();
  });

  it('does not keep its process alive when nothing is asked of it', async () => {
    const child = start('idle.ts', temporaryPath());
    expect(await firstLine(child)).toBe('idle');
    await ended(child);
    expect(child.exitCode).toBe(0);
  }, 10_000);

  it('loses nothing acknowledged when its holder is killed', async () => {
    const path = temporaryPath();
    const child = start('write.ts', path);
    const acknowledged: number[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      acknowledged.push(Number(line));
      if (acknowledged.length === 500) child.kill('SIGKILL');
    }
    await ended(child);
    const { items, objects, close } = await openDataFolder(path);
    for (const number of acknowledged) {
      const bytes = new Uint8Array(500).fill(number % 251);
      expect((await items.get({ pk: 'p', sk: `sk-${number}` })).attributes).toEqual({ number, bytes });
      expect(await objects.get(`o/${number % 3}/${number}`, range)).toEqual(bytes);
    }
    const { attributes } = await items.get({ pk: 'p', sk: 'count' });
    expect(attributes?.n).toBeGreaterThanOrEqual(acknowledged.length);
    expect(readdirSync(join(path, 'tmp'))).toEqual([]);
    await close();
  });

  it('keeps every item that has not expired when its holder is killed while it removes others', async () => {
    const path = temporaryPath();
    const child = start('expire.ts', path);
    const acknowledged: number[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      acknowledged.push(Number(line));
      if (acknowledged.length === 1_000) child.kill('SIGKILL');
    }
    await ended(child);
    const { items, close } = await openDataFolder(path);
    for (;;) if (!(await items.removeExpired(2_000, 1_000)).more) break;
    const { items: kept } = await items.query({ pk: 'kept', limit: 100_000 });
    const found = new Set(kept.map(({ attributes }) => attributes.number));
    expect(acknowledged.filter((number) => !found.has(number))).toEqual([]);
    expect((await items.query({ pk: 'expired', limit: 1 })).items).toEqual([]);
    await close();
    const database = new DatabaseSync(join(path, 'items.sqlite'));
    expect(database.prepare('PRAGMA integrity_check').all()).toEqual([{ integrity_check: 'ok' }]);
    database.close();
  });

  it.each([
    ['newer', 4],
    ['older', 2],
  ])('refuses an %s format and leaves it as it was, its write-ahead log included', async (_, version) => {
    const path = temporaryPath();
    await (await openDataFolder(path)).close();
    const other = new DatabaseSync(join(path, 'items.sqlite'));
    other.exec(`PRAGMA user_version = ${version}; PRAGMA wal_checkpoint; PRAGMA wal_autocheckpoint = 0`);
    other.exec("INSERT INTO items VALUES ('p', 's', x'01', NULL)");
    // What a killed process leaves behind: the log beside the database, and nobody's lock.
    const killed = temporaryPath();
    mkdirSync(join(killed, 'tmp'));
    for (const name of ['items.sqlite', 'items.sqlite-wal', 'secret'])
      copyFileSync(join(path, name), join(killed, name));
    other.close();

    for (const folder of [path, killed]) {
      const before = fingerprint(folder);
      await expect(openDataFolder(folder)).rejects.toMatchObject({
        code: 'data_folder_unusable',
        message: expect.stringContaining(
          `has format version ${version}; this Tailrace supports version 3. Nothing was changed`,
        ),
        details: { reason: 'version', foundVersion: version, supportedVersion: 3 },
      });
      expect(fingerprint(folder)).toEqual(before);
    }
  });

  it('refuses a foreign database', async () => {
    const path = temporaryPath();
    const foreign = new DatabaseSync(join(path, 'items.sqlite'));
    foreign.exec('CREATE TABLE items (a)');
    foreign.close();
    const database = readFileSync(join(path, 'items.sqlite'));
    const refused = { code: 'data_folder_unusable', details: { reason: 'foreign' } };
    await expect(openDataFolder(path)).rejects.toMatchObject(refused);
    expect(readFileSync(join(path, 'items.sqlite'))).toEqual(database);
  });

  it.each([
    ['noise', Buffer.alloc(20_000, 'no database ')],
    ['a damaged header', Buffer.concat([Buffer.from('SQLite format 3\0'), Buffer.alloc(8_176, 0xff)])],
  ])('refuses a database that is %s', async (_, content) => {
    const path = temporaryPath();
    writeFileSync(join(path, 'items.sqlite'), content);
    const refused = { code: 'data_folder_unusable', details: { reason: 'corrupt' } };
    await expect(openDataFolder(path)).rejects.toMatchObject(refused);
    expect(readFileSync(join(path, 'items.sqlite'))).toEqual(content);
  });

  it('refuses a write-ahead log without its database, which would be taken for that of a new one', async () => {
    const path = temporaryPath();
    writeFileSync(join(path, 'items.sqlite-wal'), 'log');
    const refused = { code: 'data_folder_unusable', details: { reason: 'corrupt' } };
    await expect(openDataFolder(path)).rejects.toMatchObject(refused);
    expect(existsSync(join(path, 'items.sqlite'))).toBe(false);
    expect(readFileSync(join(path, 'items.sqlite-wal'), 'utf8')).toBe('log');
  });

  it('refuses a path that is a file, or below one', async () => {
    const path = join(temporaryPath(), 'file');
    writeFileSync(path, 'content');
    const refused = { code: 'data_folder_unusable', details: { reason: 'not_a_folder' } };
    await expect(openDataFolder(path)).rejects.toMatchObject(refused);
    await expect(openDataFolder(join(path, 'below'))).rejects.toMatchObject(refused);
    expect(readFileSync(path, 'utf8')).toBe('content');
  });

  it('refuses a disk that is read-only', (context) => {
    if (mountingImpossible !== undefined) context.skip(mountingImpossible);
    const script = `
      mount -t tmpfs none "$0"
      "$1" "$2" "$0/made" < /dev/null
      mkdir "$0/empty"
      mount -o remount,ro "$0"
      for name in made empty new; do "$1" "$2" "$0/$name" < /dev/null; done
    `;
    const { stdout, stderr, status } = unshare(script, temporaryPath(), process.execPath, scriptPath('hold.ts'));
    expect([status, stderr.replace(/.*Warning.*\n/g, '')]).toEqual([0, '']);
    const [open, ...refusals] = stdout.trim().split('\n');
    expect(open).toBe('open');
    expect(refusals).toHaveLength(3);
    for (const refusal of refusals) {
      expect(JSON.parse(refusal)).toMatchObject({
        code: 'data_folder_unusable',
        message: expect.stringContaining("can't be written"),
        details: { reason: 'not_writable' },
      });
    }
  });

  it('goes on after a full disk has room again, and loses nothing', (context) => {
    if (mountingImpossible !== undefined) context.skip(mountingImpossible);
    const script = 'mount -t tmpfs -o size=48m none "$0" && "$1" "$2" "$0"';
    const { stdout, stderr, status } = unshare(script, temporaryPath(), process.execPath, scriptPath('fill.ts'));
    expect([status, stderr.replace(/.*Warning.*\n/g, '')]).toEqual([0, '']);
    const found = JSON.parse(stdout);
    const kinds = new Set(found.failures.map((failure: object) => JSON.stringify(failure)));
    expect([...kinds].sort()).toEqual([
      '{"store":"items","code":"storage_full","outcome":"not_applied"}',
      '{"store":"objects","code":"storage_full","outcome":"not_applied"}',
    ]);
    expect(found.full.items).toBeGreaterThan(20);
    expect(found.full.objects).toBeGreaterThan(20);
    expect(found.mixed).toEqual({ write: 'rejected', read: 'fulfilled' });
    expect(found.failuresAfter).toBe(0);
    expect(found.whileFull).toEqual({ lost: 0, invented: 0, tmp: [] });
    expect(found.before).toEqual({ lost: 0, invented: 0 });
    expect(found.after).toEqual({ lost: 0, invented: 0 });
  });

  it('stores nothing of what a file has no room for, and goes on', async () => {
    const path = temporaryPath();
    // The limit lets a write stop short before it fails, as a full disk may.
    const parameters = ['-ec', 'ulimit -f 400; exec "$0" "$@"', process.execPath, scriptPath('limit.ts'), path];
    const { stdout, stderr, status } = spawnSync('sh', parameters, { encoding: 'utf8', timeout: 60_000 });
    expect([status, stderr.replace(/.*Warning.*\n/g, '')]).toEqual([0, '']);
    expect(JSON.parse(stdout)).toEqual({
      objectBefore: 'created',
      objectLarge: 'storage_full not_applied',
      objectAfter: 'created',
      objects: [100_000, 'none', 100_000],
      itemBefore: true,
      itemLarge: 'storage_unavailable unknown',
      itemAfter: true,
      items: [true, false, true],
    });
    expect(readdirSync(join(path, 'tmp'))).toEqual([]);
  });

  it('sweeps what a crash has left in tmp', async () => {
    const path = temporaryPath();
    await (await openDataFolder(path)).close();
    writeFileSync(join(path, 'tmp', 'left-over'), 'half');
    const folder = await openDataFolder(path);
    expect(readdirSync(join(path, 'tmp'))).toEqual([]);
    await folder.close();
  });

  it('answers what was asked before close, and rejects what comes after', async () => {
    const path = temporaryPath();
    const folder = await openDataFolder(path, { baseUrl: () => 'http://localhost' });
    const { items, objects } = folder;
    const before = [
      ...Array.from({ length: 50 }, (_, i) => items.put({ pk: 'p', sk: `sk-${i}` }, { i })),
      ...Array.from({ length: 300 }, (_, i) => objects.put(`o/${i}`, [new Uint8Array(10)])),
    ];
    let answered = 0;
    for (const write of before) write.then(() => answered++);
    const closing = folder.close();
    expect(folder.close()).toBe(closing);
    const range = { start: 0, end: 1 };
    const during = [objects.put('o/late', []), objects.get('o/1', range), objects.presign('o/1', range, 1)];
    for (const late of during) await expect(late).rejects.toMatchObject({ code: 'shutting_down' });
    await closing;
    expect(answered).toBe(350);
    const key = { pk: 'p', sk: 'sk-1' };
    const after = [
      () => items.get(key),
      () => items.put(key, {}),
      () => items.update(key, []),
      () => items.delete(key),
      () => items.query({ pk: 'p', limit: 1 }),
      () => objects.put('o/late', []),
    ];
    for (const late of after) {
      await expect(late()).rejects.toMatchObject({ code: 'shutting_down', outcome: 'not_applied' });
    }
    expect(readdirSync(path).sort()).toEqual(['items.sqlite', 'objects', 'secret', 'tmp']);

    const again = await openDataFolder(path);
    expect((await again.items.query({ pk: 'p', limit: 100 })).items).toHaveLength(50);
    expect(await again.objects.get('o/99', { start: 0, end: 100 })).toHaveLength(10);
    expect(await again.objects.get('o/late', range)).toBeUndefined();
    await again.close();
  });

  it('signs URLs that are valid after it was opened again', async () => {
    const path = temporaryPath();
    const first = await openDataFolder(path, { baseUrl: () => 'http://localhost:1' });
    const { url } = await first.objects.presign('a/b', { start: 1, end: 2 }, 1_000);
    await first.close();
    const second = await openDataFolder(path);
    expect(second.signer.verify('a/b', new URL(url).searchParams, 999)).toBe(true);
    await expect(second.objects.presign('a/b', { start: 1, end: 2 }, 1)).rejects.toMatchObject({ code: 'internal' });
    await second.close();
    const other = await openDataFolder(temporaryPath());
    expect(other.signer.verify('a/b', new URL(url).searchParams, 999)).toBe(false);
    await other.close();
  });
});
