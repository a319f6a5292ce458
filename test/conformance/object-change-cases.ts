import { expect } from 'vitest';
import type { ByteRange, ObjectSource, ObjectStore } from '../../shared/storage/ports.ts';
import { type Case, patternBytes } from './suite.ts';

const MIB = 1024 * 1024;
const REFUSED = { code: 'invalid_request', outcome: 'not_applied' };

/** Removing objects, and listing those that are there. */
export function objectListCases(test: Case<ObjectStore>): void {
  test('removes an object, and another may take its place', async (store, key) => {
    await store.put(key, [patternBytes(10, 1)]);
    await store.delete(key);
    expect(await store.get(key, { start: 0, end: 10 })).toBeUndefined();
    expect(await store.put(key, [patternBytes(20, 2)])).toBe('created');
    expect(await store.get(key, { start: 0, end: 100 })).toEqual(patternBytes(20, 2));
  });

  test('removes what is not there', async (store, key) => {
    await store.delete(key);
    await store.delete(`${key}/deeper/still`);
    await store.put(`${key}/a`, [patternBytes(10)]);
    await store.delete(`${key}/a`);
    await store.delete(`${key}/a`);
    expect(await store.list(`${key}/`, { limit: 10 })).toEqual({ keys: [], more: false });
  });

  test('removes no object but the one that is named', async (store, key) => {
    const keys = [`${key}/a`, `${key}/ab`, `${key}/b/a`];
    for (const each of keys) await store.put(each, [patternBytes(10)]);
    await store.delete(`${key}/a`);
    // A folder where objects are files, and the beginning of keys elsewhere: no object.
    await store.delete(`${key}/b`);
    expect(await store.list(`${key}/`, { limit: 10 })).toEqual({ keys: keys.slice(1), more: false });
  });

  test('lists keys by their bytes, below the prefix and after a key', async (store, key) => {
    // In order: '-' and '.' come before '/', digits and letters after it.
    const names = ['a', 'a-b', 'a.b/c', 'a0/a', 'a0/b', 'aB', 'a_', 'ab', 'ab-/d', 'b/0', 'b/1'];
    const keys = names.map((name) => `${key}/${name}`);
    for (const each of [...keys].reverse()) await store.put(each, [patternBytes(1)]);
    await store.put(`${key}x`, [patternBytes(1)]);
    const listed = async (prefix: string, after?: string): Promise<readonly string[]> => {
      const more = after === undefined ? {} : { after: `${key}/${after}` };
      return (await store.list(`${key}/${prefix}`, { limit: 100, ...more })).keys;
    };
    expect(await listed('')).toEqual(keys);
    expect((await store.list(key, { limit: 100 })).keys).toEqual([...keys, `${key}x`]);
    for (const prefix of [
      'a',
      'a0',
      'a0/',
      'a0/a',
      'a.',
      'ab',
      'b',
      'b/',
      'b/1',
      'b/1x',
      'c',
      'c/d',
      'b/1/x',
      'a0/a/',
    ]) {
      const below = keys.filter((each) => each.startsWith(`${key}/${prefix}`));
      expect(await listed(prefix), prefix).toEqual(below);
      for (const after of ['a', 'a.b', 'a.b/c', 'a0', 'a0/a', 'aA', 'ab', 'b', 'b/0', 'b/1', 'zz']) {
        const rest = below.filter((each) => each > `${key}/${after}`);
        expect(await listed(prefix, after), `${prefix} after ${after}`).toEqual(rest);
      }
    }
  });

  test('lists a folder whose name begins the name of another after it', async (store, key) => {
    const keys = ['a-b', 'a.b', 'a/c', 'a0'].map((name) => `${key}/${name}`);
    for (const each of keys) await store.put(each, [patternBytes(1)]);
    expect(await store.list(`${key}/`, { limit: 4 })).toEqual({ keys, more: false });
    expect(await store.list(`${key}/a`, { after: `${key}/a-b`, limit: 2 })).toEqual({
      keys: keys.slice(1, 3),
      more: true,
    });
  });

  test('lists page by page', async (store, key) => {
    const keys = Array.from({ length: 25 }, (_, i) => `${key}/${i % 3}/${String(i).padStart(2, '0')}`);
    await Promise.all(keys.map((each) => store.put(each, [])));
    for (const limit of [1, 7, 24, 25, 26, 1_000]) {
      const found: string[] = [];
      for (let more = true, pages = 0; more; pages++) {
        const after = found.at(-1);
        const page = await store.list(`${key}/`, { limit, ...(after === undefined ? {} : { after }) });
        expect(page.keys.length).toBeLessThanOrEqual(limit);
        expect(page.keys.length).toBeGreaterThan(0);
        expect(pages).toBeLessThan(26);
        found.push(...page.keys);
        more = page.more;
      }
      expect(found).toEqual([...keys].sort());
    }
  });

  test('refuses lists and removals that are none', async (store, key) => {
    for (const limit of [0, -1, 1.5, 1_001, Number.NaN]) {
      await expect(store.list(key, { limit })).rejects.toMatchObject(REFUSED);
    }
    for (const prefix of ['/', '/a', 'a//', 'a b', 'ä', '../a']) {
      await expect(store.list(prefix, { limit: 1 }), prefix).rejects.toMatchObject(REFUSED);
    }
    await expect(store.list(key, { after: 'a//b', limit: 1 })).rejects.toMatchObject(REFUSED);
    for (const bad of ['', '/a', '../a']) await expect(store.delete(bad), bad).rejects.toMatchObject(REFUSED);
  });
}

