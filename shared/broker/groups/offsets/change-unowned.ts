import { EventLogError } from '../../../log/errors.ts';
import type { CommittedOffset, OffsetPage, SlotState } from '../../../log/group/offset-page.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { retrying } from '../../retry.ts';
import { eachOf } from '../../topics/each-head.ts';
import { groupNotEmpty, hasLiveMember } from '../no-members.ts';
import { byPage, type PageOf } from './chosen-partitions.ts';
import { changeSlots, newTag, readPage, slotState } from './pages.ts';

export interface UnownedChange {
  readonly topicId: string;
  readonly partition: number;
  /** What the group has committed after the change; `unchanged` leaves the slot as it is. */
  readonly decide: (slot: SlotState) => CommittedOffset | undefined | 'unchanged';
}

interface Prepared {
  readonly page: PageOf<UnownedChange>;
  seen: OffsetPage;
}

const TRIES = 8;

/**
 * Changes the committed offsets of a group that has no live member. The pages are read before the members, and a claim after
 * that changes a slot's tag, so a member that joins in between makes this fail. Owners are removed from the slots: a commit of a
 * member that is gone can then not undo the change. `check` runs after the members were found to be none, before anything is
 * written. Returns an error for each change that was not made, in the order of `changes`.
 *
 * For each page 1 GetItem and 1 UpdateItem; 1 Query for each megabyte of members.
 * @throws EventLogError `group_not_empty`; then nothing was changed
 */
export async function changeUnowned(
  context: BrokerContext,
  items: ItemStore,
  group: string,
  changes: readonly UnownedChange[],
  check: () => Promise<void> = async () => {},
): Promise<(EventLogError | undefined)[]> {
  const prepared = await retrying(context, 'not_applied', async () => {
    const pages = await eachOf(
      byPage(group, changes),
      async (page): Promise<Prepared> => ({
        page,
        seen: await readPage(items, page.name),
      }),
    );
    if (await hasLiveMember(context, items, group)) throw groupNotEmpty(group);
    await check();
    return pages;
  });
  const errors = new Map<UnownedChange, EventLogError>();
  await eachOf(prepared, async (each) => {
    try {
      await changePage(context, items, group, each);
    } catch (error) {
      if (!(error instanceof EventLogError)) throw error;
      for (const change of each.page.entries) errors.set(change, error);
    }
  });
  return changes.map((change) => errors.get(change));
}

async function changePage(context: BrokerContext, items: ItemStore, group: string, prepared: Prepared): Promise<void> {
  const { name, entries } = prepared.page;
  const tagged = entries.map((entry) => ({ ...entry, tag: newTag(context.random) }));
  await retrying(context, 'from_error', async () => {
    for (let tries = 0; tries < TRIES; tries++) {
      const { seen: page } = prepared;
      const writes = tagged.flatMap(({ partition, tag, decide }) => {
        const seen = slotState(page, partition);
        // An earlier try was applied, and its reply was lost. A shift must not be applied twice.
        if (seen.tag === tag) return [];
        const committed = decide(seen);
        if (committed === 'unchanged') return [];
        return [{ partition, seen, tag, content: { owner: undefined, fence: seen.fence, committed } }];
      });
      if (writes.length === 0) return;
      const changed = await changeSlots(items, context.random, name, writes);
      prepared.seen = changed.page;
      context.groups.putPage(group, name.topicId, name.page, changed.page);
      if (changed.ok) return;
      // The page was read again by the refusal: the members are asked after it, as at first.
      if (await hasLiveMember(context, items, group)) throw groupNotEmpty(group);
    }
    throw new EventLogError('throttled', `Other requests change the offsets of group '${group}' at the same time.`);
  });
}
