import { EventLogError, MissingDataError } from '../../log/errors.ts';
import { type Head, partitionState } from '../../log/head/head.ts';
import { lastStableOffsetOf, type OpenTransactions } from '../../log/head/open-transactions.ts';
import { checkPartition, checkTopicName, headOf, type Topic } from '../../log/topic/topic.ts';
import type { Stores } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import { type HeadName, readHead } from '../heads/items.ts';
import { transactionsOf } from '../heads/known-nodes.ts';
import { unknownTopic } from '../memory/topic-cache.ts';
import { currentSegmentList } from '../segments/known-lists.ts';
import { eachOf } from '../topics/each-head.ts';

/** A partition as its head told it at one moment: where it begins and ends, and where its newest records are. */
export interface PartitionView {
  readonly topic: Topic;
  readonly partition: number;
  readonly slot: number;
  readonly name: HeadName;
  readonly head: Head;
  readonly stores: Stores;
  /** When the head was read, or a little before. */
  readonly seenAtMs: number;
  readonly logStartOffset: number;
  readonly highWatermark: number;
  /** The first offset of the oldest open transaction; without one the high watermark. */
  readonly lastStableOffset: number;
}

export type PartitionChoice = 'all' | readonly number[];

/** The partition as of now: 1 GetItem, strongly consistent. @throws EventLogError `unknown_topic`, `unknown_partition` */
export async function viewPartition(
  context: BrokerContext,
  topicName: string,
  partition: number,
): Promise<PartitionView> {
  const [view] = await viewPartitions(context, await context.topics.get(topicName), [partition]);
  return view as PartitionView;
}

export type PartitionEnds = Pick<PartitionView, 'logStartOffset' | 'highWatermark' | 'lastStableOffset'>;

/** Where a partition begins and ends now. 1 GetItem. @throws EventLogError `unknown_topic`, `unknown_partition` */
export async function partitionEnds(context: BrokerContext, topic: string, partition: number): Promise<PartitionEnds> {
  checkTopicName(topic);
  const { logStartOffset, highWatermark, lastStableOffset } = await viewPartition(context, topic, partition);
  return { logStartOffset, highWatermark, lastStableOffset };
}

/**
 * Partitions of a topic as of now, in the order of `choice`. `known` is the topic as it is remembered: if it was deleted,
 * the views are of the topic that has its name now. 1 GetItem for each head (16 partitions), strongly consistent, and 1
 * more if the topic was deleted, or for a head with many open transactions.
 * @throws EventLogError `unknown_topic`, `unknown_partition`
 */
export async function viewPartitions(
  context: BrokerContext,
  known: Topic,
  choice: PartitionChoice,
): Promise<PartitionView[]> {
  const views = await viewsOf(context, known, choice);
  if (views.every(({ head }) => !head.closed)) return views;
  return viewsOf(context, await context.topics.refresh(known.name), choice);
}

/**
 * Does something with a view of a partition. If data is missing where the view says that it is, a job may have moved or
 * dropped it meanwhile: then it is done again with a view of now. Costs 2 GetItems in this case.
 * @throws MissingDataError if data is missing then too; EventLogError `unknown_topic` if the topic was deleted
 */
export async function lookingAgain<Result>(
  context: BrokerContext,
  view: PartitionView,
  work: (view: PartitionView) => Promise<Result>,
): Promise<Result> {
  try {
    return await work(view);
  } catch (error) {
    if (!(error instanceof MissingDataError)) throw error;
    return work(await viewAgain(context, view));
  }
}

/** The same partition as of now, also in the segment list that is remembered. 2 GetItems. @throws EventLogError `unknown_topic` */
export async function viewAgain(context: BrokerContext, view: PartitionView): Promise<PartitionView> {
  const { name, stores, slot, topic } = view;
  const seenAtMs = context.clock.nowMs();
  const [head] = await Promise.all([readHead(stores.items, name), currentSegmentList(context, stores.items, name)]);
  if (head.closed) throw unknownTopic(topic.name);
  const { open } = await transactionsOf(context, stores.items, name, head);
  return { ...view, seenAtMs, ...endsOf(head, slot, open) };
}

function endsOf(head: Head, slot: number, open: OpenTransactions): Pick<PartitionView, 'head' | keyof PartitionEnds> {
  const { logStartOffset, nextOffset } = partitionState(head, slot);
  // As in Kafka, where clients have deleted records of an open transaction, it is the log start offset until that has ended.
  const lastStableOffset = Math.max(logStartOffset, lastStableOffsetOf(open, slot, nextOffset));
  return { head, logStartOffset, highWatermark: nextOffset, lastStableOffset };
}

/** @throws EventLogError `offset_out_of_range` with both ends */
export function checkInRange(view: PartitionView, offset: number): void {
  const { topic, partition, logStartOffset, highWatermark } = view;
  if (offset >= logStartOffset && offset <= highWatermark) return;
  throw new EventLogError(
    'offset_out_of_range',
    `Partition ${partition} of topic '${topic.name}' can be read from offset ${logStartOffset} to ${highWatermark}, not from ${offset}.`,
    { details: { topic: topic.name, partition, offset, logStartOffset, highWatermark } },
  );
}

async function viewsOf(context: BrokerContext, topic: Topic, choice: PartitionChoice): Promise<PartitionView[]> {
  const stores = context.usage.of(topic.name, 'read');
  const { topicId } = topic;
  const partitions = choice === 'all' ? Array.from({ length: topic.partitions }, (_, partition) => partition) : choice;
  for (const partition of partitions) checkPartition(topic, partition);
  const seenAtMs = context.clock.nowMs();
  const headNumbers = [...new Set(partitions.map((partition) => headOf(topic, partition).headNumber))];
  const heads = await eachOf(headNumbers, async (headNumber) => {
    const name = { topicId, headNumber };
    const head = await readHead(stores.items, name);
    return { name, head, open: (await transactionsOf(context, stores.items, name, head)).open };
  });
  const byNumber = new Map(heads.map((each) => [each.name.headNumber, each]));
  return partitions.map((partition) => {
    const { headNumber, slot } = headOf(topic, partition);
    const { name, head, open } = byNumber.get(headNumber) as (typeof heads)[number];
    return { topic, partition, slot, name, stores, seenAtMs, ...endsOf(head, slot, open) };
  });
}
