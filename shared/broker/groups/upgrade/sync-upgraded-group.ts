import { EventLogError } from '../../../log/errors.ts';
import { assignmentOfPartitions } from '../../../log/group/classic/consumer-assignment.ts';
import { CONSUMER_PROTOCOL, consumerSubscription } from '../../../log/group/classic/consumer-subscription.ts';
import { gainUpgraded, lackedBy, syncUpgraded } from '../../../log/group/classic/upgraded-member.ts';
import type { ClassicSide, Member } from '../../../log/group/member.ts';
import { NO_PARTITIONS, type PartitionSet, pagesOf, partitionSet } from '../../../log/group/partition-set.ts';
import { shareOf } from '../../../log/group/target.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import {
  fencedInstance,
  illegalGeneration,
  inconsistentProtocol,
  rebalanceInProgress,
  tooManyChanges,
  unknownClassicMember,
} from '../classic/state/errors.ts';
import type { InGeneration, SyncClassicRequest, SyncClassicResult } from '../classic/sync-request.ts';
import { readGroup, readMember, replaceMember } from '../items.ts';
import { claimUnclaimed, freePartitions } from '../membership/claim-partitions.ts';
import { raiseEpoch } from '../membership/raise-epoch.ts';
import { readTarget } from '../membership/targets.ts';
import { withTopicIds } from '../offsets/chosen-partitions.ts';

const TRIES = 8;

/**
 * A member by the classic protocol in a group of KIP-848 gets its partitions (docs/design/0012): those of its target that nobody
 * else may read. The first sync after a join proves what the member owned then, so what it has let go of is free from here on.
 * The partitions are listed in the member, then claimed, and then the answer names them. Repeating it gives the same.
 *
 * 2 GetItems and 1 PutItem, 2 if it gets something; for each 16 partitions that it gets 2 GetItems and 1 UpdateItem, and 1
 * request for owners if others own any; the target if it is not in memory.
 * @throws EventLogError `unknown_member`, `fenced_instance_id`, `illegal_generation`, `inconsistent_group_protocol`,
 * `rebalance_in_progress` (join again), `throttled`
 */
export async function syncUpgradedGroup(
  context: BrokerContext,
  items: ItemStore,
  request: SyncClassicRequest,
  key: string,
): Promise<SyncClassicResult> {
  const { group: name } = request;
  for (let tries = 0; tries < TRIES; tries++) {
    const seen = await readMember(items, name, key);
    const classic = checkUpgraded(seen, request);
    if (isOther(request.protocolType, CONSUMER_PROTOCOL) || isOther(request.protocol, classic.protocols[0]?.name))
      throw inconsistentProtocol(name);
    const listed = classic.mustSync ? await list(context, items, name, seen as Member) : (seen as Member);
    const told = listed && (await claimListed(context, items, name, listed));
    if (told !== undefined) return resultOf(context, told, classic);
  }
  throw tooManyChanges(name);
}

/**
 * The member is there at the request's generation. One that comes from a classic group and has not joined since must join.
 * @throws EventLogError `unknown_member`, `fenced_instance_id`, `illegal_generation`, `rebalance_in_progress`
 */
export function checkUpgraded(
  member: Member | undefined,
  { group, memberId, instanceId, generation }: InGeneration,
): ClassicSide {
  const isOtherUser = member !== undefined && member.memberId !== memberId;
  if (isOtherUser && instanceId !== undefined) throw fencedInstance(group, instanceId);
  if (member?.classic === undefined || member.isGone || isOtherUser) throw unknownClassicMember({ group, memberId });
  const { classic, epoch } = member;
  const mustJoin = classic.isUnlisted && !classic.mustSync;
  // Its client gave up the answer to a join that was given this epoch, or another copy of that join is late.
  if (mustJoin || generation < epoch) throw rebalanceInProgress(group);
  if (generation > epoch) throw illegalGeneration(group, generation, epoch);
  return classic;
}

/**
 * Claims what a member was given and may not own yet, and notes that it does. What cannot be claimed any more, it has to let go
 * of. Returns the member as it can be told, or `undefined` if another request got in between.
 */
export async function claimListed(
  context: BrokerContext,
  items: ItemStore,
  name: string,
  member: Member,
): Promise<Member | undefined> {
  if (member.unclaimed.size === 0) return member;
  const told = await claimUnclaimed(context, items, name, member);
  // If another request changes the member meanwhile, a heartbeat notes it.
  if (told !== undefined) await replaceMember(items, name, told, { ...told, unclaimed: NO_PARTITIONS });
  return told;
}

function isOther(given: string | undefined, present: string | undefined): boolean {
  return given !== undefined && given !== present;
}

/** The first sync after a join. `undefined`: another request got in between. */
async function list(context: BrokerContext, items: ItemStore, name: string, seen: Member): Promise<Member | undefined> {
  const group = await readGroup(items, name);
  if (group === undefined || group.isDeleted || group.isClassic || group.targetEpoch > seen.epoch)
    throw rebalanceInProgress(name);
  const target = await readTarget(context, items, name, group);
  const computedFrom = target?.members.find(({ key }) => key === seen.key);
  const share = target && shareOf(target, seen.key);
  if (share === undefined || group.targetEpoch < seen.targetEpoch) {
    // Whoever stored the member died before raising the epoch, or somebody restored a part of the table.
    if (group.targetEpoch === group.epoch) await raiseEpoch(items, context.random, name, { hasMember: true });
    throw rebalanceInProgress(name);
  }
  const owned = await ownedBy(context, seen);
  const nowMs = context.clock.nowMs();
  const next = syncUpgraded(seen, owned, { epoch: group.targetEpoch, share, computedFrom }, nowMs);
  const free = await freePartitions(items, name, next, pagesOf(lackedBy(next)));
  return replaceMember(items, name, seen, free.size === 0 ? next : gainUpgraded(next, free));
}

/** What the member said that it owned when it joined. Topics and partitions that do not exist are left out. */
async function ownedBy(context: BrokerContext, { classic }: Member): Promise<PartitionSet> {
  const said = classic && consumerSubscription(classic.protocolType, classic.protocols);
  const named = (said?.owned ?? []).flatMap(({ topic, partitions }) =>
    partitions.map((partition) => ({ topic, partition })),
  );
  const found = await withTopicIds(context, named);
  return partitionSet(
    found.flatMap((each): (readonly [string, number])[] => {
      if (!(each instanceof EventLogError)) return [[each.topicId, each.partition]];
      // Any other error does not say that there is no such partition.
      if (!NONE_SUCH.has(each.code)) throw each;
      return [];
    }),
  );
}
const NONE_SUCH: ReadonlySet<string> = new Set(['unknown_topic', 'unknown_partition', 'invalid_request']);

async function resultOf(
  context: BrokerContext,
  { assigned }: Member,
  { protocolType, protocols }: ClassicSide,
): Promise<SyncClassicResult> {
  const { listings } = context.topics;
  const topics = await Promise.all(
    [...assigned].map(async ([topicId, partitions]) => {
      const topic = await context.topics.nameOf(topicId, listings);
      return topic === undefined ? [] : [{ topic, partitions }];
    }),
  );
  const { version = 0 } = consumerSubscription(protocolType, protocols) ?? {};
  return {
    protocolType: CONSUMER_PROTOCOL,
    protocol: protocols[0]?.name ?? '',
    assignment: assignmentOfPartitions(version, topics.flat()),
  };
}
