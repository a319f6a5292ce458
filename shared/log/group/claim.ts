import { holds, type Member } from './member.ts';
import type { SlotState } from './offset-page.ts';

/**
 * What a member can do about a partition that it wants. The slot must have been read before `holder`, the member that the slot
 * names as owner: the other way round, the holder could get the partition in between. `blocked`: somebody may still read it,
 * or has claimed it for a newer target.
 */
export function decideClaim(
  member: Member,
  partition: { readonly topicId: string; readonly partition: number; readonly slot: SlotState },
  holder: Member | undefined,
): 'own' | 'free' | 'blocked' {
  const { topicId, slot } = partition;
  const { owner, fence } = slot;
  if (owner?.memberKey === member.key) {
    if (fence > member.targetEpoch) return 'blocked';
    // It is claimed again for each target and by each user of an instance id, so late claims and commits are refused.
    return fence === member.targetEpoch && owner.memberId === member.memberId ? 'own' : 'free';
  }
  if (holder !== undefined && holds(holder, topicId, partition.partition)) return 'blocked';
  return slot.tag !== 0 && fence >= member.targetEpoch ? 'blocked' : 'free';
}
