import { EventLogError } from '../../log/errors.ts';
import { endClassic, isLive } from '../../log/group/classic/classic-member.ts';
import { end, isOverdue } from '../../log/group/member.ts';
import type { ItemStore } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import { listClassicMembers, storeClassicMember } from './classic/items.ts';
import { listMembers, replaceMember } from './items.ts';
import { raiseEpoch } from './membership/raise-epoch.ts';

/**
 * Whether a group has a live member. Members whose session has ended are ended here: nobody else does that in a group without
 * live members, and such a member must not come back and overwrite what the caller is about to do. 2 Queries, and 1 more for each
 * megabyte of members; 1 PutItem for each that is ended, and 1 UpdateItem.
 */
export async function hasLiveMember(context: BrokerContext, items: ItemStore, group: string): Promise<boolean> {
  return (await hasLiveConsumer(context, items, group)) || (await hasLiveClassic(context, items, group));
}

/** Whether it has a live member by KIP-848 or HTTP. */
export async function hasLiveConsumer(context: BrokerContext, items: ItemStore, group: string): Promise<boolean> {
  const nowMs = context.clock.nowMs();
  const present = (await listMembers(items, group)).filter(({ isGone }) => !isGone);
  if (present.some((member) => !isOverdue(member, nowMs))) return true;
  let isLiveAgain = false;
  for (const member of present) {
    // Refused: it has sent a heartbeat since.
    if ((await replaceMember(items, group, member, end(member))) === undefined) isLiveAgain = true;
  }
  if (present.length > 0) await raiseEpoch(items, context.random, group);
  return isLiveAgain;
}

/** Whether it has a live member by Kafka's classic protocol. */
export async function hasLiveClassic(context: BrokerContext, items: ItemStore, group: string): Promise<boolean> {
  const nowMs = context.clock.nowMs();
  const present = (await listClassicMembers(items, group)).filter(({ isGone }) => !isGone);
  if (present.some((member) => isLive(member, nowMs))) return true;
  let isLiveAgain = false;
  for (const member of present) {
    if ((await storeClassicMember(items, group, member, endClassic(member))) === undefined) isLiveAgain = true;
  }
  return isLiveAgain;
}

export function groupNotEmpty(group: string): EventLogError {
  return new EventLogError(
    'group_not_empty',
    `Group '${group}' has members. They must leave, or their sessions must end, before this can be done.`,
    { details: { group } },
  );
}

export function unknownGroup(group: string): EventLogError {
  return new EventLogError('unknown_group', `There is no consumer group '${group}'.`, { details: { group } });
}
