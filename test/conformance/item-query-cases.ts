import { expect } from 'vitest';
import type { ItemRange, ItemStore } from '../../shared/storage/ports.ts';
import { type Case, patternBytes } from './suite.ts';

const MAX = Number.MAX_SAFE_INTEGER;

/** The part of the contract of `ItemStore` that is about ranges and their pages. */
export function itemQueryCases(test: Case<ItemStore>): void {
  test('queries ranges in order and in reverse', async (store, pk) => {
    const sks = ['a', 'b', 'ba', 'bb', 'c', 'd'];
    for (const sk of [...sks].reverse()) await store.put({ pk, sk }, { of: sk });
    await store.put({ pk: `${pk}!`, sk: 'b' }, {});
    const cases: [range: Omit<ItemRange, 'pk' | 'limit'>, expected: string[]][] = [
      [{}, sks],
      [{ from: 'b' }, ['b', 'ba', 'bb', 'c', 'd']],
      [{ from: 'b\0' }, ['ba', 'bb', 'c', 'd']],
      [{ to: 'bb' }, ['a', 'b', 'ba']],
      [{ from: 'b', to: 'c' }, ['b', 'ba', 'bb']],
      [{ from: 'b', to: 'b' }, []],
      [{ from: 'c', to: 'b' }, []],
      [{ from: 'e' }, []],
      [{ to: 'a' }, []],
    ];
    for (const [range, expected] of cases) {
      const label = JSON.stringify(range);
      expect(await everySk(store, { pk, limit: 100, ...range }), label).toEqual(expected);
      const reversed = await everySk(store, { pk, limit: 100, ...range, descending: true });
      expect(reversed, label).toEqual([...expected].reverse());
    }
    const page = await store.query({ pk, from: 'b', to: 'bb', limit: 100 });
    expect(page.items).toEqual([
      { sk: 'b', attributes: { of: 'b' } },
      { sk: 'ba', attributes: { of: 'ba' } },
    ]);
  });

  test('takes an empty bound for one below every key', async (store, pk) => {
    await store.put({ pk, sk: 'a' }, {});
    expect((await store.query({ pk, from: '', limit: 10 })).items.map(({ sk }) => sk)).toEqual(['a']);
    expect((await store.query({ pk, from: '', to: 'b', limit: 10 })).items.map(({ sk }) => sk)).toEqual(['a']);
    expect(await store.query({ pk, to: '', limit: 10 })).toMatchObject({ items: [], more: false });
  });

  test('answers an item with every page that says there may be more', async (store, pk) => {
    for (const sk of ['a', 'b', 'c']) await store.put({ pk, sk }, {});
    for (const range of [{ from: 'a', to: 'c', descending: true }, { from: 'b' }, { to: 'c', descending: true }]) {
      const page = await store.query({ pk, limit: 1, ...range });
      expect(
        page.items.map(({ sk }) => sk),
        JSON.stringify(range),
      ).toEqual(['b']);
    }
  });

  test('answers at most limit items and says whether there may be more', async (store, pk) => {
    const sks = Array.from({ length: 25 }, (_, i) => `sk-${String(i).padStart(2, '0')}`);
    await Promise.all(sks.map((sk) => store.put({ pk, sk }, {})));
    const first = await store.query({ pk, limit: 10 });
    expect(first.items.map(({ sk }) => sk)).toEqual(sks.slice(0, 10));
    expect(first.more).toBe(true);
    const all = await store.query({ pk, limit: 26 });
    expect([all.items.length, all.more]).toEqual([25, false]);
    expect(await everySk(store, { pk, limit: 4 })).toEqual(sks);
    expect(await everySk(store, { pk, limit: 4, descending: true })).toEqual([...sks].reverse());
    expect(await everySk(store, { pk, limit: 5 })).toEqual(sks);
    expect((await store.query({ pk, limit: MAX })).items).toHaveLength(25);
  });

  test('ends a page at about 1 MB', async (store, pk) => {
    const sks = Array.from({ length: 9 }, (_, i) => `sk-${i}`);
    for (const [i, sk] of sks.entries()) await store.put({ pk, sk }, { data: patternBytes(300 * 1024, i) });
    const page = await store.query({ pk, limit: 100 });
    expect(page.more).toBe(true);
    expect([3, 4]).toContain(page.items.length);
    expect(page.units).toBeGreaterThanOrEqual(225);
    expect(await everySk(store, { pk, limit: 100 })).toEqual(sks);
    expect(await everySk(store, { pk, limit: 100, descending: true })).toEqual([...sks].reverse());
  });

  test('orders by UTF-8 bytes', async (store, pk) => {
    const sks = ['a', 'z', '\x7f', 'ä', 'é', '\u07ff', '\u0800', '\uff5e', '\ufffd', '😀', '\u{10ffff}'];
    const longer = sks.flatMap((sk) => [sk, `${sk}!`, `${sk}\uff5e`, `${sk}😀`]);
    await Promise.all(longer.map((sk) => store.put({ pk, sk }, {})));
    const expected = longer.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect(await everySk(store, { pk, limit: 100 })).toEqual(expected);
    expect(await everySk(store, { pk, from: '\uff5e', limit: 100 })).toEqual(
      expected.slice(expected.indexOf('\uff5e')),
    );
    expect(await everySk(store, { pk, to: '😀', limit: 100 })).toEqual(expected.slice(0, expected.indexOf('😀')));
    // In UTF-16 this range would be empty.
    expect(await everySk(store, { pk, from: '\uff5e', to: '😀', limit: 100 })).toEqual(
      expected.slice(expected.indexOf('\uff5e'), expected.indexOf('😀')),
    );
  });
}

/** Reads a range to its end, page by page, as a caller does. */
export async function everySk(store: ItemStore, range: ItemRange): Promise<string[]> {
  const sks: string[] = [];
  let rest = range;
  for (;;) {
    const page = await store.query(rest);
    expect(page.items.length).toBeLessThanOrEqual(range.limit);
    sks.push(...page.items.map(({ sk }) => sk));
    if (!page.more) return sks;
    expect(page.items.length).toBeGreaterThan(0);
    const last = sks.at(-1)!;
    rest = range.descending ? { ...rest, to: last } : { ...rest, from: `${last}\0` };
  }
}
