import { expect } from 'vitest';
import type { ObjectStore } from '../../shared/storage/ports.ts';
import { objectConcatCases, objectListCases } from './object-change-cases.ts';
import { type Make, patternBytes, type SuiteOptions, suite } from './suite.ts';

const MIB = 1024 * 1024;

/** The contract of `ObjectStore`, sentence by sentence. */
export function objectStoreSuite(name: string, make: Make<ObjectStore>, options: SuiteOptions = {}): void {
  suite(name, make, options, (test) => {
    test('stores the chunks one after the other', async (store, key) => {
      const chunks = [patternBytes(3, 1), new Uint8Array(0), patternBytes(70_000, 2), patternBytes(1, 3)];
      expect(await store.put(key, chunks)).toBe('created');
      expect(await store.get(key, { start: 0, end: 70_004 })).toEqual(concatenate(chunks));
    });

    test('stores more chunks than one system call takes', async (store, key) => {
      const chunks = Array.from({ length: 2_500 }, (_, i) => patternBytes(1 + (i % 5), i));
      await store.put(key, chunks);
      expect(await store.get(key, { start: 0, end: 100_000 })).toEqual(concatenate(chunks));
    });

    test('answers exists and changes nothing where there is an object', async (store, key) => {
      await store.put(key, [patternBytes(10, 1)]);
      expect(await store.put(key, [patternBytes(20, 2)])).toBe('exists');
      expect(await store.put(key, [patternBytes(10, 1)])).toBe('exists');
      expect(await store.get(key, { start: 0, end: 100 })).toEqual(patternBytes(10, 1));
    });

    test('lets one of 32 racing puts win, whole', async (store, key) => {
      const contents = Array.from({ length: 32 }, (_, i) => patternBytes(5_000 + i, i));
      const results = await Promise.all(contents.map((content) => store.put(key, [content])));
      expect(results.filter((result) => result === 'created')).toHaveLength(1);
      expect(await store.get(key, { start: 0, end: 10_000 })).toEqual(contents[results.indexOf('created')]);
    });

    test('stores an empty object', async (store, key) => {
      expect(await store.put(key, [])).toBe('created');
      expect(await store.put(`${key}-chunk`, [new Uint8Array(0)])).toBe('created');
      expect(await store.get(key, { start: 0, end: 10 })).toEqual(new Uint8Array(0));
      expect(await store.put(key, [patternBytes(1)])).toBe('exists');
    });

    test('answers undefined for what is not there', async (store, key) => {
      expect(await store.get(key, { start: 0, end: 1 })).toBeUndefined();
      expect(await store.get(`${key}/deeper/still`, { start: 0, end: 1 })).toBeUndefined();
    });

    test('answers ranges, half-open, and short past the end', async (store, key) => {
      const content = patternBytes(1_000);
      await store.put(key, [content]);
      const ranges: [start: number, end: number][] = [
        [0, 1],
        [0, 1_000],
        [999, 1_000],
        [250, 750],
        [990, 1_500],
        [0, Number.MAX_SAFE_INTEGER],
        [1_000, 1_001],
        [5_000, 6_000],
        [10, 10],
      ];
      for (const [start, end] of ranges) {
        expect(await store.get(key, { start, end }), `[${start}, ${end})`).toEqual(content.slice(start, end));
      }
    });

    test('refuses ranges that are none', async (store, key) => {
      await store.put(key, [patternBytes(10)]);
      for (const [start, end] of [
        [2, 1],
        [-1, 1],
        [0.5, 1],
        [0, Number.NaN],
      ] as const) {
        await expect(store.get(key, { start, end })).rejects.toMatchObject({ code: 'invalid_request' });
      }
    });

    test('stores 8 MiB', async (store, key) => {
      const content = patternBytes(8 * MIB);
      await store.put(key, [content.subarray(0, 3 * MIB + 1), content.subarray(3 * MIB + 1)]);
      const stored = await store.get(key, { start: 0, end: 8 * MIB });
      expect(Buffer.compare(stored!, content)).toBe(0);
      const middle = await store.get(key, { start: 5 * MIB - 7, end: 5 * MIB + 7 });
      expect(middle).toEqual(content.slice(5 * MIB - 7, 5 * MIB + 7));
    });

    test('keeps keys apart', async (store, key) => {
      const keys = ['a', 'A', 'b/c', 'b/d', 'b.c', 'b-c', 'b_c', '0', '...', 'x'.repeat(200)].map((k) => `${key}/${k}`);
      await Promise.all(keys.map((k, i) => store.put(k, [patternBytes(100, i)])));
      for (const [i, k] of keys.entries()) {
        expect(await store.get(k, { start: 0, end: 100 }), k).toEqual(patternBytes(100, i));
      }
    });

    test('refuses keys that are no plain paths', async (store) => {
      for (const key of [
        '',
        '/a',
        'a/',
        'a//b',
        '.',
        '..',
        'a/../b',
        '../a',
        'a/./b',
        'a b',
        'ä',
        'a\\b',
        'a\0b',
        'a?b',
        'x'.repeat(256),
        `a/${'x'.repeat(256)}/b`,
        `${'a/'.repeat(520)}b`,
      ]) {
        const refused = { code: 'invalid_request', outcome: 'not_applied' };
        await expect(store.put(key, []), key).rejects.toMatchObject(refused);
        await expect(store.get(key, { start: 0, end: 1 }), key).rejects.toMatchObject(refused);
        await expect(store.presign(key, { start: 0, end: 1 }, 0), key).rejects.toMatchObject(refused);
      }
    });

    test('shares no bytes with its callers', async (store, key) => {
      const chunk = patternBytes(100, 7);
      await store.put(key, [chunk]);
      chunk.fill(0);
      const first = await store.get(key, { start: 0, end: 100 });
      expect(first).toEqual(patternBytes(100, 7));
      first!.fill(0);
      expect(await store.get(key, { start: 0, end: 100 })).toEqual(patternBytes(100, 7));
    });

    test('answers plain bytes', async (store, key) => {
      await store.put(key, [Buffer.from('abc')]);
      const bytes = await store.get(key, { start: 0, end: 3 });
      expect(bytes?.constructor).toBe(Uint8Array);
    });

    test('serves many at once', async (store, key) => {
      const keys = Array.from({ length: 200 }, (_, i) => `${key}/${i % 7}/${i}`);
      const results = await Promise.all(keys.map((k, i) => store.put(k, [patternBytes(300, i)])));
      expect(new Set(results)).toEqual(new Set(['created']));
      const stored = await Promise.all(keys.map((k) => store.get(k, { start: 0, end: 300 })));
      for (const [i, bytes] of stored.entries()) expect(bytes).toEqual(patternBytes(300, i));
    });

    test('refuses to presign a range that is empty or none', async (store, key) => {
      await store.put(key, [patternBytes(100)]);
      for (const [start, end] of [
        [10, 10],
        [0, 0],
        [20, 10],
        [-1, 5],
      ] as const) {
        await expect(store.presign(key, { start, end }, Date.now() + 60_000)).rejects.toMatchObject({
          code: 'invalid_request',
        });
      }
    });

    test('presigns a URL of the range', async (store, key) => {
      await store.put(key, [patternBytes(100)]);
      const { url, headers } = await store.presign(key, { start: 10, end: 20 }, Date.now() + 60_000);
      expect(new URL(url).pathname).toContain(key);
      expect(headers).toBeTypeOf('object');
    });

    objectListCases(test);
    objectConcatCases(test);
  });
}

function concatenate(chunks: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(chunks));
}
