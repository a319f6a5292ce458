import { toHex } from '../../../log/bytes.ts';
import type { Group } from '../../../log/group/group.ts';
import { GROUP, GROUP_LISTING, groupKey, groupListingKey } from '../../../storage/group-keys.ts';
import type { ItemStore, Random, Update } from '../../../storage/ports.ts';
import { groupFromAttributes } from '../items.ts';

/**
 * Raises the group's epoch, so that the next heartbeat computes a target. The members that changed must be stored before:
 * whoever computes reads the epoch first and the members then, so a target knows every change up to its epoch. Repetitions
 * and concurrent raises do no harm. 1 UpdateItem.
 *
 * A classic group stays as it is: its epoch is its generation, which only its rounds raise. The caller sees it in the result.
 *
 * If the group is new, or was deleted, this makes it: 1 refused UpdateItem, 1 PutItem, 1 UpdateItem, 1 PutItem. It is listed
 * before, so that nothing is stored for a group that is not listed; and again after, because a deletion under way may have seen
 * the first listing and remove it. `hasMember`: a live member was stored before, so such a deletion finds it and stops, and the
 * last PutItem is saved. `hasClassicMember`: the member uses Kafka's classic protocol, and the group notes that it has such
 * members.
 */
export async function raiseEpoch(
  items: ItemStore,
  random: Random,
  group: string,
  {
    hasMember = false,
    hasClassicMember = false,
  }: { readonly hasMember?: boolean; readonly hasClassicMember?: boolean } = {},
): Promise<Group> {
  const noteClassic: Update = { do: 'set', name: GROUP.hasClassicMembers, value: 1 };
  for (;;) {
    const raised = await items.update(
      groupKey(group),
      [
        { do: 'add', name: GROUP.epoch, by: 1 },
        // The time without members begins again.
        { do: 'remove', name: GROUP.emptySinceMs },
        ...(hasClassicMember ? [noteClassic] : []),
      ],
      [{ if: 'item_exists' }, { if: 'absent', name: GROUP.deleted }, { if: 'absent', name: GROUP.type }],
    );
    if (raised.ok) return groupFromAttributes(raised.attributes);
    const found = raised.attributes && groupFromAttributes(raised.attributes);
    if (found?.isClassic && !found.isDeleted) return found;
    await listGroup(items, random, group);
    const made = await items.update(
      groupKey(group),
      [
        { do: 'add', name: GROUP.epoch, by: 1 },
        { do: 'remove', name: GROUP.deleted },
        { do: 'remove', name: GROUP.expiresAt },
        { do: 'remove', name: GROUP.emptySinceMs },
        { do: 'remove', name: GROUP.type },
        { do: 'remove', name: GROUP.phase },
        hasClassicMember ? noteClassic : { do: 'remove', name: GROUP.hasClassicMembers },
      ],
      // A classic member may have made the group meanwhile.
      [
        found === undefined
          ? { if: 'absent', name: GROUP.type }
          : { if: 'equals', name: GROUP.epoch, value: found.epoch },
      ],
    );
    if (!made.ok) continue;
    if (!hasMember) await listGroup(items, random, group);
    return groupFromAttributes(made.attributes);
  }
}

/** 1 PutItem. */
export async function listGroup(items: ItemStore, random: Random, group: string): Promise<void> {
  await items.put(groupListingKey(group), { [GROUP_LISTING.nonce]: toHex(random.bytes(8)) });
}
