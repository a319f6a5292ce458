import { expect } from 'vitest';
import { ITEM_BYTES_MAX } from '../../shared/log/limits.ts';
import type { ItemStore, ItemToPut } from '../../shared/storage/ports.ts';
import { type Make, patternBytes, suite } from './suite.ts';

/** What a store that puts an item beside an update promises about both. */
export function itemBesideSuite(name: string, make: Make<ItemStore>): void {
  suite(`${name}, with an item to put beside an update,`, make, {}, (test) => {
    test('applies both', async (store, pk) => {
      expect(store.putsBeside).toBe(true);
      const [key, beside] = [
        { pk, sk: 'a' },
        { pk: `${pk}-other`, sk: 'b' },
      ];
      const result = await store.update(key, [{ do: 'add', name: 'n', by: 2 }], [], {
        key: beside,
        attributes: { data: patternBytes(50_000) },
      });
      expect(result).toMatchObject({ ok: true, attributes: { n: 2 } });
      expect((await store.get(key)).attributes).toEqual({ n: 2 });
      expect((await store.get(beside)).attributes).toEqual({ data: patternBytes(50_000) });
    });

    test('applies the updates beside an item that an earlier attempt has put, and beside no other', async (store, pk) => {
      const [key, beside] = [
        { pk, sk: 'a' },
        { pk, sk: 'b' },
      ];
      const attributes = { data: patternBytes(300), text: 't', n: 1, list: [patternBytes(3), patternBytes(0)] };
      const add = (besides: ItemToPut['attributes']) =>
        store.update(key, [{ do: 'add', name: 'n', by: 1 }], [], { key: beside, attributes: besides });
      await add(attributes);
      expect(await add(attributes)).toMatchObject({ ok: true, attributes: { n: 2 } });
      const others = [
        { ...attributes, data: patternBytes(300, 1) },
        { ...attributes, list: [patternBytes(3)] },
        { ...attributes, list: [patternBytes(3), patternBytes(1)] },
        { ...attributes, n: 2 },
        { ...attributes, more: 1 },
        { data: attributes.data },
        {},
      ];
      for (const other of others)
        await expect(add(other)).rejects.toMatchObject({ code: 'storage_unavailable', outcome: 'not_applied' });
      expect((await store.get(key)).attributes).toEqual({ n: 2 });
      expect((await store.get(beside)).attributes).toEqual(attributes);
    });

    test('applies neither if a condition does not hold', async (store, pk) => {
      const [key, beside] = [
        { pk, sk: 'a' },
        { pk, sk: 'b' },
      ];
      await store.put(key, { n: 1 });
      const refused = (besides: ItemToPut) =>
        store.update(key, [{ do: 'add', name: 'n', by: 2 }], [{ if: 'equals', name: 'n', value: 5 }], besides);
      expect(await refused({ key: beside, attributes: { m: 1 } })).toMatchObject({ ok: false, attributes: { n: 1 } });
      expect((await store.get(beside)).attributes).toBeUndefined();
      await store.put(beside, { m: 7 });
      expect((await refused({ key: beside, attributes: { m: 1 } })).ok).toBe(false);
      expect((await store.get(beside)).attributes).toEqual({ m: 7 });
    });

    test('applies neither if one of them can not be stored', async (store, pk) => {
      const [key, beside] = [
        { pk, sk: 'a' },
        { pk, sk: 'b' },
      ];
      const add = (by: number, besides: ItemToPut) => store.update(key, [{ do: 'add', name: 'n', by }], [], besides);
      const invalid = { code: 'invalid_request', outcome: 'not_applied' };
      const tooLarge = { data: new Uint8Array(ITEM_BYTES_MAX) };
      await expect(add(1, { key: beside, attributes: tooLarge })).rejects.toMatchObject(invalid);
      await expect(add(1, { key: { pk, sk: '' }, attributes: {} })).rejects.toMatchObject(invalid);
      await expect(add(1, { key: beside, attributes: { n: 0.5 } })).rejects.toMatchObject(invalid);
      await store.put(key, { n: Number.MAX_SAFE_INTEGER });
      await expect(add(1, { key: beside, attributes: { m: 1 } })).rejects.toMatchObject(invalid);
      expect((await store.get(key)).attributes).toEqual({ n: Number.MAX_SAFE_INTEGER });
      expect((await store.get(beside)).attributes).toBeUndefined();
    });

    test('puts just those beside the updates that were applied, of many at once', async (store, pk) => {
      const results = await Promise.all(
        Array.from({ length: 300 }, (_, i) =>
          store.update(
            { pk, sk: `counter ${i % 3}` },
            [{ do: 'add', name: 'n', by: 1 }],
            [{ if: 'at_most', name: 'n', value: 30 }],
            { key: { pk: `${pk}-beside`, sk: `${i}`.padStart(3, '0') }, attributes: { i, data: patternBytes(i, i) } },
          ),
        ),
      );
      const applied = results.flatMap(({ ok }, i) => (ok ? [i] : []));
      expect(applied).toHaveLength(3 * 31);
      const { items } = await store.query({ pk: `${pk}-beside`, limit: 1_000 });
      expect(items.map(({ attributes }) => attributes)).toEqual(applied.map((i) => ({ i, data: patternBytes(i, i) })));
    });

    test('counts the units of both', async (store, pk) => {
      const units = async (sk: string, beside?: ItemToPut) =>
        (await store.update({ pk, sk }, [{ do: 'add', name: 'n', by: 1 }], [], beside)).units;
      expect(await units('a')).toBe(1);
      const attributes = { data: patternBytes(5_000) };
      expect(await units('b', { key: { pk, sk: 'c' }, attributes })).toBe(1 + 5);
      expect((await store.put({ pk, sk: 'd' }, attributes)).units).toBe(5);
    });
  });
}
