import { checkOffsets } from '../../../broker/groups/offsets/commit-page.ts';
import { EventLogError } from '../../../log/errors.ts';
import { checkTopicName } from '../../../log/topic/topic.ts';
import { KAFKA_ERRORS, type KafkaErrorNumber } from '../../error-codes.ts';
import { groupError } from '../group-errors.ts';

interface AskedPartition {
  readonly partitionIndex: number;
  readonly committedOffset: number;
  readonly committedLeaderEpoch: number;
  readonly committedMetadata: string | null;
}

export type AskedOffset = Parameters<typeof checkOffsets>[0][number];

/**
 * What is to be committed, or why not: one partition must not make the others fail. Kafka stores negative offsets as they are,
 * and most clients take them for none: kafkajs commits −1 when its place is gone. `topicId`: the topic must have this id.
 */
export function askedOffset(
  topic: string | KafkaErrorNumber,
  { partitionIndex: partition, committedOffset, committedLeaderEpoch, committedMetadata }: AskedPartition,
  topicId?: string,
): AskedOffset | KafkaErrorNumber {
  if (typeof topic === 'number') return topic;
  const offset = committedOffset < 0 ? null : committedOffset;
  const metadata = committedMetadata ?? undefined;
  try {
    checkTopicName(topic);
    checkOffsets([{ topic, partition, offset, metadata }]);
  } catch (error) {
    if (!(error instanceof EventLogError)) throw error;
    const isPlace = error.details.field === 'topic' || error.details.field === 'offsets.partition';
    return isPlace ? KAFKA_ERRORS.UNKNOWN_TOPIC_OR_PARTITION : groupError(error);
  }
  return {
    topic,
    topicId,
    partition,
    offset,
    leaderEpoch: committedLeaderEpoch < 0 ? undefined : committedLeaderEpoch,
    metadata,
  };
}
