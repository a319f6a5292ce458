import { expect } from 'vitest';
import { EXPIRES_AT } from '../../shared/storage/key-parts.ts';
import type { Attributes, ExpiringItems, ItemStore } from '../../shared/storage/ports.ts';
import { type Case, type Make, suite } from './suite.ts';

/** The part of the contract of `ItemStore` that is about items that expire. */
export function itemExpiryCases(test: Case<ItemStore>): void {
  test('may remove an item that expired long ago, and no other', async (store, pk) => {
    const now = Math.floor(Date.now() / 1_000);
    const past: Attributes = { [EXPIRES_AT]: now - 86_400, n: 1 };
    const kept: Readonly<Record<string, Attributes>> = {
      future: { [EXPIRES_AT]: now + 86_400 },
      never: { n: 1 },
      string: { [EXPIRES_AT]: String(now - 86_400) },
      bytes: { [EXPIRES_AT]: new Uint8Array([1]) },
      list: { [EXPIRES_AT]: [new Uint8Array([1])] },
    };
    await store.put({ pk, sk: 'past' }, past);
    for (const [sk, attributes] of Object.entries(kept)) await store.put({ pk, sk }, attributes);
    const { attributes } = await store.get({ pk, sk: 'past' });
    if (attributes !== undefined) expect(attributes).toEqual(past);
    for (const [sk, expected] of Object.entries(kept))
      expect((await store.get({ pk, sk })).attributes, sk).toEqual(expected);
    // A write works on the item whether it was removed or not.
    expect(await store.put({ pk, sk: 'past' }, { n: 2 })).toMatchObject({ ok: true });
    expect((await store.get({ pk, sk: 'past' })).attributes).toEqual({ n: 2 });
  });
}

/** Any time, in ms: the store removes by the time that it is told. Cases use times that do not overlap. */
const DAY = 86_400;

