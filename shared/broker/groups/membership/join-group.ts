import { EventLogError } from '../../../log/errors.ts';
import { classicKey } from '../../../log/group/classic/classic-member.ts';
import { end, isOverdue, type Member, memberKey } from '../../../log/group/member.ts';
import { NO_PARTITIONS } from '../../../log/group/partition-set.ts';
import { subscriptionHash } from '../../../log/group/subscription.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { groupTypeMismatch } from '../classic/state/errors.ts';
import { takeFromClassic } from '../classic/take-group.ts';
import { memberFromAttributes, putNewMember, readMember, replaceMember } from '../items.ts';
import type { JoinRequest } from './heartbeat-request.ts';
import { raiseEpoch } from './raise-epoch.ts';

const TRIES = 8;

/**
 * Adds a member to its group, or takes one back that joins again. Returns the member, or `undefined` if another request
 * changed it at the same time.
 *
 * A member that is there already stays as it is, with what it has: the request may be a repetition. A member that is gone
 * begins again with nothing, under a higher epoch. A static member that is away, or whose session has ended, is followed by
 * a member with another id, who claims its partitions again, so its late commits are rejected.
 *
 * 1 PutItem, 1 UpdateItem; 1 PutItem more for a member that was there. In a classic group 2 GetItems, 1 Query and 1 UpdateItem
 * more: it changes its type. Its members stay, if all of them are consumers.
 * @throws EventLogError `instance_in_use`, `group_type_mismatch`
 */
export async function joinGroup(
  context: BrokerContext,
  items: ItemStore,
  request: JoinRequest,
): Promise<Member | undefined> {
  const { group } = request;
  const nowMs = context.clock.nowMs();
  const made = newMember(request, nowMs);
  const put = await putNewMember(items, group, made);
  if (put.ok) {
    await raiseEpochOf(context, items, group, made);
    return made;
  }
  const seen = memberFromAttributes(made.key, put.attributes ?? {});
  const changed = joinAgain(seen, made, nowMs);
  const stored = await replaceMember(items, group, seen, changed);
  if (stored === undefined) return undefined;
  const isKnown =
    !seen.isGone &&
    changed.computedFrom !== undefined &&
    subscriptionHash(seen.subscription) === subscriptionHash(changed.subscription);
  if (!isKnown) await raiseEpochOf(context, items, group, stored);
  return stored;
}

/** The group's epoch rises for a member that was stored. If the group stays a classic one, the member is ended. */
async function raiseEpochOf(context: BrokerContext, items: ItemStore, group: string, member: Member): Promise<void> {
  const raised = await raiseEpoch(items, context.random, group, { hasMember: true });
  if (raised.isClassic && !(await takeFromClassic(context, items, group))) {
    await replaceMember(items, group, member, end(member));
    throw groupTypeMismatch(group, 'classic');
  }
  if (raised.isClassic || raised.hasClassicMembers) await takeInstance(context, items, group, member);
}

/** The member follows one by the classic protocol under its instance id, as in Kafka: that one is ended, and learns it. */
async function takeInstance(
  context: BrokerContext,
  items: ItemStore,
  group: string,
  { key, memberId }: Member,
): Promise<void> {
  if (!key.startsWith('i:')) return;
  for (let tries = 0; tries < TRIES; tries++) {
    const former = await readMember(items, group, classicKey(memberId, key.slice(2)));
    if (former === undefined || former.isGone) return;
    if ((await replaceMember(items, group, former, { ...end(former), memberId })) === undefined) continue;
    await raiseEpoch(items, context.random, group, { hasMember: true });
    return;
  }
}

function newMember(request: JoinRequest, nowMs: number): Member {
  return {
    key: memberKey(request.memberId, request.instanceId),
    memberId: request.memberId,
    version: 1,
    epoch: 1,
    targetEpoch: 0,
    assigned: NO_PARTITIONS,
    revoking: NO_PARTITIONS,
    wanted: NO_PARTITIONS,
    unclaimed: NO_PARTITIONS,
    subscription: request.subscription,
    computedFrom: undefined,
    assignor: request.assignor,
    seenAtMs: nowMs,
    sessionTimeoutMs: request.sessionTimeoutMs,
    rebalanceTimeoutMs: request.rebalanceTimeoutMs,
    releaseByMs: undefined,
    client: request.client,
    isAway: false,
    isGone: false,
  };
}

function joinAgain(seen: Member, made: Member, nowMs: number): Member {
  const { memberId, subscription, assignor, seenAtMs, sessionTimeoutMs, rebalanceTimeoutMs, client } = made;
  const given = {
    memberId,
    subscription,
    assignor,
    seenAtMs,
    sessionTimeoutMs,
    rebalanceTimeoutMs,
    client,
    isAway: false,
  };
  if (seen.isGone)
    return { ...end(seen), ...given, isGone: false, epoch: seen.epoch + 1, targetEpoch: 0, computedFrom: undefined };
  if (seen.memberId === memberId) return { ...seen, ...given };
  if (!seen.isAway && !isOverdue(seen, nowMs))
    throw new EventLogError(
      'instance_in_use',
      `Another member uses the instance id '${seen.key.slice(2)}'. It must leave, or its session must end, before this one can join.`,
      { details: { instanceId: seen.key.slice(2) } },
    );
  return { ...seen, ...given, epoch: seen.epoch + 1, unclaimed: seen.assigned };
}
