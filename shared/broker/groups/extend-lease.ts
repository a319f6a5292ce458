import { checkGroupName } from '../../log/group/group.ts';
import { memberKey } from '../../log/group/member.ts';
import { decodePollToken } from '../../log/group/poll-token.ts';
import type { BrokerContext } from '../context.ts';
import { retrying } from '../retry.ts';
import { NO_TOPIC } from '../usage/usage-meter.ts';
import { noteHeartbeat } from './items.ts';
import { fencedMember, unknownMember } from './membership/heartbeat.ts';

export interface ExtendLeaseRequest {
  readonly group: string;
  /** The token of the last poll. */
  readonly token: string;
}

/**
 * The member keeps its partitions for another lease: for a caller that needs longer for the records of a poll. It lets go of
 * nothing. 1 UpdateItem, 2 if the token is not the member's last.
 * @throws EventLogError `invalid_request`, `unknown_member`, `fenced_member_epoch`
 */
export async function extendLease(
  context: BrokerContext,
  { group, token }: ExtendLeaseRequest,
): Promise<{ readonly leaseExpiresAtMs: number }> {
  checkGroupName(group, 'group');
  const { memberId, instanceId, memberEpoch } = decodePollToken(token, 'token');
  const { items } = context.usage.of(NO_TOPIC, 'group');
  return retrying(context, 'from_error', async () => {
    for (let epoch = memberEpoch; ; ) {
      const nowMs = context.clock.nowMs();
      const key = { key: memberKey(memberId, instanceId), memberId, memberEpoch: epoch };
      const { noted, member } = await noteHeartbeat(items, group, key, nowMs);
      if (member === undefined || member.isGone || member.isAway) throw unknownMember({ group, memberId });
      if (noted) return { leaseExpiresAtMs: nowMs + member.sessionTimeoutMs };
      // The member was told more since. This tells only that its owner is alive, so its present epoch does as well.
      if (member.memberId !== memberId || epoch >= member.epoch) throw fencedMember({ group, memberId });
      epoch = member.epoch;
    }
  });
}