/** Making objects of ranges of others. */
export function objectConcatCases(test: Case<ObjectStore>): void {
  test('makes an object of ranges of others and an end', async (store, key) => {
    const objects = await putAll(store, key, [100, 5_000, 1]);
    const sources = [objects[1]!.range(0, 5_000), objects[0]!.range(10, 11), objects[2]!.range(0, 1)];
    const again = objects[1]!.range(4_000, 4_500);
    const end = [patternBytes(7, 8), new Uint8Array(0), patternBytes(1, 9)];
    const answer = await store.concat(`${key}/made`, [...sources, again], end);
    expect(answer).toEqual({ result: 'created', puts: 1, gets: 4, bytesRead: 5_502, bytesWritten: 5_510 });
    await expectContent(store, `${key}/made`, [...sources, again], end);
  });

  test('makes an object of an end alone, and of nothing', async (store, key) => {
    expect(await store.concat(`${key}/a`, [], [patternBytes(3)])).toMatchObject({ result: 'created', gets: 0 });
    expect(await store.concat(`${key}/b`, [], [])).toMatchObject({ result: 'created', bytesWritten: 0 });
    expect(await store.get(`${key}/a`, { start: 0, end: 9 })).toEqual(patternBytes(3));
    expect(await store.get(`${key}/b`, { start: 0, end: 9 })).toEqual(new Uint8Array(0));
  });

  test('makes large objects, whatever the sizes of their parts', async (store, key) => {
    const [small, five, large] = (await putAll(store, key, [MIB, 5 * MIB, 13 * MIB])) as [Put, Put, Put];
    const end = [patternBytes(10, 3)];
    const cases: readonly (readonly ObjectSource[])[] = [
      [large.range(1, 12 * MIB)],
      [five.range(0, 5 * MIB), small.range(0, MIB)],
      // A small one before a large one, and one that has just too little left after it gives.
      [small.range(0, MIB), large.range(0, 13 * MIB), small.range(5, 9), large.range(0, 9 * MIB)],
      [small.range(0, MIB), five.range(0, 5 * MIB - 1), small.range(1, 2), five.range(1, 5 * MIB)],
      Array.from({ length: 6 }, () => small.range(0, MIB)),
    ];
    for (const [i, sources] of cases.entries()) {
      for (const tail of i === 0 ? [end, []] : [end]) {
        const made = `${key}/made-${i}-${tail.length}`;
        expect(await store.concat(made, sources, tail)).toMatchObject({ result: 'created' });
        await expectContent(store, made, sources, tail);
      }
    }
  });

  test('changes nothing where there is an object', async (store, key) => {
    const [large] = (await putAll(store, key, [6 * MIB])) as [Put];
    await store.put(`${key}/taken`, [patternBytes(10, 9)]);
    for (const end of [10, 6 * MIB]) {
      const sources = [large.range(0, end)];
      expect(await store.concat(`${key}/taken`, sources, [])).toMatchObject({ result: 'exists' });
    }
    expect(await store.get(`${key}/taken`, { start: 0, end: 100 })).toEqual(patternBytes(10, 9));
    expect((await store.list(`${key}/`, { limit: 9 })).keys).toEqual([large.key, `${key}/taken`]);
  });

  test('lets one of several racing concats and puts win, whole', async (store, key) => {
    const objects = await putAll(store, key, [1_000, 2_000, 3_000]);
    const made = `${key}/made`;
    const results = await Promise.all([
      ...objects.map(async ({ range, size }) => (await store.concat(made, [range(0, size)], [])).result),
      store.put(made, [patternBytes(10, 9)]),
    ]);
    expect(results.filter((result) => result === 'created')).toHaveLength(1);
    const winner = objects[results.indexOf('created')];
    const content = await store.get(made, { start: 0, end: 9_000 });
    expect(content).toEqual(winner === undefined ? patternBytes(10, 9) : winner.content);
  });

  test('makes nothing where a source is missing or too short', async (store, key) => {
    const [small, large] = (await putAll(store, key, [100, 6 * MIB])) as [Put, Put];
    const missing = { key: `${key}/none`, range: { start: 0, end: 6 * MIB } };
    const cases: readonly (readonly ObjectSource[])[] = [
      [{ ...missing, range: { start: 0, end: 10 } }],
      [small.range(0, 101)],
      [small.range(200, 201)],
      [large.range(0, 6 * MIB), missing],
      [large.range(0, 6 * MIB), { ...missing, range: { start: 0, end: 1 } }],
      [large.range(0, 6 * MIB + 1)],
      [large.range(7 * MIB, 13 * MIB)],
    ];
    for (const [i, sources] of cases.entries()) {
      const refused = { code: 'corrupt_data', outcome: 'not_applied' };
      await expect(store.concat(`${key}/made`, sources, [patternBytes(5)]), `case ${i}`).rejects.toMatchObject(refused);
    }
    expect((await store.list(`${key}/`, { limit: 9 })).keys).toEqual([small.key, large.key]);
    expect(await store.put(`${key}/made`, [])).toBe('created');
  });

  test('refuses sources that are none', async (store, key) => {
    const [object] = (await putAll(store, key, [100])) as [Put];
    for (const source of [
      object.range(10, 10),
      object.range(2, 1),
      object.range(-1, 1),
      { ...object.range(0, 1), key: 'a//b' },
    ]) {
      await expect(store.concat(`${key}/made`, [source], [])).rejects.toMatchObject(REFUSED);
    }
    await expect(store.concat('a//b', [], [])).rejects.toMatchObject(REFUSED);
    expect(await store.get(`${key}/made`, { start: 0, end: 1 })).toBeUndefined();
  });

  test('keeps what it made when its sources are gone', async (store, key) => {
    const [large] = (await putAll(store, key, [6 * MIB])) as [Put];
    await store.concat(`${key}/made`, [large.range(0, 6 * MIB)], []);
    await store.delete(large.key);
    expect(Buffer.compare((await store.get(`${key}/made`, { start: 0, end: 7 * MIB }))!, large.content)).toBe(0);
  });
}

interface Put {
  readonly key: string;
  readonly size: number;
  readonly content: Uint8Array;
  range(start: number, end: number): ObjectSource;
}

async function putAll(store: ObjectStore, key: string, sizes: readonly number[]): Promise<Put[]> {
  const objects: Put[] = [];
  for (const [i, size] of sizes.entries()) {
    const source = `${key}/${i}`;
    const content = patternBytes(size, i);
    await store.put(source, [content]);
    objects.push({ key: source, size, content, range: (start, end) => ({ key: source, range: { start, end } }) });
  }
  return objects;
}

async function expectContent(
  store: ObjectStore,
  key: string,
  sources: readonly ObjectSource[],
  end: readonly Uint8Array[],
): Promise<void> {
  const all: ByteRange = { start: 0, end: Number.MAX_SAFE_INTEGER };
  const chunks: Uint8Array[] = [];
  for (const source of sources) chunks.push((await store.get(source.key, source.range))!);
  const expected = Buffer.concat([...chunks, ...end]);
  const stored = await store.get(key, all);
  expect(stored?.length).toBe(expected.length);
  expect(Buffer.compare(stored!, expected)).toBe(0);
}
