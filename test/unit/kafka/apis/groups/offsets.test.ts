import { describe, expect, it } from 'vitest';
import { KAFKA_ERRORS } from '../../../../../shared/kafka/error-codes.ts';
import { OFFSET_COMMIT } from '../../../../../shared/kafka/protocol/messages/groups/offset-commit.ts';
import { OFFSET_FETCH } from '../../../../../shared/kafka/protocol/messages/groups/offset-fetch.ts';
import { CONSUMER_GROUP_HEARTBEAT } from '../../../../../shared/kafka/protocol/messages/members/consumer-group-heartbeat.ts';
import { JOIN_GROUP } from '../../../../../shared/kafka/protocol/messages/members/join-group.ts';
import { SYNC_GROUP } from '../../../../../shared/kafka/protocol/messages/members/sync-group.ts';
import { ZERO_UUID } from '../../../../../shared/kafka/protocol/types.ts';
import { OFFSET_MAX } from '../../../../../shared/log/limits.ts';
import { systemClock } from '../../../../../shared/storage/system/clock.ts';
import type { KafkaClient } from '../../../../support/kafka-client.ts';
import { memoryBroker, memoryStores } from '../../../../support/memory-broker.ts';
import { runGateway } from '../../../../support/memory-gateway.ts';

async function joinClassic(client: KafkaClient, groupId: string) {
  const asked = { groupId, sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 10_000, protocolType: 'consumer' };
  const protocols = [{ name: 'range', metadata: new Uint8Array(4) }];
  const { memberId } = await client.request(JOIN_GROUP, 5, { ...asked, memberId: '', protocols });
  const { generationId } = await client.request(JOIN_GROUP, 5, { ...asked, memberId, protocols });
  const assignments = [{ memberId, assignment: new Uint8Array(4) }];
  await client.request(SYNC_GROUP, 3, { groupId, generationId, memberId, assignments });
  return { memberId, generationId };
}

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

describe('offsets that cannot be fetched', () => {
  it.each(versionsOf(OFFSET_FETCH.versions))('are never taken for none in version %i', async (version) => {
    await using gateway = await runGateway();
    const { topic } = await gateway.broker.putTopic({ name: 't', partitions: 2 });
    const client = await gateway.connect();
    const topics = [{ name: 't', topicId: topic.topicId, partitionIndexes: [0, 1] }];
    const groups = [{ groupId: '', topics }];
    const answer = await client.request(OFFSET_FETCH, version, { groupId: '', topics, groups });
    const errorCode = KAFKA_ERRORS.INVALID_GROUP_ID;
    // The oldest version has no place for an error of the whole group.
    if (version >= 8) expect(answer.groups).toMatchObject([{ errorCode }]);
    else if (version >= 2) expect(answer).toMatchObject({ errorCode });
    else
      expect(answer.topics).toMatchObject([
        {
          name: 't',
          partitions: [0, 1].map((partitionIndex) => ({ partitionIndex, committedOffset: -1, errorCode })),
        },
      ]);
  });
});

describe('a leader epoch', () => {
  it.each([
    [0, 0],
    [7, 0],
    [-1, -1],
  ])('that was committed as %i never makes a client wait for a later leader', async (committed, fetched) => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    const partitions = [
      { partitionIndex: 0, committedOffset: 7, committedLeaderEpoch: committed, committedMetadata: '' },
    ];
    const topics = [{ name: 't', topicId: ZERO_UUID, partitions }];
    await client.request(OFFSET_COMMIT, 9, { groupId: 'g', memberId: '', topics });
    const asked = [{ name: 't', topicId: ZERO_UUID, partitionIndexes: [0] }];
    const answer = await client.request(OFFSET_FETCH, 7, { groupId: 'g', topics: asked, groups: [] });
    expect(answer.topics[0]?.partitions[0]).toMatchObject({ committedOffset: 7, committedLeaderEpoch: fetched });
  });
});

