import type { Group } from '../../../log/group/group.ts';
import { end, isOverdue, type Member } from '../../../log/group/member.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { listSomeMembers, replaceMember } from '../items.ts';
import { readTarget } from './targets.ts';

/** In a group of up to this many members, each watches all others; in a larger one, the next ones in the order of keys. */
const ALL_WATCHED_MAX = 16;
const NEXT_WATCHED = 8;

/**
 * Ends one member that is overdue, among those that a member watches. It is ended on the condition that it is as it was
 * seen, so a heartbeat in between saves it. A wrong clock can end a member too early. That only makes it join again, because
 * the slots and not the members decide who owns a partition.
 *
 * `expired`: look again soon, there may be more. `target_has_gone_member`: the target gives partitions to a member that is
 * gone; whoever ended it died before raising the epoch, or was this process a moment ago. 1 Query, at the end of the ring 2,
 * and 1 PutItem if one is ended; the target if it is not in memory.
 */
export async function expireNext(
  context: BrokerContext,
  items: ItemStore,
  name: string,
  group: Group,
  ownKey: string,
): Promise<'expired' | 'target_has_gone_member' | 'nothing'> {
  const watched = await watchedMembers(items, name, group, ownKey);
  const overdue = watched.find((member) => !member.isGone && isOverdue(member, context.clock.nowMs()));
  if (overdue !== undefined) {
    await replaceMember(items, name, overdue, end(overdue));
    return 'expired';
  }
  const gone = watched.filter(({ isGone }) => isGone);
  if (gone.length === 0) return 'nothing';
  const target = await readTarget(context, items, name, group);
  const known = new Set(target?.members.map(({ key }) => key));
  return target === undefined || gone.some(({ key }) => known.has(key)) ? 'target_has_gone_member' : 'nothing';
}

async function watchedMembers(
  items: ItemStore,
  name: string,
  { target }: Group,
  ownKey: string,
): Promise<readonly Member[]> {
  const others = (members: readonly Member[]): Member[] => members.filter(({ key }) => key !== ownKey);
  if ((target?.members ?? 0) <= ALL_WATCHED_MAX) {
    // Members that are gone count too, so a group with many of those is watched as a large one.
    const all = await listSomeMembers(items, name, { from: '', limit: 4 * ALL_WATCHED_MAX });
    if (all.next === undefined) return others(all.members);
  }
  const after = await listSomeMembers(items, name, { from: `${ownKey}\0`, limit: NEXT_WATCHED });
  if (after.members.length === NEXT_WATCHED) return after.members;
  const first = await listSomeMembers(items, name, { from: '', to: ownKey, limit: NEXT_WATCHED });
  return others([...after.members, ...first.members]);
}
