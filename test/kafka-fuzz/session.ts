import { SASL_AUTHENTICATE } from '../../shared/kafka/protocol/messages/access/sasl-authenticate.ts';
import { SASL_HANDSHAKE } from '../../shared/kafka/protocol/messages/access/sasl-handshake.ts';
import { API_VERSIONS } from '../../shared/kafka/protocol/messages/cluster/api-versions.ts';
import { DESCRIBE_CLUSTER } from '../../shared/kafka/protocol/messages/cluster/describe-cluster.ts';
import { DESCRIBE_LOG_DIRS } from '../../shared/kafka/protocol/messages/cluster/describe-log-dirs.ts';
import { METADATA } from '../../shared/kafka/protocol/messages/cluster/metadata.ts';
import { CONSUMER_GROUP_DESCRIBE } from '../../shared/kafka/protocol/messages/groups/consumer-group-describe.ts';
import { DELETE_GROUPS } from '../../shared/kafka/protocol/messages/groups/delete-groups.ts';
import { DESCRIBE_GROUPS } from '../../shared/kafka/protocol/messages/groups/describe-groups.ts';
import { LIST_GROUPS } from '../../shared/kafka/protocol/messages/groups/list-groups.ts';
import { OFFSET_COMMIT } from '../../shared/kafka/protocol/messages/groups/offset-commit.ts';
import { OFFSET_DELETE } from '../../shared/kafka/protocol/messages/groups/offset-delete.ts';
import { OFFSET_FETCH } from '../../shared/kafka/protocol/messages/groups/offset-fetch.ts';
import { CONSUMER_GROUP_HEARTBEAT } from '../../shared/kafka/protocol/messages/members/consumer-group-heartbeat.ts';
import { FIND_COORDINATOR } from '../../shared/kafka/protocol/messages/members/find-coordinator.ts';
import { HEARTBEAT } from '../../shared/kafka/protocol/messages/members/heartbeat.ts';
import { JOIN_GROUP } from '../../shared/kafka/protocol/messages/members/join-group.ts';
import { LEAVE_GROUP } from '../../shared/kafka/protocol/messages/members/leave-group.ts';
import { SYNC_GROUP } from '../../shared/kafka/protocol/messages/members/sync-group.ts';
import { DESCRIBE_PRODUCERS } from '../../shared/kafka/protocol/messages/records/describe-producers.ts';
import { FETCH } from '../../shared/kafka/protocol/messages/records/fetch.ts';
import { INIT_PRODUCER_ID } from '../../shared/kafka/protocol/messages/records/init-producer-id.ts';
import { LIST_OFFSETS } from '../../shared/kafka/protocol/messages/records/list-offsets.ts';
import { OFFSET_FOR_LEADER_EPOCH } from '../../shared/kafka/protocol/messages/records/offset-for-leader-epoch.ts';
import { PRODUCE } from '../../shared/kafka/protocol/messages/records/produce.ts';
import { ALTER_CONFIGS } from '../../shared/kafka/protocol/messages/topics/alter-configs.ts';
import { CREATE_PARTITIONS } from '../../shared/kafka/protocol/messages/topics/create-partitions.ts';
import { CREATE_TOPICS } from '../../shared/kafka/protocol/messages/topics/create-topics.ts';
import { DELETE_RECORDS } from '../../shared/kafka/protocol/messages/topics/delete-records.ts';
import { DELETE_TOPICS } from '../../shared/kafka/protocol/messages/topics/delete-topics.ts';
import { DESCRIBE_CONFIGS } from '../../shared/kafka/protocol/messages/topics/describe-configs.ts';
import { INCREMENTAL_ALTER_CONFIGS } from '../../shared/kafka/protocol/messages/topics/incremental-alter-configs.ts';
import { requestFrame } from '../support/kafka-client.ts';
import { batchOf, produceRequest } from '../support/produced.ts';

const FETCHED = { partition: 0, fetchOffset: 0, partitionMaxBytes: 10_000 };

/** A fetch of two partitions, which begins a session. */
export function beginSession(topicId: string) {
  return {
    ...{ maxWaitMs: 0, minBytes: 1, maxBytes: 10_000, sessionId: 0, sessionEpoch: 0, forgottenTopicsData: [] },
    topics: [{ topic: 't', topicId, partitions: [FETCHED, { ...FETCHED, partition: 1 }] }],
  };
}

