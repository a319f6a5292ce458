import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemoryObjectStore } from '../../../shared/storage/memory/object-store.ts';
import type { ListOptions, ObjectPage, ObjectStore } from '../../../shared/storage/ports.ts';
import { RoutedObjectStore } from '../../../shared/storage/routed-objects.ts';

const ALL = { start: 0, end: 100 };

function make(): { hot: MemoryObjectStore; others: MemoryObjectStore; store: RoutedObjectStore } {
  const hot = new MemoryObjectStore();
  const others = new MemoryObjectStore();
  return { hot, others, store: new RoutedObjectStore({ prefix: 'hot/', routed: hot, others }) };
}

/** A store whose pages may be shorter than their limit, as the port allows. */
class ShortPages extends MemoryObjectStore {
  readonly #keysMax: number;

  constructor(keysMax: number) {
    super();
    this.#keysMax = keysMax;
  }

  override list(prefix: string, options: ListOptions): Promise<ObjectPage> {
    return super.list(prefix, { ...options, limit: Math.min(options.limit, this.#keysMax) });
  }
}

async function listAll(store: ObjectStore, prefix: string, limit: number): Promise<string[]> {
  const keys: string[] = [];
  for (let pages = 0; ; pages++) {
    expect(pages, 'pages').toBeLessThan(50);
    const after = keys.at(-1);
    const page: ObjectPage = await store.list(prefix, { limit, ...(after === undefined ? {} : { after }) });
    expect(page.keys.length).toBeLessThanOrEqual(limit);
    keys.push(...page.keys);
    if (!page.more) return keys;
    expect(page.keys.length).toBeGreaterThan(0);
  }
}

describe('RoutedObjectStore', () => {
  it('keeps an object where its key says, and nowhere else', async () => {
    const { hot, others, store } = make();
    const content = [new Uint8Array([1, 2, 3])];
    for (const key of ['hot/1/a', 'hot/b', 'hotter/a', 'hot', 'segments/hot/a', 'a']) await store.put(key, content);
    expect(await listAll(hot, '', 100)).toEqual(['hot/1/a', 'hot/b']);
    expect(await listAll(others, '', 100)).toEqual(['a', 'hot', 'hotter/a', 'segments/hot/a']);
    for (const key of ['hot/1/a', 'a']) expect(await store.get(key, ALL)).toEqual(content[0]);
    await store.delete('hot/b');
    await store.delete('a');
    expect(await listAll(store, '', 100)).toEqual(['hot', 'hot/1/a', 'hotter/a', 'segments/hot/a']);
  });

  it('lists both stores as one, in order and page by page', async () => {
    const key = fc.constantFrom(
      'hot/1/a',
      'hot/1/b',
      'hot/2',
      'hot-1',
      'hot.a',
      'hot0',
      'a',
      'h',
      'hot',
      'segments/1',
      'z',
    );
    const prefix = fc.constantFrom('', 'h', 'hot', 'hot/', 'hot/1', 'hot/1/', 'hot-', 'seg', 'x');
    const limits = fc.integer({ min: 1, max: 12 });
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(key), prefix, limits, limits, async (keys, start, limit, pageKeysMax) => {
        const store = new RoutedObjectStore({
          prefix: 'hot/',
          routed: new ShortPages(pageKeysMax),
          others: new ShortPages(12),
        });
        const one = new MemoryObjectStore();
        for (const each of keys) await Promise.all([store.put(each, []), one.put(each, [])]);
        expect(await listAll(store, start, limit)).toEqual(await listAll(one, start, limit));
      }),
      { numRuns: 300 },
    );
  });

  it('makes an object of objects of the same store, and of no others', async () => {
    const { hot, others, store } = make();
    for (const key of ['hot/a', 'segments/a']) await store.put(key, [new Uint8Array([1, 2, 3])]);
    const source = (key: string) => ({ key, range: { start: 1, end: 3 } });
    for (const [key, sources] of [
      ['segments/b', ['hot/a']],
      ['segments/b', ['segments/a', 'hot/a']],
      ['hot/b', ['segments/a']],
      ['hot/b', ['hot/a', 'segments/a']],
    ] as const) {
      await expect(store.concat(key, sources.map(source), [])).rejects.toMatchObject({
        code: 'invalid_request',
        outcome: 'not_applied',
        details: { field: 'sources' },
      });
    }
    expect([...(await listAll(hot, '', 9)), ...(await listAll(others, '', 9))]).toEqual(['hot/a', 'segments/a']);
    for (const folder of ['hot', 'segments']) {
      expect(await store.concat(`${folder}/b`, [source(`${folder}/a`)], [])).toMatchObject({ result: 'created' });
      expect(await store.get(`${folder}/b`, ALL)).toEqual(new Uint8Array([2, 3]));
    }
  });
});