describe('a commit', () => {
  it('of one partition that is refused does not refuse the others', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't', partitions: 4 });
    const client = await gateway.connect();
    const good = { committedOffset: 7, committedMetadata: '' };
    const partitions = [
      { ...good, partitionIndex: 0 },
      { ...good, partitionIndex: 1, committedMetadata: 'x'.repeat(4_097) },
      { ...good, partitionIndex: -1 },
      { ...good, partitionIndex: 2, committedOffset: OFFSET_MAX + 1 },
      { ...good, partitionIndex: 3, committedMetadata: null },
    ];
    const topics = [
      { name: 't', topicId: ZERO_UUID, partitions },
      { name: 'not allowed', topicId: ZERO_UUID, partitions: [{ ...good, partitionIndex: 0 }] },
    ];
    const answer = await client.request(OFFSET_COMMIT, 9, { groupId: 'g', memberId: '', topics });
    const { OFFSET_METADATA_TOO_LARGE, UNKNOWN_TOPIC_OR_PARTITION, INVALID_REQUEST } = KAFKA_ERRORS;
    expect(answer.topics.map(({ partitions: of }) => of.map(({ errorCode }) => errorCode))).toEqual([
      [0, OFFSET_METADATA_TOO_LARGE, UNKNOWN_TOPIC_OR_PARTITION, INVALID_REQUEST, 0],
      [UNKNOWN_TOPIC_OR_PARTITION],
    ]);
    const { items } = await gateway.broker.fetchOffsets({ group: 'g' });
    expect(items.map(({ partition }) => partition)).toEqual([0, 3]);
  });

  it.each([-1, -2, -(2 ** 40)])(
    'of the offset %i leaves nothing committed, also for a member',
    async (committedOffset) => {
      const broker = memoryBroker({ ...memoryStores(), clock: systemClock }, { initialRebalanceDelayMs: 0 });
      await using gateway = await runGateway({ broker });
      await gateway.broker.putTopic({ name: 't', partitions: 2 });
      const client = await gateway.connect();
      const joining = {
        groupId: 'newer',
        memberId: 'm',
        memberEpoch: 0,
        subscribedTopicNames: ['t'],
        topicPartitions: [],
      };
      let { memberEpoch, assignment } = await client.request(CONSUMER_GROUP_HEARTBEAT, 1, joining);
      while ((assignment?.topicPartitions.length ?? 0) === 0) {
        const beat = { groupId: 'newer', memberId: 'm', memberEpoch };
        ({ memberEpoch, assignment } = await client.request(CONSUMER_GROUP_HEARTBEAT, 1, beat));
      }
      const classic = await joinClassic(client, 'classic');
      for (const [groupId, memberId, generationIdOrMemberEpoch] of [
        ['nobody', '', -1],
        ['newer', 'm', memberEpoch],
        ['classic', classic.memberId, classic.generationId],
      ] as const) {
        for (const offset of [7, committedOffset]) {
          const partitions = [{ partitionIndex: 0, committedOffset: offset, committedMetadata: 'm' }];
          const topics = [{ name: 't', topicId: ZERO_UUID, partitions }];
          const request = { groupId, memberId, generationIdOrMemberEpoch, topics };
          const answer = await client.request(OFFSET_COMMIT, 9, request);
          expect(answer.topics[0]?.partitions[0]).toEqual({ partitionIndex: 0, errorCode: 0 });
        }
        const asked = [{ name: 't', topicId: ZERO_UUID, partitionIndexes: [0] }];
        const { groups } = await client.request(OFFSET_FETCH, 9, {
          groupId: '',
          topics: [],
          groups: [{ groupId, topics: asked }],
        });
        expect(groups[0]?.topics[0]?.partitions[0]).toMatchObject({ committedOffset: -1, metadata: '', errorCode: 0 });
      }
    },
  );

  it('of a member that owns nothing is told whether the group knows it', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    const joining = { groupId: 'g', memberEpoch: 0, subscribedTopicNames: ['t'], topicPartitions: [] };
    for (const memberId of ['m', 'n']) await client.request(CONSUMER_GROUP_HEARTBEAT, 1, { ...joining, memberId });
    const commitAs = async (memberId: string, version = 9) => {
      const partitions = [{ partitionIndex: 0, committedOffset: 1, committedMetadata: '' }];
      const topics = [{ name: 't', topicId: ZERO_UUID, partitions }];
      const request = { groupId: 'g', memberId, generationIdOrMemberEpoch: 1, topics };
      return (await client.request(OFFSET_COMMIT, version, request)).topics[0]?.partitions[0]?.errorCode;
    };
    const known = [await commitAs('m'), await commitAs('n')].sort();
    expect(known).toContain(KAFKA_ERRORS.STALE_MEMBER_EPOCH);
    expect(await commitAs('stranger')).toBe(KAFKA_ERRORS.UNKNOWN_MEMBER_ID);
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
