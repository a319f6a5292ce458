import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32c } from '../../../shared/log/batch/crc32c.ts';
import {
  ByteFormatError,
  ByteReader,
  ByteWriter,
  concatBytes,
  equalBytes,
  toHex,
  varintLength,
  varuintLength,
} from '../../../shared/log/bytes.ts';

const MAX = Number.MAX_SAFE_INTEGER;
const written = (write: (writer: ByteWriter) => void): Uint8Array => {
  const writer = new ByteWriter(1);
  write(writer);
  return writer.finish();
};
const hex = (write: (writer: ByteWriter) => void): string => toHex(written(write));

describe('variable-length integers', () => {
  it.each([
    [0, '00'],
    [-1, '01'],
    [1, '02'],
    [63, '7e'],
    [-64, '7f'],
    [64, '8001'],
    [-65, '8101'],
    [8191, 'fe7f'],
    [8192, '808001'],
    [2 ** 52, '8080808080808010'],
    [MAX, 'feffffffffffff1f'],
    [-MAX, 'fdffffffffffff1f'],
    [-(2 ** 53), 'ffffffffffffff1f'],
  ])('%d is written as Kafka does', (value, expected) => {
    expect(hex((writer) => writer.varint(value))).toBe(expected);
    expect(varintLength(value)).toBe(expected.length / 2);
    expect(new ByteReader(Buffer.from(expected, 'hex')).varint()).toBe(value);
  });

  it('come back, signed and unsigned, and take the length that is foretold', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (value) => {
        const signed = written((writer) => writer.varint(value));
        expect(signed).toHaveLength(varintLength(value));
        expect(new ByteReader(signed).varint()).toBe(value);
        const unsigned = written((writer) => writer.varuint(Math.abs(value)));
        expect(unsigned).toHaveLength(varuintLength(Math.abs(value)));
        expect(new ByteReader(unsigned).varuint()).toBe(Math.abs(value));
        // Kafka's own zigzag, in 64 bits.
        const zigzag = (BigInt(value) << 1n) ^ (BigInt(value) >> 63n);
        let bits = 0n;
        signed.forEach((byte, i) => {
          bits |= BigInt(byte & 0x7f) << BigInt(7 * i);
        });
        expect(bits).toBe(zigzag);
      }),
    );
  });

  it.each(['ffffffffffffff20', 'ffffffffffffffff01', '8080808080808080808001', '80', 'ffff'])(
    '%s is refused',
    (bytes) => {
      expect(() => new ByteReader(Buffer.from(bytes, 'hex')).varint()).toThrow(ByteFormatError);
      expect(() => new ByteReader(Buffer.from(bytes, 'hex')).varuint()).toThrow(ByteFormatError);
    },
  );
});

it.each<[keyof Pick<ByteWriter, 'varuint' | 'varint' | 'int64'>, number[]]>([
  ['varuint', [-1, MAX + 1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]],
  ['varint', [MAX + 1, -(2 ** 53) - 2, 0.5, -0.5, 64.5, Number.NaN, Number.NEGATIVE_INFINITY]],
  ['int64', [MAX + 1, -MAX - 1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]],
])('%s does not write what its reader would refuse', (type, values) => {
  for (const value of values)
    expect(() => new ByteWriter()[type](value)).toThrow(`A reader would refuse the number ${value}`);
});

describe('fixed integers', () => {
  it('come back', () => {
    const int = (bits: number): fc.Arbitrary<number> =>
      fc.integer({ min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 });
    fc.assert(
      fc.property(int(8), int(16), int(32), fc.nat(2 ** 32 - 1), fc.maxSafeInteger(), (a, b, c, d, e) => {
        const bytes = written((writer) => {
          writer.uint8(a & 0xff);
          writer.int16(b);
          writer.int32(c);
          writer.uint32(d);
          writer.int64(e);
        });
        const reader = new ByteReader(bytes);
        expect([reader.int8(), reader.int16(), reader.int32(), reader.uint32(), reader.int64()]).toEqual([
          a,
          b,
          c,
          d,
          e,
        ]);
        expect(new DataView(bytes.buffer, bytes.byteOffset).getBigInt64(11)).toBe(BigInt(e));
        expect(reader.remaining).toBe(0);
      }),
    );
  });

  it('of 64 bits are refused beyond ±(2^53 − 1)', () => {
    for (const value of [2n ** 53n, -(2n ** 53n), 2n ** 63n - 1n, -(2n ** 63n)]) {
      const bytes = Buffer.alloc(8);
      bytes.writeBigInt64BE(value);
      expect(() => new ByteReader(bytes).int64()).toThrow(ByteFormatError);
    }
  });

  it('never go past the end, nor take a negative length', () => {
    const reader = new ByteReader(new Uint8Array(10), 4, 7);
    expect(() => reader.int32()).toThrow(ByteFormatError);
    expect(() => reader.view(4)).toThrow(ByteFormatError);
    expect(() => reader.view(-1)).toThrow(ByteFormatError);
    expect(reader.view(3)).toHaveLength(3);
    expect(() => reader.uint8()).toThrow(ByteFormatError);
  });
});

it('equality, joining and hex', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 9 }), { maxLength: 5 }), (chunks) => {
      const whole = concatBytes(chunks);
      expect(Buffer.from(whole).equals(Buffer.concat(chunks))).toBe(true);
      expect(toHex(whole)).toBe(Buffer.from(whole).toString('hex'));
      expect(equalBytes(whole, whole.slice())).toBe(true);
      if (whole.length > 0) expect(equalBytes(whole, whole.subarray(1))).toBe(false);
      if (whole.length > 0)
        expect(
          equalBytes(
            whole,
            whole.map((byte, i) => (i === 0 ? byte ^ 1 : byte)),
          ),
        ).toBe(false);
    }),
  );
});

it.each([
  ['', 0],
  ['123456789', 0xe3069283],
  ['The quick brown fox jumps over the lazy dog', 0x22620404],
])('CRC-32C of "%s"', (text, expected) => {
  expect(crc32c(new TextEncoder().encode(text))).toBe(expected);
});
