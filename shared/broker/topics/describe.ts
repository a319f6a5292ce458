import { type Head, partitionBytes, partitionState } from '../../log/head/head.ts';
import { checkTopicName, headOf, type Topic } from '../../log/topic/topic.ts';
import { type DescribedSetting, describeTopicConfig, type TopicSettingName } from '../../log/topic/topic-config.ts';
import type { BrokerContext } from '../context.ts';
import { readHead } from '../heads/items.ts';
import { eachHead } from './each-head.ts';

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
 * Returns the current start and end of each partition. 1 GetItem for each 16 partitions.
 * @throws EventLogError `unknown_topic`
 */
export async function describePartitions(context: BrokerContext, name: string): Promise<PartitionDescription[]> {
  checkTopicName(name);
  const { items } = context.usage.of(name, 'admin');
  const readHeads = (of: Topic): Promise<Head[]> =>
    eachHead(of, (headNumber) => readHead(items, { topicId: of.topicId, headNumber }));
  let topic = await context.topics.get(name);
  let heads = await readHeads(topic);
  if (heads.some((head) => head.closed)) {
    // The cached topic has been deleted. There may be another topic of the same name.
    topic = await context.topics.refresh(name);
    heads = await readHeads(topic);
  }
  return Array.from({ length: topic.partitions }, (_, partition) => {
    const { headNumber, slot } = headOf(topic, partition);
    const head = heads[headNumber] as Head;
    const { logStartOffset, nextOffset } = partitionState(head, slot);
    return { partition, logStartOffset, highWatermark: nextOffset, bytes: partitionBytes(head, slot) };
  });
}