/** What follows in a session: it names what changes, or nothing. */
export function sessionFollowers(topicId: string, sessionId: number, version: number): Uint8Array[] {
  const topic = { topic: 't', topicId };
  const changed = {
    topics: [
      {
        ...topic,
        partitions: [
          { ...FETCHED, fetchOffset: 1 },
          { ...FETCHED, partition: 2 },
        ],
      },
    ],
  };
  const forgotten = { forgottenTopicsData: [{ ...topic, partitions: [0] }] };
  return [changed, {}, forgotten].map((change, i) =>
    requestFrame(FETCH, version, {
      ...{ maxWaitMs: 0, minBytes: 1, maxBytes: 10_000, sessionId, sessionEpoch: 1 + i, topics: [] },
      ...{ forgottenTopicsData: [], ...change },
    }),
  );
}

/** The requests of producers, consumers and administrators in many versions, each as a frame. `topicId` is that of `t`. */
export function sessionFrames(topicId: string): Uint8Array[] {
  const bytes = new TextEncoder().encode('metadata');
  const topic = { topic: 't', name: 't', topicId };
  const batch = batchOf({ values: ['one', 'two'], producerId: 3, sequence: 0 });
  const group = { groupId: 'g', memberId: 'm', groupInstanceId: null };
  const inVersions = (versions: readonly number[], make: (version: number) => Uint8Array): Uint8Array[] =>
    versions.map(make);
  return [
    ...inVersions([0, 3, 4], (v) =>
      requestFrame(API_VERSIONS, v, { clientSoftwareName: 'fuzz', clientSoftwareVersion: '1' }),
    ),
    ...inVersions([1, 9, 12], (v) =>
      requestFrame(METADATA, v, {
        topics: [topic],
        ...{ includeClusterAuthorizedOperations: false, includeTopicAuthorizedOperations: false },
      }),
    ),
    ...inVersions([3, 7, 9, 12], (v) => requestFrame(PRODUCE, v, produceRequest([{ topic: 't', batch }]))),
    requestFrame(PRODUCE, 13, {
      ...{ acks: 1, timeoutMs: 100 },
      topicData: [{ ...topic, partitionData: [{ index: 0, records: [batch] }] }],
    }),
    ...inVersions([4, 11, 12, 17], (v) =>
      requestFrame(FETCH, v, {
        ...{ maxWaitMs: 0, minBytes: 1, maxBytes: 10_000, forgottenTopicsData: [] },
        topics: [{ ...topic, partitions: [FETCHED] }],
      }),
    ),
    ...inVersions([1, 7, 10], (v) =>
      requestFrame(LIST_OFFSETS, v, {
        ...{ replicaId: -1, isolationLevel: 0, timeoutMs: 100 },
        topics: [{ name: 't', partitions: [{ partitionIndex: 0, timestamp: -1 }] }],
      }),
    ),
    ...inVersions([0, 4], (v) =>
      requestFrame(INIT_PRODUCER_ID, v, { transactionalId: null, transactionTimeoutMs: 100 }),
    ),
    ...inVersions([0, 3, 4], (v) => requestFrame(FIND_COORDINATOR, v, { key: 'g', coordinatorKeys: ['g'] })),
    ...inVersions([0, 5, 9], (v) =>
      requestFrame(JOIN_GROUP, v, {
        ...{ ...group, sessionTimeoutMs: 6_000, rebalanceTimeoutMs: 6_000, protocolType: 'consumer' },
        protocols: [{ name: 'range', metadata: bytes }],
      }),
    ),
    ...inVersions([0, 3, 5], (v) =>
      requestFrame(SYNC_GROUP, v, {
        ...{ ...group, generationId: 1, protocolType: 'consumer', protocolName: 'range' },
        assignments: [{ memberId: 'm', assignment: bytes }],
      }),
    ),
    ...inVersions([0, 4], (v) => requestFrame(HEARTBEAT, v, { ...group, generationId: 1 })),
    ...inVersions([0, 3, 5], (v) => requestFrame(LEAVE_GROUP, v, { ...group, members: [{ memberId: 'm' }] })),
    ...inVersions([2, 7, 9, 10], (v) =>
      requestFrame(OFFSET_COMMIT, v, {
        ...group,
        topics: [{ ...topic, partitions: [{ partitionIndex: 0, committedOffset: 1, committedMetadata: 'x' }] }],
      }),
    ),
    ...inVersions([1, 7, 8, 10], (v) =>
      requestFrame(OFFSET_FETCH, v, {
        groupId: 'g',
        topics: [{ ...topic, partitionIndexes: [0] }],
        groups: [{ groupId: 'g', topics: [{ ...topic, partitionIndexes: [0] }] }],
      }),
    ),
    ...inVersions([0, 1], (v) =>
      requestFrame(CONSUMER_GROUP_HEARTBEAT, v, {
        ...{ groupId: 'h', memberId: 'm', memberEpoch: 0, subscribedTopicNames: ['t'] },
        topicPartitions: [{ topicId, partitions: [0] }],
      }),
    ),
    ...inVersions([0, 5], (v) => requestFrame(LIST_GROUPS, v, { statesFilter: ['Stable'], typesFilter: ['Classic'] })),
    ...inVersions([0, 6], (v) =>
      requestFrame(DESCRIBE_GROUPS, v, { groups: ['g'], includeAuthorizedOperations: false }),
    ),
    requestFrame(DELETE_GROUPS, 2, { groupsNames: ['g', 'h'] }),
    ...administration(topicId),
  ];
}

