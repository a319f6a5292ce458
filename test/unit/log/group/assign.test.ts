import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assign } from '../../../../shared/log/group/assign.ts';
import {
  ASSIGNOR_NAMES,
  type Assignment,
  type AssignorMember,
  type AssignorTopic,
} from '../../../../shared/log/group/assignor.ts';
import {
  countPartitions,
  NO_PARTITIONS,
  type PartitionSet,
  pagesOf,
  partitionSet,
} from '../../../../shared/log/group/partition-set.ts';

const topic = (name: string, partitions: number): AssignorTopic => ({ topicId: `id-${name}`, name, partitions });
const member = (key: string, topics: readonly AssignorTopic[], owned = NO_PARTITIONS): AssignorMember => ({
  key,
  topics: topics.map(({ topicId }) => topicId),
  owned,
});
const keysUpTo = (count: number): string[] => Array.from({ length: count }, (_, i) => `m${`${i}`.padStart(4, '0')}`);

function shares(assignment: Assignment, members: readonly AssignorMember[]): PartitionSet[] {
  return members.map((_, index) =>
    partitionSet(
      [...assignment].flatMap(([topicId, owners]) =>
        [...owners].flatMap((owner, partition): [string, number][] => (owner === index ? [[topicId, partition]] : [])),
      ),
    ),
  );
}

/** The members after they have got what they were assigned. */
function settled(assignment: Assignment, members: readonly AssignorMember[]): AssignorMember[] {
  return shares(assignment, members).map((owned, i) => ({ ...(members[i] as AssignorMember), owned }));
}

const loadsOf = (assignment: Assignment, members: readonly AssignorMember[]): number[] =>
  shares(assignment, members).map(countPartitions);

/** Topic and partition -> the member's key, so that lists of members in another order compare. */
function byKey(assignment: Assignment, members: readonly AssignorMember[]): Map<string, string | undefined> {
  return new Map(
    [...assignment].flatMap(([topicId, owners]) =>
      [...owners].map((owner, partition) => [`${topicId} ${partition}`, members[owner]?.key] as const),
    ),
  );
}

/** The partitions whose member is another one now. Partitions that had none are not counted. */
function movesOf(before: ReadonlyMap<string, string | undefined>, after: ReadonlyMap<string, string | undefined>) {
  return [...before].filter(([name, key]) => key !== undefined && after.get(name) !== key).map(([name]) => name);
}

const TOPICS = [topic('a', 1), topic('b', 17), topic('c', 5), topic('d', 17), topic('e', 40)];
const topicsArbitrary = fc.subarray(TOPICS, { minLength: 1 });
const ownedArbitrary = fc
  .array(fc.tuple(fc.constantFrom('id-a', 'id-b', 'id-c', 'id-gone'), fc.nat(20)), { maxLength: 12 })
  .map(partitionSet);
const keysArbitrary = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 9 });
/** Members of any subscriptions and possessions, also contradictory ones and of topics that are gone. */
const groupArbitrary: fc.Arbitrary<AssignorMember[]> = keysArbitrary.chain((keys) =>
  fc.tuple(
    ...keys.map((key) =>
      fc.record({
        key: fc.constant(key),
        topics: fc.array(fc.constantFrom('id-a', 'id-b', 'id-c', 'id-d', 'id-e', 'id-gone'), { maxLength: 6 }),
        owned: ownedArbitrary,
      }),
    ),
  ),
);
/** Members that all subscribe to the same topics. */
const equalsArbitrary = fc
  .tuple(groupArbitrary, topicsArbitrary)
  .map(([members, topics]) => members.map((one) => ({ ...one, topics: topics.map(({ topicId }) => topicId) })));

