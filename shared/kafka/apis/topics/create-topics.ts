import type { TopicDescription } from '../../../broker/topics/describe.ts';
import { eachOf } from '../../../broker/topics/each-head.ts';
import { KAFKA_ERRORS, type KafkaErrorNumber } from '../../error-codes.ts';
import { type Call, handler } from '../../handler.ts';
import type { RequestOf, ResponseOf } from '../../protocol/api.ts';
import { CREATE_TOPICS } from '../../protocol/messages/topics/create-topics.ts';
import { ZERO_UUID } from '../../protocol/types.ts';
import { answeringTopic, checkRight, repeated, TopicRefusal } from '../topic-errors.ts';
import { topicSettings } from './describe-settings.ts';
import { settingsFromText } from './topic-settings.ts';

type AskedTopic = RequestOf<typeof CREATE_TOPICS>['topics'][number];
type CreatedTopic = ResponseOf<typeof CREATE_TOPICS>['topics'][number];

const BY_DEFAULT = -1;
/**
 * What is answered for every topic, and shows in metadata. A request may ask for any factor: the store keeps records in
 * several places whatever the number is.
 */
const REPLICATION_FACTOR = 1;

/** Makes topics, each by itself. One of several requests that make the same topic succeeds. */
export const createTopics = handler(
  CREATE_TOPICS,
  [{ action: 'admin', on: 'topic' }],
  async (call, { topics, validateOnly }) => {
    const twice = repeated(topics.map(({ name }) => name));
    const once = topics.filter(({ name }) => !twice.has(name));
    return {
      topics: [
        ...[...twice].map((name) => failed(name, KAFKA_ERRORS.INVALID_REQUEST, 'Duplicate topic name.')),
        ...(await eachOf(once, (topic) =>
          answeringTopic<CreatedTopic>(
            () => create(call, topic, validateOnly),
            (errorCode, message) => failed(topic.name, errorCode, message),
          ),
        )),
      ],
    };
  },
);

async function create(call: Call, asked: AskedTopic, validateOnly: boolean): Promise<CreatedTopic> {
  checkRight(call, 'admin', asked.name);
  const { gateway } = call;
  const { topic } = await gateway.broker.putTopic({
    name: asked.name,
    partitions: partitionsOf(asked) ?? gateway.settings.partitionsDefault,
    config: settingsFromText(configsOf(asked)),
    expect: 'absent',
    validateOnly,
  });
  return created(topic, validateOnly);
}

/** `undefined`: as many as by default. @throws TopicRefusal */
function partitionsOf({ numPartitions, replicationFactor, assignments }: AskedTopic): number | undefined {
  if (assignments.length > 0) {
    if (replicationFactor !== BY_DEFAULT || numPartitions !== BY_DEFAULT)
      throw new TopicRefusal(
        'INVALID_REQUEST',
        'With assignments, the number of partitions and the replication factor are -1: they follow from the assignments.',
      );
    checkAssignments(assignments);
    return assignments.length;
  }
  if (replicationFactor !== BY_DEFAULT && replicationFactor < 1)
    throw new TopicRefusal('INVALID_REPLICATION_FACTOR', 'The replication factor is from 1, or -1 for the default.');
  if (numPartitions !== BY_DEFAULT && numPartitions < 1)
    throw new TopicRefusal('INVALID_PARTITIONS', 'The number of partitions is from 1, or -1 for the default.');
  return numPartitions === BY_DEFAULT ? undefined : numPartitions;
}

/** Every gateway serves every partition, so only the partitions count, not the brokers. @throws TopicRefusal */
function checkAssignments(assignments: AskedTopic['assignments']): void {
  const indexes = new Set(assignments.map(({ partitionIndex }) => partitionIndex));
  const areAllThere = assignments.every((_, partition) => indexes.has(partition));
  if (!areAllThere)
    throw new TopicRefusal('INVALID_REPLICA_ASSIGNMENT', 'Assignments name every partition from 0 on, each once.');
  for (const { partitionIndex, brokerIds } of assignments) checkBrokers(partitionIndex, brokerIds);
}

/** @throws TopicRefusal */
export function checkBrokers(partition: number, brokerIds: readonly number[]): void {
  if (brokerIds.length > 0 && repeated(brokerIds).size === 0) return;
  throw new TopicRefusal(
    'INVALID_REPLICA_ASSIGNMENT',
    `The assignment of partition ${partition} names at least one broker, and none twice.`,
  );
}

/** @throws TopicRefusal */
function configsOf({ configs }: AskedTopic): Map<string, string> {
  return new Map(
    configs.map(({ name, value }) => {
      if (value === null) throw new TopicRefusal('INVALID_CONFIG', `The setting ${name} has no value.`);
      return [name, value];
    }),
  );
}

function created({ name, topicId, partitions, config }: TopicDescription, validateOnly: boolean): CreatedTopic {
  return {
    name,
    topicId: validateOnly ? ZERO_UUID : topicId,
    errorCode: KAFKA_ERRORS.NONE,
    errorMessage: null,
    numPartitions: partitions,
    replicationFactor: REPLICATION_FACTOR,
    configs: topicSettings(config),
  };
}

function failed(name: string, errorCode: KafkaErrorNumber, errorMessage: string): CreatedTopic {
  return { name, topicId: ZERO_UUID, errorCode, errorMessage, configs: [] };
}
