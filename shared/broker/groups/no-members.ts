import { EventLogError } from '../../log/errors.ts';
import { type ClassicMember, endClassic, isClassicKey, isLive } from '../../log/group/classic/classic-member.ts';
import { end, isOverdue, type Member } from '../../log/group/member.ts';
import { memberPartitionKey } from '../../storage/group-keys.ts';
import type { ItemPage, ItemStore } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import { classicMemberFromAttributes, listClassicMembers, storeClassicMember } from './classic/state/items.ts';
import { listConsumers, memberFromAttributes, replaceMember } from './items.ts';
import { raiseEpoch } from './membership/raise-epoch.ts';

const MEMBERS_PER_QUERY = 1_000;

/**
 * Whether a group has a live member of either type. Members whose session has ended are ended here: nobody else does that in a
 * group without live members, and such a member must not come back and overwrite what the caller is about to do. 1 Query for
 * each megabyte of members; 1 PutItem for each that is ended, and 1 UpdateItem.
 */
export async function hasLiveMember(context: BrokerContext, items: ItemStore, group: string): Promise<boolean> {
  const consumers: Member[] = [];
  const classic: ClassicMember[] = [];
  for (let from: string | undefined = ''; from !== undefined; ) {
    const page: ItemPage = await items.query({ pk: memberPartitionKey(group), from, limit: MEMBERS_PER_QUERY });
    for (const { sk, attributes } of page.items) {
      if (isClassicKey(sk)) classic.push(classicMemberFromAttributes(sk, attributes));
      else consumers.push(memberFromAttributes(sk, attributes));
    }
    const last: string | undefined = page.items.at(-1)?.sk;
    from = page.more && last !== undefined ? `${last}\0` : undefined;
  }
  return (
    (await isAnyConsumerLive(context, items, group, consumers)) ||
    (await isAnyClassicLive(context, items, group, classic))
  );
}

/** The same for members by KIP-848 or HTTP alone. */
export async function hasLiveConsumer(context: BrokerContext, items: ItemStore, group: string): Promise<boolean> {
  return isAnyConsumerLive(context, items, group, await listConsumers(items, group));
}

/**
 * The live members by Kafka's classic protocol, or `undefined` if one has come since they were listed. If none is live, those
 * whose session has ended are ended.
 */
export async function liveClassicMembers(
  context: BrokerContext,
  items: ItemStore,
  group: string,
): Promise<readonly ClassicMember[] | undefined> {
  const members = await listClassicMembers(items, group);
  const nowMs = context.clock.nowMs();
  const live = members.filter((member) => isLive(member, nowMs));
  if (live.length > 0) return live;
  return (await isAnyClassicLive(context, items, group, members)) ? undefined : [];
}

async function isAnyConsumerLive(
  context: BrokerContext,
  items: ItemStore,
  group: string,
  members: readonly Member[],
): Promise<boolean> {
  const nowMs = context.clock.nowMs();
  const present = members.filter(({ isGone }) => !isGone);
  if (present.some((member) => !isOverdue(member, nowMs))) return true;
  let hasCome = false;
  for (const member of present) {
    // Refused: it has sent a heartbeat since.
    if ((await replaceMember(items, group, member, end(member))) === undefined) hasCome = true;
  }
  if (present.length > 0) await raiseEpoch(items, context.random, group);
  return hasCome;
}

async function isAnyClassicLive(
  context: BrokerContext,
  items: ItemStore,
  group: string,
  members: readonly ClassicMember[],
): Promise<boolean> {
  const nowMs = context.clock.nowMs();
  const present = members.filter(({ isGone }) => !isGone);
  if (present.some((member) => isLive(member, nowMs))) return true;
  let hasCome = false;
  for (const member of present) {
    if ((await storeClassicMember(items, group, member, endClassic(member))) === undefined) hasCome = true;
  }
  return hasCome;
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