describe.each(ASSIGNOR_NAMES)('%s', (name) => {
  it('gives each partition to one of the subscribers of its topic, and to nobody if there are none', () => {
    fc.assert(
      fc.property(groupArbitrary, topicsArbitrary, (members, topics) => {
        const assignment = assign(name, members, topics);
        expect([...assignment.keys()].sort()).toEqual(topics.map(({ topicId }) => topicId).sort());
        for (const { topicId, partitions } of topics) {
          const owners = assignment.get(topicId) as Int32Array;
          const subscribers = [...members.keys()].filter((i) => members[i]?.topics.includes(topicId));
          expect(owners.length).toBe(partitions);
          for (const owner of owners) expect(subscribers.length === 0 ? [-1] : subscribers).toContain(owner);
        }
      }),
    );
  });

  it('does not depend on the order of members and topics', () => {
    fc.assert(
      fc.property(groupArbitrary, topicsArbitrary, fc.integer(), (members, topics, seed) => {
        const shuffled = members.toSorted((a, b) => hash(a.key, seed) - hash(b.key, seed));
        const assignment = assign(name, shuffled, topics.toReversed());
        expect(byKey(assignment, shuffled)).toEqual(byKey(assign(name, members, topics), members));
      }),
    );
  });

  it('changes nothing for a group that is settled', () => {
    fc.assert(
      fc.property(groupArbitrary, topicsArbitrary, (members, topics) => {
        const assignment = assign(name, members, topics);
        expect(assign(name, settled(assignment, members), topics)).toEqual(assignment);
      }),
    );
  });

  it('assigns nothing without members or topics', () => {
    expect(assign(name, [], [topic('a', 2)])).toEqual(new Map([['id-a', Int32Array.of(-1, -1)]]));
    expect(assign(name, [member('m', [topic('a', 2)])], [])).toEqual(new Map());
  });

  it('assigns 10,000 partitions to 1,000 members evenly', () => {
    const topics = [topic('a', 10_000)];
    const members = keysUpTo(1_000).map((key) => member(key, topics));
    expect(new Set(loadsOf(assign(name, members, topics), members))).toEqual(new Set([10]));
  });
});

function hash(text: string, seed: number): number {
  let value = seed;
  for (const character of text) value = Math.imul(value ^ (character.codePointAt(0) as number), 0x9e3779b1);
  return value;
}

describe('uniform', () => {
  /** Checks against what any assignment with that balance has to move at least. */
  it('gives members with the same topics numbers that differ by at most 1, with the fewest moves', () => {
    fc.assert(
      fc.property(equalsArbitrary, topicsArbitrary, (members, topics) => {
        const assignment = assign('uniform', members, topics);
        const loads = loadsOf(assignment, members);
        expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1);

        const subscribed = topics.filter(({ topicId }) => members[0]?.topics.includes(topicId));
        const total = subscribed.reduce((sum, { partitions }) => sum + partitions, 0);
        const owners = new Map<string, string>();
        for (const { key, owned } of members.toSorted((a, b) => (a.key < b.key ? -1 : 1)))
          for (const { topicId, partitions } of subscribed)
            for (const partition of owned.get(topicId) ?? [])
              if (partition < partitions && !owners.has(`${topicId} ${partition}`))
                owners.set(`${topicId} ${partition}`, key);
        const floor = Math.floor(total / members.length);
        const counts = members.map(({ key }) => [...owners.values()].filter((owner) => owner === key).length);
        const above = counts.reduce((sum, count) => sum + Math.max(0, count - floor), 0);
        const kept = Math.min(counts.filter((count) => count > floor).length, total % members.length);
        expect(movesOf(owners, byKey(assignment, members)).length).toBe(above - kept);
      }),
    );
  });

  it('leaves no partition that could move to a subscriber with fewer and improve the balance', () => {
    fc.assert(
      fc.property(groupArbitrary, topicsArbitrary, (members, topics) => {
        const assignment = assign('uniform', members, topics);
        const loads = loadsOf(assignment, members);
        for (const [topicId, owners] of assignment) {
          const subscribers = [...members.keys()].filter((i) => members[i]?.topics.includes(topicId));
          const least = Math.min(...subscribers.map((i) => loads[i] as number));
          for (const owner of owners) if (owner >= 0) expect((loads[owner] as number) - least).toBeLessThanOrEqual(1);
        }
      }),
    );
  });

  it('moves to a member that joins only what it gets', () => {
    fc.assert(
      fc.property(equalsArbitrary, topicsArbitrary, (members, topics) => {
        fc.pre(!members.some(({ key }) => key === 'new'));
        const before = assign('uniform', members, topics);
        const grown = [...settled(before, members), member('new', topics)];
        const joined = grown.map((one) => ({ ...one, topics: members[0]?.topics ?? [] }));
        const after = byKey(assign('uniform', joined, topics), joined);
        for (const name of movesOf(byKey(before, members), after)) expect(after.get(name)).toBe('new');
      }),
    );
  });

  it('moves only the partitions of a member that leaves', () => {
    fc.assert(
      fc.property(equalsArbitrary, topicsArbitrary, fc.nat(8), (members, topics, leaving) => {
        fc.pre(members.length > 1);
        const before = assign('uniform', members, topics);
        const index = leaving % members.length;
        const left = settled(before, members).toSpliced(index, 1);
        const after = byKey(assign('uniform', left, topics), left);
        for (const name of movesOf(byKey(before, members), after))
          expect(byKey(before, members).get(name)).toBe(members[index]?.key);
      }),
    );
  });

  it('moves nothing when a topic grows and another is made', () => {
    const topics = [topic('a', 12), topic('b', 7)];
    const members = keysUpTo(4).map((key) => member(key, [...topics, topic('c', 1)]));
    const before = assign('uniform', members, topics);
    const grown = [topic('a', 14), topic('b', 7), topic('c', 9)];
    const after = assign('uniform', settled(before, members), grown);
    expect(movesOf(byKey(before, members), byKey(after, members))).toEqual([]);
    expect(new Set(loadsOf(after, members))).toEqual(new Set([7, 8]));
  });

  it('counts a partition that several members have for the first', () => {
    const topics = [topic('a', 2)];
    const both = partitionSet([
      ['id-a', 0],
      ['id-a', 1],
    ]);
    const one = partitionSet([['id-a', 1]]);
    expect(assign('uniform', [member('y', topics, one), member('x', topics, both)], topics)).toEqual(
      new Map([['id-a', Int32Array.of(1, 0)]]),
    );
    expect(assign('uniform', [member('x', topics, one), member('y', topics, both)], topics)).toEqual(
      new Map([['id-a', Int32Array.of(1, 0)]]),
    );
  });

  it('gives a member with many topics no more than members with one topic', () => {
    const [a, b] = [topic('a', 6), topic('b', 6)];
    const members = [member('all', [a, b]), member('only-a', [a]), member('only-b', [b])];
    expect(loadsOf(assign('uniform', members, [a, b]), members)).toEqual([4, 4, 4]);
  });

  it('balances through members that two others share', () => {
    const [a, b] = [topic('a', 9), topic('b', 1)];
    const all = partitionSet(Array.from({ length: 9 }, (_, i) => ['id-a', i]));
    const members = [member('x', [a], all), member('y', [a, b], partitionSet([['id-b', 0]])), member('z', [b])];
    const loads = loadsOf(assign('uniform', members, [a, b]), members);
    expect(Math.max(...loads)).toBe(5);
    expect(loads.toSorted()).toEqual([1, 4, 5]);
  });

  it('divides topics over members page by page', () => {
    const topics = [topic('a', 160), topic('b', 160)];
    const members = keysUpTo(5).map((key) => member(key, topics));
    const assignment = assign('uniform', members, topics);
    expect(shares(assignment, members).map((share) => pagesOf(share).length)).toEqual([4, 4, 4, 4, 4]);

    // A new member takes whole pages, or nearly.
    const grown = [...settled(assignment, members), member('z', topics)];
    const after = shares(assign('uniform', grown, topics), grown);
    expect(pagesOf(after[5] as PartitionSet).length).toBeLessThanOrEqual(6);
    expect(after.reduce((sum, share) => sum + pagesOf(share).length, 0)).toBeLessThanOrEqual(26);

    // Whoever has a part of a page gets the rest of it.
    const back = settled(assign('uniform', grown, topics), grown).slice(0, 5);
    const again = shares(assign('uniform', back, topics), back);
    expect(again.reduce((sum, share) => sum + pagesOf(share).length, 0)).toBeLessThanOrEqual(22);
  });

  it('settles 100,000 partitions of 20 topics with 1,000 members of many subscriptions', () => {
    const topics = Array.from({ length: 20 }, (_, i) => topic(`t${i}`, 5_000));
    const members = keysUpTo(1_000).map((key, i) =>
      member(
        key,
        topics.filter((_, t) => (i >> (t % 10)) & 1 || t === i % 20),
      ),
    );
    const loads = loadsOf(assign('uniform', members, topics), members);
    expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1);
  });
});

