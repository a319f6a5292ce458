import {
  EMPTY_SLOT,
  type OffsetPage,
  packSlot,
  type SlotContent,
  type SlotState,
  unpackSlot,
} from '../../../log/group/offset-page.ts';
import { GROUP_PAGE_PARTITIONS } from '../../../log/group/partition-set.ts';
import { OFFSET_PAGE, offsetPageKey } from '../../../storage/group-keys.ts';
import type { Attributes, Condition, ItemStore, Random, Update } from '../../../storage/ports.ts';

/** Reads and writes pages of offsets: for 16 partitions of a topic, who owns them and what the group has committed. */

export interface PageName {
  readonly group: string;
  readonly topicId: string;
  readonly page: number;
}

export const slotOf = (partition: number): number => partition % GROUP_PAGE_PARTITIONS;
export const pageOf = (partition: number): number => Math.floor(partition / GROUP_PAGE_PARTITIONS);

export function slotState(page: OffsetPage, partition: number): SlotState {
  return page.slots[slotOf(partition)] ?? EMPTY_SLOT;
}

/** 1 GetItem. */
export async function readPage(items: ItemStore, { group, topicId, page }: PageName): Promise<OffsetPage> {
  const { attributes } = await items.get(offsetPageKey(group, topicId, page));
  return pageFromAttributes(attributes);
}

export function pageFromAttributes(attributes: Attributes = {}): OffsetPage {
  const slots: SlotState[] = [];
  for (let slot = 0; slot < GROUP_PAGE_PARTITIONS; slot++) {
    const state = attributes[OFFSET_PAGE.state(slot)];
    if (state === undefined) continue;
    slots[slot] = { tag: Number(attributes[OFFSET_PAGE.tag(slot)]), ...unpackSlot(state as Uint8Array) };
  }
  return { version: Number(attributes[OFFSET_PAGE.version] ?? 0), slots };
}

export interface SlotChange {
  readonly partition: number;
  /** The change applies only if the slot is still in this state. */
  readonly seen: SlotState;
  readonly content: SlotContent;
  /** By `newTag`. A caller that tries the same change several times gives it one tag: where it finds that, a try was applied. */
  readonly tag?: number;
}

/**
 * Changes slots of one page, all or none, if each is as it was seen. Returns the page as it is now. 1 UpdateItem.
 * A repetition of a change that was applied is refused, so after a lost reply `ok` can be false although the change was
 * applied: the page shows which.
 */
export async function changeSlots(
  items: ItemStore,
  random: Random,
  { group, topicId, page }: PageName,
  changes: readonly SlotChange[],
): Promise<{ readonly ok: boolean; readonly page: OffsetPage }> {
  const updates: Update[] = [{ do: 'add', name: OFFSET_PAGE.version, by: 1 }];
  const conditions: Condition[] = [];
  for (const { partition, seen, content, tag = newTag(random) } of changes) {
    const slot = slotOf(partition);
    conditions.push({ if: 'equals', name: OFFSET_PAGE.tag(slot), value: seen.tag });
    updates.push(
      { do: 'set', name: OFFSET_PAGE.tag(slot), value: tag },
      { do: 'set', name: OFFSET_PAGE.state(slot), value: packSlot(content) },
    );
  }
  const { ok, attributes } = await items.update(offsetPageKey(group, topicId, page), updates, conditions);
  return { ok, page: pageFromAttributes(attributes) };
}

/**
 * 48 random bits, never 0. A counter would begin again after the page was deleted, and a late request of the page's former
 * life could then meet the number that it had seen.
 */
export function newTag(random: Random): number {
  const bytes = random.bytes(6);
  let tag = 0;
  for (const byte of bytes) tag = tag * 256 + byte;
  return tag + 1;
}
