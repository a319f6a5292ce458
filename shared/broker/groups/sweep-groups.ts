import type { EventLogError } from '../../log/errors.ts';
import type { Group } from '../../log/group/group.ts';
import type { OffsetPage, SlotState } from '../../log/group/offset-page.ts';
import { GROUP_PAGE_PARTITIONS } from '../../log/group/partition-set.ts';
import {
  GROUP,
  GROUPS,
  groupKey,
  OFFSET_PAGE,
  offsetPageKey,
  offsetsPartitionKey,
  parseOffsetPageSortKey,
  parseTargetSortKey,
  targetPartitionKey,
} from '../../storage/group-keys.ts';
import type { ItemPage, ItemStore } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import { type JobRequest, runJob } from '../jobs/job-run.ts';
import { eachOf } from '../topics/each-head.ts';
import { NO_TOPIC } from '../usage/usage-meter.ts';
import { deleteOnce } from './delete-group.ts';
import { readGroup } from './items.ts';
import { hasLiveMember } from './no-members.ts';
import { changeSlots, pageFromAttributes, type SlotChange } from './offsets/pages.ts';

export interface SweptGroups {
  /** Groups that were deleted: nobody used them any more, or their deletion had been interrupted. */
  readonly groupsDeleted: number;
  /** Committed offsets that were deleted, without those of deleted groups and topics. */
  readonly offsetsExpired: number;
  /** Items of 16 partitions that were deleted, without those of deleted groups. */
  readonly pagesDeleted: number;
  /** Targets that no group uses any more. */
  readonly targetsDeleted: number;
  /** Groups whose visit failed. The next run visits them again. */
  readonly blocked: number;
  readonly error: EventLogError | undefined;
  /** Whether all groups were visited; otherwise the next run goes on with the others. */
  readonly complete: boolean;
}

/** A process may be about to switch to a target that it has stored. A target that was deleted too early is computed again. */
const TARGET_KEPT_MS = 3_600_000;
const ITEMS_PER_QUERY = 1_000;

type Counts = { -readonly [Name in 'groupsDeleted' | 'offsetsExpired' | 'pagesDeleted' | 'targetsDeleted']: number };

/**
 * Deletes what groups do not need any more: offsets of groups that have had no member, and of partitions that have had no commit,
 * for `offsetsRetentionMs`; offsets of topics that were deleted; targets that are not in force; groups of which nothing is left; and
 * what interrupted deletions have left. It can run twice at once, and be stopped or killed anywhere.
 *
 * For each group 1 GetItem and 3 Queries, and 1 write for each item that is changed or deleted; 1 Query for every 500 groups. A
 * group of more than 1 MB of offsets or members takes 1 Query for each megabyte. For topics that are not in memory, what
 * `TopicCache.byId` costs.
 * @throws any error that is not an `EventLogError`: such an error is a bug
 */
export async function sweepGroups(context: BrokerContext, request: JobRequest = {}): Promise<SweptGroups> {
  const counts: Counts = { groupsDeleted: 0, offsetsExpired: 0, pagesDeleted: 0, targetsDeleted: 0 };
  const { items } = context.usage.of(NO_TOPIC, 'maintain');
  const visit = (group: string): Promise<void> => sweepGroup(context, items, group, counts);
  const run = await runJob(context, { name: 'sweep-groups', pk: GROUPS, visit }, request);
  return { ...counts, ...run };
}

async function sweepGroup(context: BrokerContext, items: ItemStore, name: string, counts: Counts): Promise<void> {
  const group = await readGroup(items, name);
  if (group === undefined || group.isDeleted) {
    const what = group?.isUnused === true ? 'if_unused' : 'with_offsets';
    return finishDeletion(context, items, name, what, counts);
  }
  // The pages come before the members: a member that joins later changes a page before it owns anything.
  const pages = await listPages(items, name);
  const { listings } = context.topics;
  const isLive = await hasLiveMember(context, items, name);
  await sweepTargets(context, items, name, group, counts);
  const emptySinceMs = isLive ? undefined : group.emptySinceMs;
  const left = await eachOf(pages, (page) => sweepPage(context, items, name, page, { emptySinceMs, listings }, counts));
  if (isLive) {
    if (group.emptySinceMs !== undefined)
      await items.update(groupKey(name), [{ do: 'remove', name: GROUP.emptySinceMs }], [{ if: 'item_exists' }]);
    return;
  }
  const nowMs = context.clock.nowMs();
  if (group.emptySinceMs === undefined) {
    // Any change of members raises the epoch, and removes this time.
    await items.update(
      groupKey(name),
      [{ do: 'set', name: GROUP.emptySinceMs, value: nowMs }],
      [
        { if: 'item_exists' },
        { if: 'absent', name: GROUP.deleted },
        { if: 'equals', name: GROUP.epoch, value: group.epoch },
      ],
    );
    return;
  }
  const isUnused = nowMs > group.emptySinceMs + context.settings.offsetsRetentionMs;
  if (isUnused && left.every((isLeft) => !isLeft)) await finishDeletion(context, items, name, 'if_unused', counts);
}