describe('range', () => {
  it('gives consecutive partitions, in the order of keys, and one more to the first', () => {
    const [a, b] = [topic('a', 5), topic('b', 2)];
    const members = [member('z', [a, b]), member('x', [a, b]), member('y', [a])];
    expect(assign('range', members, [a, b])).toEqual(
      new Map([
        ['id-a', Int32Array.of(1, 1, 2, 2, 0)],
        ['id-b', Int32Array.of(1, 0)],
      ]),
    );
  });

  it('gives the same partitions of topics with the same number to the same member', () => {
    fc.assert(
      fc.property(equalsArbitrary, fc.integer({ min: 1, max: 40 }), (members, partitions) => {
        const topics = ['a', 'b', 'c', 'd', 'e'].map((name) => topic(name, partitions));
        const assignment = assign('range', members, topics);
        const subscribed = topics.filter(({ topicId }) => members[0]?.topics.includes(topicId));
        for (const { topicId } of subscribed)
          expect(assignment.get(topicId)).toEqual(assignment.get((subscribed[0] as AssignorTopic).topicId));
      }),
    );
  });

  it('leaves members without partitions if there are more members than partitions', () => {
    const topics = [topic('a', 2)];
    const members = keysUpTo(3).map((key) => member(key, topics));
    expect(assign('range', members, topics)).toEqual(new Map([['id-a', Int32Array.of(0, 1)]]));
  });
});
