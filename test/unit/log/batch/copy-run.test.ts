import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { copyLiterals, copyMatch } from '../../../../shared/log/batch/copy-run.ts';
import { compressLz4, decompressLz4 } from '../../../../shared/log/batch/lz4.ts';
import { decompressSnappyBlock } from '../../../../shared/log/batch/snappy.ts';
import { ByteFormatError } from '../../../../shared/log/bytes.ts';

/** Beyond both lengths from which on copies are made by a call. */
const LENGTH_MAX = 140;
const MAX = 1024 * 1024;

/** Bytes of which no two neighbours are alike for long. */
const source = Uint8Array.from({ length: 2 * LENGTH_MAX }, (_, i) => (i * 7 + (i >> 3)) & 255);

describe('a copy of a run', () => {
  it('of literals of every length writes these bytes and no others', () => {
    for (let length = 0; length <= LENGTH_MAX; length++) {
      const to = new Uint8Array(LENGTH_MAX + 20).fill(0xee);
      copyLiterals(source, 3, to, 5, length);
      const expected = new Uint8Array(LENGTH_MAX + 20).fill(0xee);
      for (let i = 0; i < length; i++) expected[5 + i] = source[3 + i] as number;
      expect(Buffer.compare(to, expected), `length ${length}`).toBe(0);
    }
  });

  it('of a match of every length and distance repeats byte by byte, and writes no others', () => {
    for (let distance = 1; distance <= LENGTH_MAX; distance++) {
      for (let length = 0; length <= LENGTH_MAX; length++) {
        const bytes = new Uint8Array(2 * LENGTH_MAX + 20).fill(0xee);
        bytes.set(source.subarray(0, LENGTH_MAX));
        const expected = bytes.slice();
        copyMatch(bytes, LENGTH_MAX, distance, length);
        for (let i = 0; i < length; i++) expected[LENGTH_MAX + i] = expected[LENGTH_MAX + i - distance] as number;
        expect(Buffer.compare(bytes, expected), `length ${length}, distance ${distance}`).toBe(0);
      }
    }
  });
});

/** What a block says to do, one after the other: literals of a length, then a match if it has a distance. */
interface Step {
  readonly literals: number;
  readonly distance: number;
  readonly length: number;
}

/** The content that the steps make, and the steps that can be made: a distance is never beyond the beginning. */
function play(steps: readonly Step[]): { readonly content: Uint8Array; readonly steps: readonly Step[] } {
  const content: number[] = [];
  let taken = 0;
  const made = steps.map(({ literals, distance, length }) => {
    for (let i = 0; i < literals; i++) content.push((taken++ * 7) & 255);
    const reached = Math.min(distance, content.length);
    for (let i = 0; i < length; i++) content.push(content[content.length - reached] as number);
    return { literals, distance: reached, length };
  });
  return { content: Uint8Array.from(content), steps: made };
}

/** The literals of `play`, from a position on. */
const literalBytes = (from: number, length: number): number[] =>
  Array.from({ length }, (_, i) => ((from + i) * 7) & 255);

function lz4Block(steps: readonly Step[]): Uint8Array {
  const bytes: number[] = [];
  const extended = (length: number): number[] => {
    if (length < 15) return [];
    const rest = length - 15;
    return [...new Array<number>(Math.floor(rest / 255)).fill(255), rest % 255];
  };
  let taken = 0;
  for (const { literals, distance, length } of steps) {
    const match = length - 4;
    bytes.push((Math.min(15, literals) << 4) | Math.min(15, match), ...extended(literals));
    bytes.push(...literalBytes(taken, literals), distance & 255, distance >> 8, ...extended(match));
    taken += literals;
  }
  // A block ends with literals.
  bytes.push(0x10, ...literalBytes(taken, 1));
  return Uint8Array.from(bytes);
}

function lz4Frame(block: Uint8Array): Uint8Array {
  const header = compressLz4(new Uint8Array(0)).subarray(0, 7);
  const size = [0, 8, 16, 24].map((shift) => (block.length >>> shift) & 255);
  return Uint8Array.from([...header, ...size, ...block, 0, 0, 0, 0]);
}

