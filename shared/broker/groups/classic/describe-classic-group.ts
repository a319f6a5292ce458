import { type ClassicGroup, type ClassicPhase, hasGeneration } from '../../../log/group/classic/classic-group.ts';
import { instanceIdOf, isLive } from '../../../log/group/classic/classic-member.ts';
import { checkGroupName } from '../../../log/group/group.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import { listMembers } from '../items.ts';
import { groupTypeMismatch } from './state/errors.ts';
import { listClassicMembers, readClassicGroup } from './state/items.ts';
import { readAssignment, readRoster } from './state/stored-parts.ts';

/** Under Kafka's names. `Dead`: there is no such group. */
export type ClassicState = 'Empty' | 'PreparingRebalance' | 'CompletingRebalance' | 'Stable' | 'Dead';

export interface ClassicMemberDescription {
  readonly memberId: string;
  readonly instanceId: string | undefined;
  readonly clientId: string;
  readonly clientHost: string;
  /** Of the protocol in use; empty while members join. */
  readonly metadata: Uint8Array;
  /** What the leader has assigned; empty unless the group is stable. */
  readonly assignment: Uint8Array;
}

export interface ClassicGroupDescription {
  readonly group: string;
  readonly state: ClassicState;
  readonly generation: number;
  /** Empty if the group never had a member by the classic protocol. */
  readonly protocolType: string;
  /** The protocol in use; empty without one. */
  readonly protocol: string;
  /** In the order of their keys. */
  readonly members: readonly ClassicMemberDescription[];
}

const STATES: Readonly<Record<ClassicPhase, ClassicState>> = {
  empty: 'Empty',
  joining: 'PreparingRebalance',
  syncing: 'CompletingRebalance',
  stable: 'Stable',
};

/**
 * Describes a classic group as of now: Kafka's DescribeGroups. A group without members is empty, whatever its type is: one that
 * only has offsets, for example, which never had any. 1 GetItem, 1 Query for each megabyte of members, and the roster and the
 * assignment if they are not in memory.
 * @throws EventLogError `invalid_request`, `group_type_mismatch`, `corrupt_data`
 */
export async function describeClassicGroup(context: BrokerContext, name: string): Promise<ClassicGroupDescription> {
  checkGroupName(name, 'group');
  const { items } = context.usage.of(NO_TOPIC, 'group');
  const group = await readClassicGroup(items, name);
  if (group.type === 'consumer' && (await hasPresentMember(items, name))) throw groupTypeMismatch(name, 'consumer');
  const members = await describeMembers(context, items, name, group);
  return {
    group: name,
    state: stateOf(group, members.length),
    generation: group.epoch,
    protocolType: group.protocolType ?? '',
    protocol: hasGeneration(group) ? (group.protocol ?? '') : '',
    members,
  };
}

/** Whether a group of KIP-848 has a member, as `describeGroup` counts them. */
async function hasPresentMember(items: ItemStore, name: string): Promise<boolean> {
  return (await listMembers(items, name)).some(({ isGone }) => !isGone);
}

/** The state of a group; without live members it is empty, also if nobody has noticed that their sessions have ended. */
export function stateOf({ type, phase }: ClassicGroup, liveMembers: number): ClassicState {
  if (type === 'none') return 'Dead';
  return liveMembers === 0 ? 'Empty' : STATES[phase];
}

async function describeMembers(
  context: BrokerContext,
  items: ItemStore,
  name: string,
  group: ClassicGroup,
): Promise<ClassicMemberDescription[]> {
  if (group.type !== 'classic') return [];
  const nowMs = context.clock.nowMs();
  const members = (await listClassicMembers(items, name)).filter((member) => isLive(member, nowMs));
  const roster = hasGeneration(group) ? await readRoster(context, items, name, group) : undefined;
  const assignment = group.phase === 'stable' ? await readAssignment(context, items, name, group) : undefined;
  const metadata = new Map(roster?.members.map((member) => [member.key, member.metadata]));
  return members
    .filter(({ key }) => roster === undefined || metadata.has(key))
    .map(({ key, memberId, client }) => ({
      memberId,
      instanceId: instanceIdOf(key),
      clientId: client.clientId ?? '',
      clientHost: client.host ?? '',
      metadata: metadata.get(key) ?? new Uint8Array(),
      assignment: assignment?.get(key) ?? new Uint8Array(),
    }));
}
