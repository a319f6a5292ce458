import { compressionsAlgorithms } from '@platformatic/kafka';
import fc from 'fast-check';
import lz4js from 'lz4js';
import xxh32 from 'lz4js/xxh32.js';
import { describe, expect, it } from 'vitest';
import { COMPRESSIONS } from '../../../../shared/log/batch/codecs.ts';
import { compress, decompress } from '../../../../shared/log/batch/compression.ts';
import { compressLz4, decompressLz4 } from '../../../../shared/log/batch/lz4.ts';
import { decompressSnappyBlock } from '../../../../shared/log/batch/snappy.ts';
import { ByteFormatError } from '../../../../shared/log/bytes.ts';

const MAX = 4 * 1024 * 1024;
/** Runs of the same byte, text-like repetition, and noise, from nothing to several blocks. */
const contentArbitrary = fc
  .array(
    fc.oneof(
      fc.tuple(fc.nat(255), fc.nat(70_000)).map(([byte, length]) => new Uint8Array(length).fill(byte)),
      fc.uint8Array({ maxLength: 300 }),
      fc
        .tuple(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.integer({ min: 1, max: 3_000 }))
        .map(([unit, times]) =>
          Uint8Array.from({ length: unit.length * times }, (_, i) => unit[i % unit.length] as number),
        ),
      fc.tuple(fc.nat(), fc.nat(90_000)).map(([seed, length]) => noise(length, seed)),
    ),
    { maxLength: 5 },
  )
  .map((chunks) => new Uint8Array(Buffer.concat(chunks)));

function noise(length: number, seed: number): Uint8Array {
  let state = seed | 1;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 24;
  });
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

