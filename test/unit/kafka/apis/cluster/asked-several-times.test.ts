import { expect, it } from 'vitest';
import { METADATA } from '../../../../../shared/kafka/protocol/messages/cluster/metadata.ts';
import { CONSUMER_GROUP_DESCRIBE } from '../../../../../shared/kafka/protocol/messages/groups/consumer-group-describe.ts';
import { DESCRIBE_GROUPS } from '../../../../../shared/kafka/protocol/messages/groups/describe-groups.ts';
import { OFFSET_FETCH } from '../../../../../shared/kafka/protocol/messages/groups/offset-fetch.ts';
import { DESCRIBE_PRODUCERS } from '../../../../../shared/kafka/protocol/messages/records/describe-producers.ts';
import { DESCRIBE_CONFIGS } from '../../../../../shared/kafka/protocol/messages/topics/describe-configs.ts';
import { DESCRIBE_TRANSACTIONS } from '../../../../../shared/kafka/protocol/messages/transactions/describe-transactions.ts';
import { ZERO_UUID } from '../../../../../shared/kafka/protocol/types.ts';
import type { KafkaClient } from '../../../../support/kafka-client.ts';
import { kafkaLog } from '../../../../support/kafka-log.ts';

const TOPIC = 2;

/** Asks for one thing `times` times, and counts the answers. An answer says much more than the request names. */
const QUESTIONS: Readonly<Record<string, (client: KafkaClient, times: number, topicId: string) => Promise<number>>> = {
  'topics by their names': async (client, times) => {
    const options = { includeClusterAuthorizedOperations: false, includeTopicAuthorizedOperations: false };
    const topics = Array(times).fill({ name: 't', topicId: ZERO_UUID });
    return (await client.request(METADATA, 12, { topics, ...options })).topics.length;
  },
  'topics by their ids': async (client, times, topicId) => {
    const options = { includeClusterAuthorizedOperations: false, includeTopicAuthorizedOperations: false };
    const topics = Array(times).fill({ name: null, topicId });
    return (await client.request(METADATA, 12, { topics, ...options })).topics.length;
  },
  'classic groups': async (client, times) => {
    const groups = Array(times).fill('g');
    return (await client.request(DESCRIBE_GROUPS, 5, { groups, includeAuthorizedOperations: false })).groups.length;
  },
  'groups of KIP-848': async (client, times) => {
    const groupIds = Array(times).fill('g');
    const request = { groupIds, includeAuthorizedOperations: false };
    return (await client.request(CONSUMER_GROUP_DESCRIBE, 1, request)).groups.length;
  },
  'all offsets of groups': async (client, times) => {
    const groups = Array(times).fill({ groupId: 'g', topics: null });
    return (await client.request(OFFSET_FETCH, 9, { groupId: '', topics: [], groups })).groups.length;
  },
  producers: async (client, times) => {
    const topics = Array(times).fill({ name: 't', partitionIndexes: Array(times).fill(0) });
    const answer = await client.request(DESCRIBE_PRODUCERS, 0, { topics });
    return answer.topics.flatMap(({ partitions }) => partitions).length;
  },
  settings: async (client, times) => {
    const resources = Array(times).fill({ resourceType: TOPIC, resourceName: 't', configurationKeys: null });
    return (await client.request(DESCRIBE_CONFIGS, 4, { resources })).results.length;
  },
  transactions: async (client, times) => {
    const transactionalIds = Array(times).fill('x');
    return (await client.request(DESCRIBE_TRANSACTIONS, 0, { transactionalIds })).transactionStates.length;
  },
};

it.each(Object.keys(QUESTIONS))('%s that are asked for several times are told of once', async (what) => {
  const { broker, client } = await kafkaLog();
  const { topic } = await broker.putTopic({ name: 't' });
  await broker.commitOffsets({ group: 'g', offsets: [{ topic: 't', partition: 0, offset: 1 }] });
  expect(await QUESTIONS[what]?.(client, 3, topic.topicId)).toBe(1);
});
