import { expect } from 'vitest';
import type { Attributes, Condition, ItemKey, ItemRange, ItemStore, Update } from '../../shared/storage/ports.ts';
import { type Make, patternBytes, type SuiteOptions, suite } from './suite.ts';

const MAX = Number.MAX_SAFE_INTEGER;
const bytes = (...values: number[]) => new Uint8Array(values);

/** The contract of `ItemStore`, sentence by sentence. */
export function itemStoreSuite(name: string, make: Make<ItemStore>, options: SuiteOptions = {}): void {
  suite(name, make, options, (test) => {
    test('answers undefined for what is not there', async (store, pk) => {
      expect(await store.get({ pk, sk: 'a' })).toEqual({ attributes: undefined, units: 1 });
      expect(await store.query({ pk, limit: 10 })).toEqual({ items: [], more: false, units: 1 });
    });

    test('keeps every kind of value', async (store, pk) => {
      const attributes: Attributes = {
        text: 'a "quoted" ü 😀 \0 \u{10ffff}',
        empty: '',
        zero: 0,
        max: MAX,
        min: -MAX,
        bytes: patternBytes(300),
        noBytes: bytes(),
        list: [bytes(1, 2), bytes(), patternBytes(200, 1)],
        noList: [],
        constructor: 'an attribute like any other',
        'a name: ü 😀 .[0]#': 1,
      };
      await store.put({ pk, sk: 'a' }, attributes);
      expect((await store.get({ pk, sk: 'a' })).attributes).toEqual(attributes);
    });

    test('keeps integers of every length', async (store, pk) => {
      const values: number[] = [];
      for (let power = 0; power < 53; power++) values.push(2 ** power - 1, 2 ** power, -(2 ** power), 1 - 2 ** power);
      const attributes = Object.fromEntries(values.map((value, i) => [`n${i}`, value + 0]));
      await store.put({ pk, sk: 'a' }, attributes);
      expect((await store.get({ pk, sk: 'a' })).attributes).toEqual(attributes);
    });

    test('keeps an item without attributes', async (store, pk) => {
      await store.put({ pk, sk: 'a' }, {});
      expect((await store.get({ pk, sk: 'a' })).attributes).toEqual({});
      await store.update({ pk, sk: 'b' }, []);
      expect((await store.get({ pk, sk: 'b' })).attributes).toEqual({});
    });

    test('keeps keys apart', async (store, pk) => {
      const sks = ['a', 'A', 'ä', 'a\u0308', 'a ', ' a', 'a\0', '😀', '\uff5e', '0', '00'];
      for (const [i, sk] of sks.entries()) await store.put({ pk, sk }, { i });
      await store.put({ pk: `${pk}-other`, sk: 'a' }, { i: 100 });
      for (const [i, sk] of sks.entries()) expect((await store.get({ pk, sk })).attributes, sk).toEqual({ i });
      expect((await store.query({ pk, limit: 100 })).items).toHaveLength(sks.length);
    });

    test('refuses keys, names and values that can not be stored', async (store, pk) => {
      const key = { pk, sk: 'a' };
      const refused = async (write: Promise<unknown>, what: string) =>
        expect(write, what).rejects.toMatchObject({ code: 'invalid_request', outcome: 'not_applied' });
      for (const wrong of ['', '\ud800', 'x'.repeat(1_025)]) {
        await refused(store.put({ pk, sk: wrong }, {}), 'sk');
        await refused(store.get({ pk, sk: wrong }), 'sk');
        await refused(store.delete({ pk, sk: wrong }), 'sk');
      }
      // Sizes are of the bytes in UTF-8.
      await refused(store.put({ pk, sk: 'ä'.repeat(513) }, {}), 'sk');
      await refused(store.put({ pk: 'ä'.repeat(1_025), sk: 'a' }, {}), 'pk');
      for (const bound of ['\ud800', 'ä'.repeat(513)]) {
        await refused(store.query({ pk, from: bound, limit: 1 }), 'from');
        await refused(store.query({ pk, to: bound, limit: 1 }), 'to');
      }
      await refused(store.put({ pk: '', sk: 'a' }, {}), 'pk');
      await refused(store.query({ pk: '', limit: 1 }), 'pk');
      for (const value of [0.5, Number.NaN, MAX + 1, -MAX - 1, Number.POSITIVE_INFINITY, 'x\udc00']) {
        await refused(store.put(key, { value }), String(value));
        await refused(store.update(key, [{ do: 'set', name: 'value', value }]), String(value));
      }
      for (const name of ['', 'pk', 'sk', '\ud800']) {
        await refused(store.put(key, { [name]: 1 }), name);
        await refused(store.update(key, [{ do: 'remove', name }]), name);
        await refused(store.put(key, {}, [{ if: 'absent', name }]), name);
      }
      await refused(store.update(key, [{ do: 'add', name: 'n', by: 0.5 }]), 'add');
      await refused(store.update(key, [{ do: 'remove_first', name: 'l', count: -1 }]), 'remove_first');
      for (const limit of [0, -1, 1.5, Number.NaN]) await refused(store.query({ pk, limit }), `limit ${limit}`);
      expect((await store.get(key)).attributes).toBeUndefined();
    });

    test('replaces the whole item', async (store, pk) => {
      const key = { pk, sk: 'a' };
      await store.put(key, { a: 1, b: 2 });
      expect(await store.put(key, { b: 3 })).toEqual({ ok: true, attributes: { b: 3 }, units: 1 });
      expect((await store.get(key)).attributes).toEqual({ b: 3 });
    });

    test('removes an item, and succeeds where there is none', async (store, pk) => {
      const key = { pk, sk: 'a' };
      await store.put(key, { a: 1 });
      expect(await store.delete(key)).toMatchObject({ ok: true });
      expect((await store.get(key)).attributes).toBeUndefined();
      expect(await store.delete(key)).toMatchObject({ ok: true });
      expect((await store.query({ pk, limit: 1 })).items).toEqual([]);
    });

    const item: Attributes = {
      n: 5,
      negative: -5,
      zero: 0,
      s: 'x',
      one: '1',
      list: [bytes(1), bytes(2, 3)],
      noList: [],
    };
    const conditions: [condition: Condition, onItem: boolean, onNothing: boolean][] = [
      [{ if: 'item_exists' }, true, false],
      [{ if: 'item_absent' }, false, true],
      [{ if: 'equals', name: 'n', value: 5 }, true, false],
      [{ if: 'equals', name: 'n', value: 4 }, false, false],
      [{ if: 'equals', name: 'n', value: 0 }, false, true],
      [{ if: 'equals', name: 'n', value: '5' }, false, false],
      [{ if: 'equals', name: 'zero', value: 0 }, true, true],
      [{ if: 'equals', name: 's', value: 'x' }, true, false],
      [{ if: 'equals', name: 's', value: 'y' }, false, false],
      [{ if: 'equals', name: 's', value: 0 }, false, true],
      [{ if: 'equals', name: 'none', value: 0 }, true, true],
      [{ if: 'equals', name: 'none', value: 1 }, false, false],
      [{ if: 'equals', name: 'none', value: '' }, false, false],
      [{ if: 'equals', name: 'toString', value: 0 }, true, true],
      [{ if: 'absent', name: 'n' }, false, true],
      [{ if: 'absent', name: 'noList' }, false, true],
      [{ if: 'absent', name: 'none' }, true, true],
      [{ if: 'absent', name: 'constructor' }, true, true],
      [{ if: 'at_most', name: 'n', value: 5 }, true, true],
      [{ if: 'at_most', name: 'n', value: 4 }, false, true],
      [{ if: 'at_most', name: 'n', value: -1 }, false, false],
      [{ if: 'at_most', name: 'n', value: MAX }, true, true],
      [{ if: 'at_most', name: 'negative', value: -5 }, true, false],
      [{ if: 'at_most', name: 'one', value: 5 }, false, true],
      [{ if: 'equals', name: 'one', value: 1 }, false, false],
      [{ if: 'at_most', name: 'none', value: 0 }, true, true],
      [{ if: 'at_most', name: 'none', value: -1 }, false, false],
      [{ if: 'lacks', name: 'list', value: bytes(2, 3) }, false, true],
      [{ if: 'lacks', name: 'list', value: bytes(2) }, true, true],
      [{ if: 'lacks', name: 'list', value: bytes(2, 4) }, true, true],
      [{ if: 'lacks', name: 'list', value: bytes() }, true, true],
      [{ if: 'lacks', name: 'noList', value: bytes(1) }, true, true],
      [{ if: 'lacks', name: 'none', value: bytes(1) }, true, true],
      [{ if: 'shorter_than', name: 'list', length: 3 }, true, true],
      [{ if: 'shorter_than', name: 'list', length: 2 }, false, true],
      [{ if: 'shorter_than', name: 'noList', length: 1 }, true, true],
      [{ if: 'shorter_than', name: 'noList', length: 0 }, false, false],
      [{ if: 'shorter_than', name: 'none', length: 1 }, true, true],
      [{ if: 'shorter_than', name: 'none', length: 0 }, false, false],
    ];

    const writes = {
      put: (store: ItemStore, key: ItemKey, given: readonly Condition[]) => store.put(key, { put: 1 }, given),
      update: (store: ItemStore, key: ItemKey, given: readonly Condition[]) =>
        store.update(key, [{ do: 'set', name: 'updated', value: 1 }], given),
      delete: (store: ItemStore, key: ItemKey, given: readonly Condition[]) => store.delete(key, given),
    };
    const outcomes = {
      put: () => ({ put: 1 }),
      update: (before: Attributes | undefined) => ({ ...before, updated: 1 }),
      delete: () => undefined,
    };

    for (const kind of ['put', 'update', 'delete'] as const) {
      test(`${kind} obeys each condition, and answers the item it met`, async (store, pk) => {
        for (const [i, [condition, onItem, onNothing]] of conditions.entries()) {
          const label = JSON.stringify(condition);
          const present = { pk, sk: `present-${i}` };
          await store.put(present, item);
          const met = await writes[kind](store, present, [condition]);
          expect(met.ok, `${label} on an item`).toBe(onItem);
          if (!met.ok) expect(met.attributes, label).toEqual(item);
          const expected = onItem ? outcomes[kind](item) : item;
          expect((await store.get(present)).attributes, label).toEqual(expected);

          if (onNothing === undefined) continue;
          const absent = { pk, sk: `absent-${i}` };
          const missed = await writes[kind](store, absent, [condition]);
          expect(missed.ok, `${label} on nothing`).toBe(onNothing);
          if (!missed.ok) expect(missed.attributes, label).toBeUndefined();
          const created = onNothing ? outcomes[kind](undefined) : undefined;
          expect((await store.get(absent)).attributes, label).toEqual(created);
        }
      });
    }

    test('demands all of several conditions', async (store, pk) => {
      const holding = conditions.filter(([, onItem]) => onItem).map(([condition]) => condition);
      const failing = conditions.filter(([, onItem]) => !onItem).map(([condition]) => condition);
      const key = { pk, sk: 'a' };
      await store.put(key, item);
      expect(await store.update(key, [], holding)).toMatchObject({ ok: true, attributes: item });
      for (const condition of failing) {
        const set: Update = { do: 'set', name: 'n', value: 6 };
        const first = await store.update(key, [set], [condition, ...holding]);
        const last = await store.update(key, [set], [...holding, condition]);
        expect([first.ok, last.ok], JSON.stringify(condition)).toEqual([false, false]);
      }
      expect((await store.get(key)).attributes).toEqual(item);
    });

    const updates: [update: Update, onItem: Attributes, onNothing?: Attributes][] = [
      [{ do: 'set', name: 'n', value: 7 }, { ...item, n: 7 }, { n: 7 }],
      [{ do: 'set', name: 'n', value: 'seven' }, { ...item, n: 'seven' }, { n: 'seven' }],
      [{ do: 'set', name: 'n', value: bytes(7) }, { ...item, n: bytes(7) }, { n: bytes(7) }],
      [{ do: 'set', name: 'list', value: [bytes(7)] }, { ...item, list: [bytes(7)] }, { list: [bytes(7)] }],
      [{ do: 'add', name: 'n', by: 2 }, { ...item, n: 7 }, { n: 2 }],
      [{ do: 'add', name: 'n', by: -7 }, { ...item, n: -2 }, { n: -7 }],
      [{ do: 'add', name: 'n', by: 0 }, item, { n: 0 }],
      [{ do: 'add', name: 'none', by: 2 }, { ...item, none: 2 }, { none: 2 }],
      [{ do: 'add', name: 'n', by: MAX - 5 }, { ...item, n: MAX }, { n: MAX - 5 }],
      [
        { do: 'append', name: 'list', values: [bytes(4), bytes(1)] },
        { ...item, list: [bytes(1), bytes(2, 3), bytes(4), bytes(1)] },
        { list: [bytes(4), bytes(1)] },
      ],
      [{ do: 'append', name: 'none', values: [bytes(4)] }, { ...item, none: [bytes(4)] }, { none: [bytes(4)] }],
      [{ do: 'append', name: 'list', values: [] }, item, { list: [] }],
      [
        { do: 'remove_first', name: 'list', count: 1 },
        { ...item, list: [bytes(2, 3)] },
      ],
      [
        { do: 'remove_first', name: 'list', count: 2 },
        { ...item, list: [] },
      ],
      [
        { do: 'remove_first', name: 'list', count: 8 },
        { ...item, list: [] },
      ],
      [{ do: 'remove_first', name: 'list', count: 0 }, item],
      [{ do: 'remove', name: 'none' }, item, {}],
    ];

    test('applies each update, and answers the item as it is then', async (store, pk) => {
      for (const [i, [update, onItem, onNothing]] of updates.entries()) {
        const label = JSON.stringify(update);
        const present = { pk, sk: `present-${i}` };
        await store.put(present, item);
        expect(await store.update(present, [update]), label).toMatchObject({ ok: true, attributes: onItem });
        expect((await store.get(present)).attributes, label).toEqual(onItem);
        if (onNothing === undefined) continue;
        const absent = { pk, sk: `absent-${i}` };
        expect(await store.update(absent, [update]), label).toMatchObject({ ok: true, attributes: onNothing });
        expect((await store.get(absent)).attributes, label).toEqual(onNothing);
      }
    });

    test('removes an attribute', async (store, pk) => {
      await store.put({ pk, sk: 'a' }, { a: 1, b: 2 });
      const { attributes } = await store.update({ pk, sk: 'a' }, [{ do: 'remove', name: 'a' }]);
      expect(attributes).toEqual({ b: 2 });
      expect(Object.keys(attributes!)).toEqual(['b']);
    });

    test('applies several updates at once', async (store, pk) => {
      const key = { pk, sk: 'a' };
      await store.put(key, { ...item, gone: 1 });
      const result = await store.update(key, [
        { do: 'add', name: 'n', by: 1 },
        { do: 'add', name: 'fresh', by: 3 },
        { do: 'append', name: 'list', values: [bytes(9)] },
        { do: 'set', name: 's', value: 'y' },
        { do: 'remove', name: 'gone' },
      ]);
      const expected = { ...item, n: 6, fresh: 3, list: [bytes(1), bytes(2, 3), bytes(9)], s: 'y' };
      expect(result).toMatchObject({ ok: true, attributes: expected });
      expect((await store.get(key)).attributes).toEqual(expected);
    });

    test('refuses two updates of one attribute', async (store, pk) => {
      const twice: Update[] = [
        { do: 'append', name: 'l', values: [bytes(1)] },
        { do: 'remove_first', name: 'l', count: 1 },
      ];
      await expect(store.update({ pk, sk: 'a' }, twice)).rejects.toMatchObject({ code: 'invalid_request' });
      expect((await store.get({ pk, sk: 'a' })).attributes).toBeUndefined();
    });

    test('refuses a number out of bounds and changes nothing', async (store, pk) => {
      const key = { pk, sk: 'a' };
      await store.put(key, { high: MAX, low: -MAX });
      for (const [name, by] of [
        ['high', 1],
        ['high', MAX],
        ['low', -1],
      ] as const) {
        const updates: Update[] = [
          { do: 'set', name: 'other', value: 1 },
          { do: 'add', name, by },
        ];
        const refused = { code: 'invalid_request', outcome: 'not_applied' };
        await expect(store.update(key, updates)).rejects.toMatchObject(refused);
      }
      expect(await store.update(key, [{ do: 'add', name: 'high', by: -MAX }])).toMatchObject({
        attributes: { high: 0, low: -MAX },
      });
    });

    test('refuses an update of an attribute of another type and changes nothing', async (store, pk) => {
      const key = { pk, sk: 'a' };
      await store.put(key, item);
      const wrong: Update[] = [
        { do: 'add', name: 's', by: 1 },
        { do: 'add', name: 'list', by: 1 },
        { do: 'append', name: 'n', values: [bytes(1)] },
        { do: 'remove_first', name: 's', count: 1 },
      ];
      for (const update of wrong) {
        await expect(store.update(key, [update])).rejects.toMatchObject({ code: 'invalid_request' });
      }
      expect((await store.get(key)).attributes).toEqual(item);
    });

    test('holds 400 KB in an item, its key and names counted, and refuses more', async (store, pk) => {
      const key = { pk, sk: 'a' };
      const room = 400 * 1024 - (2 + 2 + pk.length + 1) - 'data'.length;
      await store.put(key, { data: patternBytes(room) });
      const refused = { code: 'invalid_request', outcome: 'not_applied' };
      await expect(store.put(key, { data: patternBytes(room + 1) })).rejects.toMatchObject(refused);
      await expect(store.update(key, [{ do: 'set', name: 'x', value: '' }])).rejects.toMatchObject(refused);
      const { attributes, units } = await store.get(key);
      expect(attributes).toEqual({ data: patternBytes(room) });
      expect(units).toBe(100);
    });

    test('bills reads by 4 KB and writes by 1 KB of the larger item', async (store, pk) => {
      const key = { pk, sk: 'a' };
      const sized = (size: number) => ({ data: new Uint8Array(size - (2 + 2 + pk.length + 1) - 'data'.length) });
      expect(await store.put(key, sized(1_024))).toMatchObject({ units: 1 });
      expect(await store.put(key, sized(1_025))).toMatchObject({ units: 2 });
      expect(await store.put(key, sized(9_000))).toMatchObject({ units: 9 });
      expect(await store.get(key)).toMatchObject({ units: 3 });
      expect(await store.put(key, {}, [{ if: 'item_absent' }])).toMatchObject({ ok: false, units: 9 });
      expect(await store.update(key, [{ do: 'remove', name: 'data' }])).toMatchObject({ units: 9 });
      await store.put(key, sized(4_096));
      expect(await store.get(key)).toMatchObject({ units: 1 });
      await store.put(key, sized(4_097));
      expect(await store.get(key)).toMatchObject({ units: 2 });
      await store.put({ pk, sk: 'b' }, sized(4_095));
      expect(await store.query({ pk, limit: 10 })).toMatchObject({ units: 2 });
      expect(await store.delete(key)).toMatchObject({ units: 5 });
      expect(await store.delete(key)).toMatchObject({ units: 1 });
    });

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

    test('lets one of 64 racing compare-and-sets win', async (store, pk) => {
      const key = { pk, sk: 'a' };
      for (let round = 0; round < 5; round++) {
        const results = await Promise.all(
          Array.from({ length: 64 }, (_, i) =>
            store.update(
              key,
              [
                { do: 'set', name: 'round', value: round + 1 },
                { do: 'set', name: 'winner', value: i },
              ],
              [{ if: 'equals', name: 'round', value: round }],
            ),
          ),
        );
        const winners = results.flatMap((result, i) => (result.ok ? [i] : []));
        expect(winners).toHaveLength(1);
        expect((await store.get(key)).attributes).toEqual({ round: round + 1, winner: winners[0] });
      }
    });

    test('lets one of 64 racing creations win', async (store, pk) => {
      const key = { pk, sk: 'a' };
      const results = await Promise.all(
        Array.from({ length: 64 }, (_, i) => store.put(key, { i }, [{ if: 'item_absent' }])),
      );
      const winners = results.flatMap((result, i) => (result.ok ? [i] : []));
      expect(winners).toHaveLength(1);
      for (const result of results) expect(result.attributes).toEqual({ i: winners[0] });
    });

    test('loses none of 320 increments, each with its own answer', async (store, pk) => {
      const key = { pk, sk: 'a' };
      const answers = await Promise.all(
        Array.from({ length: 64 }, async () => {
          const values: number[] = [];
          for (let i = 0; i < 5; i++) {
            const { attributes } = await store.update(key, [{ do: 'add', name: 'n', by: 1 }]);
            values.push(Number(attributes?.n));
          }
          return values;
        }),
      );
      const expected = Array.from({ length: 320 }, (_, i) => i + 1);
      expect(answers.flat().sort((a, b) => a - b)).toEqual(expected);
      for (const values of answers) expect(values).toEqual([...values].sort((a, b) => a - b));
      expect((await store.get(key)).attributes).toEqual({ n: 320 });
    });

    test('lets a refused or failing write leave its neighbours alone', async (store, pk) => {
      const key = (sk: string) => ({ pk, sk });
      await store.put(key('c'), { n: MAX });
      const results = await Promise.allSettled([
        store.put(key('a'), { n: 1 }),
        store.put(key('b'), { n: 1 }, [{ if: 'item_exists' }]),
        store.update(key('f'), [{ do: 'add', name: 'n', by: MAX }]),
        store.update(key('c'), [{ do: 'add', name: 'n', by: 1 }]),
        store.put(key('d'), { data: new Uint8Array(500_000) }),
        store.put(key('e'), { n: 1 }),
      ]);
      expect(results.map((result) => (result.status === 'fulfilled' ? result.value.ok : 'rejected'))).toEqual([
        true,
        false,
        true,
        'rejected',
        'rejected',
        true,
      ]);
      expect(await everySk(store, { pk, limit: 10 })).toEqual(['a', 'c', 'e', 'f']);
    });

    test('takes more at once than a store may batch', async (store, pk) => {
      const count = 2_500;
      await Promise.all(Array.from({ length: count }, (_, i) => store.put({ pk, sk: `sk-${i}` }, { i })));
      const read = await Promise.all(Array.from({ length: count }, (_, i) => store.get({ pk, sk: `sk-${i}` })));
      expect(read.map(({ attributes }) => attributes?.i)).toEqual(Array.from({ length: count }, (_, i) => i));
      const large = Array.from({ length: 60 }, (_, i) => patternBytes(390_000, i));
      await Promise.all(large.map((data, i) => store.put({ pk, sk: `large-${i}` }, { data })));
      for (const [i, data] of large.entries()) {
        const { attributes } = await store.get({ pk, sk: `large-${i}` });
        expect(Buffer.compare(attributes?.data as Uint8Array, data)).toBe(0);
      }
    });

    test('shares no bytes with its callers', async (store, pk) => {
      const key = { pk, sk: 'a' };
      const whole = patternBytes(100, 1);
      const given = { data: whole.subarray(10, 20), list: [bytes(1, 2), bytes(3)] };
      const appended = bytes(4);
      const expected = {
        data: patternBytes(100, 1).slice(10, 20),
        list: [bytes(1, 2), bytes(3), bytes(4)],
        set: bytes(5),
      };
      const put = store.put(key, given);
      whole.fill(0);
      given.list[0]!.fill(0);
      given.list.length = 0;
      await put;
      const set = bytes(5);
      const lacking = bytes(9);
      const update = store.update(
        key,
        [
          { do: 'append', name: 'list', values: [appended] },
          { do: 'set', name: 'set', value: set },
        ],
        [{ if: 'lacks', name: 'list', value: lacking }],
      );
      appended.fill(0);
      set.fill(0);
      lacking.set([3]);
      const updated = await update;
      expect(updated).toMatchObject({ ok: true, attributes: expected });
      spoil(updated.attributes!);
      const read = await store.get(key);
      expect(read.attributes).toEqual(expected);
      spoil(read.attributes!);
      const page = await store.query({ pk, limit: 1 });
      expect(page.items[0]!.attributes).toEqual(expected);
      spoil(page.items[0]!.attributes);
      const met = await store.put(key, {}, [{ if: 'item_absent' }]);
      expect(met.attributes).toEqual(expected);
      spoil(met.attributes!);
      expect((await store.get(key)).attributes).toEqual(expected);
    });

    test('takes its key, conditions and range as they are when it is called', async (store, pk) => {
      /** What a call answers if its arguments change right after it. */
      const answer = <Argument extends object, T>(
        given: Argument,
        changed: Partial<Argument>,
        call: (given: Argument) => Promise<T>,
      ): Promise<T> => {
        const answered = call(given);
        Object.assign(given, changed);
        return answered;
      };
      const other = { sk: 'z' };
      const condition: Condition = { if: 'equals', name: 'n', value: 1 };
      const add: Update = { do: 'add', name: 'n', by: 1 };
      await answer({ pk, sk: 'a' }, other, (key) => store.put(key, { n: 1 }));
      expect(await answer({ pk, sk: 'a' }, other, (key) => store.get(key))).toMatchObject({ attributes: { n: 1 } });
      expect(
        await answer(condition, { value: 9 }, (given) => store.update({ pk, sk: 'a' }, [add], [given])),
      ).toMatchObject({
        ok: true,
      });
      expect(await answer({ pk, sk: 'a' }, other, (key) => store.update(key, [add]))).toMatchObject({
        attributes: { n: 3 },
      });
      const range: ItemRange = { pk, from: 'a', limit: 5 };
      expect(await answer(range, { from: 'z' }, (given) => store.query(given))).toMatchObject({ items: [{ sk: 'a' }] });
      await answer({ pk, sk: 'a' }, other, (key) => store.delete(key));
      expect((await store.query({ pk, limit: 5 })).items).toEqual([]);
    });

    test('answers plain bytes', async (store, pk) => {
      await store.put({ pk, sk: 'a' }, { data: Buffer.from('abc'), list: [Buffer.from('d')] });
      const { attributes } = await store.get({ pk, sk: 'a' });
      expect((attributes!.data as Uint8Array).constructor).toBe(Uint8Array);
      expect((attributes!.list as Uint8Array[])[0]!.constructor).toBe(Uint8Array);
    });
  });
}

/** Reads a range to its end, page by page, as a caller does. */
async function everySk(store: ItemStore, range: ItemRange): Promise<string[]> {
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

function spoil(attributes: Attributes): void {
  for (const value of Object.values(attributes)) {
    if (value instanceof Uint8Array) value.fill(255);
    else if (Array.isArray(value)) for (const element of value.splice(0)) element.fill(255);
  }
}
