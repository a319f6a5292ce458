import { EventLogError } from '../../../log/errors.ts';
import { isLive } from '../../../log/group/classic/classic-member.ts';
import type { BrokerContext } from '../../context.ts';
import type { Page } from '../../page.ts';
import { eachOf } from '../../topics/each-head.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import { describeGroup, type GroupDescription, type GroupState } from '../describe-group.ts';
import { type ListGroupsRequest, listGroups } from '../list-groups.ts';
import { type ClassicState, stateOf } from './describe-classic-group.ts';
import { listClassicMembers, readClassicGroup } from './state/items.ts';

export interface ListedGroupState {
  readonly group: string;
  readonly type: 'classic' | 'consumer';
  /** Of the classic protocol, or of KIP-848. */
  readonly state: ClassicState | GroupState;
  /** Of a classic group; `consumer` for others. */
  readonly protocolType: string;
}

/**
 * Lists groups with their types and states: Kafka's ListGroups. Groups whose deletion was interrupted are left out. For each
 * page 1 Query, and for each group 1 or 2 GetItems and 1 Query.
 * @throws EventLogError `invalid_request`
 */
export async function listGroupStates(
  context: BrokerContext,
  request: ListGroupsRequest = {},
): Promise<Page<ListedGroupState>> {
  const page = await listGroups(context, request);
  const states = await eachOf(page.items, ({ group }) => groupState(context, group));
  return { ...page, items: states.filter((state) => state !== undefined) };
}

async function groupState(context: BrokerContext, name: string): Promise<ListedGroupState | undefined> {
  const { items } = context.usage.of(NO_TOPIC, 'group');
  const group = await readClassicGroup(items, name);
  if (group.type === 'none') return undefined;
  if (group.type === 'consumer') {
    const described = await describeIfThere(context, name);
    return described && { group: name, type: 'consumer', state: described.state, protocolType: 'consumer' };
  }
  const nowMs = context.clock.nowMs();
  const live = (await listClassicMembers(items, name)).filter((member) => isLive(member, nowMs)).length;
  return { group: name, type: 'classic', state: stateOf(group, live), protocolType: group.protocolType ?? '' };
}

/** `undefined`: it was deleted, or has changed its type, since it was read. */
async function describeIfThere(context: BrokerContext, name: string): Promise<GroupDescription | undefined> {
  try {
    return await describeGroup(context, name);
  } catch (error) {
    const code = error instanceof EventLogError ? error.code : undefined;
    if (code === 'unknown_group' || code === 'group_type_mismatch') return undefined;
    throw error;
  }
}
