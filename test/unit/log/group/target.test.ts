import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteWriter } from '../../../../shared/log/bytes.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { assign } from '../../../../shared/log/group/assign.ts';
import { withCrc } from '../../../../shared/log/group/checked-bytes.ts';
import { countPartitions, NO_PARTITIONS, partitionSet } from '../../../../shared/log/group/partition-set.ts';
import { packTarget, shareOf, type TargetAssignment, unpackTarget } from '../../../../shared/log/group/target.ts';
import { itIsPacked } from '../../../support/packed-format.ts';

const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const targetArbitrary: fc.Arbitrary<TargetAssignment> = fc
  .uniqueArray(fc.record({ key: fc.string({ minLength: 1 }), subscriptionHash: uint32, topicsHash: uint32 }), {
    selector: ({ key }) => key,
    maxLength: 5,
  })
  .chain((members) => {
    const owner = fc.integer({ min: -1, max: members.length - 1 });
    const oneByOne = fc.array(owner, { maxLength: 40 });
    const runs = fc.array(fc.tuple(owner, fc.nat(200)), { maxLength: 4 });
    const owners = fc.oneof(
      oneByOne,
      runs.map((list) => list.flatMap(([one, length]) => Array.from({ length }, () => one))),
    );
    const topics = fc.uniqueArray(fc.tuple(fc.string({ minLength: 1, maxLength: 3 }), owners), {
      selector: ([id]) => id,
      maxLength: 4,
    });
    return topics.map((list) => ({
      members,
      topics: new Map(list.map(([id, numbers]) => [id, Int32Array.from(numbers)])),
    }));
  });

/** As a group of 1,000 members gets it. */
function largeTarget(topicCount: number, partitions: number): TargetAssignment {
  const topics = Array.from({ length: topicCount }, (_, i) => ({
    topicId: `topic-${i}`.padEnd(22, '-'),
    name: `t${i}`,
    partitions,
  }));
  const keys = Array.from({ length: 1_000 }, (_, i) => `m:${`${i}`.padStart(32, '0')}`);
  const members = keys.map((key) => ({ key, topics: topics.map(({ topicId }) => topicId), owned: NO_PARTITIONS }));
  return {
    members: keys.map((key, i) => ({ key, subscriptionHash: i, topicsHash: 2 ** 32 - 1 - i })),
    topics: assign('uniform', members, topics),
  };
}

