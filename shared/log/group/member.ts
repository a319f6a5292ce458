import type { AssignorName } from './assignor.ts';
import type { ClassicProtocol } from './classic/protocols.ts';
import { difference, hasPartition, intersection, NO_PARTITIONS, type PartitionSet, union } from './partition-set.ts';
import type { Subscription } from './subscription.ts';

/**
 * A member of a consumer group, and how it comes from what it has to what its target gives it (docs/design/0008). All
 * changes are functions of the member as it was read; the broker stores them on the condition that it has not changed.
 */
export interface Member {
  /** `m:` and the member id, or `i:` and the instance id of a static member. */
  readonly key: string;
  readonly memberId: string;
  /** Rises with every update. */
  readonly version: number;
  /**
   * Rises with every change of what the member was told. So a request that names it proves that its sender knows `assigned`.
   * Nothing else proves that: heartbeats have no number, and may come late. It is at least 1, and never falls, also when a
   * member that is gone joins again.
   */
  readonly epoch: number;
  /** The epoch of the target that the member works towards. */
  readonly targetEpoch: number;
  /** The partitions that the member was told to read. */
  readonly assigned: PartitionSet;
  /** The partitions that it was told to let go of, and has not. */
  readonly revoking: PartitionSet;
  /** The partitions that the target gives it. */
  readonly wanted: PartitionSet;
  /** The assigned partitions that it may not own yet. It is not told of them before it does. */
  readonly unclaimed: PartitionSet;
  readonly subscription: Subscription;
  /**
   * Hashes of the subscription that the target was computed from, and of its topics and their partitions then; `undefined` if
   * the target does not know the member.
   */
  readonly computedFrom: ComputedFrom | undefined;
  readonly assignor: AssignorName | undefined;
  readonly seenAtMs: number;
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  /** By then it must have let go of `revoking`; `undefined` if there is nothing to let go of. */
  readonly releaseByMs: number | undefined;
  readonly client: MemberClient;
  /** A static member that will come back: nobody heartbeats, and its session goes on. */
  readonly isAway: boolean;
  readonly isGone: boolean;
  /** Only of a member that uses Kafka's classic protocol (docs/design/0012). Its epoch is its generation. */
  readonly classic?: ClassicSide | undefined;
}

/** What a member by Kafka's classic protocol has in addition. */
export interface ClassicSide {
  readonly protocolType: string;
  /** With what it subscribes to and what it owned when it joined last. In its order of preference. Empty if it is gone. */
  readonly protocols: readonly ClassicProtocol[];
  /** The last round that it has joined in a classic group. */
  readonly round: number;
  readonly memberSinceMs: number;
  /** It has joined at its epoch, and has not synced yet: its sync proves what it owned when it joined. */
  readonly mustSync: boolean;
  /** It comes from a classic group and has not synced since: it may read each partition whose slot names it. */
  readonly isUnlisted: boolean;
}

export interface ComputedFrom {
  readonly subscriptionHash: number;
  readonly topicsHash: number;
}

/** What a member says of itself, for people. */
export interface MemberClient {
  readonly clientId?: string | undefined;
  readonly host?: string | undefined;
  readonly rack?: string | undefined;
}

export function memberKey(memberId: string, instanceId: string | undefined): string {
  return instanceId === undefined ? `m:${memberId}` : `i:${instanceId}`;
}

/** The clocks of processes can differ by this much without a session ending too early. */
export const CLOCK_MARGIN_MS = 2_000;

/** Whether the member's session has ended, or it has kept partitions for too long after it was told to let go. */
export function isOverdue(member: Member, nowMs: number): boolean {
  const endsAtMs = Math.min(member.seenAtMs + member.sessionTimeoutMs, member.releaseByMs ?? Number.POSITIVE_INFINITY);
  return nowMs > endsAtMs + CLOCK_MARGIN_MS;
}

/** Whether another member may not take the partition yet, whose slot names this one. */
export function holds(member: Member, topicId: string, partition: number): boolean {
  return (
    !member.isGone &&
    (member.classic?.isUnlisted === true ||
      hasPartition(member.assigned, topicId, partition) ||
      hasPartition(member.revoking, topicId, partition))
  );
}

/** Whether there is nothing left to do for the member's target. */
export function isSettled(member: Member): boolean {
  return (
    member.revoking.size === 0 && member.unclaimed.size === 0 && difference(member.wanted, member.assigned).size === 0
  );
}

/**
 * A request at the member's epoch proves that its sender was told of `assigned`, so everything in it was claimed. What the
 * sender no longer holds leaves `revoking`: the only way out of it, beside the end of the member.
 */
export function acknowledge(member: Member, held: PartitionSet | undefined): Member {
  const revoking = held === undefined ? member.revoking : intersection(member.revoking, held);
  return {
    ...member,
    unclaimed: NO_PARTITIONS,
    revoking,
    releaseByMs: revoking.size === 0 ? undefined : member.releaseByMs,
  };
}

/** The member works towards another target. What it has and is not given there, it has to let go of. */
export function takeTarget(
  member: Member,
  target: { readonly epoch: number; readonly share: PartitionSet; readonly computedFrom: ComputedFrom | undefined },
  nowMs: number,
): Member {
  const lost = difference(member.assigned, target.share);
  return {
    ...member,
    targetEpoch: target.epoch,
    computedFrom: target.computedFrom,
    wanted: target.share,
    ...(lost.size === 0 ? {} : tellToLetGo(member, lost, nowMs)),
  };
}

/** The member gets partitions that can be had. They must be claimed before an answer names them. */
export function gain(member: Member, gained: PartitionSet): Member {
  return {
    ...member,
    epoch: member.epoch + 1,
    assigned: union(member.assigned, gained),
    unclaimed: union(member.unclaimed, gained),
    revoking: difference(member.revoking, gained),
  };
}

/**
 * Claims were refused. The partitions go to `revoking` and not away at once: an answer of another process that names them
 * may be under way.
 */
export function giveUp(member: Member, refused: PartitionSet, nowMs: number): Member {
  return {
    ...member,
    unclaimed: difference(member.unclaimed, refused),
    ...tellToLetGo(member, refused, nowMs),
  };
}

function tellToLetGo(
  member: Member,
  lost: PartitionSet,
  nowMs: number,
): Pick<Member, 'epoch' | 'assigned' | 'revoking' | 'releaseByMs'> {
  return {
    epoch: member.epoch + 1,
    assigned: difference(member.assigned, lost),
    revoking: union(member.revoking, lost),
    releaseByMs: member.releaseByMs ?? nowMs + member.rebalanceTimeoutMs,
  };
}

/** The member has left, or its session has ended: it holds nothing any more. */
export function end(member: Member): Member {
  return {
    ...member,
    isGone: true,
    isAway: false,
    assigned: NO_PARTITIONS,
    revoking: NO_PARTITIONS,
    wanted: NO_PARTITIONS,
    unclaimed: NO_PARTITIONS,
    releaseByMs: undefined,
    ...(member.classic === undefined
      ? {}
      : { classic: { ...member.classic, protocols: [], mustSync: false, isUnlisted: false } }),
  };
}
