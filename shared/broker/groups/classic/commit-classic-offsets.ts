import type { EventLogError } from '../../../log/errors.ts';
import { classicKey } from '../../../log/group/classic/classic-member.ts';
import type { SlotState } from '../../../log/group/offset-page.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import {
  type CommitJudge,
  type CommitOutcome,
  checkOffsets,
  commitPages,
  holdsAsMuch,
  type OffsetToCommit,
} from '../offsets/commit-page.ts';
import { checkInGeneration } from './heartbeat-classic-group.ts';
import { illegalGeneration, rebalanceInProgress, refusal, unknownClassicMember } from './state/errors.ts';
import { readClassicGroup, readClassicMember } from './state/items.ts';
import type { InGeneration } from './sync-request.ts';

export interface CommitClassicRequest extends InGeneration {
  readonly offsets: readonly OffsetToCommit[];
}

/**
 * Commits offsets as a member of a generation: Kafka's OffsetCommit. A commit for a partition that a newer generation has
 * claimed is refused, whenever it arrives. For a partition that this member has claimed in its generation or an earlier one the
 * slot alone decides, so the commit is one write. In a group of KIP-848 that is all that it may commit for. For any other the
 * group and the member are read, as Kafka's coordinator does: a member of the present generation may commit for all partitions.
 * A reader without membership uses `commitOffsets`.
 *
 * Each partition succeeds or fails by itself; the outcomes are in the order of the request. Repeating a request is safe.
 * 1 UpdateItem for each 16 partitions of a topic; 1 GetItem more for a page that is not in memory, and 2 for partitions that the
 * member has not claimed.
 * @throws EventLogError `invalid_request`; then nothing was committed. Outcomes: `illegal_generation`, `unknown_member`,
 * `fenced_instance_id`, `rebalance_in_progress`, `unknown_topic`, `unknown_partition`, `throttled`
 */
export async function commitClassicOffsets(
  context: BrokerContext,
  request: CommitClassicRequest,
): Promise<CommitOutcome[]> {
  checkInGeneration(request);
  checkOffsets(request.offsets);
  const { items } = context.usage.of(NO_TOPIC, 'group');
  return commitPages(context, items, request.group, request.offsets, judgeByGeneration(items, request));
}

export function judgeByGeneration(items: ItemStore, request: InGeneration): CommitJudge {
  const { group, memberId, instanceId, generation } = request;
  const key = classicKey(memberId, instanceId);
  // In a group of KIP-848 the fence is the epoch of a target, and the owner's epoch the generation of its claim.
  const isOwn = ({ owner, fence }: SlotState): boolean =>
    fence <= generation && owner?.memberKey === key && owner.memberId === memberId && owner.memberEpoch <= generation;
  return {
    decide: (entry, slot, hasChanged) => {
      if (slot.fence > generation) return 'refuse';
      if (hasChanged && holdsAsMuch(slot, entry)) return 'done';
      return isOwn(slot) ? 'write' : 'ask';
    },
    errorOf: (_, { fence }) => illegalGeneration(group, generation, fence),
    confirm: () => whyNot(items, request),
    // Commits of older generations are late from here on. Another owner stays: it may still read.
    claimOf: (slot) =>
      isOwn(slot)
        ? { owner: { memberKey: key, memberId, memberEpoch: generation }, fence: slot.fence }
        : { owner: slot.owner, fence: generation },
  };
}

/** Why the sender is no member of the present generation; `undefined` if it is. 2 GetItems. */
async function whyNot(items: ItemStore, request: InGeneration): Promise<EventLogError | undefined> {
  const { group: name, memberId, instanceId, generation } = request;
  const group = await readClassicGroup(items, name);
  // The partition belongs to another member, or to none.
  if (group.type === 'consumer') return rebalanceInProgress(name);
  const member = await readClassicMember(items, name, classicKey(memberId, instanceId));
  if (group.type !== 'classic' || group.phase === 'empty' || member === undefined || member.isGone)
    return unknownClassicMember({ group: name, memberId });
  if (member.memberId !== memberId) return refusal(name, memberId, instanceId, {});
  if (group.epoch !== generation) return illegalGeneration(name, generation, group.epoch);
  // The partition may be given to another member, which has not claimed it yet.
  if (group.phase === 'syncing') return rebalanceInProgress(name);
  return undefined;
}