async function finishDeletion(
  context: BrokerContext,
  items: ItemStore,
  name: string,
  what: 'with_offsets' | 'if_unused',
  counts: Counts,
): Promise<void> {
  // Whatever else comes of it: the next run looks again.
  if ((await deleteOnce(context, items, name, what)) === 'deleted') counts.groupsDeleted++;
}

interface ListedPage {
  readonly topicId: string;
  readonly page: number;
  readonly seen: OffsetPage;
}

async function listPages(items: ItemStore, group: string): Promise<ListedPage[]> {
  const pages: ListedPage[] = [];
  await eachItem(items, offsetsPartitionKey(group), ({ sk, attributes }) => {
    const name = parseOffsetPageSortKey(sk);
    if (name !== undefined) pages.push({ ...name, seen: pageFromAttributes(attributes) });
  });
  return pages;
}

async function eachItem(items: ItemStore, pk: string, take: (item: ItemPage['items'][number]) => void): Promise<void> {
  for (let from: string | undefined = ''; from !== undefined; ) {
    const page: ItemPage = await items.query({ pk, from, limit: ITEMS_PER_QUERY });
    for (const item of page.items) take(item);
    const last: string | undefined = page.items.at(-1)?.sk;
    from = page.more && last !== undefined ? `${last}\0` : undefined;
  }
}

interface SweepPage {
  /** `undefined`: no offset expires. */
  readonly emptySinceMs: number | undefined;
  readonly listings: number;
}

/** Returns whether something is left of the page. Each change is on the condition that the page, or the slot, is as it was seen. */
async function sweepPage(
  context: BrokerContext,
  items: ItemStore,
  group: string,
  { topicId, page, seen }: ListedPage,
  { emptySinceMs, listings }: SweepPage,
  counts: Counts,
): Promise<boolean> {
  const isExpired = (slot: SlotState): boolean =>
    emptySinceMs !== undefined &&
    // A transaction is about to commit another offset there, or has left this one.
    slot.pending === undefined &&
    context.clock.nowMs() >
      Math.max(emptySinceMs, slot.committed?.committedAtMs ?? 0) + context.settings.offsetsRetentionMs;
  const expired: SlotChange[] = [];
  let isLeft = false;
  seen.slots.forEach((slot, i) => {
    if (!isExpired(slot)) isLeft = true;
    else if (slot.committed !== undefined)
      expired.push({
        partition: page * GROUP_PAGE_PARTITIONS + i,
        seen: slot,
        content: { owner: undefined, fence: slot.fence, committed: undefined },
      });
  });
  const isWithoutTopic = (await context.topics.byId(topicId, listings)) === undefined;
  if (!isLeft || isWithoutTopic) {
    const { ok } = await items.delete(offsetPageKey(group, topicId, page), [
      { if: 'equals', name: OFFSET_PAGE.version, value: seen.version },
    ]);
    if (!ok) return true;
    counts.pagesDeleted++;
    if (!isWithoutTopic) counts.offsetsExpired += expired.length;
    return false;
  }
  if (expired.length > 0) {
    const { ok } = await changeSlots(items, context.random, { group, topicId, page }, expired);
    if (ok) counts.offsetsExpired += expired.length;
  }
  return true;
}

async function sweepTargets(
  context: BrokerContext,
  items: ItemStore,
  name: string,
  { namedParts }: Group,
  counts: Counts,
): Promise<void> {
  const pk = targetPartitionKey(name);
  const old: string[] = [];
  await eachItem(items, pk, ({ sk }) => {
    const parsed = parseTargetSortKey(sk);
    const isOld = parsed !== undefined && context.clock.nowMs() > parsed.timeMs + TARGET_KEPT_MS;
    if (isOld && !namedParts.includes(parsed.name)) old.push(sk);
  });
  await eachOf(old, (sk) => items.delete({ pk, sk }));
  counts.targetsDeleted += old.length;
}
