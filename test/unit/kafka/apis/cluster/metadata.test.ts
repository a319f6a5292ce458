import { describe, expect, it } from 'vitest';
import { KAFKA_ERRORS } from '../../../../../shared/kafka/error-codes.ts';
import { leaderOf } from '../../../../../shared/kafka/nodes/leaders.ts';
import { METADATA } from '../../../../../shared/kafka/protocol/messages/cluster/metadata.ts';
import { ZERO_UUID } from '../../../../../shared/kafka/protocol/types.ts';
import type { KafkaClient } from '../../../../support/kafka-client.ts';
import { codeOf } from '../../../../support/memory-broker.ts';
import { runGateway } from '../../../../support/memory-gateway.ts';

const [OLDEST, NEWEST] = METADATA.versions;
const ALL_FROM = 1;

function metadata(
  client: KafkaClient,
  names: readonly string[] | null,
  { version = 9, allowAutoTopicCreation = false } = {},
) {
  return client.request(METADATA, version, {
    topics: names?.map((name) => ({ name, topicId: ZERO_UUID })) ?? (version < ALL_FROM ? [] : null),
    allowAutoTopicCreation,
    includeClusterAuthorizedOperations: false,
    includeTopicAuthorizedOperations: false,
  });
}

describe('Metadata', () => {
  it.each(Array.from({ length: NEWEST - OLDEST + 1 }, (_, i) => OLDEST + i))(
    'describes in version %i',
    async (version) => {
      await using gateway = await runGateway();
      await gateway.broker.putTopic({ name: 'a', partitions: 2 });
      await gateway.broker.putTopic({ name: 'b' });
      const client = await gateway.connect();
      const [host, port] = gateway.bootstrapServers.split(':');
      const all = await metadata(client, null, { version });
      expect(all.brokers).toMatchObject([{ nodeId: 1, host, port: Number(port) }]);
      expect(all.topics.map(({ name, partitions }) => `${name} ${partitions.length}`)).toEqual(['a 2', 'b 1']);
      const one = await metadata(client, ['a'], { version });
      expect(one.topics[0]?.partitions[1]).toMatchObject({
        partitionIndex: 1,
        leaderId: 1,
        replicaNodes: [1],
        isrNodes: [1],
      });
    },
  );

  it('describes no topic if none is asked for', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 'a' });
    expect((await metadata(await gateway.connect(), [])).topics).toEqual([]);
  });

  it('finds a topic by its id', async () => {
    await using gateway = await runGateway();
    const { topic } = await gateway.broker.putTopic({ name: 'a' });
    const client = await gateway.connect();
    const request = (topicId: string) =>
      client.request(METADATA, 12, {
        topics: [{ topicId, name: null }],
        includeTopicAuthorizedOperations: false,
        includeClusterAuthorizedOperations: false,
      });
    expect((await request(topic.topicId)).topics).toMatchObject([{ errorCode: 0, name: 'a', topicId: topic.topicId }]);
    const unknown = 'AAECAwQFBgcICQoLDA0ODw';
    expect((await request(unknown)).topics).toMatchObject([
      { errorCode: KAFKA_ERRORS.UNKNOWN_TOPIC_ID, name: null, topicId: unknown },
    ]);
  });

  it('makes a topic that is asked for only if both client and settings allow it', async () => {
    await using gateway = await runGateway({ settings: { partitionsDefault: 3 } });
    await using strict = await runGateway({ settings: { autoCreateTopics: false } });
    const [client, other] = [await gateway.connect(), await strict.connect()];
    const codes = async (work: ReturnType<typeof metadata>) => (await work).topics.map(({ errorCode }) => errorCode);
    const { UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION } = KAFKA_ERRORS;
    expect(await codes(metadata(client, ['a']))).toEqual([UNKNOWN_TOPIC_OR_PARTITION]);
    expect(await codes(metadata(other, ['a'], { allowAutoTopicCreation: true }))).toEqual([UNKNOWN_TOPIC_OR_PARTITION]);
    expect(await codeOf(gateway.broker.describeTopic('a'))).toBe('unknown_topic');
    const made = await metadata(client, ['a', 'not a name'], { allowAutoTopicCreation: true });
    expect(made.topics).toMatchObject([
      { errorCode: 0, name: 'a' },
      { errorCode: INVALID_TOPIC_EXCEPTION, name: 'not a name' },
    ]);
    expect((await gateway.broker.describeTopic('a')).partitions).toBe(3);
  });

  it('leaves a topic as it is that exists with more partitions', async () => {
    await using gateway = await runGateway({ settings: { partitionsDefault: 2 } });
    await gateway.broker.putTopic({ name: 'a', partitions: 5 });
    const client = await gateway.connect();
    const { topics } = await metadata(client, ['a'], { allowAutoTopicCreation: true });
    expect(topics[0]?.partitions).toHaveLength(5);
  });
});

describe('leaders', () => {
  const node = (nodeId: number) => ({ nodeId, host: 'h', port: nodeId });
  const leadersAmong = (ids: readonly number[]): number[] => {
    const nodes = ids.map(node);
    const gateway = { self: node(1), nodes: () => nodes };
    return Array.from({ length: 1_600 }, (_, partition) => leaderOf(gateway, 'topic', partition).nodeId);
  };

  it('are spread over the gateways, and those of a head are one', () => {
    const leaders = leadersAmong([1, 2, 3, 4]);
    for (const id of [1, 2, 3, 4]) expect(leaders.filter((leader) => leader === id).length).toBeGreaterThan(200);
    leaders.forEach((leader, partition) => {
      expect(leader).toBe(leaders[partition - (partition % 16)]);
    });
  });

  it('stay but for those of a gateway that is gone', () => {
    const before = leadersAmong([1, 2, 3, 4]);
    leadersAmong([1, 2, 4]).forEach((leader, partition) => {
      if (before[partition] !== 3) expect(leader).toBe(before[partition]);
    });
  });
});
