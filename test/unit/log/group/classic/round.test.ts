import { describe, expect, it } from 'vitest';
import { beginRound, type ClassicGroup, isDue } from '../../../../../shared/log/group/classic/classic-group.ts';
import { type ClassicMember, classicKey } from '../../../../../shared/log/group/classic/classic-member.ts';
import { chooseProtocol } from '../../../../../shared/log/group/classic/protocols.ts';
import { decideRound, type RoundDecision } from '../../../../../shared/log/group/classic/round.ts';

const NOW_MS = 1_000_000;

const JOINING: ClassicGroup = {
  type: 'classic',
  epoch: 5,
  phase: 'joining',
  round: 3,
  deadlineMs: NOW_MS + 10_000,
  isInitialRound: false,
  leader: undefined,
  protocol: 'range',
  protocolType: 'consumer',
  roster: undefined,
  assignment: undefined,
  rebalanceTimeoutMs: 20_000,
  hasClassicMembers: false,
  memberCount: 0,
  deleted: undefined,
};

function member(memberId: string, more: Partial<ClassicMember> & { readonly instanceId?: string } = {}): ClassicMember {
  const { instanceId, ...rest } = more;
  return {
    key: classicKey(memberId, instanceId),
    memberId,
    version: 1,
    round: 3,
    epoch: 0,
    protocolType: 'consumer',
    protocols: [{ name: 'range', metadata: new Uint8Array(8) }],
    memberSinceMs: NOW_MS,
    seenAtMs: NOW_MS,
    sessionTimeoutMs: 10_000,
    rebalanceTimeoutMs: 30_000,
    client: {},
    isGone: false,
    ...rest,
  };
}

function membersOf(decision: RoundDecision): string[] {
  if (decision.type !== 'complete') throw new Error(`The round is ${decision.type}.`);
  return decision.roster.members.map(({ memberId }) => memberId);
}

