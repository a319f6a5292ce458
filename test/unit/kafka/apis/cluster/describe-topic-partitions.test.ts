import { describe, expect, it } from 'vitest';
import { KAFKA_ERRORS } from '../../../../../shared/kafka/error-codes.ts';
import { DESCRIBE_TOPIC_PARTITIONS } from '../../../../../shared/kafka/protocol/messages/cluster/describe-topic-partitions.ts';
import { ZERO_UUID } from '../../../../../shared/kafka/protocol/types.ts';
import type { KafkaClient } from '../../../../support/kafka-client.ts';
import { kafkaLog } from '../../../../support/kafka-log.ts';

interface Cursor {
  readonly topicName: string;
  readonly partitionIndex: number;
}

type Answer = ReturnType<ReturnType<typeof DESCRIBE_TOPIC_PARTITIONS.response.at>['read']>;

function ask(
  client: KafkaClient,
  names: readonly string[],
  responsePartitionLimit?: number,
  cursor: Cursor | null = null,
): Promise<Answer> {
  return client.request(DESCRIBE_TOPIC_PARTITIONS, 0, {
    topics: names.map((name) => ({ name })),
    responsePartitionLimit,
    cursor,
  });
}

function shown({ topics }: Answer): string[] {
  return topics.flatMap(({ name, errorCode, partitions }) =>
    errorCode === 0 ? partitions.map(({ partitionIndex }) => `${name}/${partitionIndex}`) : [`${name}: ${errorCode}`],
  );
}

describe('DescribeTopicPartitions', () => {
  it('describes the topics that are named, in the order of their names', async () => {
    const { broker, client } = await kafkaLog();
    const { topic } = await broker.putTopic({ name: 'b', partitions: 2 });
    await broker.putTopic({ name: 'a' });
    const answer = await ask(client, ['b', 'missing', 'a', 'b', '..']);
    expect(shown(answer)).toEqual([
      `..: ${KAFKA_ERRORS.INVALID_TOPIC_EXCEPTION}`,
      'a/0',
      'b/0',
      'b/1',
      `missing: ${KAFKA_ERRORS.UNKNOWN_TOPIC_OR_PARTITION}`,
    ]);
    expect(answer.nextCursor).toBeNull();
    expect(answer.topics[3]).toMatchObject({ name: 'missing', topicId: ZERO_UUID, partitions: [] });
    expect(answer.topics[2]).toEqual({
      errorCode: 0,
      name: 'b',
      topicId: topic.topicId,
      isInternal: false,
      partitions: [0, 1].map((partitionIndex) => ({
        errorCode: 0,
        partitionIndex,
        leaderId: 1,
        leaderEpoch: 0,
        replicaNodes: [1],
        isrNodes: [1],
        eligibleLeaderReplicas: [],
        lastKnownElr: [],
        offlineReplicas: [],
      })),
      topicAuthorizedOperations: -(2 ** 31),
    });
  });

  it.each([1, 2, 3, 4, 6, 7, 8])('gives everything once in pages of %i', async (limit) => {
    const { broker, client } = await kafkaLog();
    for (const [name, partitions] of [
      ['a', 3],
      ['b', 1],
      ['c', 3],
    ] as const)
      await broker.putTopic({ name, partitions });
    const all = ['a/0', 'a/1', 'a/2', 'b/0', 'c/0', 'c/1', 'c/2'];
    for (const names of [[], ['c', 'a', 'b']]) {
      const found: string[] = [];
      let cursor: Cursor | null = null;
      let pages = 0;
      do {
        const page: Answer = await ask(client, names, limit, cursor);
        const partitions = shown(page);
        expect(partitions.length).toBeLessThanOrEqual(limit);
        found.push(...partitions);
        cursor = page.nextCursor;
        pages++;
      } while (cursor !== null);
      expect(found).toEqual(all);
      expect(pages).toBe(Math.ceil(all.length / limit));
    }
  });

  it('gives at least one partition and at most 2,000', async () => {
    const { broker, client } = await kafkaLog();
    await broker.putTopic({ name: 'a', partitions: 2_001 });
    for (const limit of [0, -1]) {
      const page = await ask(client, [], limit);
      expect(shown(page)).toEqual(['a/0']);
      expect(page.nextCursor).toEqual({ topicName: 'a', partitionIndex: 1 });
    }
    const page = await ask(client, [], 2 ** 31 - 1);
    expect(shown(page)).toHaveLength(2_000);
    expect(page.nextCursor).toEqual({ topicName: 'a', partitionIndex: 2_000 });
    expect(shown(await ask(client, [], undefined, page.nextCursor))).toEqual(['a/2000']);
  });

  it('goes on behind a topic that is gone, or has fewer partitions than the cursor says', async () => {
    const { broker, client } = await kafkaLog();
    for (const name of ['a', 'c']) await broker.putTopic({ name });
    expect(shown(await ask(client, [], 10, { topicName: 'b', partitionIndex: 5 }))).toEqual(['c/0']);
    expect(shown(await ask(client, [], 10, { topicName: 'a', partitionIndex: 5 }))).toEqual(['c/0']);
    expect(shown(await ask(client, ['a'], 10, { topicName: 'a', partitionIndex: -1 }))).toEqual([
      `a: ${KAFKA_ERRORS.INVALID_REQUEST}`,
    ]);
  });
});
