import { CONSUMER_GROUP_DESCRIBE } from '../../../shared/kafka/protocol/messages/groups/consumer-group-describe.ts';
import { DELETE_GROUPS } from '../../../shared/kafka/protocol/messages/groups/delete-groups.ts';
import { DESCRIBE_GROUPS } from '../../../shared/kafka/protocol/messages/groups/describe-groups.ts';
import { LIST_GROUPS } from '../../../shared/kafka/protocol/messages/groups/list-groups.ts';
import { OFFSET_COMMIT } from '../../../shared/kafka/protocol/messages/groups/offset-commit.ts';
import { OFFSET_DELETE } from '../../../shared/kafka/protocol/messages/groups/offset-delete.ts';
import { OFFSET_FETCH } from '../../../shared/kafka/protocol/messages/groups/offset-fetch.ts';
import { FIND_COORDINATOR } from '../../../shared/kafka/protocol/messages/members/find-coordinator.ts';
import { HEARTBEAT } from '../../../shared/kafka/protocol/messages/members/heartbeat.ts';
import { JOIN_GROUP } from '../../../shared/kafka/protocol/messages/members/join-group.ts';
import { LEAVE_GROUP } from '../../../shared/kafka/protocol/messages/members/leave-group.ts';
import { SYNC_GROUP } from '../../../shared/kafka/protocol/messages/members/sync-group.ts';
import { type Answer, errorsOf, nameOf, type Questions, type World } from './ask.ts';

/** Kafka answers about groups in an order of its own. */
function inOrder<Group extends { readonly groupId: string }>(groups: readonly Group[]): Group[] {
  return [...groups].sort((one, other) => (one.groupId < other.groupId ? -1 : 1));
}

interface Commit {
  readonly group: string;
  readonly member?: string;
  readonly generation?: number;
  readonly topic?: string;
  readonly partition?: number;
  readonly offset?: number;
  readonly metadata?: string | null;
}

async function commit(
  { client }: World,
  { group, member = '', generation = -1, topic = 'full', partition = 0, offset = 1, metadata = '' }: Commit,
): Promise<Answer> {
  const { topics } = await client.request(OFFSET_COMMIT, 9, {
    ...{ groupId: group, generationIdOrMemberEpoch: generation, memberId: member },
    topics: [
      {
        ...{ name: topic, topicId: 'AAAAAAAAAAAAAAAAAAAAAA' },
        partitions: [{ partitionIndex: partition, committedOffset: offset, committedMetadata: metadata }],
      },
    ],
  });
  return topics.flatMap(({ partitions }) => errorsOf(partitions));
}

async function deleteOffsets({ client }: World, groupId: string, name: string, partition = 0): Promise<Answer> {
  const topics = [{ name, partitions: [{ partitionIndex: partition }] }];
  const answer = await client.request(OFFSET_DELETE, 0, { groupId, topics });
  return [nameOf(answer.errorCode), ...answer.topics.flatMap(({ partitions }) => errorsOf(partitions))];
}

async function fetchOffsets({ client }: World, groupId: string, topic: string | undefined): Promise<Answer> {
  const topics = topic === undefined ? null : [{ name: topic, topicId: '', partitionIndexes: [0, 9] }];
  const { groups } = await client.request(OFFSET_FETCH, 8, { groupId: '', topics: [], groups: [{ groupId, topics }] });
  return groups.flatMap(({ errorCode, topics: found }) => [
    nameOf(errorCode),
    ...found.flatMap(({ partitions }) =>
      partitions.flatMap(({ errorCode: own, committedOffset }) => [nameOf(own), committedOffset]),
    ),
  ]);
}

async function describe({ client }: World, version: number, groups: readonly string[]): Promise<Answer> {
  const answer = await client.request(DESCRIBE_GROUPS, version, { groups, includeAuthorizedOperations: false });
  return inOrder(answer.groups).flatMap(({ errorCode, groupState, members }) => [
    nameOf(errorCode),
    groupState,
    members.length,
  ]);
}

interface Join {
  readonly group?: string;
  readonly member?: string;
  readonly instance?: string | null;
  readonly sessionMs?: number;
  readonly type?: string;
  readonly protocols?: readonly string[];
}

async function join({ client }: World, given: Join): Promise<Answer> {
  const { group = 'joined', member = '', instance = null, sessionMs = 10_000, type = 'consumer' } = given;
  const { protocols = ['range'] } = given;
  const answer = await client.request(JOIN_GROUP, 5, {
    ...{ groupId: group, memberId: member, groupInstanceId: instance, protocolType: type },
    ...{ sessionTimeoutMs: sessionMs, rebalanceTimeoutMs: 10_000 },
    protocols: protocols.map((name) => ({ name, metadata: new Uint8Array(0) })),
  });
  return [nameOf(answer.errorCode)];
}

async function heartbeat(
  { client }: World,
  groupId: string,
  memberId: string,
  generationId: number,
  groupInstanceId: string | null = null,
): Promise<Answer> {
  const answer = await client.request(HEARTBEAT, 4, { groupId, memberId, generationId, groupInstanceId });
  return [nameOf(answer.errorCode)];
}

async function sync({ client }: World, groupId: string, memberId: string, generationId: number): Promise<Answer> {
  const protocol = { protocolType: 'consumer', protocolName: 'range' };
  const answer = await client.request(SYNC_GROUP, 5, { groupId, memberId, generationId, ...protocol, assignments: [] });
  return [nameOf(answer.errorCode)];
}

