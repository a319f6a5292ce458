import { describe, expect, it, vi } from 'vitest';
import { KAFKA_ERRORS } from '../../../../../shared/kafka/error-codes.ts';
import { CONSUMER_GROUP_DESCRIBE } from '../../../../../shared/kafka/protocol/messages/groups/consumer-group-describe.ts';
import { DELETE_GROUPS } from '../../../../../shared/kafka/protocol/messages/groups/delete-groups.ts';
import { DESCRIBE_GROUPS } from '../../../../../shared/kafka/protocol/messages/groups/describe-groups.ts';
import { LIST_GROUPS } from '../../../../../shared/kafka/protocol/messages/groups/list-groups.ts';
import { OFFSET_DELETE } from '../../../../../shared/kafka/protocol/messages/groups/offset-delete.ts';
import { OFFSET_FETCH } from '../../../../../shared/kafka/protocol/messages/groups/offset-fetch.ts';
import { CONSUMER_GROUP_HEARTBEAT } from '../../../../../shared/kafka/protocol/messages/members/consumer-group-heartbeat.ts';
import { JOIN_GROUP } from '../../../../../shared/kafka/protocol/messages/members/join-group.ts';
import { SYNC_GROUP } from '../../../../../shared/kafka/protocol/messages/members/sync-group.ts';
import type { KafkaClient } from '../../../../support/kafka-client.ts';
import { kafkaLog, versionsOf } from '../../../../support/kafka-log.ts';

const ASSIGNMENT = Uint8Array.of(1, 2, 3);
const METADATA = Uint8Array.of(4, 5);

/** The id of the only member of a classic group that is stable. */
async function joinClassic(client: KafkaClient, groupId: string): Promise<string> {
  const asked = { groupId, sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 10_000, protocolType: 'consumer' };
  const protocols = [{ name: 'range', metadata: METADATA }];
  const first = await client.request(JOIN_GROUP, 5, { ...asked, memberId: '', protocols });
  const { memberId } = first;
  const joined = await client.request(JOIN_GROUP, 5, { ...asked, memberId, protocols });
  expect(joined.errorCode).toBe(0);
  const assignments = [{ memberId, assignment: ASSIGNMENT }];
  const { generationId } = joined;
  const synced = await client.request(SYNC_GROUP, 3, { groupId, generationId, memberId, assignments });
  expect(synced.errorCode).toBe(0);
  return memberId;
}

/** A static member of a group of KIP-848 that owns all partitions of `t`. */
async function joinNew(client: KafkaClient, groupId: string, memberId: string, instanceId: string): Promise<void> {
  const joining = { groupId, memberId, instanceId, memberEpoch: 0, subscribedTopicNames: ['t'], topicPartitions: [] };
  expect(await client.request(CONSUMER_GROUP_HEARTBEAT, 1, joining)).toMatchObject({ errorCode: 0 });
}

async function withGroups() {
  const { broker, client } = await kafkaLog();
  const { topic } = await broker.putTopic({ name: 't', partitions: 2 });
  await broker.commitOffsets({ group: 'idle', offsets: [{ topic: 't', partition: 1, offset: 5 }] });
  const memberId = await joinClassic(client, 'classic');
  await joinNew(client, 'newer', 'm', 'i');
  return { broker, client, memberId, topicId: topic.topicId };
}

