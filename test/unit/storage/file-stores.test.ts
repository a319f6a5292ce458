import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import * as nodeFileSystem from 'node:fs/promises';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { describe, expect, it, vi } from 'vitest';
import { type DataFolder, openDataFolder } from '../../../shared/storage/file/data-folder.ts';
import type { FileSystem } from '../../../shared/storage/file/file-system.ts';
import { FolderSyncs } from '../../../shared/storage/file/folder-syncs.ts';
import { FileObjectStore } from '../../../shared/storage/file/object-store.ts';
import { EXPIRES_AT } from '../../../shared/storage/key-parts.ts';
import { temporaryPath } from './child/support.ts';

describe('SqliteItemStore', () => {
  it('lets operations that wait together share a sync', async () => {
    const { items, close } = await openDataFolder(temporaryPath());
    const before = items.syncs;
    await Promise.all(
      Array.from({ length: 2_000 }, () => items.update({ pk: 'p', sk: 's' }, [{ do: 'add', name: 'n', by: 1 }])),
    );
    expect(items.syncs - before).toBeGreaterThanOrEqual(2);
    expect(items.syncs - before).toBeLessThan(40);
    const alone = items.syncs;
    for (let i = 0; i < 5; i++) await items.put({ pk: 'p', sk: 's' }, {});
    expect(items.syncs - alone).toBe(5);
    await items.get({ pk: 'p', sk: 's' });
    await items.put({ pk: 'p', sk: 's' }, {}, [{ if: 'item_absent' }]);
    expect(items.syncs - alone).toBe(5);
    await close();
  });

  it('lets operations of several turns share the sync after the one that is running', async () => {
    const { items, close } = await openDataFolder(temporaryPath());
    const large = Array.from({ length: 40 }, (_, i) => {
      return items.put({ pk: 'p', sk: `large-${i}` }, { data: new Uint8Array(380_000) });
    });
    const small: Promise<unknown>[] = [];
    for (let i = 0; i < 100; i++) {
      await new Promise((resolve) => setImmediate(resolve));
      small.push(items.update({ pk: 'p', sk: 'small' }, [{ do: 'add', name: 'n', by: 1 }]));
    }
    await Promise.all([...large, ...small]);
    expect(items.syncs).toBeLessThan(50);
    await close();
  });

  it('bounds what one transaction holds, by its bytes too', async () => {
    const { items, close } = await openDataFolder(temporaryPath());
    const before = items.syncs;
    const large = Array.from({ length: 100 }, (_, i) => {
      return items.put({ pk: 'p', sk: `large-${i}` }, { data: new Uint8Array(390_000) });
    });
    await Promise.all(large);
    expect(items.syncs - before).toBeGreaterThanOrEqual(2);
    await close();
  });

  it('answers what was asked in the turn in which it is closed', async () => {
    const { items, close } = await openDataFolder(temporaryPath());
    // While the thread is busy, what follows and the close come to it together.
    const busy = Array.from({ length: 30 }, (_, i) => {
      return items.put({ pk: 'p', sk: `large-${i}` }, { data: new Uint8Array(390_000) });
    });
    await new Promise((resolve) => setImmediate(resolve));
    const writes = Array.from({ length: 5 }, (_, i) => items.put({ pk: 'p', sk: `sk-${i}` }, { i }));
    const read = items.get({ pk: 'p', sk: 'sk-3' });
    const closed = items.close();
    for (const write of writes) expect(await write).toMatchObject({ ok: true });
    expect((await read).attributes).toEqual({ i: 3 });
    await Promise.all([...busy, closed]);
    await close();
  });

  it('goes on after a statement that failed', async () => {
    const path = temporaryPath();
    const marker = new Uint8Array(200).fill(0xab);
    const first = await openDataFolder(path);
    await Promise.all(
      Array.from({ length: 500 }, (_, i) => {
        const data = i === 250 ? marker : new Uint8Array(200);
        return first.items.put({ pk: 'p', sk: `sk-${i}` }, { data });
      }),
    );
    await first.close();
    spoilPageOf(path, marker);

    const { items, close } = await openDataFolder(path);
    const [spoilt, neighbour, read] = await Promise.allSettled([
      items.update({ pk: 'p', sk: 'sk-250' }, [{ do: 'add', name: 'n', by: 1 }]),
      items.put({ pk: 'p', sk: 'new' }, { n: 1 }),
      items.get({ pk: 'p', sk: 'sk-499' }),
    ]);
    const failed = { status: 'rejected', reason: { code: 'corrupt_data', outcome: 'not_applied' } };
    expect(spoilt).toMatchObject(failed);
    expect(neighbour).toMatchObject(failed);
    expect(read).toMatchObject({ status: 'fulfilled', value: { attributes: { data: new Uint8Array(200) } } });
    expect((await items.get({ pk: 'p', sk: 'new' })).attributes).toBeUndefined();
    expect(await items.put({ pk: 'p', sk: 'new' }, { n: 2 })).toMatchObject({ ok: true });
    await expect(items.get({ pk: 'p', sk: 'sk-250' })).rejects.toMatchObject({ code: 'corrupt_data' });
    expect((await items.get({ pk: 'p', sk: 'new' })).attributes).toEqual({ n: 2 });
    await close();
  });

  it('answers a read after the write that it has seen', async () => {
    const { items, close } = await openDataFolder(temporaryPath());
    const order: string[] = [];
    const write = items.put({ pk: 'p', sk: 's' }, { n: 1 }).then(() => order.push('write'));
    const read = items.get({ pk: 'p', sk: 's' }).then(({ attributes }) => order.push(`read ${attributes?.n}`));
    const page = items.query({ pk: 'p', limit: 1 }).then(({ items: found }) => order.push(`query ${found.length}`));
    await Promise.all([write, read, page]);
    expect(order).toEqual(['write', 'read 1', 'query 1']);
    await close();
  });

  it('fails what waits, and all that follows, when its thread ends', async () => {
    const terminate = vi.spyOn(Worker.prototype, 'unref');
    const { items, close } = await openDataFolder(temporaryPath());
    const worker = terminate.mock.contexts[0] as Worker;
    terminate.mockRestore();
    const key = { pk: 'p', sk: 's' };
    const write = items.put(key, {});
    const read = items.get(key);
    await worker.terminate();
    await expect(write).rejects.toMatchObject({ code: 'storage_unavailable', outcome: 'unknown' });
    await expect(read).rejects.toMatchObject({ code: 'storage_unavailable', outcome: 'not_applied' });
    await expect(items.put(key, {})).rejects.toMatchObject({ code: 'storage_unavailable', outcome: 'not_applied' });
    await close();
  });

  it('removes expired items in a transaction of its own, and syncs only for a change', async () => {
    const { items, close } = await openDataFolder(temporaryPath());
    await items.put({ pk: 'p', sk: 's' }, { [EXPIRES_AT]: 1 });
    const before = items.syncs;
    await items.removeExpired(1_000, 10);
    expect(items.syncs - before).toBe(0);
    await Promise.all([items.removeExpired(2_000, 10), items.put({ pk: 'p', sk: 'other' }, {})]);
    expect(items.syncs - before).toBe(2);
    await items.removeExpired(2_000, 10);
    expect(items.syncs - before).toBe(2);
    await close();
  });

  it('removes fewer items in a step if they are large', async () => {
    const { items, close } = await openDataFolder(temporaryPath());
    const sizes = [390_000, 390_000, 390_000, 390_000, 10];
    for (const [i, size] of sizes.entries())
      await items.put({ pk: 'p', sk: `${i}` }, { [EXPIRES_AT]: i, data: new Uint8Array(size) });
    expect(await items.removeExpired(10_000, 1_000)).toEqual({ removed: 2, more: true });
    expect(await items.removeExpired(10_000, 1_000)).toEqual({ removed: 3, more: false });
    await close();
  });

  it('fails no append when an expired item can not be removed', async () => {
    const path = temporaryPath();
    const marker = new Uint8Array(200).fill(0xab);
    const first = await openDataFolder(path);
    for (let i = 0; i < 200; i++) {
      const data = i === 100 ? marker : new Uint8Array(200);
      await first.items.put({ pk: 'p', sk: `sk-${i}` }, { data, ...(i === 100 ? { [EXPIRES_AT]: 1 } : {}) });
    }
    await first.close();
    spoilPageOf(path, marker);

    const { items, close } = await openDataFolder(path);
    const [before, removal, after] = await Promise.allSettled([
      items.put({ pk: 'q', sk: 'before' }, { n: 1 }),
      items.removeExpired(2_000, 10),
      items.put({ pk: 'q', sk: 'after' }, { n: 1 }),
    ]);
    expect(removal).toMatchObject({ status: 'rejected', reason: { code: 'corrupt_data', outcome: 'not_applied' } });
    for (const each of [before, after]) expect(each).toMatchObject({ status: 'fulfilled', value: { ok: true } });
    await close();
  });

  it('refuses what it can not decode, and only that', async () => {
    const path = temporaryPath();
    const first = await openDataFolder(path);
    await first.items.put({ pk: 'p', sk: 'good' }, { n: 1 });
    await first.items.put({ pk: 'p', sk: 'bad' }, { n: 1 });
    await first.close();
    const { DatabaseSync } = await import('node:sqlite');
    const database = new DatabaseSync(join(path, 'items.sqlite'));
    database.exec("UPDATE items SET attributes = x'ff00' WHERE sk = 'bad'");
    database.close();
    const { items, close } = await openDataFolder(path);
    const [good, bad, change] = await Promise.allSettled([
      items.update({ pk: 'p', sk: 'good' }, [{ do: 'add', name: 'n', by: 1 }]),
      items.get({ pk: 'p', sk: 'bad' }),
      items.update({ pk: 'p', sk: 'bad' }, [{ do: 'add', name: 'n', by: 1 }]),
    ]);
    expect(good).toMatchObject({ status: 'fulfilled', value: { attributes: { n: 2 } } });
    expect(bad).toMatchObject({ status: 'rejected', reason: { code: 'corrupt_data', outcome: 'not_applied' } });
    expect(change).toMatchObject({ status: 'rejected', reason: { code: 'corrupt_data', outcome: 'not_applied' } });
    await close();
  });
});