async function leave({ client }: World, groupId: string, memberId: string, instance: string | null): Promise<Answer> {
  const members = [{ memberId, groupInstanceId: instance }];
  const answer = await client.request(LEAVE_GROUP, 4, { groupId, memberId: '', members });
  return [nameOf(answer.errorCode), ...errorsOf(answer.members)];
}

async function findCoordinator({ client }: World, keyType: number, key: string): Promise<Answer> {
  const answer = await client.request(FIND_COORDINATOR, 4, { key: '', keyType, coordinatorKeys: [key] });
  return errorsOf(answer.coordinators);
}

/** Asks in this order: a group that is deleted is gone for those behind. */
export const GROUP_QUESTIONS: Questions = {
  'delete groups': async ({ client }) =>
    errorsOf(inOrder((await client.request(DELETE_GROUPS, 2, { groupsNames: ['', 'busy', 'none'] })).results)),
  'delete a group twice in one request': async ({ client }) =>
    errorsOf((await client.request(DELETE_GROUPS, 2, { groupsNames: ['twice', 'twice'] })).results),
  'delete offsets': async (world) => [
    ...(await deleteOffsets(world, 'none', 'full')),
    ...(await deleteOffsets(world, '', 'full')),
    ...(await deleteOffsets(world, 'busy', 'full')),
    ...(await deleteOffsets(world, 'idle', 'none')),
    ...(await deleteOffsets(world, 'idle', 'full', 9)),
    ...(await deleteOffsets(world, 'idle', 'full', 2)),
    ...(await deleteOffsets(world, 'idle', 'full')),
  ],
  'commit for no member': async (world) => [
    ...(await commit(world, { group: '' })),
    ...(await commit(world, { group: 'idle', topic: 'none' })),
    ...(await commit(world, { group: 'idle', partition: 9 })),
    ...(await commit(world, { group: 'idle', partition: -1 })),
    ...(await commit(world, { group: 'idle', topic: 'a b' })),
    ...(await commit(world, { group: 'idle', metadata: 'x'.repeat(4_097) })),
    ...(await commit(world, { group: 'idle', metadata: null })),
    ...(await commit(world, { group: 'busy' })),
  ],
  'commit a negative offset': (world) => commit(world, { group: 'negative', offset: -1 }),
  'commit for a member': async (world) => [
    ...(await commit(world, { group: 'none', member: 'm', generation: 1 })),
    ...(await commit(world, { group: 'idle', member: 'm', generation: 1 })),
    ...(await commit(world, { group: 'busy', member: 'm', generation: 1 })),
    ...(await commit(world, { group: 'busy', member: world.memberId, generation: 9 })),
    ...(await commit(world, { group: 'busy', member: world.memberId, generation: 1 })),
  ],
  'fetch offsets of what there is none of': async (world) => [
    ...(await fetchOffsets(world, 'none', 'full')),
    ...(await fetchOffsets(world, 'none', undefined)),
    ...(await fetchOffsets(world, 'idle', 'none')),
    ...(await fetchOffsets(world, '', 'full')),
  ],
  'describe groups': async (world) => [
    ...(await describe(world, 5, ['none', 'busy', 'idle', ''])),
    ...(await describe(world, 6, ['none', 'busy', 'idle', ''])),
  ],
  'describe groups of the other protocol': async ({ client }) => {
    const groupIds = ['', 'busy', 'idle', 'none'];
    const { groups } = await client.request(CONSUMER_GROUP_DESCRIBE, 0, {
      groupIds,
      includeAuthorizedOperations: false,
    });
    return errorsOf(inOrder(groups));
  },
  'list groups in states that there are none of': async ({ client }) => {
    const answer = await client.request(LIST_GROUPS, 5, { statesFilter: ['Sleeping'], typesFilter: ['Other'] });
    return [nameOf(answer.errorCode), answer.groups.length];
  },
  'join with something wrong': async (world) => [
    ...(await join(world, { group: '' })),
    ...(await join(world, {})),
    ...(await join(world, { sessionMs: 10_000_000 })),
    ...(await join(world, { sessionMs: 10 })),
    ...(await join(world, { protocols: [] })),
    ...(await join(world, { type: '' })),
    ...(await join(world, { group: 'busy', protocols: ['other'] })),
    ...(await join(world, { group: 'busy', type: 'connect' })),
    ...(await join(world, { group: 'busy', member: world.memberId, instance: 'i' })),
  ],
  'join with an id that nobody has given': (world) => join(world, { member: 'm' }),
  'send heartbeats that do not fit': async (world) => [
    ...(await heartbeat(world, '', 'm', 1)),
    ...(await heartbeat(world, 'none', 'm', 1)),
    ...(await heartbeat(world, 'busy', 'm', 1)),
    ...(await heartbeat(world, 'busy', world.memberId, 9)),
    ...(await heartbeat(world, 'busy', world.memberId, 1, 'i')),
    ...(await heartbeat(world, 'busy', world.memberId, 1)),
  ],
  'synchronize what does not fit': async (world) => [
    ...(await sync(world, '', 'm', 1)),
    ...(await sync(world, 'none', 'm', 1)),
    ...(await sync(world, 'busy', 'm', 1)),
    ...(await sync(world, 'busy', world.memberId, 9)),
  ],
  'leave what does not fit': async (world) => [
    ...(await leave(world, '', 'm', null)),
    ...(await leave(world, 'none', 'm', null)),
    ...(await leave(world, 'busy', 'm', null)),
    ...(await leave(world, 'busy', '', 'i')),
  ],
  'find coordinators': async (world) => [
    ...(await findCoordinator(world, 0, 'g')),
    ...(await findCoordinator(world, 0, '')),
    ...(await findCoordinator(world, 9, 'g')),
  ],
};
