import type { AssignorName } from '../../log/group/assignor.ts';
import { instanceIdOf } from '../../log/group/classic/classic-member.ts';
import { checkGroupName } from '../../log/group/group.ts';
import { isSettled, type Member, type MemberClient } from '../../log/group/member.ts';
import type { PartitionSet } from '../../log/group/partition-set.ts';
import type { BrokerContext } from '../context.ts';
import { NO_TOPIC } from '../usage/usage-meter.ts';
import { groupTypeMismatch } from './classic/state/errors.ts';
import { listMembers, readGroup } from './items.ts';
import { assignorOf } from './membership/targets.ts';
import { unknownGroup } from './no-members.ts';

/**
 * `empty`: no members. `computing`: the next heartbeat computes a target. `reconciling`: members let go of partitions or get
 * them. `stable`: each member has what its target gives it.
 */
export type GroupState = 'empty' | 'computing' | 'reconciling' | 'stable';

export interface TopicPartitions {
  readonly topic: string;
  readonly partitions: readonly number[];
}

export interface MemberDescription {
  readonly memberId: string;
  readonly instanceId: string | null;
  /** `classic`: it uses Kafka's classic protocol, in a group that has members of both. */
  readonly protocol: 'classic' | 'consumer';
  readonly client: MemberClient;
  readonly memberEpoch: number;
  /** The epoch of the target that the member works towards. */
  readonly targetEpoch: number;
  readonly topics: readonly string[];
  readonly topicPattern: string | null;
  readonly assigned: readonly TopicPartitions[];
  /** What the member was told to let go of, and has not. */
  readonly revoking: readonly TopicPartitions[];
  /** What the target gives it. */
  readonly wanted: readonly TopicPartitions[];
  readonly secondsSinceSeen: number;
  readonly sessionTimeoutMs: number;
  /** A static member that will come back. */
  readonly isAway: boolean;
}

export interface GroupDescription {
  readonly group: string;
  readonly state: GroupState;
  readonly epoch: number;
  readonly targetEpoch: number;
  readonly assignor: AssignorName;
  /** In the order of their keys. */
  readonly members: readonly MemberDescription[];
}

/**
 * Describes a group and its members as of now. Topics that were deleted are left out.
 * 1 GetItem, 1 Query for each megabyte of members, and the names of topics that are not in memory: 1 Query for every 500 topics.
 * @throws EventLogError `invalid_request`, `unknown_group`, `group_type_mismatch` (see `describeClassicGroup`)
 */
export async function describeGroup(context: BrokerContext, group: string): Promise<GroupDescription> {
  checkGroupName(group, 'group');
  const { items } = context.usage.of(NO_TOPIC, 'group');
  const found = await readGroup(items, group);
  if (found?.isClassic && !found.isDeleted) throw groupTypeMismatch(group, 'classic');
  const members = (await listMembers(items, group)).filter(({ isGone }) => !isGone);
  if (found === undefined || (found.isDeleted && members.length === 0)) throw unknownGroup(group);
  const { epoch, targetEpoch } = found;
  const isStable = members.every((member) => isSettled(member) && member.targetEpoch === targetEpoch);
  const state =
    members.length === 0 ? 'empty' : targetEpoch < epoch ? 'computing' : isStable ? 'stable' : 'reconciling';
  const described: MemberDescription[] = [];
  for (const member of members) described.push(await describeMember(context, member));
  return { group, state, epoch, targetEpoch, assignor: assignorOf(members), members: described };
}

async function describeMember(context: BrokerContext, member: Member): Promise<MemberDescription> {
  const { key, memberId, classic, client, epoch, targetEpoch, subscription, seenAtMs, sessionTimeoutMs, isAway } =
    member;
  return {
    memberId,
    instanceId: key.startsWith('i:') ? key.slice(2) : (instanceIdOf(key) ?? null),
    protocol: classic === undefined ? 'consumer' : 'classic',
    client,
    memberEpoch: epoch,
    targetEpoch,
    topics: subscription.topics,
    topicPattern: subscription.pattern ?? null,
    assigned: await withNames(context, member.assigned),
    revoking: await withNames(context, member.revoking),
    wanted: await withNames(context, member.wanted),
    secondsSinceSeen: Math.max(0, Math.floor((context.clock.nowMs() - seenAtMs) / 1_000)),
    sessionTimeoutMs,
    isAway,
  };
}

async function withNames(context: BrokerContext, set: PartitionSet): Promise<TopicPartitions[]> {
  const { listings } = context.topics;
  const named: TopicPartitions[] = [];
  for (const [topicId, partitions] of set) {
    const topic = await context.topics.nameOf(topicId, listings);
    if (topic !== undefined) named.push({ topic, partitions });
  }
  return named;
}