function snappyBlock(content: Uint8Array, steps: readonly Step[]): Uint8Array {
  const bytes: number[] = [];
  for (let rest = content.length; ; rest >>>= 7) {
    bytes.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    if (rest <= 0x7f) break;
  }
  let taken = 0;
  for (const { literals, distance, length } of steps) {
    if (literals > 60) bytes.push(0xf4, (literals - 1) & 255, (literals - 1) >> 8, ...literalBytes(taken, literals));
    else if (literals > 0) bytes.push((literals - 1) << 2, ...literalBytes(taken, literals));
    taken += literals;
    for (let rest = length; rest > 0; rest -= 64) {
      const copied = Math.min(64, rest);
      if (copied >= 4 && copied <= 11 && distance < 2_048)
        bytes.push(((distance >> 8) << 5) | ((copied - 4) << 2) | 1, distance & 255);
      else if (distance % 2 === 0) bytes.push(((copied - 1) << 2) | 2, distance & 255, distance >> 8);
      else bytes.push(((copied - 1) << 2) | 3, distance & 255, distance >> 8, 0, 0);
    }
  }
  return Uint8Array.from(bytes);
}

const stepsArbitrary = fc.array(
  fc.record({
    literals: fc.oneof(fc.nat(20), fc.integer({ min: 40, max: 70 }), fc.nat(400)),
    distance: fc.oneof(
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 50, max: 80 }),
      fc.integer({ min: 1, max: 3_000 }),
    ),
    length: fc.oneof(
      fc.integer({ min: 4, max: 20 }),
      fc.integer({ min: 55, max: 75 }),
      fc.integer({ min: 4, max: 700 }),
    ),
  }),
  { minLength: 1, maxLength: 12 },
);

/** A match needs something before it. */
const withBeginning = (steps: readonly Step[]): Step[] => [{ literals: 1, distance: 1, length: 4 }, ...steps];

describe('blocks of literals and matches of all lengths', () => {
  it('come out of the lz4 decoder as their steps say', () => {
    fc.assert(
      fc.property(stepsArbitrary, (given) => {
        const { content, steps } = play([...withBeginning(given)]);
        const whole = Uint8Array.from([
          ...content,
          ...literalBytes(
            steps.reduce((sum, { literals }) => sum + literals, 0),
            1,
          ),
        ]);
        const frame = lz4Frame(lz4Block(steps));
        expect(Buffer.compare(decompressLz4(frame, MAX), whole)).toBe(0);
        expect(Buffer.compare(decompressLz4(frame, whole.length), whole)).toBe(0);
        expect(() => decompressLz4(frame, whole.length - 1)).toThrow(ByteFormatError);
      }),
      { numRuns: 500 },
    );
  });

  it('come out of the snappy decoder as their steps say', () => {
    fc.assert(
      fc.property(stepsArbitrary, (given) => {
        const { content, steps } = play([...withBeginning(given)]);
        const block = snappyBlock(content, steps);
        expect(Buffer.compare(decompressSnappyBlock(block, MAX), content)).toBe(0);
        expect(() => decompressSnappyBlock(block, content.length - 1)).toThrow(ByteFormatError);
      }),
      { numRuns: 500 },
    );
  });

  const damageArbitrary = fc.record({
    steps: stepsArbitrary,
    flips: fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
    cut: fc.option(fc.nat(), { nil: undefined }),
  });

  it.each<[string, (steps: readonly Step[]) => Uint8Array, (bytes: Uint8Array) => Uint8Array]>([
    ['lz4', (steps) => lz4Block(steps), (block) => decompressLz4(lz4Frame(block), 2_000)],
    ['snappy', (steps) => snappyBlock(play(steps).content, steps), (block) => decompressSnappyBlock(block, 2_000)],
  ])('are refused by the %s decoder or read within bounds when they are damaged', (_, encode, decode) => {
    fc.assert(
      fc.property(damageArbitrary, ({ steps: given, flips, cut }) => {
        const { steps } = play([...withBeginning(given)]);
        const whole = encode(steps);
        const damaged = whole.slice(0, cut === undefined ? whole.length : cut % (whole.length + 1));
        for (const [at, bits] of flips)
          if (damaged.length > 0) damaged[at % damaged.length] = (damaged[at % damaged.length] as number) ^ bits;
        const before = damaged.slice();
        try {
          expect(decode(damaged).length).toBeLessThanOrEqual(2_000);
        } catch (error) {
          expect(error).toBeInstanceOf(ByteFormatError);
        }
        expect(Buffer.compare(damaged, before)).toBe(0);
      }),
      { numRuns: 2_000 },
    );
  });
});
