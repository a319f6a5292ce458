import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { raiseEpoch } from '../membership/raise-epoch.ts';
import { hasLiveClassic } from '../no-members.ts';
import { moveClassicGroup, readClassicGroup } from './state/items.ts';

const TRIES = 8;

/**
 * A member by KIP-848 or HTTP, which is stored already, takes over a classic group without live members: the group changes its
 * type, and its epoch goes on. The group is read before its members. A classic member that joins later is stored first and begins a
 * round then, so either this finds it, or one of the two changes of the group is refused and that side looks again.
 *
 * Returns false if the group has live classic members. 1 GetItem, 1 Query, 1 UpdateItem.
 */
export async function takeFromClassic(context: BrokerContext, items: ItemStore, name: string): Promise<boolean> {
  for (let tries = 0; tries < TRIES; tries++) {
    const group = await readClassicGroup(items, name);
    if (group.type !== 'classic') {
      const raised = await raiseEpoch(items, context.random, name, { hasMember: true });
      if (!raised.isClassic) return true;
      continue;
    }
    if (await hasLiveClassic(context, items, name)) return false;
    const taken = await moveClassicGroup(items, name, group, {
      ...group,
      type: 'consumer',
      epoch: group.epoch + 1,
      phase: 'empty',
      isInitialRound: false,
      leader: undefined,
      protocol: undefined,
      protocolType: undefined,
      roster: undefined,
      assignment: undefined,
      memberCount: 0,
    });
    if (taken) return true;
  }
  return false;
}
