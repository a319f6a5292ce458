import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeItem, encodeItem } from '../../../shared/storage/file/item-codec.ts';
import type { Attributes } from '../../../shared/storage/ports.ts';

const hex = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));

/** Persisted: these bytes must be read for ever. */
const golden: [name: string, attributes: Attributes, bytes: string][] = [
  ['nothing', {}, '01'],
  ['a string', { s: 'ü' }, '01 01 73 01 02 c3bc'],
  ['an empty string', { s: '' }, '01 01 73 01 00'],
  ['a long string', { s: 'x'.repeat(200) }, `01 01 73 01 c801 ${'78'.repeat(200)}`],
  ['a string whose bytes need a second byte of length', { s: 'ü'.repeat(64) }, `01 01 73 01 8001 ${'c3bc'.repeat(64)}`],
  ['a string of the longest one-byte length', { s: 'x'.repeat(127) }, `01 01 73 01 7f ${'78'.repeat(127)}`],
  ['0', { n: 0 }, '01 01 6e 02 00'],
  ['-1', { n: -1 }, '01 01 6e 02 01'],
  ['1', { n: 1 }, '01 01 6e 02 02'],
  ['63', { n: 63 }, '01 01 6e 02 7e'],
  ['-64', { n: -64 }, '01 01 6e 02 7f'],
  ['64', { n: 64 }, '01 01 6e 02 8001'],
  ['300', { n: 300 }, '01 01 6e 02 d804'],
  ['2^53 - 1', { n: Number.MAX_SAFE_INTEGER }, '01 01 6e 02 feffffffffffff1f'],
  ['-(2^53 - 1)', { n: -Number.MAX_SAFE_INTEGER }, '01 01 6e 02 fdffffffffffff1f'],
  ['bytes', { b: hex('000102') }, '01 01 62 03 03 000102'],
  ['a list', { l: [hex('01'), hex(''), hex('0203')] }, '01 01 6c 04 03 01 01 00 02 0203'],
  ['two attributes', { a: 1, b: 'x' }, '01 01 61 02 02 01 62 01 01 78'],
];

test.each(golden)('encodes %s', (_, attributes, bytes) => {
  expect(encodeItem(attributes)).toEqual(hex(bytes));
  expect(decodeItem(hex(bytes))).toEqual(attributes);
});

const value = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.maxSafeInteger(),
  fc.uint8Array({ maxLength: 300 }),
  fc.array(fc.uint8Array({ maxLength: 40 })),
);
const attributes = fc
  .array(fc.tuple(fc.oneof(fc.string({ unit: 'binary' }), fc.constant('__proto__')), value))
  .map((pairs): Attributes => Object.fromEntries(pairs));

test('decodes what it encoded', () => {
  fc.assert(
    fc.property(attributes, (item) => {
      const encoded = encodeItem(item);
      expect(encoded.buffer.byteLength).toBe(encoded.byteLength);
      expect(decodeItem(encoded)).toEqual(item);
      // Also from the middle of a larger buffer.
      const larger = new Uint8Array(encoded.byteLength + 10);
      larger.set(encoded, 7);
      expect(decodeItem(larger.subarray(7, 7 + encoded.byteLength))).toEqual(item);
    }),
  );
});

test('decodes damaged bytes as something or corrupt_data, and nothing else', () => {
  fc.assert(
    fc.property(attributes, fc.nat(), fc.nat(255), fc.nat(), (item, at, byte, cut) => {
      const encoded = encodeItem(item);
      encoded[at % encoded.length] = byte;
      const damaged = encoded.subarray(0, encoded.length - (cut % 3));
      try {
        decodeItem(damaged);
      } catch (error) {
        expect(error).toMatchObject({ code: 'corrupt_data' });
      }
    }),
  );
});

test.each([
  ['no bytes', ''],
  ['a newer version', '02'],
  ['a name without a value', '01 01 61'],
  ['an unknown tag', '01 01 61 05 00'],
  ['a number cut short', '01 01 6e 02'],
  ['a long number cut short', '01 01 6e 02 80'],
  ['a value cut short', '01 01 61 03 05 0102'],
  ['a list cut short', '01 01 61 04 ff01 00'],
  ['a length without end', '01 ffffffffffffffffffff'],
  ['a number out of bounds', '01 01 6e 02 feffffffffffff3f'],
])('refuses %s', (_, bytes) => {
  expect(() => decodeItem(hex(bytes))).toThrow(expect.objectContaining({ code: 'corrupt_data' }));
});
