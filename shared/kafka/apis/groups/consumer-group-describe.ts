import type { ClassicState } from '../../../broker/groups/classic/describe-classic-group.ts';
import type { GroupDescription, GroupState, TopicPartitions } from '../../../broker/groups/describe-group.ts';
import { KAFKA_ERRORS, type KafkaErrorNumber } from '../../error-codes.ts';
import type { Gateway } from '../../gateway.ts';
import { handler } from '../../handler.ts';
import type { ResponseOf } from '../../protocol/api.ts';
import { CONSUMER_GROUP_DESCRIBE } from '../../protocol/messages/groups/consumer-group-describe.ts';
import { ZERO_UUID } from '../../protocol/types.ts';
import { eachOnce } from '../each-once.ts';
import { answering } from '../group-errors.ts';

type Described = ResponseOf<typeof CONSUMER_GROUP_DESCRIBE>['groups'][number];
type Assignment = Described['members'][number]['assignment'];

/** Kafka's names for the states. */
const STATE_NAMES: Readonly<Record<GroupState, string>> = {
  empty: 'Empty',
  computing: 'Assigning',
  reconciling: 'Reconciling',
  stable: 'Stable',
};
/** Kafka's numbers for the protocols of members. */
const MEMBER_TYPES = { classic: 0, consumer: 1 } as const;

/** States of classic groups have Kafka's names already. */
export function stateName(state: GroupState | ClassicState): string {
  return state in STATE_NAMES ? STATE_NAMES[state as GroupState] : state;
}

/** Groups of KIP-848 with their members. */
export const consumerGroupDescribe = handler(
  CONSUMER_GROUP_DESCRIBE,
  [{ action: 'any', on: 'group' }],
  async ({ gateway, rights }, { groupIds }) => {
    const groups: Described[] = [];
    for (const groupId of eachOnce(groupIds)) {
      const refuse = (error: KafkaErrorNumber, errorMessage: string | null): Described => ({
        // Clients then ask whether it is a classic group.
        errorCode: error === KAFKA_ERRORS.INCONSISTENT_GROUP_PROTOCOL ? KAFKA_ERRORS.GROUP_ID_NOT_FOUND : error,
        ...{ errorMessage, groupId, groupState: '', groupEpoch: 0 },
        ...{ assignmentEpoch: 0, assignorName: '', members: [] },
      });
      groups.push(
        rights.onGroup('any', groupId)
          ? await answering(async () => describe(gateway, await gateway.broker.describeGroup(groupId)), refuse)
          : refuse(KAFKA_ERRORS.GROUP_AUTHORIZATION_FAILED, null),
      );
    }
    return { groups };
  },
);

async function describe(gateway: Gateway, found: GroupDescription): Promise<Described> {
  const members = found.members.map(async (member) => ({
    memberId: member.memberId,
    instanceId: member.instanceId,
    rackId: member.client.rack ?? null,
    memberEpoch: member.memberEpoch,
    clientId: member.client.clientId ?? '',
    clientHost: `/${member.client.host ?? ''}`,
    subscribedTopicNames: member.topics,
    subscribedTopicRegex: member.topicPattern,
    assignment: await assignmentOf(gateway, member.assigned),
    targetAssignment: await assignmentOf(gateway, member.wanted),
    memberType: MEMBER_TYPES[member.protocol],
  }));
  return {
    errorCode: KAFKA_ERRORS.NONE,
    groupId: found.group,
    groupState: STATE_NAMES[found.state],
    groupEpoch: found.epoch,
    assignmentEpoch: found.targetEpoch,
    assignorName: found.assignor,
    members: await Promise.all(members),
  };
}

async function assignmentOf({ broker }: Gateway, topics: readonly TopicPartitions[]): Promise<Assignment> {
  const withIds = topics.map(async ({ topic, partitions }) => {
    // A topic that was deleted since is shown by its name alone.
    const known = await broker.knownTopic(topic).catch(() => undefined);
    return { topicId: known?.topicId ?? ZERO_UUID, topicName: topic, partitions };
  });
  return { topicPartitions: await Promise.all(withIds) };
}
