import { recordsOf } from '../../../log/batch/stored-batch.ts';
import { EventLogError } from '../../../log/errors.ts';
import { checkGroupName } from '../../../log/group/group.ts';
import type { SlotState } from '../../../log/group/offset-page.ts';
import { EMPTY_SLOT } from '../../../log/group/offset-page.ts';
import { eachPartition, GROUP_PAGE_PARTITIONS } from '../../../log/group/partition-set.ts';
import type { Topic } from '../../../log/topic/topic.ts';
import { offsetsPartitionKey, parseOffsetPageSortKey } from '../../../storage/group-keys.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { planRead } from '../../read/plan-read.ts';
import { takeBatches } from '../../read/take-batches.ts';
import { lookingAgain, type PartitionView, viewPartitions } from '../../read/view-partitions.ts';
import { eachOf } from '../../topics/each-head.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import { listMembers, readGroup } from '../items.ts';
import { unknownGroup } from '../no-members.ts';
import { pageFromAttributes } from './pages.ts';

export interface GroupLagRequest {
  readonly group: string;
  /** Whether to find out how long the oldest unread record of each partition waits. Default: true. */
  readonly withTimes?: boolean | undefined;
}

export interface PartitionLag {
  readonly topic: string;
  readonly partition: number;
  /** `null`: none. */
  readonly committedOffset: number | null;
  readonly metadata: string;
  readonly logStartOffset: number;
  readonly highWatermark: number;
  /** Records that are not read yet; `null` without a committed offset. */
  readonly lagRecords: number | null;
  /** Now minus the time of the next record to read; 0 if there is none, `null` if it is not known. */
  readonly lagMs: number | null;
  /** The member that owns the partition. */
  readonly memberId: string | null;
  readonly instanceId: string | null;
}

export interface GroupLag {
  readonly group: string;
  /** By topic, then partition. */
  readonly partitions: readonly PartitionLag[];
  readonly totalLagRecords: number;
  /** `null` if times were not asked for. */
  readonly maxLagMs: number | null;
  readonly partitionsWithLag: number;
  /** Partitions that the group reads, and has never committed an offset for. */
  readonly partitionsWithoutOffset: number;
}

/**
 * How far a group is behind, for each partition that it has committed an offset for, or that a member has or is to get.
 *
 * 1 GetItem of the group, 1 Query of its members and 1 of its pages for each megabyte, 1 GetItem for each head (16 partitions) and,
 * with times, what a read of one record costs for each partition that lags.
 * @throws EventLogError `invalid_request`, `unknown_group`
 */
export async function groupLag(
  context: BrokerContext,
  { group, withTimes = true }: GroupLagRequest,
): Promise<GroupLag> {
  checkGroupName(group, 'group');
  const { items } = context.usage.of(NO_TOPIC, 'group');
  const found = await readGroup(items, group);
  if (found === undefined || found.isDeleted) throw unknownGroup(group);
  // The offsets come before the heads: so no offset is past the high watermark that it is compared with.
  const { slots, live } = await partitionsOfGroup(items, group);
  const { listings } = context.topics;
  const viewed = await eachOf([...slots], ([topicId, ofTopic]) => viewTopic(context, topicId, ofTopic, listings));
  const views = viewed.flat();
  const partitions = await eachOf(views, ({ view, slot }) => partitionLag(context, view, slot, live, withTimes));
  partitions.sort((a, b) => (a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1));
  const lags = partitions.map(({ lagRecords }) => lagRecords ?? 0);
  return {
    group,
    partitions,
    totalLagRecords: lags.reduce((total, lag) => total + lag, 0),
    maxLagMs: withTimes ? partitions.reduce((max, { lagMs }) => Math.max(max, lagMs ?? 0), 0) : null,
    partitionsWithLag: lags.filter((lag) => lag > 0).length,
    partitionsWithoutOffset: partitions.filter(({ committedOffset }) => committedOffset === null).length,
  };
}

