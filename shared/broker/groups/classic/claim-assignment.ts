import { EventLogError } from '../../../log/errors.ts';
import { partitionsOfAssignment } from '../../../log/group/classic/consumer-assignment.ts';
import type { SlotOwner, SlotState } from '../../../log/group/offset-page.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { eachOf } from '../../topics/each-head.ts';
import { byPage, type PageOf, withTopicIds } from '../offsets/chosen-partitions.ts';
import { changeSlots, newTag, readPage, type SlotChange, slotState } from '../offsets/pages.ts';
import { fencedInstance, rebalanceInProgress, tooManyChanges } from './state/errors.ts';
import { readClassicMember } from './state/items.ts';

/** The member for whom an assignment is claimed. */
export interface Claimant {
  readonly group: string;
  readonly key: string;
  readonly memberId: string;
  readonly instanceId: string | undefined;
  readonly generation: number;
}

interface Entry {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
}

const TRIES = 8;

/**
 * Claims the slots of the partitions that an assignment names, under the generation as their fence. From then on commits of
 * older generations are refused there, and whoever reads the committed offset after this reads the last one. Topics and partitions
 * that do not exist are left out. Repeating it is safe, and writes nothing.
 *
 * For each 16 partitions of a topic 1 GetItem and 1 UpdateItem.
 * @throws EventLogError `rebalance_in_progress` if a newer generation has claimed a partition, `fenced_instance_id`
 */
export async function claimAssignment(
  context: BrokerContext,
  items: ItemStore,
  claimant: Claimant,
  assignment: Uint8Array,
): Promise<void> {
  const named = partitionsOfAssignment(assignment).flatMap(({ topic, partitions }) =>
    partitions.map((partition) => ({ topic, partition })),
  );
  const found = await withTopicIds(context, named);
  const entries = found.flatMap((each) => {
    if (!(each instanceof EventLogError)) return [each];
    // Any other error does not say that there is no such partition.
    if (each.code !== 'unknown_topic' && each.code !== 'unknown_partition') throw each;
    return [];
  });
  await eachOf(byPage(claimant.group, entries), (page) => claimPage(context, items, claimant, page));
}

async function claimPage(
  context: BrokerContext,
  items: ItemStore,
  claimant: Claimant,
  { name, entries }: PageOf<Entry>,
): Promise<void> {
  const { group, key, memberId, generation } = claimant;
  const owner: SlotOwner = { memberKey: key, memberId, memberEpoch: generation };
  let seen = await readPage(items, name);
  for (let tries = 0; tries < TRIES; tries++) {
    const claims: SlotChange[] = [];
    for (const { partition } of entries) {
      const slot = slotState(seen, partition);
      if (slot.fence > generation) throw rebalanceInProgress(group);
      if (isOwn(slot, owner)) continue;
      claims.push({
        partition,
        seen: slot,
        tag: newTag(context.random),
        content: { ...slot, owner, fence: generation },
      });
    }
    const hasPredecessor = entries.some(({ partition }) => isOfPredecessor(slotState(seen, partition), owner));
    // The page was read before: if another user of the instance id claims it from now on, the claim below is refused.
    if (hasPredecessor) await checkInstance(items, claimant);
    if (claims.length === 0) return context.groups.putPage(group, name.topicId, name.page, seen);
    const changed = await changeSlots(items, context.random, name, claims);
    seen = changed.page;
    context.groups.putPage(group, name.topicId, name.page, seen);
    if (changed.ok) return;
  }
  throw tooManyChanges(group);
}

function isOwn(slot: SlotState, owner: SlotOwner): boolean {
  return (
    slot.fence === owner.memberEpoch &&
    slot.owner?.memberKey === owner.memberKey &&
    slot.owner.memberId === owner.memberId
  );
}

/** The slot belongs to another user of the same instance id, in the same generation: either may be the present one. */
function isOfPredecessor(slot: SlotState, owner: SlotOwner): boolean {
  return (
    slot.fence === owner.memberEpoch &&
    slot.owner?.memberKey === owner.memberKey &&
    slot.owner.memberId !== owner.memberId
  );
}

async function checkInstance(items: ItemStore, { group, key, memberId, instanceId }: Claimant): Promise<void> {
  const member = await readClassicMember(items, group, key);
  if (member !== undefined && !member.isGone && member.memberId !== memberId)
    throw fencedInstance(group, instanceId ?? '');
}