describe('ListGroups', () => {
  it.each(versionsOf(LIST_GROUPS))('lists all groups in version %i', async (version) => {
    const { client } = await withGroups();
    const { errorCode, groups } = await client.request(LIST_GROUPS, version, { statesFilter: [], typesFilter: [] });
    expect([errorCode, groups.map(({ groupId }) => groupId).sort()]).toEqual([0, ['classic', 'idle', 'newer']]);
    const classic = groups.find(({ groupId }) => groupId === 'classic');
    expect(classic).toMatchObject({
      ...{ protocolType: 'consumer', groupState: version >= 4 ? 'Stable' : '' },
      groupType: version >= 5 ? 'Classic' : '',
    });
  });

  it('lists those in some states or of some types, written in any case', async () => {
    const { client } = await withGroups();
    const list = async (statesFilter: readonly string[], typesFilter: readonly string[]) =>
      (await client.request(LIST_GROUPS, 5, { statesFilter, typesFilter })).groups.map(({ groupId }) => groupId).sort();
    expect(await list(['EMPTY'], [])).toEqual(['idle']);
    expect(await list([], ['classic'])).toEqual(['classic']);
    expect(await list([], ['Consumer'])).toEqual(['idle', 'newer']);
    expect(await list(['empty', 'stable'], ['CLASSIC'])).toEqual(['classic']);
    expect(await list(['Dead'], [])).toEqual([]);
  });

  it('reads page after page', async () => {
    const { broker, client } = await withGroups();
    const { items } = await broker.listGroupStates({ limit: 10 });
    const pages = vi.spyOn(broker, 'listGroupStates');
    pages.mockImplementation(async ({ pageToken } = {}) => {
      const place = Number(pageToken ?? 0);
      const isLast = place === items.length - 1;
      return { items: items.slice(place, place + 1), ...(isLast ? {} : { nextPageToken: String(place + 1) }) };
    });
    const { groups } = await client.request(LIST_GROUPS, 5, { statesFilter: [], typesFilter: [] });
    expect(groups).toHaveLength(3);
  });
});

describe('DescribeGroups', () => {
  it.each(versionsOf(DESCRIBE_GROUPS))('describes classic groups in version %i', async (version) => {
    const { client, memberId } = await withGroups();
    const request = { groups: ['classic', 'idle', 'newer', 'none'], includeAuthorizedOperations: false };
    const [classic, idle, ...others] = (await client.request(DESCRIBE_GROUPS, version, request)).groups;
    const empty = { protocolType: '', protocolData: '', members: [] };
    expect(idle).toMatchObject({ errorCode: 0, groupId: 'idle', groupState: 'Empty', ...empty });
    expect(classic).toMatchObject({
      ...{ errorCode: 0, groupId: 'classic', groupState: 'Stable', protocolType: 'consumer', protocolData: 'range' },
      members: [{ memberId, clientId: 'test', memberMetadata: METADATA, memberAssignment: ASSIGNMENT }],
    });
    expect(classic?.members[0]?.clientHost).toMatch(/^\/.*127\.0\.0\.1$/);
    const errorCode = version >= 6 ? KAFKA_ERRORS.GROUP_ID_NOT_FOUND : 0;
    for (const other of others) expect(other).toMatchObject({ errorCode, groupState: 'Dead', members: [] });
  });
});

describe('ConsumerGroupDescribe', () => {
  it.each(versionsOf(CONSUMER_GROUP_DESCRIBE))('describes groups of KIP-848 in version %i', async (version) => {
    const { broker, client, topicId } = await withGroups();
    const request = { groupIds: ['newer', 'classic', 'none'], includeAuthorizedOperations: false };
    const [newer, ...others] = (await client.request(CONSUMER_GROUP_DESCRIBE, version, request)).groups;
    const { members } = await broker.describeGroup('newer');
    expect(newer).toMatchObject({
      ...{ errorCode: 0, groupId: 'newer', members: [{ memberId: 'm', instanceId: 'i', subscribedTopicNames: ['t'] }] },
    });
    const shown = (places: readonly { topic: string; partitions: readonly number[] }[]) =>
      places.map(({ topic, partitions }) => ({ topicId, topicName: topic, partitions }));
    expect(newer?.members[0]?.assignment.topicPartitions).toEqual(shown(members[0]?.assigned ?? []));
    expect(newer?.members[0]?.targetAssignment.topicPartitions).toEqual(shown(members[0]?.wanted ?? []));
    for (const other of others) expect(other.errorCode).toBe(KAFKA_ERRORS.GROUP_ID_NOT_FOUND);
  });

  it('tells what a member owns from what it should own', async () => {
    const { broker, client } = await withGroups();
    const found = await broker.describeGroup('newer');
    const places = (partition: number) => [{ topic: 't', partitions: [partition] }];
    const members = found.members.map((member) => ({ ...member, assigned: places(0), wanted: places(1) }));
    vi.spyOn(broker, 'describeGroup').mockResolvedValue({ ...found, members });
    const request = { groupIds: ['newer'], includeAuthorizedOperations: false };
    const { groups } = await client.request(CONSUMER_GROUP_DESCRIBE, 1, request);
    expect(groups[0]?.members).toMatchObject([
      {
        assignment: { topicPartitions: [{ topicName: 't', partitions: [0] }] },
        targetAssignment: { topicPartitions: [{ topicName: 't', partitions: [1] }] },
      },
    ]);
  });
});