/** Topic id -> partition -> its slot, for each that has an offset, or that a live member has or is to get; and the live members. */
async function partitionsOfGroup(
  items: ItemStore,
  group: string,
): Promise<{ readonly slots: Map<string, Map<number, SlotState>>; readonly live: ReadonlySet<string> }> {
  const slots = new Map<string, Map<number, SlotState>>();
  const add = (topicId: string, partition: number, slot: SlotState): void => {
    const partitions = slots.get(topicId) ?? new Map<number, SlotState>();
    if (slot !== EMPTY_SLOT || !partitions.has(partition)) partitions.set(partition, slot);
    slots.set(topicId, partitions);
  };
  const members = (await listMembers(items, group)).filter(({ isGone }) => !isGone);
  const live = new Set(members.map(({ key, memberId }) => liveName(key, memberId)));
  for (const { assigned, wanted } of members)
    for (const set of [assigned, wanted])
      for (const [topicId, partition] of eachPartition(set)) add(topicId, partition, EMPTY_SLOT);
  for (let from: string | undefined = ''; from !== undefined; ) {
    const page = await items.query({ pk: offsetsPartitionKey(group), from, limit: 1_000 });
    for (const { sk, attributes } of page.items) {
      const name = parseOffsetPageSortKey(sk);
      if (name === undefined) continue;
      pageFromAttributes(attributes).slots.forEach((slot, i) => {
        const partition = name.page * GROUP_PAGE_PARTITIONS + i;
        const { committed, owner } = slot;
        const isOwned = owner !== undefined && live.has(liveName(owner.memberKey, owner.memberId));
        const isKnown = committed !== undefined || isOwned || slots.get(name.topicId)?.has(partition);
        if (isKnown) add(name.topicId, partition, slot);
      });
    }
    const last: string | undefined = page.items.at(-1)?.sk;
    from = page.more && last !== undefined ? `${last}\0` : undefined;
  }
  return { slots, live };
}

/** Who owns a slot. No id contains a control character. */
function liveName(memberKey: string, memberId: string): string {
  return `${memberKey}\n${memberId}`;
}

/** Nothing if the topic was deleted. */
async function viewTopic(
  context: BrokerContext,
  topicId: string,
  slots: ReadonlyMap<number, SlotState>,
  listings: number,
): Promise<{ readonly view: PartitionView; readonly slot: SlotState }[]> {
  const topic = await context.topics.byId(topicId, listings);
  if (topic === undefined) return [];
  const views = await viewsOf(context, topic, slots);
  return views.flatMap((view) => {
    const slot = slots.get(view.partition);
    // A topic that was made again under the name has another id.
    return slot === undefined || view.topic.topicId !== topicId ? [] : [{ view, slot }];
  });
}

async function viewsOf(
  context: BrokerContext,
  topic: Topic,
  slots: ReadonlyMap<number, SlotState>,
): Promise<PartitionView[]> {
  try {
    const last = Math.max(...slots.keys());
    const known = last < topic.partitions ? topic : await context.topics.refresh(topic.name);
    if (known.topicId !== topic.topicId) return [];
    return await viewPartitions(
      context,
      known,
      [...slots.keys()].filter((partition) => partition < known.partitions),
    );
  } catch (error) {
    // It was deleted meanwhile, and perhaps made again with fewer partitions.
    if (error instanceof EventLogError && (error.code === 'unknown_topic' || error.code === 'unknown_partition'))
      return [];
    throw error;
  }
}

async function partitionLag(
  context: BrokerContext,
  view: PartitionView,
  { committed, owner }: SlotState,
  live: ReadonlySet<string>,
  withTimes: boolean,
): Promise<PartitionLag> {
  const { logStartOffset, highWatermark } = view;
  const isOwned = owner !== undefined && live.has(liveName(owner.memberKey, owner.memberId));
  // Records that retention has dropped can't be read any more, so they are not waiting.
  const next = committed && Math.max(committed.offset, logStartOffset);
  const lagRecords = next === undefined ? null : Math.max(0, highWatermark - next);
  return {
    topic: view.topic.name,
    partition: view.partition,
    committedOffset: committed?.offset ?? null,
    metadata: committed?.metadata ?? '',
    logStartOffset,
    highWatermark,
    lagRecords,
    lagMs: next === undefined || !withTimes ? null : lagRecords === 0 ? 0 : await waitingMs(context, view, next),
    memberId: isOwned ? owner.memberId : null,
    instanceId: isOwned && /^[id]:/.test(owner.memberKey) ? owner.memberKey.slice(2) : null,
  };
}

async function waitingMs(context: BrokerContext, view: PartitionView, offset: number): Promise<number | null> {
  try {
    const timestampMs = await lookingAgain(context, view, async (seen) => {
      const from = Math.max(offset, seen.logStartOffset);
      const plan = await planRead(context, seen, from, { bytesMax: 1 });
      for await (const batch of takeBatches(context, seen, plan, from))
        for (const record of recordsOf(batch)) if (record.offset >= from) return record.timestampMs;
      return undefined;
    });
    return timestampMs === undefined ? 0 : Math.max(0, context.clock.nowMs() - timestampMs);
  } catch (error) {
    // One partition that is damaged, or was dropped just now, must not hide the lag of the others.
    if (error instanceof EventLogError) return null;
    throw error;
  }
}
