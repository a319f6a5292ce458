import { EventLogError } from '../../../log/errors.ts';
import type { Topic } from '../../../log/topic/topic.ts';
import { KAFKA_ERRORS, kafkaError } from '../../error-codes.ts';
import type { Gateway } from '../../gateway.ts';
import { type Call, handler } from '../../handler.ts';
import { leaderOf } from '../../nodes/leaders.ts';
import type { ResponseOf } from '../../protocol/api.ts';
import { METADATA } from '../../protocol/messages/cluster/metadata.ts';
import { ZERO_UUID } from '../../protocol/types.ts';
import { allTopics } from '../all-topics.ts';
import { eachOnce } from '../each-once.ts';
import { LEADER_EPOCH } from '../leader-epoch.ts';

type DescribedTopic = ResponseOf<typeof METADATA>['topics'][number];

/** Topics that one request asks for at once are looked up side by side. */
const LOOKUPS_AT_ONCE = 32;
/** From this version on an empty list asks for no topic; before it asked for all. */
const EMPTY_IS_NONE_FROM = 1;
const NULL_NAMES_FROM = 12;

/** Where the topics are. Every gateway can serve every partition; a leader is named so that clients spread over them. */
export const metadata = handler(METADATA, [{ action: 'any', on: 'topic' }], async (call, request) => {
  const { gateway, version } = call;
  const isForAll = request.topics === null || (version < EMPTY_IS_NONE_FROM && request.topics.length === 0);
  const topics: DescribedTopic[] = [];
  if (isForAll) {
    for await (const topic of allTopics(gateway))
      if (call.rights.onTopic('any', topic.name)) topics.push(describe(gateway, topic));
  } else {
    const asked = eachOnce(request.topics ?? [], ({ topicId, name }) => `${topicId} ${name}`);
    for (let i = 0; i < asked.length; i += LOOKUPS_AT_ONCE)
      topics.push(
        ...(await Promise.all(
          asked.slice(i, i + LOOKUPS_AT_ONCE).map(({ name, topicId }) =>
            // Java's client leaves the name empty, not null, beside an id.
            topicId === ZERO_UUID
              ? describeByName(call, name ?? '', request.allowAutoTopicCreation)
              : describeById(call, topicId),
          ),
        )),
      );
  }
  return {
    brokers: gateway.nodes().map(({ nodeId, host, port }) => ({ nodeId, host, port })),
    clusterId: gateway.settings.clusterId,
    controllerId: gateway.self.nodeId,
    topics,
    errorCode: KAFKA_ERRORS.NONE,
  };
});

interface NamedTopic {
  readonly name: string;
  readonly topicId: string;
  readonly partitions: number;
}

function describe(gateway: Gateway, { name, topicId, partitions }: NamedTopic): DescribedTopic {
  return {
    errorCode: KAFKA_ERRORS.NONE,
    name,
    topicId,
    partitions: Array.from({ length: partitions }, (_, partitionIndex) => {
      const { nodeId } = leaderOf(gateway, topicId, partitionIndex);
      return {
        errorCode: KAFKA_ERRORS.NONE,
        partitionIndex,
        leaderId: nodeId,
        leaderEpoch: LEADER_EPOCH,
        replicaNodes: [nodeId],
        isrNodes: [nodeId],
        offlineReplicas: [],
      };
    }),
  };
}

async function describeById({ gateway, version, rights }: Call, topicId: string): Promise<DescribedTopic> {
  const topic = await gateway.broker.topicById(topicId);
  if (topic !== undefined && rights.onTopic('any', topic.name)) return describe(gateway, topic);
  const errorCode = topic === undefined ? KAFKA_ERRORS.UNKNOWN_TOPIC_ID : KAFKA_ERRORS.TOPIC_AUTHORIZATION_FAILED;
  return { errorCode, name: version < NULL_NAMES_FROM ? '' : null, topicId, partitions: [] };
}

async function describeByName(call: Call, name: string, mayCreate: boolean): Promise<DescribedTopic> {
  const { gateway, rights } = call;
  try {
    if (!rights.onTopic('any', name)) throw denied();
    return describe(gateway, await findOrCreate(call, name, mayCreate));
  } catch (error) {
    if (!(error instanceof EventLogError)) throw error;
    const isNameInvalid = error.code === 'invalid_request' && error.details.field === 'topic';
    const errorCode = isNameInvalid ? KAFKA_ERRORS.INVALID_TOPIC_EXCEPTION : kafkaError(error.code);
    return { errorCode, name, topicId: ZERO_UUID, partitions: [] };
  }
}

function denied(): EventLogError {
  return new EventLogError('access_denied', 'There is no right to this topic.');
}

async function findOrCreate(
  { gateway: { broker, settings }, rights }: Call,
  name: string,
  mayCreate: boolean,
): Promise<Topic | NamedTopic> {
  try {
    return await broker.knownTopic(name);
  } catch (error) {
    const isUnknown = error instanceof EventLogError && error.code === 'unknown_topic';
    if (!isUnknown || !mayCreate || !settings.autoCreateTopics) throw error;
    // Kafka says so too, instead of that the topic is unknown: clients would ask for it again for ever.
    if (!rights.onTopic('admin', name)) throw denied();
    // Made by someone else meanwhile, it stays as that one made it: without settings nothing of it is changed.
    try {
      return (await broker.putTopic({ name, partitions: settings.partitionsDefault })).topic;
    } catch (conflict) {
      if (!(conflict instanceof EventLogError) || conflict.code !== 'topic_conflict') throw conflict;
      return broker.describeTopic(name);
    }
  }
}
