import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FetchSession, type WantedPartition } from '../../../../../shared/kafka/apis/records/fetch-session.ts';
import { FetchSessions } from '../../../../../shared/kafka/apis/records/fetch-sessions.ts';
import { SeededRandom } from '../../../../support/memory-broker.ts';

const place = { topic: fc.constantFrom('b', 'a', 'c'), partition: fc.constantFrom(-1, 0, 1, 7, 0x7fffffff) };
const wanted = fc.record({
  ...place,
  ...{ offset: fc.integer({ min: -2, max: 2 ** 40 }), bytesMax: fc.nat(1_000) },
  currentLeaderEpoch: fc.integer({ min: -2, max: 2 }),
});
const news = fc.record({
  ...{ hasRecords: fc.boolean(), isError: fc.boolean() },
  ...{ highWatermark: fc.integer({ min: -1, max: 1 }), logStartOffset: fc.integer({ min: -1, max: 1 }) },
});
const step = fc.record({
  wanted: fc.array(wanted, { maxLength: 6 }),
  forgotten: fc.array(fc.record(place), { maxLength: 3 }),
  news: fc.array(news, { minLength: 15, maxLength: 15 }),
});

interface Kept extends WantedPartition {
  readonly highWatermark: number;
  readonly logStartOffset: number;
}

describe('the partitions of a session', () => {
  it('are those of a list in the order of their turns', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 8 }), (steps) => {
        const session = new FetchSession(1, false, 0);
        let list: Kept[] = [];
        for (const each of steps) {
          session.update(each.wanted, each.forgotten);
          for (const one of each.wanted) {
            const i = list.findIndex((kept) => isSame(kept, one));
            if (i < 0) list.push({ ...one, highWatermark: -1, logStartOffset: -1 });
            else list[i] = { ...(list[i] as Kept), ...one };
          }
          list = list.filter((kept) => !each.forgotten.some((gone) => isSame(kept, gone)));
          const found = [...session.inTurn()];
          expect(found.map(({ slot, ...rest }) => rest)).toEqual(
            list.map(({ highWatermark, logStartOffset, ...rest }) => rest),
          );
          expect(session.size).toBe(list.length);

          const served = new Set<number>();
          const [moved, stayed]: [Kept[], Kept[]] = [[], []];
          for (const [i, { slot }] of found.entries()) {
            const told = each.news[i] as (typeof each.news)[number];
            const kept = list[i] as Kept;
            const { highWatermark, logStartOffset, isError, hasRecords } = told;
            const isNew =
              isError || hasRecords || highWatermark !== kept.highWatermark || logStartOffset !== kept.logStartOffset;
            expect(session.tell(slot, told)).toBe(isNew);
            (hasRecords ? moved : stayed).push({
              ...kept,
              logStartOffset,
              highWatermark: isError ? -1 : highWatermark,
            });
            if (hasRecords) served.add(slot);
          }
          session.toTheEnd(served);
          list = [...stayed, ...moved];
        }
      }),
    );
  });

  it('take some forty bytes each', () => {
    const of = (count: number): number => {
      const session = new FetchSession(1, true, 0);
      session.update(
        Array.from({ length: count }, (_, partition) => ({
          topic: 'A'.repeat(22),
          partition,
          offset: 0,
          bytesMax: 1,
          currentLeaderEpoch: 0,
        })),
        [],
      );
      return session.bytes;
    };
    expect((of(1_000) - of(1)) / 999).toBeLessThanOrEqual(40);
  });

  it('have epochs that never become 0 again', () => {
    const session = new FetchSession(1, false, 0);
    session.epoch = 0x7fff_fffe;
    session.nextEpoch();
    expect(session.epoch).toBe(0x7fff_ffff);
    session.nextEpoch();
    expect(session.epoch).toBe(1);
  });
});

const isSame = (one: { topic: string; partition: number }, other: { topic: string; partition: number }): boolean =>
  one.topic === other.topic && one.partition === other.partition;

function fillWith(partitions: number): (session: FetchSession) => void {
  return (session) =>
    session.update(
      Array.from({ length: partitions }, (_, partition) => ({
        topic: 't',
        partition,
        offset: 0,
        bytesMax: 1,
        currentLeaderEpoch: 0,
      })),
      [],
    );
}

describe('the sessions of a gateway', () => {
  /** Room for two sessions of a few partitions. */
  const small = (): FetchSessions => new FetchSessions(2_500, new SeededRandom(1));
  const begin = (sessions: FetchSessions, owner: object, nowMs = 0, partitions = 1): FetchSession | undefined =>
    sessions.begin(owner, { usesTopicIds: false, nowMs, fill: fillWith(partitions) });

  it('give way when nobody has used them for two minutes, those unused longest first', () => {
    const sessions = small();
    const [a, b, c] = [{}, {}, {}];
    const first = begin(sessions, a) as FetchSession;
    const second = begin(sessions, b) as FetchSession;
    expect(sessions.used(a, first, 1)).toBe(true);
    expect(begin(sessions, c, 120_000)).toBeUndefined();
    expect(begin(sessions, c, 120_001)).toBeDefined();
    expect([sessions.find(a, first.id), sessions.find(b, second.id), sessions.size]).toEqual([first, undefined, 2]);
    expect(begin(sessions, b, 120_001)).toBeUndefined();
  });

  it('of one connection are eight at most: it loses the one that it used least', () => {
    const sessions = new FetchSessions(1e6, new SeededRandom(1));
    const [owner, other] = [{}, {}];
    const theirs = begin(sessions, other) as FetchSession;
    const own = Array.from({ length: 8 }, () => begin(sessions, owner) as FetchSession);
    sessions.used(owner, own[0] as FetchSession, 0);
    begin(sessions, owner);
    expect(own.map(({ id }) => sessions.find(owner, id) !== undefined)).toEqual([true, false, ...Array(6).fill(true)]);
    expect(sessions.find(other, theirs.id)).toBe(theirs);
    expect(sessions.size).toBe(9);
  });

  it('are counted as they are, and are nothing at the end', () => {
    const sessions = new FetchSessions(1e6, new SeededRandom(1));
    const [owner, other] = [{}, {}];
    const [one, two] = [begin(sessions, owner, 0, 10), begin(sessions, other, 0, 20)] as [FetchSession, FetchSession];
    expect(sessions.bytes).toBe(one.bytes + two.bytes);
    fillWith(500)(one);
    expect(sessions.used(owner, one, 1)).toBe(true);
    expect(sessions.bytes).toBe(one.bytes + two.bytes);
    sessions.end(owner, two.id);
    expect(sessions.size).toBe(2);
    sessions.end(other, two.id);
    expect(sessions.bytes).toBe(one.bytes);
    sessions.endAllOf(owner);
    sessions.endAllOf(owner);
    expect([sessions.bytes, sessions.size]).toEqual([0, 0]);
  });

  it('that are larger than all room push nobody out', () => {
    const sessions = small();
    const owner = {};
    const first = begin(sessions, owner) as FetchSession;
    expect(begin(sessions, {}, 1e9, 100)).toBeUndefined();
    expect(sessions.find(owner, first.id)).toBe(first);
  });

  it('have 200,000 partitions at most', () => {
    const sessions = new FetchSessions(1e9, new SeededRandom(1));
    expect(begin(sessions, {}, 0, 200_000)).toBeDefined();
    expect(begin(sessions, {}, 0, 200_001)).toBeUndefined();
  });
});
