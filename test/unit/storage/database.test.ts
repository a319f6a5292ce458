import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, it, vi } from 'vitest';
import { openDatabase, readDurability } from '../../../shared/storage/file/database.ts';
import { SqliteItemStore } from '../../../shared/storage/file/item-store.ts';
import { temporaryPath } from './child/support.ts';

/**
 * What SQLite's promise rests on. SQLite reaches the disk by itself, so no model of a disk stands beneath it: its settings
 * are looked at instead, of every connection and where each ends.
 */

const { closed, unreadable } = vi.hoisted(() => ({
  closed: [] as { path: string; synchronous: number; fullFsync: boolean }[],
  /** Whether nothing can be read without the lock, as in the middle of a checkpoint. */
  unreadable: { now: false },
}));

vi.mock('node:sqlite', async (original) => {
  const sqlite = await original<typeof import('node:sqlite')>();
  class WatchedDatabase extends sqlite.DatabaseSync {
    constructor(path: string | URL, options: import('node:sqlite').DatabaseSyncOptions = {}) {
      if (options.readOnly && unreadable.now) throw Object.assign(new Error('database is malformed'), { errcode: 11 });
      super(path, options);
    }

    override close(): void {
      const read = (name: string) => Object.values(this.prepare(`PRAGMA ${name}`).get() ?? {})[0];
      closed.push({
        path: String(this.location() ?? ''),
        synchronous: Number(read('synchronous')),
        fullFsync: read('fullfsync') === 1,
      });
      super.close();
    }
  }
  return { ...sqlite, DatabaseSync: WatchedDatabase };
});

const DURABLE = { journalMode: 'wal', synchronous: 2, fullFsync: true, lockingMode: 'exclusive' };

function freshPath(): { readonly path: string; readonly tmpFolder: string } {
  const folder = temporaryPath();
  const tmpFolder = join(folder, 'tmp');
  mkdirSync(tmpFolder);
  return { path: join(folder, 'items.sqlite'), tmpFolder };
}

it('a database syncs its write-ahead log at every commit, when it is made and when it is opened again', () => {
  const { path, tmpFolder } = freshPath();
  for (const time of ['made', 'opened again']) {
    const database = openDatabase(path, tmpFolder);
    expect(readDurability(database), time).toEqual(DURABLE);
    database.exec("BEGIN IMMEDIATE; INSERT INTO items VALUES ('p', hex(randomblob(8)), x'01', NULL); COMMIT");
    expect(readDurability(database), time).toEqual(DURABLE);
    database.close();
  }
});

it('expired items are found by an index, in order, and other items are not in it', () => {
  const { path, tmpFolder } = freshPath();
  const database = openDatabase(path, tmpFolder);
  const plan = database
    .prepare('EXPLAIN QUERY PLAN SELECT rowid FROM items WHERE expires_at < ? ORDER BY expires_at LIMIT ?')
    .all(1, 2)
    .map(({ detail }) => detail);
  expect(plan).toEqual([expect.stringMatching(/^SEARCH items USING .*INDEX items_by_expiry \(expires_at<\?\)$/)]);
  const index = database.prepare("SELECT sql FROM sqlite_schema WHERE name = 'items_by_expiry'").get();
  expect(index?.sql).toContain('WHERE expires_at IS NOT NULL');
  database.close();
});

it('a new database is synced before it gets its name', () => {
  const { path, tmpFolder } = freshPath();
  closed.length = 0;
  openDatabase(path, tmpFolder).close();
  const prepared = closed.filter((connection) => connection.path.startsWith(tmpFolder));
  expect(prepared).toMatchObject([{ synchronous: 2, fullFsync: true }]);
});

it('the database of an open item store has these settings in its own thread', async () => {
  const options = freshPath();
  for (let time = 0; time < 2; time++) {
    const items = await SqliteItemStore.open(options);
    expect(items.durability).toEqual(DURABLE);
    await items.put({ pk: 'p', sk: 's' }, { n: 1 });
    await items.close();
  }
});

it('a foreign database is refused also where its header could not be read before the lock', () => {
  const { path, tmpFolder } = freshPath();
  const foreign = new DatabaseSync(path);
  foreign.exec('CREATE TABLE items (a)');
  foreign.close();
  unreadable.now = true;
  try {
    expect(() => openDatabase(path, tmpFolder)).toThrow('not one that Tailrace made');
  } finally {
    unreadable.now = false;
  }
});
