import { expect } from 'vitest';
import type { Attributes, Condition, ItemKey, ItemStore, Update } from '../../shared/storage/ports.ts';
import { itemExpiryCases } from './item-expiry-cases.ts';
import { itemQueryCases } from './item-query-cases.ts';
import { itemSharingCases } from './item-sharing-cases.ts';
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

    itemQueryCases(test);
    itemSharingCases(test);
    itemExpiryCases(test);
  });
}
