import { expect } from 'vitest';
import type { Attributes, Condition, ItemRange, ItemStore, Update } from '../../shared/storage/ports.ts';
import { everySk } from './item-query-cases.ts';
import { type Case, patternBytes } from './suite.ts';

const MAX = Number.MAX_SAFE_INTEGER;
const bytes = (...values: number[]) => new Uint8Array(values);

/** The part of the contract of `ItemStore` that is about many calls at once, and about memory that calls share. */
export function itemSharingCases(test: Case<ItemStore>): void {
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
}

function spoil(attributes: Attributes): void {
  for (const value of Object.values(attributes)) {
    if (value instanceof Uint8Array) value.fill(255);
    else if (Array.isArray(value)) for (const element of value.splice(0)) element.fill(255);
  }
}