describe('a round', () => {
  it('waits for live members, and not for those that are gone or whose sessions have ended', () => {
    expect(decideRound(JOINING, [member('a'), member('b', { round: 2 })], NOW_MS)).toEqual({ type: 'wait' });
    const dead = member('b', { round: 2, seenAtMs: NOW_MS - 12_001 });
    const gone = member('c', { round: 2, isGone: true });
    const decision = decideRound(JOINING, [member('a'), dead, gone], NOW_MS);
    expect(membersOf(decision)).toEqual(['a']);
    expect(decision).toMatchObject({
      group: { epoch: 6, phase: 'syncing', leader: 'c:a', deadlineMs: NOW_MS + 30_000 },
      ended: [dead],
    });
  });

  it('leaves out a member that joined and whose session has ended since', () => {
    expect(membersOf(decideRound(JOINING, [member('a'), member('b', { seenAtMs: NOW_MS - 12_001 })], NOW_MS))).toEqual([
      'a',
    ]);
  });

  it('ends at its deadline', () => {
    const members = [member('a'), member('b', { round: 2 })];
    expect(membersOf(decideRound(JOINING, members, NOW_MS + 10_000))).toEqual(['a']);
    expect(decideRound({ ...JOINING, isInitialRound: true }, [member('a')], NOW_MS)).toEqual({ type: 'wait' });
  });

  it('without members leaves an empty group, under a higher epoch', () => {
    const decision = decideRound(JOINING, [member('a', { isGone: true })], NOW_MS);
    expect(decision).toMatchObject({ group: { epoch: 6, phase: 'empty', leader: undefined }, roster: { members: [] } });
  });

  it('has a generation above all that its members had in a group of KIP-848', () => {
    const members = [member('a', { epoch: 9 }), member('b', { epoch: 11, isGone: true })];
    expect(decideRound(JOINING, members, NOW_MS)).toMatchObject({ group: { epoch: 12 } });
    expect(decideRound(JOINING, [member('a', { epoch: 2 })], NOW_MS)).toMatchObject({ group: { epoch: 6 } });
  });

  it('keeps the leader if it has joined, and otherwise takes the oldest member', () => {
    const members = [
      member('a', { memberSinceMs: NOW_MS - 1 }),
      member('b'),
      member('c', { memberSinceMs: NOW_MS - 2 }),
    ];
    expect(decideRound({ ...JOINING, leader: 'c:b' }, members, NOW_MS)).toMatchObject({ group: { leader: 'c:b' } });
    expect(decideRound({ ...JOINING, leader: 'c:x' }, members, NOW_MS)).toMatchObject({ group: { leader: 'c:c' } });
  });

  it('takes no leader that has not joined', () => {
    const stays = member('x1', { instanceId: 'x', round: 2, memberSinceMs: 1, sessionTimeoutMs: 60_000 });
    const decision = decideRound({ ...JOINING, leader: 'd:x' }, [member('a'), stays], NOW_MS + 10_000);
    expect(decision).toMatchObject({ group: { leader: 'c:a' } });
    expect(membersOf(decision)).toEqual(['a', 'x1']);
  });

  it('does not end a member of a later round', () => {
    expect(decideRound(JOINING, [member('a'), member('b', { round: 4 })], NOW_MS + 10_000)).toMatchObject({
      ended: [],
    });
  });

  it('has room for as many bytes as a generation can hold', () => {
    const large = [{ name: 'range', metadata: new Uint8Array(256 * 1024) }];
    const members = Array.from({ length: 70 }, (_, i) => member(`m${10 + i}`, { protocols: large }));
    const decision = decideRound(JOINING, members, NOW_MS);
    expect(membersOf(decision)).toHaveLength(64);
    expect(decision).toMatchObject({ roster: { rejected: Array(6).fill({ reason: 'full' }) } });
  });

  it('begins with the longest rebalance timeout of its members, and the first one with the initial delay', () => {
    const timeouts = { rebalanceTimeoutMs: 5_000, initialDelayMs: 3_000 };
    const stable: ClassicGroup = { ...JOINING, phase: 'stable' };
    expect(beginRound(stable, NOW_MS, timeouts)).toMatchObject({ round: 4, epoch: 5, deadlineMs: NOW_MS + 20_000 });
    expect(beginRound({ ...stable, phase: 'empty' }, NOW_MS, timeouts)).toMatchObject({
      isInitialRound: true,
      deadlineMs: NOW_MS + 3_000,
    });
  });

  it('gives the members of a group of KIP-848 the time that they may take to join', () => {
    const consumers: ClassicGroup = { ...JOINING, type: 'consumer', phase: 'empty', hasClassicMembers: true };
    const times = { rebalanceTimeoutMs: 15_000, initialDelayMs: 3_000 };
    expect(beginRound(consumers, NOW_MS, { ...times, hasMembers: true })).toMatchObject({
      ...{ type: 'classic', phase: 'joining', isInitialRound: false, hasClassicMembers: false },
      ...{ deadlineMs: NOW_MS + 15_000, rebalanceTimeoutMs: 15_000 },
    });
    expect(beginRound(consumers, NOW_MS, times)).toMatchObject({ isInitialRound: true, deadlineMs: NOW_MS + 3_000 });
  });

  it('is due if its deadline is further ahead than any timeout', () => {
    expect(isDue({ ...JOINING, deadlineMs: NOW_MS + 3_602_001 }, NOW_MS)).toBe(true);
    // Another process, whose clock is 2 s ahead, has set the longest one.
    expect(isDue({ ...JOINING, deadlineMs: NOW_MS + 3_602_000 }, NOW_MS)).toBe(false);
  });
});

describe('the protocol', () => {
  const named = (...names: string[]) => names.map((name) => ({ name, metadata: new Uint8Array() }));
  it.each([
    [[named('a', 'b'), named('b', 'a'), named('b')], 'b'],
    [[named('a', 'b'), named('b', 'a')], 'a'],
    [[named('x', 'b', 'a'), named('a', 'b'), named('b', 'a')], 'b'],
    [[named('a'), named('b')], undefined],
    [[], undefined],
  ])('is the one that most members prefer of those that all support: %#', (members, chosen) => {
    expect(chooseProtocol(members)).toBe(chosen);
  });
});