describe.each(COMPRESSIONS)('%s', (name) => {
  const theirs = compressionsAlgorithms[name];

  it('comes back, is read by @platformatic/kafka, and reads what that writes', () => {
    fc.assert(
      fc.property(contentArbitrary, (content) => {
        const packed = compress(name, content);
        expect(same(decompress(name, packed, MAX), content)).toBe(true);
        expect(same(theirs.decompressSync(Buffer.from(packed)), content)).toBe(true);
        if (name === 'none' || content.length === 0) return;
        expect(same(decompress(name, theirs.compressSync(Buffer.from(content)), MAX), content)).toBe(true);
        expect(() => decompress(name, packed, content.length - 1)).toThrow(ByteFormatError);
        expect(same(decompress(name, packed, content.length), content)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });
});

describe('several in a row', () => {
  const parts = [noise(70_000, 3), new Uint8Array(0), noise(5, 4)];
  const whole = new Uint8Array(Buffer.concat(parts));
  const packed = (name: 'gzip' | 'zstd') => parts.map((part) => compress(name, part));

  it('members of gzip and frames of zstd are one content', () => {
    for (const name of ['gzip', 'zstd'] as const) {
      const row = new Uint8Array(Buffer.concat(packed(name)));
      expect(same(decompress(name, row, MAX), whole)).toBe(true);
      expect(same(decompress(name, row, whole.length), whole)).toBe(true);
      expect(() => decompress(name, row, whole.length - 1)).toThrow(ByteFormatError);
      expect(() => decompress(name, new Uint8Array([...row, 1, 2, 3]), MAX)).toThrow(ByteFormatError);
    }
  });

  it('frames of zstd that are to be skipped are skipped, and endless ones refused', () => {
    const skipped = Uint8Array.of(0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4);
    const [first = skipped, , last = skipped] = packed('zstd');
    const row = new Uint8Array(Buffer.concat([skipped, first, skipped, last, skipped]));
    expect(same(decompress('zstd', row, MAX), whole)).toBe(true);
    const many = new Uint8Array(Buffer.concat(new Array<Uint8Array>(10_000).fill(skipped)));
    expect(() => decompress('zstd', many, MAX)).toThrow(ByteFormatError);
  });
});

describe('the lz4 decoder', () => {
  const MAGIC = [0x04, 0x22, 0x4d, 0x18];
  /** A frame of hand-made blocks. Flags: 0x40 version, 0x20 independent, 0x10 block sums, 0x08 size, 0x04 content sum. */
  const frame = (flags: number, blocks: readonly Uint8Array[], content?: Uint8Array, blockCode = 4): Uint8Array => {
    const descriptor = [flags, blockCode << 4, ...(flags & 8 ? uint32(content?.length ?? 0).concat(0, 0, 0, 0) : [])];
    const headerSum = (xxh32.hash(0, Uint8Array.from(descriptor), 0, descriptor.length) >>> 8) & 0xff;
    const bytes = [...MAGIC, ...descriptor, headerSum];
    for (const block of blocks) {
      bytes.push(...uint32(block.length), ...block);
      if (flags & 0x10) bytes.push(...uint32(xxh32.hash(0, block, 0, block.length)));
    }
    bytes.push(0, 0, 0, 0);
    if (flags & 4 && content !== undefined) bytes.push(...uint32(xxh32.hash(0, content, 0, content.length)));
    return Uint8Array.from(bytes);
  };
  const uint32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 255);
  const ascii = (text: string): number[] => [...new TextEncoder().encode(text)];
  /** Literals "abcd", then a match of 8 from 4 back, then literals "xyz". */
  const block = Uint8Array.of(0x44, ...ascii('abcd'), 4, 0, 0x30, ...ascii('xyz'));
  const decoded = new Uint8Array(ascii('abcdabcdabcdxyz'));
  /** No literals; a match of 6 from 15 back: into the block before. Then "!". */
  const linked = Uint8Array.of(0x02, 15, 0, 0x10, ...ascii('!'));
  const decodedLinked = new Uint8Array([...decoded, ...ascii('abcdab!')]);

  it('reads blocks, linked blocks, and every checksum and size a frame may have', () => {
    expect(decompressLz4(frame(0x60, [block]), MAX)).toEqual(decoded);
    expect(decompressLz4(frame(0x70, [block]), MAX)).toEqual(decoded);
    expect(decompressLz4(frame(0x6c, [block], decoded), MAX)).toEqual(decoded);
    expect(decompressLz4(frame(0x7c, [block], decoded), MAX)).toEqual(decoded);
    expect(decompressLz4(frame(0x40, [block, linked]), MAX)).toEqual(decodedLinked);
    expect(decompressLz4(frame(0x5c, [block, linked], decodedLinked, 7), MAX)).toEqual(decodedLinked);
    expect(decompressLz4(frame(0x60, []), MAX)).toHaveLength(0);
  });

  it.each([
    ['a wrong content checksum', frame(0x64, [block], new Uint8Array(15))],
    ['a match into the block before, where blocks are independent', frame(0x60, [block, linked])],
    ['a distance of 0', frame(0x60, [Uint8Array.of(0x14, 97, 0, 0, 0x10, 98)])],
    ['a distance before the beginning', frame(0x60, [Uint8Array.of(0x14, 97, 2, 0, 0x10, 98)])],
    ['a distance before the beginning, in linked blocks', frame(0x40, [Uint8Array.of(0x14, 97, 2, 0, 0x10, 98)])],
    ['literals that are not there', frame(0x60, [Uint8Array.of(0xf0, 255, 255, 255)])],
    ['a match that is cut short', frame(0x60, [Uint8Array.of(0x14, 97, 1)])],
    ['a length that never ends', frame(0x60, [Uint8Array.of(0x1f, 97, 1, 0, 255, 255, 255)])],
    [
      'a block larger than the frame allows',
      frame(0x60, [Uint8Array.of(0x1f, 97, 1, 0, ...new Array<number>(258).fill(255), 0)]),
    ],
    ['an unknown version', frame(0x20, [block])],
    ['a block size of 3', frame(0x60, [block], undefined, 3)],
    ['a dictionary', frame(0x61, [block])],
    ['a wrong header checksum', frame(0x60, [block]).map((byte, i) => (i === 6 ? byte ^ 1 : byte))],
    ['another magic', frame(0x60, [block]).map((byte, i) => (i === 0 ? 5 : byte))],
    ['bytes after its end', new Uint8Array([...frame(0x60, [block]), 0])],
    ['no end mark', frame(0x60, [block]).subarray(0, -4)],
    ['a stored block larger than the frame allows', stored(65_537)],
  ])('refuses %s', (_what, bytes) => {
    expect(() => decompressLz4(bytes, MAX)).toThrow(ByteFormatError);
  });

  function stored(length: number): Uint8Array {
    const whole = compressLz4(noise(100, 1));
    const head = whole.subarray(0, 7);
    return new Uint8Array([...head, ...uint32((length | 0x8000_0000) >>> 0), ...new Uint8Array(length), 0, 0, 0, 0]);
  }

  it('is bounded by what it is told, not by what the frame says', () => {
    const bomb = frame(0x60, [Uint8Array.of(0x1f, 97, 1, 0, ...new Array<number>(250).fill(255), 0, 0x10, 98)]);
    expect(decompressLz4(bomb, MAX)).toHaveLength(1 + 4 + 15 + 250 * 255 + 1);
    expect(() => decompressLz4(bomb, 1_000)).toThrow(ByteFormatError);
  });

  it('reads what the library makes, whose blocks are linked', () => {
    const library = lz4js as unknown as { compress(content: Uint8Array): Uint8Array };
    const content = new Uint8Array([...noise(3_000, 5), ...noise(3_000, 5), ...new Uint8Array(200_000)]);
    expect(same(decompressLz4(library.compress(content), MAX), content)).toBe(true);
  });

  it('never does worse than to refuse', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, independent) => {
        try {
          expect(decompressLz4(frame(independent ? 0x60 : 0x40, [bytes]), 10_000).length).toBeLessThanOrEqual(10_000);
        } catch (error) {
          expect(error).toBeInstanceOf(ByteFormatError);
        }
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('the snappy decoder', () => {
  const ascii = (text: string): number[] => [...new TextEncoder().encode(text)];

  it.each([
    ['nothing', [0], ''],
    ['a literal', [3, 8, ...ascii('abc')], 'abc'],
    ['a near copy that overlaps', [8, 0, 97, 0x0d, 1], 'aaaaaaaa'],
    ['a copy with a distance of two bytes', [6, 4, ...ascii('ab'), 0x0e, 2, 0], 'ababab'],
    ['a copy with a distance of four bytes', [6, 4, ...ascii('ab'), 0x0f, 2, 0, 0, 0], 'ababab'],
    ['literals with long lengths', [3, 0xf0, 0, 97, 0xf4, 0, 0, 98, 0xfc, 0, 0, 0, 0, 99], 'abc'],
  ])('reads %s', (_what, bytes, expected) => {
    expect(new TextDecoder().decode(decompressSnappyBlock(Uint8Array.from(bytes), MAX))).toBe(expected);
  });

  it.each([
    ['no bytes at all', []],
    ['less than it claims', [4, 8, ...ascii('abc')]],
    ['more than it claims', [2, 8, ...ascii('abc')]],
    ['a copy past what it claims', [7, 0, 97, 0x0d, 1]],
    ['a distance of 0', [8, 0, 97, 0x0d, 0]],
    ['a distance before the beginning', [8, 0, 97, 0x0d, 2]],
    ['a distance of 2^32 − 1', [8, 0, 97, 0x1b, 255, 255, 255, 255]],
    ['a literal that is cut short', [3, 8, 97]],
    ['a copy that is cut short', [8, 0, 97, 0x0d]],
    ['a literal of a negative length', [10, 0xfc, 0xfa, 0xff, 0xff, 0xff, 0, 0]],
    ['more than is allowed', [0x81, 0x80, 0x80, 0x02, 0, 0]],
  ])('refuses %s', (_what, bytes) => {
    expect(() => decompressSnappyBlock(Uint8Array.from(bytes), MAX)).toThrow(ByteFormatError);
  });

  it('never does worse than to refuse', () => {
    fc.assert(
      fc.property(fc.nat(400), fc.uint8Array({ maxLength: 100 }), (claimed, bytes) => {
        const block = Uint8Array.from([(claimed & 0x7f) | 0x80, claimed >> 7, ...bytes]);
        try {
          expect(decompressSnappyBlock(block, 1_000)).toHaveLength(claimed);
        } catch (error) {
          expect(error).toBeInstanceOf(ByteFormatError);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
