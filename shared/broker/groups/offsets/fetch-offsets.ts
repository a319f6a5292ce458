import { EventLogError } from '../../../log/errors.ts';
import { checkGroupName } from '../../../log/group/group.ts';
import type { SlotState } from '../../../log/group/offset-page.ts';
import { GROUP_PAGE_PARTITIONS } from '../../../log/group/partition-set.ts';
import { offsetsPartitionKey, parseOffsetPageSortKey } from '../../../storage/group-keys.ts';
import type { BrokerContext } from '../../context.ts';
import { type Page, type PageRequest, queryPage } from '../../page.ts';
import { eachOf } from '../../topics/each-head.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import { byPage, checkPartitions, type TopicPartition, withTopicIds } from './chosen-partitions.ts';
import { pageFromAttributes, readPage, slotOf, slotState } from './pages.ts';
import { type SettlePending, settleIn } from './settle-page.ts';

export interface PartitionOffset extends TopicPartition {
  /** The next offset to read; `null` if the group has committed none. */
  readonly offset: number | null;
  /** −1: none was given. */
  readonly leaderEpoch: number;
  readonly metadata: string;
  readonly committedAtMs: number | null;
  /**
   * There is no such topic or partition, only where partitions were named; or `unstable_offsets`, only with `requireStable`.
   */
  readonly error?: EventLogError;
}

export interface FetchOffsetsRequest extends PageRequest {
  readonly group: string;
  /** `undefined`: all partitions that have an offset, in pages; `limit` then counts items of 16 partitions. */
  readonly partitions?: readonly TopicPartition[] | undefined;
  /** Where an open transaction is about to commit another offset, that is an error. Default false: what is committed now. */
  readonly requireStable?: boolean | undefined;
}

/**
 * What a group has committed: of the given partitions, in their order, or of all. A group that does not exist has committed
 * nothing. 1 GetItem for each 16 partitions of a topic; for all of them 1 Query a page, and what `TopicCache.byId` costs for
 * each topic of the page. With `requireStable`, what settling a pending offset costs, and 1 GetItem more for a page that has
 * some.
 * @throws EventLogError `invalid_request`
 */
export async function fetchOffsets(
  context: BrokerContext,
  request: FetchOffsetsRequest,
  settle: SettlePending = async () => false,
): Promise<Page<PartitionOffset>> {
  const { group, partitions, requireStable = false } = request;
  checkGroupName(group, 'group');
  if (partitions === undefined) return fetchAll(context, request, settle);
  checkPartitions(partitions, 'partitions');
  const { items } = context.usage.of(NO_TOPIC, 'group');
  const found = await withTopicIds(context, partitions);
  const entries = found.flatMap((each) => (each instanceof EventLogError ? [] : [each]));
  const offsets = new Map<object, PartitionOffset>();
  await eachOf(byPage(group, entries), async ({ name, entries: ofPage }) => {
    let page = await readPage(items, name);
    if (requireStable) {
      const wanted = ofPage.map(({ partition }) => slotOf(partition));
      page = await settleIn(items, name, page, wanted, settle);
    }
    context.groups.putPage(group, name.topicId, name.page, page);
    for (const entry of ofPage)
      offsets.set(entry, offsetOf(entry.topic, entry.partition, slotState(page, entry.partition), requireStable));
  });
  return {
    items: partitions.map(({ topic, partition }, i) => {
      const each = found[i] as object;
      return each instanceof EventLogError
        ? { topic, partition, ...NONE, error: each }
        : (offsets.get(each) as PartitionOffset);
    }),
  };
}

const NONE = { offset: null, leaderEpoch: -1, metadata: '', committedAtMs: null };

function offsetOf(
  topic: string,
  partition: number,
  { committed, pending }: SlotState,
  requireStable: boolean,
): PartitionOffset {
  if (requireStable && pending !== undefined) return { topic, partition, ...NONE, error: unstable(topic, partition) };
  return committed === undefined ? { topic, partition, ...NONE } : { topic, partition, ...committed };
}

function unstable(topic: string, partition: number): EventLogError {
  return new EventLogError(
    'unstable_offsets',
    `An open transaction is about to commit an offset of partition ${partition} of topic '${topic}'. Ask again when it has ended.`,
    { details: { topic, partition } },
  );
}

async function fetchAll(
  context: BrokerContext,
  request: FetchOffsetsRequest,
  settle: SettlePending,
): Promise<Page<PartitionOffset>> {
  const { group, requireStable = false } = request;
  const { items } = context.usage.of(NO_TOPIC, 'group');
  const pages = await queryPage(items, offsetsPartitionKey(group), request, (sk, attributes) => {
    const name = parseOffsetPageSortKey(sk);
    return name && { ...name, seen: pageFromAttributes(attributes) };
  });
  const { listings } = context.topics;
  const topicIds = [...new Set(pages.items.map(({ topicId }) => topicId))];
  const found = await eachOf(topicIds, (topicId) => context.topics.byId(topicId, listings));
  const topics = new Map(topicIds.map((topicId, i) => [topicId, found[i]]));
  const offsets: PartitionOffset[] = [];
  for (const { topicId, page, seen } of pages.items) {
    const topic = topics.get(topicId);
    // The topic was deleted, and another may have its name: the sweep deletes its offsets.
    if (topic === undefined) continue;
    const name = { group, topicId, page };
    const { slots } = requireStable ? await settleIn(items, name, seen, seen.slots.keys(), settle) : seen;
    slots.forEach((slot, i) => {
      const hasOne = slot.committed !== undefined || (requireStable && slot.pending !== undefined);
      if (hasOne) offsets.push(offsetOf(topic.name, page * GROUP_PAGE_PARTITIONS + i, slot, requireStable));
    });
  }
  return { ...pages, items: offsets };
}