describe('OffsetDelete and DeleteGroups', () => {
  it('forget offsets of groups without members, each partition by itself', async () => {
    const { broker, client } = await withGroups();
    await broker.commitOffsets({ group: 'idle', offsets: [{ topic: 't', partition: 0, offset: 6 }] });
    const remove = (groupId: string) =>
      client.request(OFFSET_DELETE, 0, {
        groupId,
        topics: [
          { name: 'none', partitions: [{ partitionIndex: 0 }] },
          { name: 't', partitions: [{ partitionIndex: 1 }, { partitionIndex: 7 }] },
        ],
      });
    const { UNKNOWN_TOPIC_OR_PARTITION, GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP } = KAFKA_ERRORS;
    const { errorCode, topics } = await remove('idle');
    expect([errorCode, topics.map(({ partitions }) => partitions.map((each) => each.errorCode))]).toEqual([
      ...[0, [[UNKNOWN_TOPIC_OR_PARTITION], [0, UNKNOWN_TOPIC_OR_PARTITION]]],
    ]);
    expect((await broker.fetchOffsets({ group: 'idle' })).items).toMatchObject([{ partition: 0, offset: 6 }]);
    expect(await remove('none')).toMatchObject({ errorCode: GROUP_ID_NOT_FOUND, topics: [] });
    expect(await remove('newer')).toMatchObject({ errorCode: NON_EMPTY_GROUP, topics: [] });
  });

  it.each(versionsOf(DELETE_GROUPS))('delete groups in version %i', async (version) => {
    const { client } = await withGroups();
    const groupsNames = ['classic', 'idle', 'newer', 'idle', 'none'];
    const { results } = await client.request(DELETE_GROUPS, version, { groupsNames });
    const { NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND } = KAFKA_ERRORS;
    expect(results.map(({ groupId, errorCode }) => [groupId, errorCode])).toEqual([
      ...[
        ['classic', NON_EMPTY_GROUP],
        ['idle', 0],
        ['newer', NON_EMPTY_GROUP],
        ['none', GROUP_ID_NOT_FOUND],
      ],
    ]);
  });
});

describe('OffsetFetch of all that a group has', () => {
  it('reads page after page, and leaves out topics that are gone', async () => {
    const { broker, client } = await withGroups();
    await broker.putTopic({ name: 'wide', partitions: 250 });
    await broker.putTopic({ name: 'gone' });
    const offsets = Array.from({ length: 250 }, (_, partition) => ({ topic: 'wide', partition, offset: partition }));
    await broker.commitOffsets({ group: 'idle', offsets });
    await broker.commitOffsets({ group: 'idle', offsets: [{ topic: 'gone', partition: 0, offset: 1 }] });
    await broker.deleteTopic('gone');
    const fetchOffsets = broker.fetchOffsets.bind(broker);
    const pages = vi.spyOn(broker, 'fetchOffsets');
    pages.mockImplementation((request) => fetchOffsets({ ...request, limit: 2 }));
    const groups = [{ groupId: 'idle', topics: null }];
    const answer = await client.request(OFFSET_FETCH, 8, { groupId: '', topics: [], groups });
    const found = answer.groups[0]?.topics ?? [];
    expect(found.map(({ name, partitions }) => [name, partitions.length]).sort()).toEqual([
      ['t', 1],
      ['wide', 250],
    ]);
    for (const { partitionIndex, committedOffset } of found.find(({ name }) => name === 'wide')?.partitions ?? [])
      expect(committedOffset).toBe(partitionIndex);
  });
});
