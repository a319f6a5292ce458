import { EventLogError, invalidField } from '../../../log/errors.ts';
import { checkGroupName } from '../../../log/group/group.ts';
import { end, memberKey } from '../../../log/group/member.ts';
import type { BrokerContext } from '../../context.ts';
import { retrying } from '../../retry.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import { readMember, replaceMember } from '../items.ts';
import { fencedMember, unknownMember } from './heartbeat.ts';
import { raiseEpoch } from './raise-epoch.ts';

export interface LeaveRequest {
  readonly group: string;
  readonly memberId: string;
  readonly instanceId?: string | undefined;
  /** A static member comes back within its session: its partitions wait for it. Needs `instanceId`. */
  readonly willReturn?: boolean | undefined;
}

const TRIES = 8;

/**
 * A member leaves its group: its partitions can be taken at once. The sender must have stopped reading before. Repeating the
 * request gives `unknown_member`. 1 GetItem, 1 PutItem, 1 UpdateItem.
 * @throws EventLogError `invalid_request`, `unknown_member`, `fenced_member_epoch` (the instance id has another user)
 */
export async function leaveGroup(context: BrokerContext, request: LeaveRequest): Promise<void> {
  const { group, memberId, instanceId, willReturn = false } = request;
  checkGroupName(group, 'group');
  checkGroupName(memberId, 'memberId');
  if (instanceId !== undefined) checkGroupName(instanceId, 'instanceId');
  else if (willReturn)
    throw invalidField(
      'willReturn',
      'Only a static member can come back: give its `instanceId`, or leave out `willReturn`.',
    );
  const { items } = context.usage.of(NO_TOPIC, 'group');
  let hasTried = false;
  await retrying(context, 'from_error', async () => {
    for (let tries = 0; tries < TRIES; tries++) {
      const member = await readMember(items, group, memberKey(memberId, instanceId));
      if (member === undefined || (member.isGone && !hasTried)) throw unknownMember(request);
      if (member.memberId !== memberId) throw fencedMember(request);
      hasTried = true;
      const stored = member.isGone
        ? member
        : await replaceMember(items, group, member, willReturn ? { ...member, isAway: true } : end(member));
      if (stored === undefined) continue;
      if (stored.isGone) await raiseEpoch(items, context.random, group);
      return;
    }
    throw new EventLogError('throttled', `Other requests of member '${memberId}' change it at the same time.`);
  });
}