/** The contract of `ExpiringItems`, over a store that holds nothing else that expires. */
export function expiringItemsSuite(name: string, make: Make<ItemStore & ExpiringItems>): void {
  suite(`${name}: expiry`, make, {}, (test) => {
    const removeAll = async (store: ExpiringItems, second: number): Promise<number> => {
      let total = 0;
      for (let steps = 0; ; steps++) {
        expect(steps, 'steps until nothing more has expired').toBeLessThan(10);
        const { removed, more } = await store.removeExpired(second * 1_000, 1_000);
        total += removed;
        if (!more) return total;
      }
    };
    const sksOf = async (store: ItemStore, pk: string): Promise<string[]> =>
      (await store.query({ pk, limit: 10_000 })).items.map(({ sk }) => sk);

    test('removes what has expired, and nothing else', async (store, pk) => {
      const now = 10 * DAY;
      const items: Readonly<Record<string, Attributes>> = {
        past: { [EXPIRES_AT]: now - 1 },
        pastLong: { [EXPIRES_AT]: 5 },
        zero: { [EXPIRES_AT]: 0 },
        negative: { [EXPIRES_AT]: -7 },
        now: { [EXPIRES_AT]: now },
        next: { [EXPIRES_AT]: now + 1 },
        far: { [EXPIRES_AT]: Number.MAX_SAFE_INTEGER },
        never: {},
        string: { [EXPIRES_AT]: String(now - 1) },
        noString: { [EXPIRES_AT]: '' },
        bytes: { [EXPIRES_AT]: new Uint8Array([0]) },
        list: { [EXPIRES_AT]: [] },
        otherName: { expires: 1, E: 1 },
      };
      for (const [sk, attributes] of Object.entries(items)) await store.put({ pk, sk }, attributes);
      const kept = ['bytes', 'far', 'list', 'never', 'next', 'noString', 'now', 'otherName', 'string'];
      // An item is kept through its last second.
      expect(await store.removeExpired(now * 1_000 + 999, 1_000)).toEqual({ removed: 4, more: false });
      expect(await sksOf(store, pk)).toEqual(kept);
      for (const sk of kept) expect((await store.get({ pk, sk })).attributes, sk).toEqual(items[sk]);
      expect((await store.get({ pk, sk: 'past' })).attributes).toBeUndefined();
      expect(await store.removeExpired(now * 1_000 + 1_000, 1_000)).toEqual({ removed: 1, more: false });
      expect(await sksOf(store, pk)).toEqual(kept.filter((sk) => sk !== 'now'));
      await removeAll(store, Number.MAX_SAFE_INTEGER / 1_000 - 1);
      expect(await sksOf(store, pk)).toContain('far');
    });

    test('judges an item by its last write', async (store, pk) => {
      const expired: Attributes = { [EXPIRES_AT]: 1 };
      const changes: Readonly<Record<string, (sk: string) => Promise<unknown>>> = {
        later: (sk) => store.put({ pk, sk }, { [EXPIRES_AT]: 3 }),
        without: (sk) => store.put({ pk, sk }, {}),
        added: (sk) => store.update({ pk, sk }, [{ do: 'add', name: EXPIRES_AT, by: 2 }]),
        set: (sk) => store.update({ pk, sk }, [{ do: 'set', name: EXPIRES_AT, value: 3 }]),
        string: (sk) => store.update({ pk, sk }, [{ do: 'set', name: EXPIRES_AT, value: 'soon' }]),
        removed: (sk) => store.update({ pk, sk }, [{ do: 'remove', name: EXPIRES_AT }]),
        again: async (sk) => {
          await store.delete({ pk, sk });
          await store.put({ pk, sk }, {});
        },
      };
      for (const [sk, change] of Object.entries(changes)) {
        await store.put({ pk, sk }, expired);
        await change(sk);
      }
      const unchanged: Readonly<Record<string, (sk: string) => Promise<unknown>>> = {
        otherAttribute: (sk) => store.update({ pk, sk }, [{ do: 'set', name: 'n', value: 1 }]),
        refused: (sk) => store.put({ pk, sk }, {}, [{ if: 'item_absent' }]),
        deleted: (sk) => store.delete({ pk, sk }),
      };
      for (const [sk, change] of Object.entries(unchanged)) {
        await store.put({ pk, sk }, expired);
        await change(sk);
      }
      await store.put({ pk, sk: 'sooner' }, { [EXPIRES_AT]: 5 });
      await store.put({ pk, sk: 'sooner' }, expired);
      await store.update({ pk, sk: 'made' }, [{ do: 'add', name: EXPIRES_AT, by: 1 }]);
      expect(await removeAll(store, 2)).toBe(4);
      expect(await sksOf(store, pk)).toEqual(Object.keys(changes).sort());
      expect(await removeAll(store, 4)).toBe(3);
      expect(await sksOf(store, pk)).toEqual(['again', 'removed', 'string', 'without']);
    });

    test('removes the oldest first, in steps of the limit', async (store, pk) => {
      const other = `${pk}-other`;
      for (let i = 0; i < 10; i++) await store.put({ pk: i % 2 ? pk : other, sk: `${9 - i}` }, { [EXPIRES_AT]: i });
      const left = async (): Promise<string[]> => [...(await sksOf(store, pk)), ...(await sksOf(store, other))].sort();
      expect(await store.removeExpired(8_000, 3)).toEqual({ removed: 3, more: true });
      expect(await left()).toEqual(['0', '1', '2', '3', '4', '5', '6']);
      expect(await store.removeExpired(8_000, 5)).toEqual({ removed: 5, more: false });
      expect(await left()).toEqual(['0', '1']);
      expect(await store.removeExpired(8_000, 5)).toEqual({ removed: 0, more: false });
      expect(await store.removeExpired(9_000, 1)).toEqual({ removed: 1, more: false });
      expect(await store.removeExpired(10_000, 1)).toEqual({ removed: 1, more: false });
      expect(await left()).toEqual([]);
    });

    test('removes many items that expire in the same second', async (store, pk) => {
      await Promise.all(
        Array.from({ length: 2_500 }, (_, i) => store.put({ pk, sk: `${i}` }, { [EXPIRES_AT]: i % 3 })),
      );
      await store.put({ pk, sk: 'kept' }, { [EXPIRES_AT]: 3 });
      expect(await store.removeExpired(3_000, 1_000)).toEqual({ removed: 1_000, more: true });
      expect(await removeAll(store, 3)).toBe(1_500);
      expect(await sksOf(store, pk)).toEqual(['kept']);
      expect(await removeAll(store, 4)).toBe(1);
    });

    test('never removes an item that was changed at the same time', async (store, pk) => {
      for (let round = 0; round < 20; round++) {
        const keys = Array.from({ length: 20 }, (_, i) => ({ pk, sk: `${round}-${i}` }));
        await Promise.all(keys.map((key) => store.put(key, { [EXPIRES_AT]: 1 })));
        const changes = keys.map((key) => store.put(key, { n: 1 }, [{ if: 'item_exists' }]));
        const [, ...changed] = await Promise.all([store.removeExpired(2_000, 1_000), ...changes]);
        for (const [i, key] of keys.entries()) {
          expect((await store.get(key)).attributes).toEqual(changed[i]?.ok ? { n: 1 } : undefined);
        }
        await removeAll(store, 2);
      }
    });

    test('rejects a limit and a time that are none', async (store) => {
      for (const limit of [0, -1, 1.5, 1_001, Number.NaN])
        await expect(store.removeExpired(0, limit), `${limit}`).rejects.toMatchObject({ code: 'invalid_request' });
      for (const nowMs of [0.5, Number.NaN, Number.POSITIVE_INFINITY])
        await expect(store.removeExpired(nowMs, 1), `${nowMs}`).rejects.toMatchObject({ code: 'invalid_request' });
    });
  });
}
