import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OFFSET_MAP_SLOT_BYTES, OffsetMap } from '../../../../shared/log/segment/compact/offset-map.ts';

const key = (name: string | number): Uint8Array => new TextEncoder().encode(String(name));

describe('the offset map', () => {
  it('keeps the largest offset of each key', () => {
    const map = new OffsetMap(100 * OFFSET_MAP_SLOT_BYTES);
    expect(map.latestOffset(key('a'))).toBeUndefined();
    for (const offset of [0, 7, 3]) expect(map.put(key('a'), offset)).toBe(true);
    expect(map.put(key('b'), Number.MAX_SAFE_INTEGER)).toBe(true);
    expect(map.put(new Uint8Array(0), 5)).toBe(true);
    expect(map.latestOffset(key('a'))).toBe(7);
    expect(map.latestOffset(key('b'))).toBe(Number.MAX_SAFE_INTEGER);
    expect(map.latestOffset(new Uint8Array(0))).toBe(5);
    expect(map.latestOffset(key('c'))).toBeUndefined();
    expect(map.size).toBe(3);
  });

  it('refuses new keys when it is full, and still takes later offsets of those it knows', () => {
    const map = new OffsetMap(10 * OFFSET_MAP_SLOT_BYTES + 5, 0.5);
    expect(map.capacity).toBe(5);
    for (let i = 0; i < 5; i++) expect(map.put(key(i), i)).toBe(true);
    expect(map.put(key('new'), 100)).toBe(false);
    expect(map.latestOffset(key('new'))).toBeUndefined();
    expect(map.put(key(2), 101)).toBe(true);
    expect(map.latestOffset(key(2))).toBe(101);
    map.clear();
    expect(map.size).toBe(0);
    expect(map.latestOffset(key(2))).toBeUndefined();
    expect(map.put(key('new'), 100)).toBe(true);
  });

  it('ends each search, also with a load factor of 1', () => {
    const map = new OffsetMap(4 * OFFSET_MAP_SLOT_BYTES, 1);
    expect(map.capacity).toBe(3);
    for (let i = 0; i < 3; i++) expect(map.put(key(i), i)).toBe(true);
    expect(map.put(key(3), 3)).toBe(false);
    expect(map.latestOffset(key(4))).toBeUndefined();
  });

  it.each([0, 1, 24, 47])('needs room for a key: %d bytes are too few', (bytes) => {
    expect(() => new OffsetMap(bytes)).toThrow('has no room for a key');
  });

  it('agrees with a Map, whatever is put', () => {
    const puts = fc.array(fc.tuple(fc.uint8Array({ maxLength: 2 }), fc.maxSafeNat()), { maxLength: 200 });
    fc.assert(
      fc.property(puts, fc.integer({ min: 2, max: 64 }), (entries, slots) => {
        const map = new OffsetMap(slots * OFFSET_MAP_SLOT_BYTES);
        const model = new Map<string, number>();
        for (const [bytes, offset] of entries) {
          const name = bytes.join();
          const fits = model.has(name) || model.size < map.capacity;
          expect(map.put(bytes, offset)).toBe(fits);
          if (fits) model.set(name, Math.max(offset, model.get(name) ?? 0));
        }
        for (const [bytes] of entries) expect(map.latestOffset(bytes)).toBe(model.get(bytes.join()));
        expect(map.size).toBe(model.size);
      }),
    );
  });
});
