import { describe, expect, it } from 'vitest';
import { OFFSET_COMMIT } from '../../../../../shared/kafka/protocol/messages/groups/offset-commit.ts';
import { OFFSET_FETCH } from '../../../../../shared/kafka/protocol/messages/groups/offset-fetch.ts';
import { CONSUMER_GROUP_HEARTBEAT } from '../../../../../shared/kafka/protocol/messages/members/consumer-group-heartbeat.ts';
import { runGateway } from '../../../../support/memory-gateway.ts';

function versionsOf([oldest, newest]: readonly [number, number]): number[] {
  return Array.from({ length: newest - oldest + 1 }, (_, i) => oldest + i);
}

describe('committed offsets', () => {
  it.each(versionsOf(OFFSET_COMMIT.versions))('are committed in version %i', async (version) => {
    await using gateway = await runGateway();
    const { topic } = await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    const partitions = [{ partitionIndex: 0, committedOffset: 7, committedMetadata: 'm' }];
    const topics = [{ name: 't', topicId: topic.topicId, partitions }];
    const answer = await client.request(OFFSET_COMMIT, version, { groupId: 'g', memberId: '', topics });
    expect(answer.topics[0]?.partitions).toEqual([{ partitionIndex: 0, errorCode: 0 }]);
    expect((await gateway.broker.fetchOffsets({ group: 'g' })).items).toMatchObject([{ offset: 7, metadata: 'm' }]);
  });

  it.each(versionsOf(OFFSET_FETCH.versions))('are fetched in version %i', async (version) => {
    await using gateway = await runGateway();
    const { topic } = await gateway.broker.putTopic({ name: 't', partitions: 2 });
    await gateway.broker.commitOffsets({ group: 'g', offsets: [{ topic: 't', partition: 1, offset: 7 }] });
    const client = await gateway.connect();
    const topics = [{ name: 't', topicId: topic.topicId, partitionIndexes: [0, 1] }];
    const groups = [{ groupId: 'g', topics }];
    const answer = await client.request(OFFSET_FETCH, version, { groupId: 'g', topics, groups });
    const found = version < 8 ? answer.topics : answer.groups[0]?.topics;
    expect(found?.[0]?.partitions.map(({ committedOffset }) => committedOffset)).toEqual([-1, 7]);
  });
});

describe('a static member', () => {
  it('that leaves for a while keeps its place', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    const member = { groupId: 'g', memberId: 'm', instanceId: 'i' };
    const joining = { ...member, memberEpoch: 0, subscribedTopicNames: ['t'], topicPartitions: [] };
    expect((await client.request(CONSUMER_GROUP_HEARTBEAT, 1, joining)).errorCode).toBe(0);
    expect(await client.request(CONSUMER_GROUP_HEARTBEAT, 1, { ...member, memberEpoch: -2 })).toMatchObject({
      ...{ errorCode: 0, memberEpoch: -2 },
    });
    expect((await gateway.broker.describeGroup('g')).members).toMatchObject([{ instanceId: 'i', isAway: true }]);
    await client.request(CONSUMER_GROUP_HEARTBEAT, 1, { ...joining, memberId: 'n' });
    await client.request(CONSUMER_GROUP_HEARTBEAT, 1, { ...member, memberId: 'n', memberEpoch: -1 });
    expect((await gateway.broker.describeGroup('g')).members).toEqual([]);
  });
});