describe('FolderSyncs', () => {
  it('gives those who come during a sync the next one, all the same', async () => {
    const syncs = new FolderSyncs(nodeFileSystem);
    const path = temporaryPath();
    await Promise.all([syncs.sync(path), syncs.sync(path), syncs.sync(path)]);
    expect(syncs.count).toBe(2);
    await syncs.sync(path);
    expect(syncs.count).toBe(3);
  });

  it('goes on after a sync that failed', async () => {
    const syncs = new FolderSyncs(nodeFileSystem);
    const path = join(temporaryPath(), 'later');
    const results = await Promise.allSettled([syncs.sync(path), syncs.sync(path)]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    mkdirSync(path);
    await syncs.sync(path);
  });
});

describe('FileObjectStore', () => {
  it('lets puts into one folder share its syncs', async () => {
    await inFolder(async ({ objects }) => {
      await objects.put('hot/1/first', []);
      const before = objects.syncs;
      await Promise.all(Array.from({ length: 200 }, (_, i) => objects.put(`hot/1/${i}`, [new Uint8Array(100)])));
      expect(objects.syncs - before).toBeLessThan(100);
    });
  });

  it('syncs a new folder and all above it, once', async () => {
    await inFolder(async ({ objects }) => {
      const before = objects.syncs;
      await objects.put('segments/t/0/first', []);
      // segments, t, 0 and the objects folder that names the first of them.
      expect(objects.syncs - before).toBe(4);
      await objects.put('segments/t/0/second', []);
      expect(objects.syncs - before).toBe(5);
    });
  });

  it('syncs the folder also where the object exists, since its put may not have', async () => {
    await inFolder(async ({ objects }) => {
      await objects.put('hot/1/a', []);
      const before = objects.syncs;
      expect(await objects.put('hot/1/a', [])).toBe('exists');
      expect(objects.syncs - before).toBe(1);
    });
  });

  it('leaves nothing in tmp, whatever the outcome', async () => {
    await inFolder(async ({ objects }, path) => {
      await objects.put('a', [new Uint8Array(10)]);
      await objects.put('a', [new Uint8Array(10)]);
      // A key below an object can't be stored here: the object is no folder.
      await expect(objects.put('a/b', [new Uint8Array(10)])).rejects.toMatchObject({
        code: 'storage_unavailable',
        outcome: 'not_applied',
      });
      expect(await objects.get('a/b', { start: 0, end: 1 })).toBeUndefined();
      expect(readdirSync(join(path, 'tmp'))).toEqual([]);
    });
  });

  it('makes a folder again that was removed under it', async () => {
    await inFolder(async ({ objects }, path) => {
      await objects.put('hot/1/a', []);
      rmSync(join(path, 'objects', 'hot'), { recursive: true });
      await expect(objects.put('hot/1/b', [])).rejects.toMatchObject({ outcome: 'not_applied' });
      expect(await objects.put('hot/1/b', [])).toBe('created');
    });
  });

  it('holds no more files open than it has slots for, however much is asked at once', async () => {
    let open = 0;
    let most = 0;
    const counting: FileSystem = {
      ...nodeFileSystem,
      open: async (path, flags, mode) => {
        const file = await nodeFileSystem.open(path, flags, mode);
        most = Math.max(most, ++open);
        return {
          writev: (chunks) => file.writev(chunks),
          read: (...args) => file.read(...args),
          stat: () => file.stat(),
          datasync: () => file.datasync(),
          sync: () => file.sync(),
          close: () => file.close().finally(() => open--),
        };
      },
    };
    const objects = await FileObjectStore.open({ folder: temporaryPath(), fileSystem: counting });
    await Promise.all(Array.from({ length: 500 }, (_, i) => objects.put(`a/${i}`, [new Uint8Array(10)])));
    await Promise.all(Array.from({ length: 500 }, (_, i) => objects.get(`a/${i}`, { start: 0, end: 10 })));
    await objects.close();
    expect(most).toBeGreaterThan(8);
    // A put has its file open or its folder, and the folders above are few.
    expect(most).toBeLessThanOrEqual(70);
    expect(open).toBe(0);
  });

  it('remembers the last of many folders as synced, and not all of them', async () => {
    const file = {
      writev: async () => ({ bytesWritten: 1 }),
      read: async () => ({ bytesRead: 0 }),
      stat: async () => ({ size: 0 }),
      datasync: async () => {},
      sync: async () => {},
      close: async () => {},
    };
    const instant: FileSystem = {
      open: async () => file,
      link: async () => {},
      rename: async () => {},
      mkdir: async () => undefined,
      readdir: async () => [],
      readFile: async () => new Uint8Array(0),
      rm: async () => {},
      stat: async () => ({ isDirectory: () => true }),
    };
    const objects = await FileObjectStore.open({ folder: '/data', fileSystem: instant });
    for (let i = 0; i <= 10_000; i++) await objects.put(`hot/${i}/a`, []);
    const syncsOf = async (key: string): Promise<number> => {
      const before = objects.syncs;
      await objects.put(key, []);
      return objects.syncs - before;
    };
    expect(await syncsOf('hot/10000/b')).toBe(1);
    // Its own folder, and again the two above.
    expect(await syncsOf('hot/0/b')).toBe(3);
  });

  describe('that writes some objects slowly', () => {
    const PIECE = 256 * 1024;
    const content = Uint8Array.from({ length: 3 * PIECE + 1 }, (_, i) => i * 31);
    /** What a store did: `w` a write, `s` a sync of a file, `r` a rest. */
    async function slowStore(hurry = new AbortController().signal, onSync = async () => {}) {
      const steps: string[] = [];
      const rests = { now: 0, most: 0 };
      const fileSystem: FileSystem = {
        ...nodeFileSystem,
        open: async (path, flags, mode) => {
          const file = await nodeFileSystem.open(path, flags, mode);
          return {
            writev: (chunks) => {
              steps.push('w');
              return file.writev(chunks);
            },
            read: (...args) => file.read(...args),
            stat: () => file.stat(),
            datasync: async () => {
              steps.push('s');
              await onSync();
              return file.datasync();
            },
            sync: () => file.sync(),
            close: () => file.close(),
          };
        },
      };
      let nowMs = 0;
      const clock = {
        nowMs: () => (nowMs += 2),
        sleep: async (ms: number) => {
          steps.push(`r${ms}`);
          rests.most = Math.max(rests.most, ++rests.now);
          await new Promise((done) => setTimeout(done, 5));
          rests.now--;
        },
      };
      const slowly = { prefix: 'segments/', clock, hurry };
      const objects = await FileObjectStore.open({ folder: temporaryPath(), fileSystem, slowly });
      return { objects, steps, rests };
    }

    it('syncs a large one piece by piece, with rests, and a small one once', async () => {
      const { objects, steps } = await slowStore();
      await objects.put('segments/a', [content.subarray(0, 10), content.subarray(10)]);
      // The clock goes on by 2 ms with each look: each sync takes that long.
      expect(steps.join(' ')).toBe('w s r6 w s r6 w s r6 w s');
      expect(await objects.get('segments/a', { start: 0, end: 1e9 })).toEqual(content);
      steps.length = 0;
      await objects.put('segments/b', [content.subarray(0, PIECE)]);
      expect(steps.join(' ')).toBe('w s');
      steps.length = 0;
      await objects.put('hot/a', [content]);
      expect(steps.join(' ')).toBe('w s');
    });

    it('writes what it joins slowly, and everything fast once it is to hurry', async () => {
      const { objects, steps } = await slowStore();
      await objects.put('hot/a', [content]);
      steps.length = 0;
      const source = { key: 'hot/a', range: { start: 0, end: content.length } };
      await objects.concat('segments/a', [source, source], [new Uint8Array(1)]);
      expect(steps.filter((step) => step === 'r6')).toHaveLength(6);
      const whole = (await objects.get('segments/a', { start: 0, end: 1e9 })) as Uint8Array;
      expect(Buffer.concat([content, content, new Uint8Array(1)]).equals(whole)).toBe(true);
      const hurried = await slowStore(AbortSignal.abort());
      await hurried.objects.put('segments/a', [content]);
      expect(hurried.steps.join(' ')).toBe('w w w w s');
    });

    it('lets several of them take turns, also after one has failed', async () => {
      let failures = 1;
      const { objects, rests } = await slowStore(undefined, async () => {
        if (failures-- > 0) throw Object.assign(new Error('EIO'), { code: 'EIO' });
      });
      const puts = ['a', 'b', 'c', 'd'].map((name) => objects.put(`segments/${name}`, [content]));
      const settled = await Promise.allSettled(puts);
      expect(settled.filter(({ status }) => status === 'rejected')).toHaveLength(1);
      expect(rests).toEqual({ now: 0, most: 1 });
    });
  });

  it('answers undefined for the name of a folder', async () => {
    await inFolder(async ({ objects }, path) => {
      mkdirSync(join(path, 'objects', 'hot'));
      expect(await objects.get('hot', { start: 0, end: 1 })).toBeUndefined();
    });
  });

  it('reads what was put there by other means', async () => {
    await inFolder(async ({ objects }, path) => {
      writeFileSync(join(path, 'objects', 'restored'), 'content');
      expect(await objects.put('restored', [])).toBe('exists');
      expect(await objects.get('restored', { start: 3, end: 5 })).toEqual(new Uint8Array(Buffer.from('te')));
    });
  });
});

/** Spoils the page of the database that holds the marked item. */
function spoilPageOf(path: string, marker: Uint8Array): void {
  const database = readFileSync(join(path, 'items.sqlite'));
  const page = Math.floor(database.indexOf(marker) / 8_192) * 8_192;
  database.fill(0xff, page, page + 8_192);
  writeFileSync(join(path, 'items.sqlite'), database);
}

async function inFolder(run: (folder: DataFolder, path: string) => Promise<void>): Promise<void> {
  const path = temporaryPath();
  const folder = await openDataFolder(path);
  try {
    await run(folder, path);
  } finally {
    await folder.close();
  }
}
