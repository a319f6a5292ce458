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
import { pageFromAttributes, readPage, slotState } from './pages.ts';

export interface PartitionOffset extends TopicPartition {
  /** The next offset to read; `null` if the group has committed none. */
  readonly offset: number | null;
  /** −1: none was given. */
  readonly leaderEpoch: number;
  readonly metadata: string;
  readonly committedAtMs: number | null;
  /** There is no such topic or partition. Only where partitions were named. */
  readonly error?: EventLogError;
}

export interface FetchOffsetsRequest extends PageRequest {
  readonly group: string;
  /** `undefined`: all partitions that have an offset, in pages; `limit` then counts items of 16 partitions. */
  readonly partitions?: readonly TopicPartition[] | undefined;
}

/**
 * What a group has committed: of the given partitions, in their order, or of all. A group that does not exist has committed
 * nothing. 1 GetItem for each 16 partitions of a topic; for all of them 1 Query a page.
 * @throws EventLogError `invalid_request`
 */
export async function fetchOffsets(
  context: BrokerContext,
  request: FetchOffsetsRequest,
): Promise<Page<PartitionOffset>> {
  const { group, partitions } = request;
  checkGroupName(group, 'group');
  if (partitions === undefined) return fetchAll(context, request);
  checkPartitions(partitions, 'partitions');
  const { items } = context.usage.of(NO_TOPIC, 'group');
  const found = await withTopicIds(context, partitions);
  const entries = found.flatMap((each) => (each instanceof EventLogError ? [] : [each]));
  const offsets = new Map<object, PartitionOffset>();
  await eachOf(byPage(group, entries), async ({ name, entries: ofPage }) => {
    const page = await readPage(items, name);
    context.groups.putPage(group, name.topicId, name.page, page);
    for (const entry of ofPage)
      offsets.set(entry, offsetOf(entry.topic, entry.partition, slotState(page, entry.partition)));
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

function offsetOf(topic: string, partition: number, { committed }: SlotState): PartitionOffset {
  return committed === undefined ? { topic, partition, ...NONE } : { topic, partition, ...committed };
}

async function fetchAll(context: BrokerContext, request: FetchOffsetsRequest): Promise<Page<PartitionOffset>> {
  const { items } = context.usage.of(NO_TOPIC, 'group');
  const pages = await queryPage(items, offsetsPartitionKey(request.group), request, (sk, attributes) => {
    const name = parseOffsetPageSortKey(sk);
    return name && { ...name, slots: pageFromAttributes(attributes).slots };
  });
  const offsets: PartitionOffset[] = [];
  for (const { topicId, page, slots } of pages.items) {
    const topic = await context.topics.nameOf(topicId);
    // The topic was deleted: the sweep deletes its offsets.
    if (topic === undefined) continue;
    slots.forEach((slot, i) => {
      if (slot.committed !== undefined) offsets.push(offsetOf(topic, page * GROUP_PAGE_PARTITIONS + i, slot));
    });
  }
  return { ...pages, items: offsets };
}
