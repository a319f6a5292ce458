import { type Head, partitionBytes, partitionState } from '../../log/head/head.ts';
import type { SegmentList } from '../../log/segment/segment-list.ts';
import { checkTopicName, headOf, type Topic } from '../../log/topic/topic.ts';
import { type DescribedSetting, describeTopicConfig, type TopicSettingName } from '../../log/topic/topic-config.ts';
import type { BrokerContext } from '../context.ts';
import { readHead } from '../heads/items.ts';
import { segmentBytes } from '../segments/find-segments.ts';
import { currentSegmentList } from '../segments/known-lists.ts';
import { eachHead, eachOf } from './each-head.ts';

export interface TopicDescription {
  readonly name: string;
  readonly topicId: string;
  readonly partitions: number;
  readonly createdAtMs: number;
  readonly config: Record<TopicSettingName, DescribedSetting>;
}

export interface PartitionDescription {
  readonly partition: number;
  readonly logStartOffset: number;
  readonly highWatermark: number;
  /** The bytes of its record batches, without those that retention or compaction has dropped from segments. */
  readonly bytes: number;
}

export function describeAs({ name, topicId, partitions, createdAtMs, config }: Topic): TopicDescription {
  return { name, topicId, partitions, createdAtMs, config: describeTopicConfig(config) };
}

/** 1 GetItem. @throws EventLogError `unknown_topic` */
export async function describeTopic(context: BrokerContext, name: string): Promise<TopicDescription> {
  checkTopicName(name);
  return describeAs(await context.topics.refresh(name));
}

/**
 * Returns the current start, end and size of each partition. 2 GetItems for each 16 partitions, and 1 for each partition of
 * which retention has dropped a part of a page of segments that is not in memory.
 * @throws EventLogError `unknown_topic`
 */
export async function describePartitions(context: BrokerContext, name: string): Promise<PartitionDescription[]> {
  checkTopicName(name);
  let topic = await context.topics.get(name);
  let heads = await readHeads(context, topic);
  if (heads.some(({ head }) => head.closed)) {
    // The cached topic has been deleted. There may be another topic of the same name.
    topic = await context.topics.refresh(name);
    heads = await readHeads(context, topic);
  }
  return eachOf([...Array(topic.partitions).keys()], (partition) =>
    describePartition(context, topic, heads, partition),
  );
}

interface DescribedHead {
  readonly head: Head;
  readonly list: SegmentList;
}

function readHeads(context: BrokerContext, topic: Topic): Promise<DescribedHead[]> {
  const { items } = context.usage.of(topic.name, 'admin');
  return eachHead(topic, async (headNumber) => {
    const name = { topicId: topic.topicId, headNumber };
    // The list comes first: what is merged in it is then appended in the head.
    const list = await currentSegmentList(context, items, name);
    return { list, head: await readHead(items, name) };
  });
}

async function describePartition(
  context: BrokerContext,
  topic: Topic,
  heads: readonly DescribedHead[],
  partition: number,
): Promise<PartitionDescription> {
  const { headNumber, slot } = headOf(topic, partition);
  const { head, list } = heads[headNumber] as DescribedHead;
  const { logStartOffset, nextOffset } = partitionState(head, slot);
  const { items } = context.usage.of(topic.name, 'admin');
  const inSegments = await segmentBytes(context, items, { name: { topicId: topic.topicId, headNumber }, list, slot });
  const unmerged = partitionBytes(head, slot) - (list.totals[slot]?.bytes ?? 0);
  return { partition, logStartOffset, highWatermark: nextOffset, bytes: inSegments + unmerged };
}
