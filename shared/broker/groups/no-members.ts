import { EventLogError } from '../../log/errors.ts';
import { end, isOverdue } from '../../log/group/member.ts';
import type { ItemStore } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import { listMembers, replaceMember } from './items.ts';
import { raiseEpoch } from './membership/raise-epoch.ts';

/**
 * Whether a group has a live member. Members whose session has ended are ended here: nobody else does that in a group without
 * live members, and such a member must not come back and overwrite what the caller is about to do. 1 Query for each megabyte of
 * members; 1 PutItem for each that is ended, and 1 UpdateItem.
 */
export async function hasLiveMember(context: BrokerContext, items: ItemStore, group: string): Promise<boolean> {
  const nowMs = context.clock.nowMs();
  const present = (await listMembers(items, group)).filter(({ isGone }) => !isGone);
  if (present.some((member) => !isOverdue(member, nowMs))) return true;
  let isLive = false;
  for (const member of present) {
    // Refused: it has sent a heartbeat since.
    if ((await replaceMember(items, group, member, end(member))) === undefined) isLive = true;
  }
  if (present.length > 0) await raiseEpoch(items, context.random, group);
  return isLive;
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