/** What administrators send. Topics are made only by chance, as `validateOnly` and names are changed. */
function administration(topicId: string): Uint8Array[] {
  const topic = { name: 't', topicId };
  const setting = { name: 'retention.ms', value: '1000', configOperation: 0 };
  const resource = { resourceType: 2, resourceName: 't' };
  const made = { ...{ name: 'made', numPartitions: 1, replicationFactor: 1, assignments: [] }, configs: [setting] };
  const assigned = { ...made, numPartitions: -1, replicationFactor: -1 };
  return [
    ...[2, 5, 7].flatMap((v) => [
      requestFrame(CREATE_TOPICS, v, { topics: [made], validateOnly: true }),
      requestFrame(CREATE_TOPICS, v, {
        topics: [{ ...assigned, assignments: [{ partitionIndex: 0, brokerIds: [1] }] }],
        validateOnly: true,
      }),
    ]),
    ...[1, 6].map((v) =>
      requestFrame(DELETE_TOPICS, v, { topics: [{ ...topic, name: 'made' }], topicNames: ['made'], timeoutMs: 100 }),
    ),
    ...[0, 3].map((v) =>
      requestFrame(CREATE_PARTITIONS, v, {
        topics: [{ name: 't', count: 3, assignments: [{ brokerIds: [1] }] }],
        ...{ timeoutMs: 100, validateOnly: true },
      }),
    ),
    ...[0, 2].map((v) =>
      requestFrame(DELETE_RECORDS, v, {
        topics: [{ name: 't', partitions: [{ partitionIndex: 0, offset: 0 }] }],
        timeoutMs: 100,
      }),
    ),
    ...[1, 4].map((v) =>
      requestFrame(DESCRIBE_CONFIGS, v, {
        resources: [resource, { resourceType: 4, resourceName: '1' }].map((each) => ({
          ...{ ...each, configurationKeys: null },
        })),
      }),
    ),
    ...[0, 2].map((v) =>
      requestFrame(ALTER_CONFIGS, v, { resources: [{ ...resource, configs: [setting] }], validateOnly: true }),
    ),
    ...[0, 1].map((v) =>
      requestFrame(INCREMENTAL_ALTER_CONFIGS, v, {
        resources: [
          { ...resource, configs: [setting, { name: 'cleanup.policy', configOperation: 2, value: 'compact' }] },
        ],
        validateOnly: true,
      }),
    ),
    requestFrame(OFFSET_DELETE, 0, { groupId: 'g', topics: [{ name: 't', partitions: [{ partitionIndex: 0 }] }] }),
    requestFrame(OFFSET_FOR_LEADER_EPOCH, 4, {
      topics: [{ topic: 't', partitions: [{ partition: 0, currentLeaderEpoch: 0, leaderEpoch: 0 }] }],
    }),
    requestFrame(DESCRIBE_PRODUCERS, 0, { topics: [{ name: 't', partitionIndexes: [0] }] }),
    requestFrame(DESCRIBE_CLUSTER, 2, { includeClusterAuthorizedOperations: false, includeFencedBrokers: false }),
    requestFrame(DESCRIBE_LOG_DIRS, 4, { topics: [{ topic: 't', partitions: [0] }] }),
    requestFrame(CONSUMER_GROUP_DESCRIBE, 1, { groupIds: ['g', 'h'], includeAuthorizedOperations: false }),
    requestFrame(SASL_HANDSHAKE, 1, { mechanism: 'PLAIN' }),
    requestFrame(SASL_AUTHENTICATE, 2, { authBytes: new TextEncoder().encode('\0user\0password') }),
  ];
}
