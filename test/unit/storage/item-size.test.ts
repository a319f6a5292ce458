import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import type { AttributeValue } from '../../../shared/storage/ports.ts';
import { itemBytes, readUnits, writeUnits } from '../../../shared/storage/rules/item-size.ts';
import { compareUtf8, utf8Bytes } from '../../../shared/storage/utf8.ts';

const key = { pk: 'p', sk: 's' };
/** `pk` and `sk` with a byte each. */
const KEY_BYTES = 6;

describe('itemBytes', () => {
  it('is 0 for what is not there', () => expect(itemBytes(key, undefined)).toBe(0));

  it('counts the key and its names', () => {
    expect(itemBytes(key, {})).toBe(KEY_BYTES);
    expect(itemBytes({ pk: 'ü', sk: '😀😀' }, {})).toBe(4 + 2 + 8);
  });

  it.each<[value: AttributeValue, bytes: number]>([
    ['', 0],
    ['abc', 3],
    ['ü😀', 6],
    [0, 1],
    [7, 2],
    [42, 2],
    [421, 3],
    [1_000, 2],
    [1_010, 3],
    [12_340, 3],
    [-42, 3],
    [-1_000_000, 3],
    [Number.MAX_SAFE_INTEGER, 9],
    [-Number.MAX_SAFE_INTEGER, 10],
    [new Uint8Array(5), 5],
    [[], 3],
    [[new Uint8Array(5), new Uint8Array(0)], 3 + 2 + 5],
  ])('counts %j as %i', (value, bytes) => {
    expect(itemBytes(key, { näme: value })).toBe(KEY_BYTES + 5 + bytes);
  });
});

test.each([
  [0, 1],
  [1, 1],
  [4_096, 1],
  [4_097, 2],
  [409_600, 100],
])('a read of %i bytes costs %i', (bytes, units) => expect(readUnits(bytes)).toBe(units));

test.each([
  [0, 0, 1],
  [1_024, 0, 1],
  [0, 1_025, 2],
  [5_000, 100, 5],
])('a write from %i to %i bytes costs %i', (before, after, units) => expect(writeUnits(before, after)).toBe(units));

test('utf8Bytes agrees with an encoder', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => utf8Bytes(text) === Buffer.byteLength(text)));
});

test('compareUtf8 orders as the encoded bytes do', () => {
  const part = fc.string({
    unit: fc.constantFrom('a', 'z', 'ä', '\u07ff', '\u0800', '\uff5e', '\ufffd', '😀', '\u{10ffff}'),
  });
  fc.assert(
    fc.property(part, part, (a, b) => {
      expect(Math.sign(compareUtf8(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }),
  );
});
