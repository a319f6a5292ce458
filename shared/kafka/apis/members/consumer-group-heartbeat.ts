import { clientText } from '../../../broker/groups/classic/join-request.ts';
import { invalidField } from '../../../log/errors.ts';
import { ASSIGNOR_NAMES, type AssignorName } from '../../../log/group/assignor.ts';
import { partitionSet } from '../../../log/group/partition-set.ts';
import { REBALANCE_TIMEOUT_MS_MAX, SESSION_TIMEOUT_MS_MIN } from '../../../log/limits.ts';
import { KAFKA_ERRORS, type KafkaErrorNumber } from '../../error-codes.ts';
import { type Call, handler } from '../../handler.ts';
import type { RequestOf, ResponseOf } from '../../protocol/api.ts';
import { CONSUMER_GROUP_HEARTBEAT } from '../../protocol/messages/members/consumer-group-heartbeat.ts';
import { answering } from '../group-errors.ts';

type Request = RequestOf<typeof CONSUMER_GROUP_HEARTBEAT>;
type Response = ResponseOf<typeof CONSUMER_GROUP_HEARTBEAT>;

/** Epochs that say something else. */
const LEAVES = -1;
const LEAVES_FOR_A_WHILE = -2;
const MEMBER_ID_BYTES = 16;
/** A client that left needs to know nothing more. */
const NOTHING_TO_DO = { memberEpoch: LEAVES, heartbeatIntervalMs: 0 };

/** A member of a group of KIP-848 joins, stays or leaves. */
export const consumerGroupHeartbeat = handler(
  CONSUMER_GROUP_HEARTBEAT,
  [
    { action: 'consume', on: 'group' },
    { action: 'consume', on: 'topic' },
  ],
  async (call, request) => {
    const refuse = (errorCode: KafkaErrorNumber, errorMessage: string | null): Response => ({
      ...{ errorCode, errorMessage, memberId: request.memberId },
      ...NOTHING_TO_DO,
    });
    const refusal = refusalOf(call, request);
    if (refusal !== undefined) return refuse(refusal, null);
    return answering(() => (request.memberEpoch < 0 ? leave(call, request) : heartbeat(call, request)), refuse);
  },
);

/** A pattern can match topics to come, so it needs the right on all. */
function refusalOf({ rights }: Call, { groupId, memberEpoch, ...request }: Request): KafkaErrorNumber | undefined {
  if (!rights.onGroup('consume', groupId)) return KAFKA_ERRORS.GROUP_AUTHORIZATION_FAILED;
  const { topics, pattern } = subscriptionOf(request) ?? { topics: [], pattern: undefined };
  const mayRead =
    topics.every((topic) => rights.onTopic('consume', topic)) &&
    (pattern === undefined || rights.onAllTopics('consume'));
  return mayRead || memberEpoch < 0 ? undefined : KAFKA_ERRORS.TOPIC_AUTHORIZATION_FAILED;
}

async function leave({ gateway }: Call, { groupId, memberId, memberEpoch, instanceId }: Request): Promise<Response> {
  if (memberEpoch !== LEAVES && memberEpoch !== LEAVES_FOR_A_WHILE)
    throw invalidField('memberEpoch', `A member epoch is -2, -1 or more, not ${memberEpoch}.`);
  await gateway.broker.leaveGroup({
    group: groupId,
    memberId,
    instanceId: instanceId ?? undefined,
    willReturn: memberEpoch === LEAVES_FOR_A_WHILE,
  });
  return { errorCode: KAFKA_ERRORS.NONE, memberId, memberEpoch, heartbeatIntervalMs: 0 };
}

async function heartbeat({ gateway, clientId, clientHost }: Call, request: Request): Promise<Response> {
  const { groupId, memberEpoch, instanceId, rackId, rebalanceTimeoutMs, topicPartitions, serverAssignor } = request;
  if (serverAssignor !== null && !isAssignor(serverAssignor))
    throw invalidField('assignor', `The assignors are ${ASSIGNOR_NAMES.join(' and ')}, not '${serverAssignor}'.`);
  const memberId = request.memberId === '' && memberEpoch === 0 ? newMemberId(gateway.random) : request.memberId;
  const result = await gateway.broker.heartbeat({
    group: groupId,
    memberId,
    memberEpoch,
    instanceId: instanceId ?? undefined,
    subscription: subscriptionOf(request),
    keeps: keptBy(request),
    // Java's client does so while no topic has a name that it looks for.
    mayReadNothing: true,
    assignor: serverAssignor ?? undefined,
    sessionTimeoutMs: gateway.settings.groupConsumerSessionTimeoutMs,
    rebalanceTimeoutMs: rebalanceTimeoutMs < 0 ? undefined : withinBounds(rebalanceTimeoutMs),
    owned:
      topicPartitions === null
        ? undefined
        : partitionSet(
            topicPartitions.flatMap(({ topicId, partitions }) =>
              partitions.map((partition): [string, number] => [topicId, partition]),
            ),
          ),
    client: { clientId: clientText(clientId), host: clientText(clientHost), rack: rackId ?? undefined },
  });
  return {
    errorCode: KAFKA_ERRORS.NONE,
    memberId: result.memberId,
    memberEpoch: result.memberEpoch,
    heartbeatIntervalMs: result.heartbeatIntervalMs,
    assignment: { topicPartitions: result.assignment.map(({ topicId, partitions }) => ({ topicId, partitions })) },
  };
}

/** Kafka takes any: clients send how long their applications may take for some records. */
function withinBounds(rebalanceTimeoutMs: number): number {
  return Math.min(Math.max(rebalanceTimeoutMs, SESSION_TIMEOUT_MS_MIN), REBALANCE_TIMEOUT_MS_MAX);
}

/** `null` leaves names or pattern as they are, but a member that joins has none. */
function keptBy({
  memberEpoch,
  subscribedTopicNames,
  subscribedTopicRegex,
}: Request): 'topics' | 'pattern' | undefined {
  if (memberEpoch === 0) return undefined;
  if (subscribedTopicNames === null) return 'topics';
  return subscribedTopicRegex === null ? 'pattern' : undefined;
}

/** `undefined` leaves both as they are; an empty pattern is none. */
function subscriptionOf({
  subscribedTopicNames,
  subscribedTopicRegex,
}: Pick<Request, 'subscribedTopicNames' | 'subscribedTopicRegex'>) {
  if (subscribedTopicNames === null && subscribedTopicRegex === null) return undefined;
  const pattern = subscribedTopicRegex === '' ? undefined : (subscribedTopicRegex ?? undefined);
  return { topics: subscribedTopicNames ?? [], pattern };
}

function isAssignor(name: string): name is AssignorName {
  return (ASSIGNOR_NAMES as readonly string[]).includes(name);
}

function newMemberId(random: Call['gateway']['random']): string {
  return Buffer.from(random.bytes(MEMBER_ID_BYTES)).toString('base64url');
}
