import { EventLogError, invalidField } from '../errors.ts';
import { PARTITIONS_PER_TOPIC_MAX, TOPIC_NAME_LENGTH_MAX } from '../limits.ts';
import type { TopicConfig } from './topic-config.ts';

export interface Topic {
  readonly name: string;
  /** 16 random bytes in base64url, as Kafka writes its topic ids. A topic that is made again gets another id. */
  readonly topicId: string;
  readonly partitions: number;
  readonly partitionsPerHead: number;
  readonly config: TopicConfig;
  readonly createdAtMs: number;
  /**
   * Producers with lower ids may have written to a topic of the same name that was deleted shortly before this one was made.
   * Absent: there was none.
   */
  readonly producersBefore?: number | undefined;
}

const NAME = /^[a-zA-Z0-9._-]+$/;

/** Checks a name by Kafka's own rules. @throws EventLogError `invalid_request` naming the field */
export function checkTopicName(name: string, field = 'topic'): void {
  if (name.length === 0 || name.length > TOPIC_NAME_LENGTH_MAX) {
    throw invalidField(
      field,
      `A topic's name has 1 to ${TOPIC_NAME_LENGTH_MAX} characters; this one has ${name.length}.`,
    );
  }
  if (!NAME.test(name))
    throw invalidField(field, "A topic's name can contain only the letters a-z and A-Z, digits, '.', '_' and '-'.");
  if (name === '.' || name === '..') throw invalidField(field, `A topic cannot be named '${name}'.`);
}

export function checkPartitionCount(partitions: number, field = 'partitions'): void {
  if (!Number.isSafeInteger(partitions) || partitions < 1 || partitions > PARTITIONS_PER_TOPIC_MAX) {
    throw invalidField(field, `A topic has 1 to ${PARTITIONS_PER_TOPIC_MAX} partitions.`);
  }
}

/** @throws EventLogError `unknown_partition` */
export function checkPartition(topic: Topic, partition: number): void {
  if (Number.isSafeInteger(partition) && partition >= 0 && partition < topic.partitions) return;
  throw new EventLogError(
    'unknown_partition',
    `Topic '${topic.name}' has the partitions 0 to ${topic.partitions - 1}, not ${partition}.`,
    {
      details: { topic: topic.name, partition, partitions: topic.partitions },
    },
  );
}

/** The head of the topic that decides a partition's order, and the partition's slot in the head. */
export function headOf(topic: Topic, partition: number): { readonly headNumber: number; readonly slot: number } {
  return { headNumber: Math.floor(partition / topic.partitionsPerHead), slot: partition % topic.partitionsPerHead };
}

/** The partition in a slot of a head. */
export function headPartition({ partitionsPerHead }: Topic, headNumber: number, slot: number): number {
  return headNumber * partitionsPerHead + slot;
}

/** The partitions of the topic that a head decides. */
export function headPartitions(topic: Topic, headNumber: number): number[] {
  const first = headPartition(topic, headNumber, 0);
  const count = Math.max(0, Math.min(topic.partitionsPerHead, topic.partitions - first));
  return Array.from({ length: count }, (_, slot) => first + slot);
}

export function headCount(topic: Topic): number {
  return Math.ceil(topic.partitions / topic.partitionsPerHead);
}
