import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EventLogError } from '../../../../shared/log/errors.ts';
import {
  countPartitions,
  difference,
  eachPartition,
  hasPartition,
  intersection,
  NO_PARTITIONS,
  type PartitionSet,
  packPartitions,
  pagesOf,
  partitionSet,
  samePartitions,
  union,
  unpackPartitions,
} from '../../../../shared/log/group/partition-set.ts';
import { itIsPacked } from '../../../support/packed-format.ts';

const entryArbitrary = fc.tuple(
  fc.constantFrom('a', 'b', 'AAECAwQFBgcICQoLDA0ODw', 'ä€', 'Z'),
  fc.oneof(fc.nat(40), fc.nat(9_999)),
);
const entriesArbitrary = fc.array(entryArbitrary, { maxLength: 60 });
const setArbitrary = entriesArbitrary.map(partitionSet);

/** The same as plain values, which JavaScript's own sets can hold. */
const plain = (entries: Iterable<readonly [string, number]>): Set<string> =>
  new Set([...entries].map(([topicId, partition]) => `${topicId} ${partition}`));
const plainSet = (set: PartitionSet): Set<string> => plain(eachPartition(set));

/** What the type promises of each set. */
function expectInOrder(set: PartitionSet): void {
  expect([...set.keys()]).toEqual([...set.keys()].sort());
  for (const partitions of set.values()) {
    expect(partitions.length).toBeGreaterThan(0);
    expect(partitions).toEqual([...new Set(partitions)].sort((a, b) => a - b));
  }
}

describe('a set of partitions', () => {
  it('has the partitions it is made of, in order', () => {
    fc.assert(
      fc.property(entriesArbitrary, entryArbitrary, (entries, [topicId, partition]) => {
        const set = partitionSet(entries);
        expectInOrder(set);
        expect(plainSet(set)).toEqual(plain(entries));
        expect(countPartitions(set)).toBe(plain(entries).size);
        for (const [id, number] of entries) expect(hasPartition(set, id, number)).toBe(true);
        expect(hasPartition(set, topicId, partition)).toBe(plain(entries).has(`${topicId} ${partition}`));
      }),
    );
  });

  it('is joined, cut and subtracted like any set', () => {
    fc.assert(
      fc.property(setArbitrary, setArbitrary, (a, b) => {
        const [first, second] = [plainSet(a), plainSet(b)];
        for (const [set, expected] of [
          [union(a, b), [...first, ...second]],
          [intersection(a, b), [...first].filter((name) => second.has(name))],
          [difference(a, b), [...first].filter((name) => !second.has(name))],
        ] as const) {
          expectInOrder(set);
          expect(plainSet(set)).toEqual(new Set(expected));
        }
        expect(samePartitions(union(a, b), union(b, a))).toBe(true);
        expect(samePartitions(difference(a, a), NO_PARTITIONS)).toBe(true);
      }),
    );
  });

  it('is the same as another with the same partitions, in whatever order they were named', () => {
    fc.assert(
      fc.property(entriesArbitrary, entriesArbitrary, (a, b) => {
        expect(samePartitions(partitionSet(a), partitionSet([...a].reverse()))).toBe(true);
        const same = [...plain(a)].sort().join() === [...plain(b)].sort().join();
        expect(samePartitions(partitionSet(a), partitionSet(b))).toBe(same);
      }),
    );
    const set = (...entries: [string, number][]): PartitionSet => partitionSet(entries);
    expect(samePartitions(set(['a', 0]), set(['b', 0]))).toBe(false);
    expect(samePartitions(set(['a', 0]), set(['a', 0], ['a', 1]))).toBe(false);
    expect(samePartitions(set(['a', 0], ['a', 1]), set(['a', 0]))).toBe(false);
    expect(samePartitions(set(['a', 0]), set(['a', 1]))).toBe(false);
  });

  it('is divided into pages of 16 partitions', () => {
    fc.assert(
      fc.property(setArbitrary, (set) => {
        const pages = pagesOf(set);
        expect(
          pages.flatMap(({ topicId, partitions }) => partitions.map((p): [string, number] => [topicId, p])),
        ).toEqual([...eachPartition(set)]);
        for (const { page, partitions } of pages)
          expect(partitions.every((partition) => partition >> 4 === page)).toBe(true);
        expect(new Set(pages.map(({ topicId, page }) => `${topicId} ${page}`)).size).toBe(pages.length);
      }),
    );
    // Pages are in order of topic ids although the map, which another module made, is not.
    const pages = pagesOf(
      new Map([
        ['b', [15, 16]],
        ['a', [31]],
      ]),
    );
    expect(pages).toEqual([
      { topicId: 'a', page: 1, partitions: [31] },
      { topicId: 'b', page: 0, partitions: [15] },
      { topicId: 'b', page: 1, partitions: [16] },
    ]);
  });
});

describe('a packed set', () => {
  itIsPacked({
    arbitrary: setArbitrary,
    pack: packPartitions as (value: unknown) => Uint8Array,
    unpack: unpackPartitions,
  });

  const all = partitionSet(Array.from({ length: 10_000 }, (_, i) => ['AAECAwQFBgcICQoLDA0ODw', i]));

  it('of 10,000 partitions takes 2 KB', () => {
    const packed = packPartitions(all);
    expect(packed.length).toBeLessThan(2_000);
    expect(samePartitions(unpackPartitions(packed), all)).toBe(true);
  });

  it('is the same bytes in whatever order topics were named', () => {
    const topics: [string, number[]][] = [
      ['b', [1]],
      ['a', [2]],
    ];
    expect(packPartitions(new Map(topics))).toEqual(packPartitions(new Map(topics.toReversed())));
  });

  it.each<[why: string, bytes: number[]]>([
    ['a topic twice', [1, 2, 1, 97, 1, 0, 0, 1, 1, 97, 1, 0, 0, 1]],
    ['topics out of order', [1, 2, 1, 98, 1, 0, 0, 1, 1, 97, 1, 0, 0, 1]],
    ['a topic without an id', [1, 1, 0, 1, 0, 0, 1]],
    ['an id that is not UTF-8', [1, 1, 1, 0xff, 1, 0, 0, 1]],
    ['a topic without pages', [1, 1, 1, 97, 0]],
    ['a page without partitions', [1, 1, 1, 97, 1, 0, 0, 0]],
    ['a partition that no topic can have', [1, 1, 1, 97, 1, 0xf1, 4, 0, 1]],
    ['a page beyond all numbers', [1, 1, 1, 97, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 1]],
    ['more topics than bytes', [1, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 97, 1, 0, 0, 1]],
    ['more pages than bytes', [1, 1, 1, 97, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 1]],
    ['an id longer than the bytes', [1, 1, 0xff, 0xff, 0xff, 0xff, 0x7f, 97]],
  ])('with %s is refused', (_, bytes) => {
    expect(() => unpackPartitions(Uint8Array.from(bytes))).toThrow(
      expect.objectContaining({ code: 'corrupt_data' }) as EventLogError,
    );
  });

  it('is never written with a partition that no topic can have', () => {
    for (const partition of [-1, 0.5, 10_000, Number.NaN])
      expect(() => packPartitions(new Map([['a', [partition]]])), `${partition}`).toThrow(EventLogError);
    expect(unpackPartitions(packPartitions(new Map([['a', [9_999]]])))).toEqual(new Map([['a', [9_999]]]));
  });
});
