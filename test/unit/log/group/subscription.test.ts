import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkSubscription,
  packSubscription,
  type Subscription,
  subscriptionHash,
  unpackSubscription,
} from '../../../../shared/log/group/subscription.ts';
import { itIsPacked } from '../../../support/packed-format.ts';

const nameArbitrary = fc.stringMatching(/^[a-zA-Z0-9._-]{1,20}$/).filter((name) => name !== '.' && name !== '..');
const subscriptionArbitrary: fc.Arbitrary<Subscription> = fc
  .record({
    topics: fc.uniqueArray(nameArbitrary, { maxLength: 6 }),
    pattern: fc.option(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 }), { nil: undefined }),
  })
  .map(({ topics, pattern }) => (pattern === undefined ? { topics } : { topics, pattern }));

const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `t${i}`);

describe('a subscription', () => {
  it.each<Subscription>([
    { topics: ['a'] },
    { topics: [], pattern: 'x' },
    { topics: names(1_000), pattern: 'x'.repeat(1_000) },
  ])('is accepted', (subscription) => {
    expect(() => checkSubscription(subscription)).not.toThrow();
  });

  it.each<[why: string, subscription: Subscription, field: string, says: RegExp]>([
    ['nothing', { topics: [] }, 'topics', /at least one topic/],
    ['too many names', { topics: names(1_001) }, 'topics', /at most 1000 .* 1001/],
    ['a name twice', { topics: ['a', 'b', 'a'] }, 'topics', /'a' twice/],
    ['a wrong name', { topics: ['a', 'ä'] }, 'topics', /letters/],
    ['an empty name', { topics: [''] }, 'topics', /1 to 249/],
    ['an empty pattern', { topics: ['a'], pattern: '' }, 'topicPattern', /1 to 1000 .* 0/],
    ['a long pattern', { topics: [], pattern: 'x'.repeat(1_001) }, 'topicPattern', /1 to 1000 .* 1001/],
  ])('with %s is refused', (_, subscription, field, says) => {
    expect(() => checkSubscription(subscription)).toThrow(
      expect.objectContaining({
        code: 'invalid_request',
        message: expect.stringMatching(says),
        details: expect.objectContaining({ field }),
      }),
    );
  });
});

describe('a packed subscription', () => {
  itIsPacked({
    arbitrary: subscriptionArbitrary,
    pack: packSubscription as (value: unknown) => Uint8Array,
    unpack: unpackSubscription,
  });

  it('is refused with any bit flipped', () => {
    const packed = packSubscription({ topics: ['orders', 'payments'], pattern: 'x.*' });
    for (let bit = 0; bit < packed.length * 8; bit++) {
      const damaged = packed.map((byte, i) => (i === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
      expect(() => unpackSubscription(damaged)).toThrow(expect.objectContaining({ code: 'corrupt_data' }));
    }
  });
});

describe('the hash of a subscription', () => {
  it('is the same for the same names in another order, and nearly always another one otherwise', () => {
    fc.assert(
      fc.property(subscriptionArbitrary, subscriptionArbitrary, (a, b) => {
        const sorted = (one: Subscription): Subscription => ({ ...one, topics: one.topics.toSorted() });
        expect(subscriptionHash({ ...a, topics: a.topics.toReversed() })).toBe(subscriptionHash(a));
        const isSame = JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
        expect(subscriptionHash(a) === subscriptionHash(b)).toBe(isSame);
      }),
    );
  });

  it('is persisted', () => {
    expect(subscriptionHash({ topics: ['b', 'a'], pattern: 'c' })).toBe(1005926120);
    expect(subscriptionHash({ topics: ['a'] })).toBe(2522455086);
  });

  it('tells names from a pattern and from other divisions into names', () => {
    const hashes = [
      { topics: ['a', 'b'] },
      { topics: ['ab'] },
      { topics: ['a'], pattern: 'b' },
      { topics: [], pattern: 'ab' },
      { topics: ['a'] },
    ].map(subscriptionHash);
    expect(new Set(hashes).size).toBe(hashes.length);
  });
});
