import { EventLogError } from '../../../log/errors.ts';
import { KAFKA_ERRORS } from '../../error-codes.ts';
import type { Gateway } from '../../gateway.ts';
import { type Call, handler } from '../../handler.ts';
import { leaderOf } from '../../nodes/leaders.ts';
import type { RequestOf, ResponseOf } from '../../protocol/api.ts';
import { DESCRIBE_TOPIC_PARTITIONS } from '../../protocol/messages/cluster/describe-topic-partitions.ts';
import { ZERO_UUID } from '../../protocol/types.ts';
import { allTopics } from '../all-topics.ts';
import { LEADER_EPOCH } from '../leader-epoch.ts';
import { topicError } from '../topic-errors.ts';

type DescribedTopic = ResponseOf<typeof DESCRIBE_TOPIC_PARTITIONS>['topics'][number];
type DescribedPartition = DescribedTopic['partitions'][number];
type Cursor = NonNullable<RequestOf<typeof DESCRIBE_TOPIC_PARTITIONS>['cursor']>;

/** Kafka's `max.request.partition.size.limit`. A topic that is not there counts as a partition. */
const PARTITIONS_MAX = 2_000;

/**
 * Topics in the order of their names, a page at a time: the cursor names the first partition of the next page. Topics that
 * appear or go between two pages are found or not.
 */
export const describeTopicPartitions = handler(
  DESCRIBE_TOPIC_PARTITIONS,
  [{ action: 'any', on: 'topic' }],
  async (call, { topics: asked, responsePartitionLimit, cursor }) => {
    if (cursor !== null && cursor.partitionIndex < 0)
      // There is no other place for it, so each topic is answered with it, as by Kafka.
      return { topics: asked.map(({ name }) => failed(name, KAFKA_ERRORS.INVALID_REQUEST)), nextCursor: null };
    const { gateway } = call;
    let room = Math.min(Math.max(responsePartitionLimit, 1), PARTITIONS_MAX);
    const topics: DescribedTopic[] = [];
    for await (const found of foundTopics(call, asked, cursor)) {
      if (room === 0) return { topics, nextCursor: { topicName: found.name, partitionIndex: 0 } };
      if ('errorCode' in found) {
        topics.push(failed(found.name, found.errorCode));
        room--;
        continue;
      }
      const { name, topicId, partitions: count } = found;
      const start = cursor?.topicName === name ? Math.min(cursor.partitionIndex, count) : 0;
      const end = Math.min(start + room, count);
      const partitions = Array.from({ length: end - start }, (_, i) => describePartition(gateway, topicId, start + i));
      topics.push({ errorCode: KAFKA_ERRORS.NONE, name, topicId, partitions });
      if (end < count) return { topics, nextCursor: { topicName: name, partitionIndex: end } };
      room -= partitions.length;
    }
    return { topics, nextCursor: null };
  },
);

interface FoundTopic {
  readonly name: string;
  readonly topicId: string;
  readonly partitions: number;
}

interface MissingTopic {
  readonly name: string;
  readonly errorCode: number;
}

/** From the cursor's topic on. No names: all topics. */
async function* foundTopics(
  call: Call,
  asked: readonly { readonly name: string }[],
  cursor: Cursor | null,
): AsyncGenerator<FoundTopic | MissingTopic> {
  const first = cursor?.topicName ?? '';
  if (asked.length === 0) {
    for await (const topic of allTopics(call.gateway))
      if (topic.name >= first && call.rights.onTopic('any', topic.name)) yield topic;
    return;
  }
  const names = [...new Set(asked.map(({ name }) => name))].filter((name) => name >= first).sort();
  for (const name of names) yield await find(call, name);
}

async function find({ gateway, rights }: Call, name: string): Promise<FoundTopic | MissingTopic> {
  try {
    if (!rights.onTopic('any', name)) return { name, errorCode: KAFKA_ERRORS.TOPIC_AUTHORIZATION_FAILED };
    return await gateway.broker.knownTopic(name);
  } catch (error) {
    if (!(error instanceof EventLogError)) throw error;
    return { name, errorCode: topicError(error) };
  }
}

function failed(name: string, errorCode: number): DescribedTopic {
  return { errorCode, name, topicId: ZERO_UUID, partitions: [] };
}

function describePartition(gateway: Gateway, topicId: string, partitionIndex: number): DescribedPartition {
  const { nodeId } = leaderOf(gateway, topicId, partitionIndex);
  return {
    errorCode: KAFKA_ERRORS.NONE,
    partitionIndex,
    leaderId: nodeId,
    leaderEpoch: LEADER_EPOCH,
    replicaNodes: [nodeId],
    isrNodes: [nodeId],
    eligibleLeaderReplicas: [],
    lastKnownElr: [],
    offlineReplicas: [],
  };
}
