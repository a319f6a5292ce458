import { CLASSIC_GENERATION_BYTES_MAX, CLASSIC_MEMBERS_MAX } from '../../limits.ts';
import { type ClassicGroup, isDue } from './classic-group.ts';
import { type ClassicMember, instanceIdOf, isLive } from './classic-member.ts';
import type { RejectedMember, Roster } from './generation.ts';
import { chooseProtocol, metadataOf } from './protocols.ts';

export type RoundDecision =
  | { readonly type: 'wait' }
  /** Nobody has joined, but static members are expected back: the round goes on. */
  | { readonly type: 'postpone'; readonly group: ClassicGroup }
  /** The group begins a generation, or is empty. `ended`: members that are none any more. */
  | {
      readonly type: 'complete';
      /** Without the name of the roster. */
      readonly group: ClassicGroup;
      readonly roster: Roster;
      readonly ended: readonly ClassicMember[];
    };

/**
 * Whether a round can end, and with whom. `members` are all members, listed after the group was read. A round ends when all live
 * members have joined, or at its deadline; the first round of an empty group only at its deadline. Static members that have
 * not joined by then stay in the group with what they said last, as in Kafka, because they are expected back.
 */
export function decideRound(group: ClassicGroup, members: readonly ClassicMember[], nowMs: number): RoundDecision {
  const live = members.filter((member) => isLive(member, nowMs));
  const joined = live.filter(({ round }) => round === group.round);
  const due = isDue(group, nowMs);
  if (!due && (group.isInitialRound || joined.length < live.length)) return { type: 'wait' };
  const kept = live.filter(({ key, round }) => round < group.round && instanceIdOf(key) !== undefined);
  if (joined.length === 0 && kept.length > 0)
    return { type: 'postpone', group: { ...group, deadlineMs: nowMs + group.rebalanceTimeoutMs } };
  const { accepted, rejected, protocol } = admit(inOrder(group, joined, kept));
  const keys = new Set(accepted.map(({ key }) => key));
  const left = new Set(accepted);
  // A member of a later round has joined meanwhile, and belongs to that round.
  const ended = members.filter((member) => !member.isGone && !left.has(member) && member.round <= group.round);
  const leader = accepted.find(({ key }) => key === group.leader && joined.some((each) => each.key === key));
  const rebalanceTimeoutMs = Math.max(0, ...accepted.map((member) => member.rebalanceTimeoutMs));
  return {
    type: 'complete',
    group: {
      ...group,
      // Members that were in a group of KIP-848 had generations of their own.
      epoch: Math.max(group.epoch, ...members.map(({ epoch }) => epoch)) + 1,
      phase: accepted.length === 0 ? 'empty' : 'syncing',
      deadlineMs: nowMs + rebalanceTimeoutMs,
      isInitialRound: false,
      leader: (leader ?? accepted[0])?.key,
      protocol,
      protocolType: accepted[0]?.protocolType ?? group.protocolType,
      roster: undefined,
      assignment: undefined,
      rebalanceTimeoutMs,
      memberCount: keys.size,
    },
    roster: {
      members: accepted.map(({ key, memberId, protocols }) => ({
        key,
        memberId,
        metadata: metadataOf(protocols, protocol ?? '') ?? new Uint8Array(),
      })),
      rejected,
    },
    ended,
  };
}

/** Those that joined before those that are only expected; the leader and the oldest members first. */
function inOrder(
  { leader }: ClassicGroup,
  joined: readonly ClassicMember[],
  kept: readonly ClassicMember[],
): ClassicMember[] {
  const older = (a: ClassicMember, b: ClassicMember): number =>
    Number(b.key === leader) - Number(a.key === leader) ||
    a.memberSinceMs - b.memberSinceMs ||
    (a.key < b.key ? -1 : 1);
  return [...joined.toSorted(older), ...kept.toSorted(older)];
}

/** Lets members in as long as there is a protocol that all support, and room. */
function admit(members: readonly ClassicMember[]): {
  readonly accepted: readonly ClassicMember[];
  readonly rejected: readonly RejectedMember[];
  readonly protocol: string | undefined;
} {
  const accepted: ClassicMember[] = [];
  const rejected: RejectedMember[] = [];
  let shared: ReadonlySet<string> | undefined;
  let bytes = 0;
  for (const member of members) {
    const names: ReadonlySet<string> = new Set(
      member.protocols.map(({ name }) => name).filter((name) => shared?.has(name) ?? true),
    );
    const size = member.protocols.reduce((sum, { metadata }) => Math.max(sum, metadata.length), 0);
    if (names.size === 0 || member.protocolType !== (accepted[0] ?? member).protocolType)
      rejected.push({ key: member.key, reason: 'inconsistent' });
    else if (accepted.length >= CLASSIC_MEMBERS_MAX || bytes + size > CLASSIC_GENERATION_BYTES_MAX)
      rejected.push({ key: member.key, reason: 'full' });
    else {
      accepted.push(member);
      shared = names;
      bytes += size;
    }
  }
  return { accepted, rejected, protocol: chooseProtocol(accepted.map(({ protocols }) => protocols)) };
}
