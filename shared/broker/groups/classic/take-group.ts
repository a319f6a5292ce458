import { becomeConsumerGroup } from '../../../log/group/classic/classic-group.ts';
import { consumerSubscription } from '../../../log/group/classic/consumer-subscription.ts';
import { allowsUpgrade } from '../../../log/group/classic/migration-policy.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { raiseEpoch } from '../membership/raise-epoch.ts';
import { liveClassicMembers } from '../no-members.ts';
import { moveClassicGroup, readClassicGroup } from './state/items.ts';

const TRIES = 8;

/**
 * A member by KIP-848 or HTTP, which is stored already, takes over a classic group: the group changes its type, and its epoch
 * goes on. Live classic members stay in it if all of them are consumers (docs/design/0012): they may read what their slots name
 * until they have joined again. The group is read before its members. A classic member that joins later is stored first and
 * begins a round then, so either this finds it, or one of the two changes of the group is refused and that side looks again.
 *
 * Returns false if the group has live members of another kind, or if a group with members may not change. 1 GetItem, 1 Query,
 * 1 UpdateItem.
 */
export async function takeFromClassic(context: BrokerContext, items: ItemStore, name: string): Promise<boolean> {
  for (let tries = 0; tries < TRIES; tries++) {
    const group = await readClassicGroup(items, name);
    if (group.type !== 'classic') {
      const raised = await raiseEpoch(items, context.random, name, { hasMember: true });
      if (!raised.isClassic) return true;
      continue;
    }
    const live = await liveClassicMembers(context, items, name);
    if (live === undefined) continue;
    if (live.length > 0 && !allowsUpgrade(context.settings.groupMigrationPolicy)) return false;
    if (live.some(({ protocolType, protocols }) => consumerSubscription(protocolType, protocols) === undefined))
      return false;
    const taken = await moveClassicGroup(items, name, group, becomeConsumerGroup(group, live.length > 0));
    // Requests of members that wait for their generation join this group instead.
    context.classicGroups.changed(name);
    if (taken) return true;
  }
  return false;
}
