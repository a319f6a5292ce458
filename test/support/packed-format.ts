import fc from 'fast-check';
import { expect, it } from 'vitest';
import { EventLogError } from '../../shared/log/errors.ts';

/** A persisted format that begins with its version and refuses all other bytes as `corrupt_data`. */
export interface PackedFormat {
  readonly arbitrary: fc.Arbitrary<unknown>;
  readonly pack: (value: unknown) => Uint8Array;
  readonly unpack: (packed: Uint8Array) => unknown;
  /** A long format is cut at only some of its lengths. */
  readonly cutsMax?: number;
}

/** The tests of a packed format: round trips, and bytes that are cut, longer, changed or random. */
export function itIsPacked({ arbitrary, pack, unpack, cutsMax = Number.POSITIVE_INFINITY }: PackedFormat): void {
  /** What was read, or that it was refused as corrupt; anything else that is thrown fails. */
  const read = (bytes: Uint8Array): unknown => {
    try {
      return unpack(bytes);
    } catch (error) {
      if (error instanceof EventLogError && error.code === 'corrupt_data') return 'corrupt';
      throw error;
    }
  };

  it('comes back as it was', () => {
    fc.assert(
      fc.property(arbitrary, (value) => {
        expect(unpack(pack(value))).toEqual(value);
      }),
      { numRuns: 300 },
    );
  });

  it('is refused cut short, with a byte more, or of another version', () => {
    fc.assert(
      fc.property(arbitrary, fc.nat(255), (value, more) => {
        const packed = pack(value);
        const step = Math.max(1, Math.floor(packed.length / cutsMax));
        for (let length = 0; length < packed.length; length += step)
          expect(read(packed.subarray(0, length))).toBe('corrupt');
        expect(read(Uint8Array.from([...packed, more]))).toBe('corrupt');
        expect(read(packed.map((byte, i) => (i === 0 ? byte + 1 : byte)))).toBe('corrupt');
      }),
      { numRuns: 50 },
    );
  });

  it('with any byte changed, or of random bytes, is refused or is something else that can be written', () => {
    fc.assert(
      fc.property(arbitrary, fc.nat(), fc.nat(255), fc.uint8Array({ maxLength: 60 }), (value, at, byte, random) => {
        const packed = pack(value);
        const changed = packed.map((old, i) => (i === at % packed.length ? byte : old));
        for (const bytes of [changed, random, Uint8Array.from([1, ...random])]) {
          const found = read(bytes);
          if (found !== 'corrupt') expect(() => pack(found)).not.toThrow();
        }
      }),
      { numRuns: 1_000 },
    );
  });
}
