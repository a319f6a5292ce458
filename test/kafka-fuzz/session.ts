import { API_VERSIONS } from '../../shared/kafka/protocol/messages/cluster/api-versions.ts';
import { METADATA } from '../../shared/kafka/protocol/messages/cluster/metadata.ts';
import { DELETE_GROUPS } from '../../shared/kafka/protocol/messages/groups/delete-groups.ts';
import { DESCRIBE_GROUPS } from '../../shared/kafka/protocol/messages/groups/describe-groups.ts';
import { LIST_GROUPS } from '../../shared/kafka/protocol/messages/groups/list-groups.ts';
import { OFFSET_COMMIT } from '../../shared/kafka/protocol/messages/groups/offset-commit.ts';
import { OFFSET_FETCH } from '../../shared/kafka/protocol/messages/groups/offset-fetch.ts';
import { CONSUMER_GROUP_HEARTBEAT } from '../../shared/kafka/protocol/messages/members/consumer-group-heartbeat.ts';
import { FIND_COORDINATOR } from '../../shared/kafka/protocol/messages/members/find-coordinator.ts';
import { HEARTBEAT } from '../../shared/kafka/protocol/messages/members/heartbeat.ts';
import { JOIN_GROUP } from '../../shared/kafka/protocol/messages/members/join-group.ts';
import { LEAVE_GROUP } from '../../shared/kafka/protocol/messages/members/leave-group.ts';
import { SYNC_GROUP } from '../../shared/kafka/protocol/messages/members/sync-group.ts';
import { FETCH } from '../../shared/kafka/protocol/messages/records/fetch.ts';
import { INIT_PRODUCER_ID } from '../../shared/kafka/protocol/messages/records/init-producer-id.ts';
import { LIST_OFFSETS } from '../../shared/kafka/protocol/messages/records/list-offsets.ts';
import { PRODUCE } from '../../shared/kafka/protocol/messages/records/produce.ts';
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
  ];
}
