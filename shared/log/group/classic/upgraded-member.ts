import { type ComputedFrom, gain, type Member, takeTarget } from '../member.ts';
import { difference, intersection, NO_PARTITIONS, type PartitionSet, samePartitions, union } from '../partition-set.ts';
import type { ClassicProtocol } from './protocols.ts';

/**
 * How a member by Kafka's classic protocol moves in a group of KIP-848 (docs/design/0012). Its epoch is the generation of its
 * last join. A sync at this epoch proves that its sender owns at most what it said in that join, because nobody else knows the
 * epoch, and the join was sent after it had let go of the rest. A join alone proves nothing: it may be late.
 */

/** The member joins again. Its epoch becomes at least `epochMin`, and rises in any case. */
export function joinUpgraded(member: Member, protocols: readonly ClassicProtocol[], epochMin: number): Member {
  return {
    ...member,
    epoch: Math.max(member.epoch + 1, epochMin),
    // It has done what it was told to do by then, unless it still has to let go of something.
    releaseByMs: member.revoking.size === 0 ? undefined : member.releaseByMs,
    ...(member.classic === undefined ? {} : { classic: { ...member.classic, protocols, mustSync: true } }),
  };
}

/**
 * The first sync after a join: the member owns at most `owned`. What the target gives it of that, it keeps; the rest of it, it
 * has to let go of. The epoch stays: one join and one sync tell the member once.
 */
export function syncUpgraded(
  member: Member,
  owned: PartitionSet,
  target: { readonly epoch: number; readonly share: PartitionSet; readonly computedFrom: ComputedFrom | undefined },
  nowMs: number,
): Member {
  const { classic } = member;
  const revoking = intersection(member.revoking, owned);
  const kept: Member = classic?.isUnlisted
    ? // Its slots were claimed for a generation of a classic group, and are claimed again.
      { ...member, assigned: owned, revoking: NO_PARTITIONS, unclaimed: intersection(owned, target.share) }
    : { ...member, assigned: intersection(member.assigned, owned), revoking, unclaimed: NO_PARTITIONS };
  const told = takeTarget(
    { ...kept, releaseByMs: kept.revoking.size === 0 ? undefined : kept.releaseByMs },
    target,
    nowMs,
  );
  return {
    ...told,
    epoch: member.epoch,
    unclaimed: intersection(kept.unclaimed, told.assigned),
    ...(classic === undefined ? {} : { classic: { ...classic, mustSync: false, isUnlisted: false } }),
  };
}

/** The member gets partitions by its sync. They must be claimed before the answer names them. */
export function gainUpgraded(member: Member, gained: PartitionSet): Member {
  return { ...gain(member, gained), epoch: member.epoch };
}

/** A target that gives the member what it has: it needs not join for it. */
export function keepsShare({ assigned, revoking, unclaimed }: Member, share: PartitionSet): boolean {
  return revoking.size === 0 && unclaimed.size === 0 && samePartitions(assigned, share);
}

/** What a member may still read: nobody else gets it. */
export function heldBy({ assigned, revoking }: Member): PartitionSet {
  return union(assigned, revoking);
}

/** What the target gives a member and it was not told to read. */
export function lackedBy({ wanted, assigned }: Member): PartitionSet {
  return difference(wanted, assigned);
}
