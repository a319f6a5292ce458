import { EventLogError } from '../../log/errors.ts';
import { checkGroupName } from '../../log/group/group.ts';
import {
  GROUP,
  GROUP_LISTING,
  groupKey,
  groupListingKey,
  OFFSET_PAGE,
  offsetsPartitionKey,
  targetPartitionKey,
} from '../../storage/group-keys.ts';
import type { Condition, ItemPage, ItemStore } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import { retrying } from '../retry.ts';
import { eachOf } from '../topics/each-head.ts';
import { NO_TOPIC } from '../usage/usage-meter.ts';
import { GROUP_DELETED, GROUP_UNUSED, readGroup } from './items.ts';
import { raiseEpoch } from './membership/raise-epoch.ts';
import { groupNotEmpty, hasLiveMember, unknownGroup } from './no-members.ts';

/** A deleted group's item is kept for this long, so that its epoch goes on if the group is made again. */
const DELETED_KEPT_MS = 3_600_000;
const ITEMS_PER_QUERY = 100;
const TRIES = 8;

/**
 * Deletes a group that has no live member, with all that it has committed. If the process dies, the sweep finishes it. A
 * member that joins meanwhile makes the group again, which then stays, with its offsets or without. Repeating the request is
 * safe; once nothing is left it gives `unknown_group`.
 *
 * 2 GetItems, 1 Query of the members, 1 UpdateItem, 1 DeleteItem; for every 100 pages of offsets and parts of targets 1 Query, 1
 * GetItem and 100 DeleteItems.
 * @throws EventLogError `invalid_request`, `unknown_group`, `group_not_empty`
 */
export async function deleteGroup(context: BrokerContext, group: string): Promise<void> {
  checkGroupName(group, 'group');
  const { items } = context.usage.of(NO_TOPIC, 'group');
  let hasMarked = false;
  const noteMark = (): void => {
    hasMarked = true;
  };
  await retrying(context, 'from_error', async () => {
    for (let tries = 0; tries < TRIES; tries++) {
      const outcome = await deleteOnce(context, items, group, 'with_offsets', noteMark);
      // An earlier try of this request may have finished, and its reply was lost.
      if (outcome === 'unknown' && !hasMarked) throw unknownGroup(group);
      if (outcome === 'not_empty') throw groupNotEmpty(group);
      if (outcome !== 'again') return;
    }
    throw new EventLogError('throttled', `Other requests change group '${group}' at the same time.`);
  });
}

/**
 * One attempt; also finishes an earlier one. The order matters:
 *
 * 1. The listing's nonce is read. Whoever makes the group again lists it under another nonce, so step 6 spares that listing.
 * 2. The group is read, then the members. A member is stored before the epoch rises, so one that joins is either found,
 *    or changes the epoch (in a classic group the round) that step 3 names, or finds the mark of step 3 and makes the group again.
 * 3. The group is marked, under a higher epoch. From here on it has no offsets.
 * 4. Pages are listed, **then** the mark is looked at again, then they are deleted as they were listed. A claim comes after the
 *    group was made again, so its page is either not deleted, or changed since.
 * 5. The same with targets. Members that are gone expire by themselves.
 * 6. The listing is deleted, if it is the one of step 1.
 *
 * `if_unused`: no page is deleted. If there is one after step 5, somebody has committed an offset without being a member, and
 * the group is made again. A commit that comes later finds the mark after its write, and makes the group again itself.
 */
export async function deleteOnce(
  context: BrokerContext,
  items: ItemStore,
  group: string,
  what: 'with_offsets' | 'if_unused',
  onMark: () => void = () => {},
): Promise<'deleted' | 'unknown' | 'not_empty' | 'again'> {
  const listing = (await items.get(groupListingKey(group))).attributes;
  const found = await readGroup(items, group);
  if (listing === undefined && (found === undefined || found.isDeleted)) return 'unknown';
  if (await hasLiveMember(context, items, group)) return 'not_empty';
  const epoch = found?.epoch ?? 0;
  const expiresAt = Math.ceil((context.clock.nowMs() + DELETED_KEPT_MS) / 1_000);
  const marked = await items.update(
    groupKey(group),
    [
      { do: 'add', name: GROUP.epoch, by: 1 },
      { do: 'set', name: GROUP.deleted, value: what === 'if_unused' ? GROUP_UNUSED : GROUP_DELETED },
      { do: 'set', name: GROUP.expiresAt, value: expiresAt },
      { do: 'remove', name: GROUP.emptySinceMs },
    ],
    [
      { if: 'equals', name: GROUP.epoch, value: epoch },
      { if: 'equals', name: GROUP.round, value: found?.round ?? 0 },
    ],
  );
  if (!marked.ok) return 'again';
  onMark();
  const isStillMarked = async (): Promise<boolean> => {
    const now = await readGroup(items, group);
    return now?.isDeleted === true && now.epoch === epoch + 1;
  };
  const versionOf = ({ attributes }: ItemPage['items'][number]): Condition[] => [
    { if: 'equals', name: OFFSET_PAGE.version, value: Number(attributes[OFFSET_PAGE.version] ?? 0) },
  ];
  const pages = [offsetsPartitionKey(group), versionOf] as const;
  // Targets never change.
  const targets = [targetPartitionKey(group), () => []] as const;
  for (const [pk, conditionsOf] of what === 'if_unused' ? [targets] : [pages, targets]) {
    const done = await deleteListed(items, pk, isStillMarked, conditionsOf);
    if (done === 'made_again') return 'deleted';
    if (done === 'changed') return 'again';
  }
  if (what === 'if_unused' && (await hasPages(items, group))) {
    await raiseEpoch(items, context.random, group);
    return 'again';
  }
  if (listing !== undefined)
    await items.delete(groupListingKey(group), [
      { if: 'equals', name: GROUP_LISTING.nonce, value: String(listing[GROUP_LISTING.nonce]) },
    ]);
  return 'deleted';
}

async function hasPages(items: ItemStore, group: string): Promise<boolean> {
  return (await items.query({ pk: offsetsPartitionKey(group), limit: 1 })).items.length > 0;
}

/** `made_again`: the group was, so what is left belongs to it. `changed`: a late request changed an item since it was listed. */
async function deleteListed(
  items: ItemStore,
  pk: string,
  isStillMarked: () => Promise<boolean>,
  conditionsOf: (item: ItemPage['items'][number]) => readonly Condition[],
): Promise<'all' | 'made_again' | 'changed'> {
  for (let from = ''; ; ) {
    const page = await items.query({ pk, from, limit: ITEMS_PER_QUERY });
    if (page.items.length === 0) return 'all';
    if (!(await isStillMarked())) return 'made_again';
    const deleted = await eachOf(page.items, (item) => items.delete({ pk, sk: item.sk }, conditionsOf(item)));
    if (deleted.some(({ ok }) => !ok)) return 'changed';
    if (!page.more) return 'all';
    from = `${page.items.at(-1)?.sk}\0`;
  }
}
