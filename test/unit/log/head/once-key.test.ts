import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toHex } from '../../../../shared/log/bytes.ts';
import {
  batchOnceKey,
  fenceKeysBelow,
  fenceKeysOf,
  firstBatchOnceKey,
  idempotencyOnceKey,
} from '../../../../shared/log/head/once-key.ts';
import { PRODUCER_EPOCH_MAX } from '../../../../shared/log/limits.ts';

const epochArbitrary = fc.oneof(
  fc.nat(PRODUCER_EPOCH_MAX),
  fc.nat(100),
  fc.constantFrom(0, 31, 32, 33, 1_023, 1_024, 1_025, 32_735, PRODUCER_EPOCH_MAX),
);

describe('fence keys', () => {
  const isFenced = (epoch: number, from: number, below: number): boolean => {
    const left = new Set(fenceKeysBelow(3, 7, from, below).map(toHex));
    return fenceKeysOf(3, 7, epoch).some((key) => left.has(toHex(key)));
  };

  it('shut out exactly the epochs below', () => {
    fc.assert(
      fc.property(epochArbitrary, epochArbitrary, epochArbitrary, (a, b, epoch) => {
        const [from, below] = a < b ? [a, b] : [b, a];
        if (epoch >= below) expect(isFenced(epoch, from, below)).toBe(false);
        else if (epoch >= from) expect(isFenced(epoch, from, below)).toBe(true);
      }),
      { numRuns: 5_000 },
    );
  });

  it('shut out each epoch below, and none above, at every step of two digits', () => {
    for (const [from, below] of [
      [0, 1],
      [0, 33],
      [30, 70],
      [0, 1_024],
      [1_000, 1_100],
      [0, 2_050],
    ] as const) {
      for (let epoch = from; epoch < 2_100; epoch++) expect(isFenced(epoch, from, below)).toBe(epoch < below);
    }
  });

  it('are few: 93 at most, and one where epochs go up by one within a digit', () => {
    let most = 0;
    for (let below = 0; below <= PRODUCER_EPOCH_MAX; below++)
      most = Math.max(most, fenceKeysBelow(0, 1, 0, below).length);
    expect(most).toBe(93);
    expect(fenceKeysBelow(0, 1, 4, 5)).toHaveLength(1);
    expect(fenceKeysBelow(0, 1, 5, 5)).toHaveLength(0);
    expect(fenceKeysOf(0, 1, PRODUCER_EPOCH_MAX)).toHaveLength(3);
  });

  it('are of one producer in one slot', () => {
    const left = new Set(fenceKeysBelow(2, 8, 0, PRODUCER_EPOCH_MAX).map(toHex));
    expect(fenceKeysOf(2, 9, 5).some((key) => left.has(toHex(key)))).toBe(false);
    expect(fenceKeysOf(3, 8, 5).some((key) => left.has(toHex(key)))).toBe(false);
  });
});

it('no two once keys that mean different things are the same', () => {
  const safe = fc.oneof(fc.nat(300), fc.maxSafeNat());
  const keyArbitrary = fc.oneof(
    fc
      .tuple(fc.nat(15), safe, epochArbitrary, fc.nat(2 ** 31 - 1))
      .map((parts) => ({ name: `batch ${parts}`, keys: [batchOnceKey(...parts)] })),
    fc
      .tuple(fc.nat(15), safe, epochArbitrary)
      .map((parts) => ({ name: `fence ${parts}`, keys: fenceKeysOf(...parts).slice(0, 1) })),
    fc.tuple(fc.nat(15), safe).map((parts) => ({ name: `first batch ${parts}`, keys: [firstBatchOnceKey(...parts)] })),
    fc
      .uint8Array({ minLength: 16, maxLength: 16 })
      .map((hash) => ({ name: `key ${toHex(hash)}`, keys: [idempotencyOnceKey(hash)] })),
  );
  fc.assert(
    fc.property(keyArbitrary, keyArbitrary, (a, b) => {
      for (const x of a.keys) for (const y of b.keys) expect(toHex(x) === toHex(y)).toBe(a.name === b.name);
    }),
    { numRuns: 2_000 },
  );
});

it('a key that cannot be written leaves nothing in the next one', () => {
  const key = toHex(batchOnceKey(1, 2, 3, 4));
  expect(() => batchOnceKey(1, 2, 3, -1)).toThrow();
  expect(toHex(batchOnceKey(1, 2, 3, 4))).toBe(key);
});
