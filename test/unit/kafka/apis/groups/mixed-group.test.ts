import { describe, expect, it } from 'vitest';
import { CONSUMER_GROUP_DESCRIBE } from '../../../../../shared/kafka/protocol/messages/groups/consumer-group-describe.ts';
import { DESCRIBE_GROUPS } from '../../../../../shared/kafka/protocol/messages/groups/describe-groups.ts';
import { LIST_GROUPS } from '../../../../../shared/kafka/protocol/messages/groups/list-groups.ts';
import { OFFSET_COMMIT } from '../../../../../shared/kafka/protocol/messages/groups/offset-commit.ts';
import { CONSUMER_GROUP_HEARTBEAT } from '../../../../../shared/kafka/protocol/messages/members/consumer-group-heartbeat.ts';
import { HEARTBEAT } from '../../../../../shared/kafka/protocol/messages/members/heartbeat.ts';
import { JOIN_GROUP } from '../../../../../shared/kafka/protocol/messages/members/join-group.ts';
import { SYNC_GROUP } from '../../../../../shared/kafka/protocol/messages/members/sync-group.ts';
import { partitionNames, subscriptionBytes } from '../../../../support/classic-world.ts';
import { runGateway } from '../../../../support/memory-gateway.ts';

const GROUP_ID_NOT_FOUND = 69;
const ILLEGAL_GENERATION = 22;
const STALE_MEMBER_EPOCH = 113;

describe('a group with members of both protocols', () => {
  it('serves both, and tells which is which', async () => {
    await using gateway = await runGateway();
    const { topic } = await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    const classic = { groupId: 'g', memberId: 'old' };
    const joining = {
      ...classic,
      protocolType: 'consumer',
      protocols: [{ name: 'range', metadata: subscriptionBytes(['t', 'u']) }],
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 30_000,
    };
    const consumer = { groupId: 'g', memberId: 'new', subscribedTopicNames: ['u'], topicPartitions: [] };
    await client.request(CONSUMER_GROUP_HEARTBEAT, 1, { ...consumer, memberEpoch: 0 });
    const { errorCode, generationId, leader, protocolName } = await client.request(JOIN_GROUP, 9, joining);
    expect({ errorCode, leader, protocolName }).toEqual({ errorCode: 0, leader: '', protocolName: 'range' });
    const synced = await client.request(SYNC_GROUP, 5, { ...classic, generationId, protocolName, assignments: [] });
    expect(partitionNames(synced.assignment)).toEqual(['t/0']);
    expect(await client.request(HEARTBEAT, 4, { ...classic, generationId })).toMatchObject({ errorCode: 0 });

    const { groups } = await client.request(CONSUMER_GROUP_DESCRIBE, 1, {
      groupIds: ['g'],
      includeAuthorizedOperations: false,
    });
    expect(groups[0]?.members).toMatchObject([
      { memberId: 'old', memberType: 0, subscribedTopicNames: ['t', 'u'], memberEpoch: generationId },
      { memberId: 'new', memberType: 1, subscribedTopicNames: ['u'] },
    ]);
    expect((await client.request(LIST_GROUPS, 5, { statesFilter: [], typesFilter: [] })).groups).toMatchObject([
      { groupId: 'g', groupType: 'Consumer', protocolType: 'consumer' },
    ]);
    expect(
      (await client.request(DESCRIBE_GROUPS, 6, { groups: ['g'], includeAuthorizedOperations: false })).groups,
    ).toMatchObject([{ errorCode: GROUP_ID_NOT_FOUND, groupState: 'Dead' }]);

    const commit = async (memberId: string, generationIdOrMemberEpoch: number) => {
      const partitions = [{ partitionIndex: 0, committedOffset: 7, committedMetadata: '' }];
      const topics = [{ name: 't', topicId: topic.topicId, partitions }];
      const request = { groupId: 'g', memberId, generationIdOrMemberEpoch, topics };
      return (await client.request(OFFSET_COMMIT, 9, request)).topics[0]?.partitions[0]?.errorCode;
    };
    expect(await commit('old', generationId)).toBe(0);
    expect(await commit('old', generationId - 1)).toBe(ILLEGAL_GENERATION);
    expect(await commit('new', 1)).toBe(STALE_MEMBER_EPOCH);
  });
});