describe('a packed target', () => {
  itIsPacked({
    arbitrary: targetArbitrary,
    pack: packTarget as (value: unknown) => Uint8Array,
    unpack: unpackTarget,
    cutsMax: 50,
  });

  it('is refused with any bit flipped', () => {
    const packed = packTarget({
      members: [
        { key: 'm:a', subscriptionHash: 1, topicsHash: 2 },
        { key: 'i:b', subscriptionHash: 3, topicsHash: 4 },
      ],
      topics: new Map([
        ['x', Int32Array.of(0, 1, -1)],
        ['y', Int32Array.of(0, 0, 0, 0, 0, 0, 1, 1, 1, 1)],
      ]),
    });
    for (let bit = 0; bit < packed.length * 8; bit++) {
      const damaged = packed.map((byte, i) => (i === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
      expect(() => unpackTarget(damaged)).toThrow(expect.objectContaining({ code: 'corrupt_data' }));
    }
  });

  it('takes 2 bytes at most for each partition of 1,000 members, and less for runs', () => {
    const bytesOf = (target: TargetAssignment): number => packTarget(target).length;
    const members = bytesOf({ members: largeTarget(1, 1).members, topics: new Map() });
    const many = bytesOf(largeTarget(1_000, 10));
    const one = bytesOf(largeTarget(1, 10_000));
    expect(members).toBeLessThan(44_000);
    expect(one - members).toBeLessThan(8_000);
    expect(many - members).toBeLessThan(1_000 * (22 + 4 + 20));
    const target = largeTarget(1, 10_000);
    const scattered = Int32Array.from({ length: 10_000 }, (_, i) => (i * 7) % 1_000);
    expect(bytesOf({ ...target, topics: new Map([['x', scattered]]) }) - members).toBeLessThan(20_010);
    expect(unpackTarget(packTarget(target))).toEqual(target);
  });

  const bytes = (write: (writer: ByteWriter) => void): Uint8Array => {
    const writer = new ByteWriter();
    write(writer);
    return withCrc(writer.finish());
  };
  const member = (writer: ByteWriter, key: number): void => {
    for (const byte of [1, key, 0, 0, 0, 1, 0, 0, 0, 2]) writer.uint8(byte);
  };
  /** Version, one member, one topic `t`, and then the given bytes. */
  const withTopic = (...rest: number[]): Uint8Array =>
    bytes((writer) => {
      writer.varuint(1);
      writer.varuint(1);
      member(writer, 97);
      for (const byte of [1, 1, 116, ...rest]) writer.uint8(byte);
    });

  it('is read as it is written by hand', () => {
    expect(unpackTarget(withTopic(2, 0, 1, 0)).topics).toEqual(new Map([['t', Int32Array.of(0, -1)]]));
    expect(unpackTarget(withTopic(3, 1, 2, 1, 1, 0)).topics).toEqual(new Map([['t', Int32Array.of(0, 0, -1)]]));
  });

  it.each<[why: string, packed: Uint8Array]>([
    ['nothing', new Uint8Array()],
    ['another version', bytes((writer) => writer.varuint(2))],
    ['a member that there is not', withTopic(1, 0, 2)],
    ['a member that there is not, in a run', withTopic(3, 1, 3, 2)],
    ['an unknown form', withTopic(1, 2, 1)],
    ['an unknown form of no partitions', withTopic(0, 2)],
    ['an empty run', withTopic(2, 1, 0, 1, 2, 1)],
    ['a run that is too long', withTopic(2, 1, 3, 1)],
    ['too few owners', withTopic(3, 0, 1, 1)],
    ['more partitions than a topic can have', withTopic(0x91, 0x4e, 1, 0x91, 0x4e, 1)],
    ['bytes that follow', withTopic(1, 0, 1, 0)],
    [
      'a member twice',
      bytes((writer) => {
        writer.varuint(1);
        writer.varuint(2);
        member(writer, 97);
        member(writer, 97);
        writer.varuint(0);
      }),
    ],
    [
      'a topic twice',
      bytes((writer) => {
        for (const byte of [1, 0, 2, 1, 116, 0, 0, 1, 116, 0, 0]) writer.uint8(byte);
      }),
    ],
    [
      'more members than bytes',
      bytes((writer) => {
        writer.varuint(1);
        writer.varuint(2 ** 40);
      }),
    ],
  ])('with %s is refused', (_, packed) => {
    expect(() => unpackTarget(packed)).toThrow(expect.objectContaining({ code: 'corrupt_data' }));
  });

  it('is never written with a member that there is not, or more partitions than a topic can have', () => {
    const [one] = largeTarget(1, 1).members;
    const members = one === undefined ? [] : [one];
    for (const owners of [Int32Array.of(1), Int32Array.of(-2), new Int32Array(10_001)])
      expect(() => packTarget({ members, topics: new Map([['t', owners]]) })).toThrow(EventLogError);
    expect(() => packTarget({ members, topics: new Map([['t', new Int32Array(10_000)]]) })).not.toThrow();
  });
});

describe('the share of a member', () => {
  it('has the partitions that the target gives it, in order', () => {
    fc.assert(
      fc.property(targetArbitrary, (target) => {
        for (const [index, { key }] of target.members.entries()) {
          const expected = partitionSet(
            [...target.topics].flatMap(([topicId, owners]) =>
              [...owners].flatMap((owner, partition): [string, number][] =>
                owner === index ? [[topicId, partition]] : [],
              ),
            ),
          );
          const share = shareOf(target, key);
          expect([...(share ?? [])]).toEqual([...expected]);
        }
        expect(shareOf(target, 'm:nobody')).toBeUndefined();
      }),
    );
  });

  it('is found for each of 1,000 members', () => {
    const target = largeTarget(100, 100);
    const shares = target.members.map(({ key }) => shareOf(target, key) ?? NO_PARTITIONS);
    expect(shares.map(countPartitions)).toEqual(shares.map(() => 10));
  });
});
