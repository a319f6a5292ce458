import { KAFKA_ERRORS } from '../../../../shared/kafka/error-codes.ts';
import { ZERO_UUID } from '../../../../shared/kafka/protocol/types.ts';
import { encodeBatch } from '../../../../shared/log/batch/record-batch.ts';
import { sealBatch, writeBatch } from '../../../../shared/log/batch/write-batch.ts';

/** Requests of every API that needs a right, for `rights.test.ts`. */

const { TOPIC_AUTHORIZATION_FAILED, GROUP_AUTHORIZATION_FAILED, CLUSTER_AUTHORIZATION_FAILED, NONE } = KAFKA_ERRORS;
const { TRANSACTIONAL_ID_AUTHORIZATION_FAILED, INVALID_PRODUCER_ID_MAPPING } = KAFKA_ERRORS;
const { MEMBER_ID_REQUIRED, UNKNOWN_MEMBER_ID, TOPIC_ALREADY_EXISTS } = KAFKA_ERRORS;
/** Stands for what is left out of an answer instead of refused. */
const HIDDEN = -99;
/** What requests name: the caller has a right on the first in any case, and on the second as the case may be. */
export const ALLOWED = 'allowed';
export const ASKED = 'asked';

export interface Case {
  /** Absent: the name of the case is that of the API. */
  readonly api?: string;
  /** The request, in this version; it names `ALLOWED` and then `ASKED`, where it takes several. */
  readonly version: number;
  request(ids: Ids): Readonly<Record<string, unknown>>;
  /** The number for what is asked, of an answer. */
  errorOf(answer: never): number | undefined;
  /** The number for what is allowed in any case. */
  otherErrorOf?(answer: never): number | undefined;
  /** What is answered without each need, in the order of the declaration; `undefined`: this request has it not. */
  readonly refusals: readonly (number | undefined)[];
  /** What is answered with the rights, if not 0. */
  readonly granted?: number;
}

export interface Ids {
  readonly allowed: string;
  readonly asked: string;
}

export const batch = sealBatch(writeBatch([{ key: null, value: new Uint8Array(1), headers: [], timestampMs: 1 }]));

const transactionalBatch = encodeBatch([{ key: null, value: new Uint8Array(1), headers: [], timestampMs: 1 }], {
  producer: { producerId: 1_000_000, producerEpoch: 0, baseSequence: 0 },
  transactional: true,
});

const partitionsOf = (...names: string[]) => names.map((name) => ({ name, partitions: [{ partitionIndex: 0 }] }));

interface Listed {
  readonly topics: readonly { readonly partitions: readonly { readonly errorCode: number }[] }[];
}
const firstOf = ({ topics }: Listed): number | undefined => topics[0]?.partitions[0]?.errorCode;
const secondOf = ({ topics }: Listed): number | undefined => topics[1]?.partitions[0]?.errorCode;
interface Fetched {
  readonly responses: readonly { readonly partitions: readonly { readonly errorCode: number }[] }[];
}
interface Produced {
  readonly responses: readonly { readonly partitionResponses: readonly { readonly errorCode: number }[] }[];
}
interface Named {
  readonly name: string;
  readonly errorCode: number;
}
const isAsked = ({ name }: Named): boolean => name === ASKED;
const codeOf = ({ errorCode }: { errorCode: number }): number => errorCode;
/** It is not that of the transactional id, which is found out after the rights. */
const PRODUCER = { transactionalId: ASKED, producerId: 1_000_000, producerEpoch: 0 };
interface AddedPartitions {
  readonly resultsByTopicV3AndBelow: readonly {
    readonly resultsByPartition: readonly { readonly partitionErrorCode: number }[];
  }[];
}
const TOPIC_RESOURCE = 2;
const topicResources = (more: object) =>
  [ALLOWED, ASKED].map((resourceName) => ({ resourceType: TOPIC_RESOURCE, resourceName, ...more }));

/** By the name of the API, or of what is asked by it. */
export const CASES: Readonly<Record<string, Case>> = {
  Metadata: {
    version: 12,
    request: () => ({ topics: [ALLOWED, ASKED].map((name) => ({ name, topicId: ZERO_UUID })) }),
    errorOf: ({ topics }: { topics: { errorCode: number }[] }) => topics[1]?.errorCode,
    otherErrorOf: ({ topics }: { topics: { errorCode: number }[] }) => topics[0]?.errorCode,
    refusals: [TOPIC_AUTHORIZATION_FAILED],
  },
  Produce: {
    version: 9,
    request: () => ({
      transactionalId: null,
      acks: -1,
      timeoutMs: 1_000,
      topicData: [ALLOWED, ASKED].map((name) => ({ name, partitionData: [{ index: 0, records: [batch] }] })),
    }),
    errorOf: ({ responses }: Produced) => responses[1]?.partitionResponses[0]?.errorCode,
    otherErrorOf: ({ responses }: Produced) => responses[0]?.partitionResponses[0]?.errorCode,
    refusals: [TOPIC_AUTHORIZATION_FAILED, undefined],
  },
  'Produce in a transaction': {
    api: 'Produce',
    version: 12,
    request: () => ({
      transactionalId: ASKED,
      acks: -1,
      timeoutMs: 1_000,
      topicData: [{ name: ASKED, partitionData: [{ index: 0, records: [transactionalBatch] }] }],
    }),
    errorOf: ({ responses }: Produced) => responses[0]?.partitionResponses[0]?.errorCode,
    refusals: [TOPIC_AUTHORIZATION_FAILED, TRANSACTIONAL_ID_AUTHORIZATION_FAILED],
    granted: INVALID_PRODUCER_ID_MAPPING,
  },
  Fetch: {
    version: 13,
    request: ({ allowed, asked }) => ({
      maxBytes: 1_000,
      topics: [allowed, asked].map((topicId) => ({
        topicId,
        partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 100 }],
      })),
    }),
    errorOf: ({ responses }: Fetched) => responses[1]?.partitions[0]?.errorCode,
    otherErrorOf: ({ responses }: Fetched) => responses[0]?.partitions[0]?.errorCode,
    refusals: [TOPIC_AUTHORIZATION_FAILED],
  },
  ListOffsets: {
    version: 5,
    request: () => ({
      topics: [ALLOWED, ASKED].map((name) => ({ name, partitions: [{ partitionIndex: 0, timestamp: -1 }] })),
    }),
    errorOf: secondOf,
    otherErrorOf: firstOf,
    refusals: [TOPIC_AUTHORIZATION_FAILED],
  },
  OffsetForLeaderEpoch: {
    version: 4,
    request: () => ({
      topics: [ALLOWED, ASKED].map((topic) => ({
        topic,
        partitions: [{ partition: 0, currentLeaderEpoch: 0, leaderEpoch: 0 }],
      })),
    }),
    errorOf: secondOf,
    otherErrorOf: firstOf,
    refusals: [TOPIC_AUTHORIZATION_FAILED],
  },
  InitProducerId: {
    version: 4,
    request: () => ({ transactionalId: null }),
    errorOf: ({ errorCode }: { errorCode: number }) => errorCode,
    refusals: [CLUSTER_AUTHORIZATION_FAILED, undefined],
  },
  'InitProducerId of a transactional id': {
    api: 'InitProducerId',
    version: 4,
    request: () => ({ transactionalId: ASKED, transactionTimeoutMs: 1_000, producerId: -1, producerEpoch: -1 }),
    errorOf: codeOf,
    refusals: [undefined, TRANSACTIONAL_ID_AUTHORIZATION_FAILED],
  },
  AddPartitionsToTxn: {
    version: 3,
    request: () => ({
      v3AndBelowTransactionalId: PRODUCER.transactionalId,
      v3AndBelowProducerId: PRODUCER.producerId,
      v3AndBelowProducerEpoch: PRODUCER.producerEpoch,
      v3AndBelowTopics: [{ name: ASKED, partitions: [0] }],
    }),
    errorOf: ({ resultsByTopicV3AndBelow: [first] }: AddedPartitions) =>
      first?.resultsByPartition[0]?.partitionErrorCode,
    refusals: [TOPIC_AUTHORIZATION_FAILED, TRANSACTIONAL_ID_AUTHORIZATION_FAILED],
    granted: INVALID_PRODUCER_ID_MAPPING,
  },
  AddOffsetsToTxn: {
    version: 3,
    request: () => ({ ...PRODUCER, groupId: ASKED }),
    errorOf: codeOf,
    refusals: [TRANSACTIONAL_ID_AUTHORIZATION_FAILED, GROUP_AUTHORIZATION_FAILED],
    granted: INVALID_PRODUCER_ID_MAPPING,
  },
  TxnOffsetCommit: {
    version: 3,
    request: () => ({
      ...PRODUCER,
      groupId: ASKED,
      topics: [
        {
          name: ASKED,
          partitions: [{ partitionIndex: 0, committedOffset: 1, committedLeaderEpoch: -1, committedMetadata: null }],
        },
      ],
    }),
    errorOf: firstOf,
    refusals: [TRANSACTIONAL_ID_AUTHORIZATION_FAILED, GROUP_AUTHORIZATION_FAILED, TOPIC_AUTHORIZATION_FAILED],
    granted: INVALID_PRODUCER_ID_MAPPING,
  },
  EndTxn: {
    version: 3,
    request: () => ({ ...PRODUCER, committed: true }),
    errorOf: codeOf,
    refusals: [TRANSACTIONAL_ID_AUTHORIZATION_FAILED],
    granted: INVALID_PRODUCER_ID_MAPPING,
  },
  DescribeTransactions: {
    version: 0,
    request: () => ({ transactionalIds: [ALLOWED, ASKED] }),
    errorOf: ({ transactionStates }: { transactionStates: { errorCode: number }[] }) => transactionStates[1]?.errorCode,
    otherErrorOf: ({ transactionStates }: { transactionStates: { errorCode: number }[] }) =>
      transactionStates[0]?.errorCode,
    refusals: [TRANSACTIONAL_ID_AUTHORIZATION_FAILED],
  },
  ListTransactions: {
    version: 1,
    request: () => ({ stateFilters: [], producerIdFilters: [] }),
    errorOf: ({ transactionStates }: { transactionStates: { transactionalId: string }[] }) =>
      transactionStates.some(({ transactionalId }) => transactionalId === ASKED) ? NONE : HIDDEN,
    refusals: [HIDDEN],
  },
  FindCoordinator: {
    version: 4,
    request: () => ({ keyType: 0, coordinatorKeys: [ALLOWED, ASKED] }),
    errorOf: ({ coordinators }: { coordinators: { errorCode: number }[] }) => coordinators[1]?.errorCode,
    otherErrorOf: ({ coordinators }: { coordinators: { errorCode: number }[] }) => coordinators[0]?.errorCode,
    refusals: [GROUP_AUTHORIZATION_FAILED, undefined],
  },
  'FindCoordinator of a transactional id': {
    api: 'FindCoordinator',
    version: 4,
    request: () => ({ keyType: 1, coordinatorKeys: [ALLOWED, ASKED] }),
    errorOf: ({ coordinators }: { coordinators: { errorCode: number }[] }) => coordinators[1]?.errorCode,
    otherErrorOf: ({ coordinators }: { coordinators: { errorCode: number }[] }) => coordinators[0]?.errorCode,
    refusals: [undefined, TRANSACTIONAL_ID_AUTHORIZATION_FAILED],
  },
  ConsumerGroupHeartbeat: {
    version: 1,
    request: () => ({
      groupId: ASKED,
      memberId: 'm',
      memberEpoch: 0,
      instanceId: null,
      rackId: null,
      rebalanceTimeoutMs: 60_000,
      subscribedTopicNames: [ALLOWED, ASKED],
      subscribedTopicRegex: null,
      serverAssignor: null,
      topicPartitions: [],
    }),
    errorOf: ({ errorCode }: { errorCode: number }) => errorCode,
    refusals: [GROUP_AUTHORIZATION_FAILED, TOPIC_AUTHORIZATION_FAILED],
  },
  ConsumerGroupDescribe: {
    version: 0,
    request: () => ({ groupIds: [ALLOWED, ASKED] }),
    errorOf: ({ groups }: { groups: { errorCode: number }[] }) => groups[1]?.errorCode,
    otherErrorOf: ({ groups }: { groups: { errorCode: number }[] }) => groups[0]?.errorCode,
    refusals: [GROUP_AUTHORIZATION_FAILED],
  },
  OffsetCommit: {
    version: 9,
    request: () => ({
      groupId: ASKED,
      generationIdOrMemberEpoch: -1,
      topics: partitionsOf(ALLOWED, ASKED).map(({ name, partitions }) => ({
        name,
        partitions: partitions.map((each) => ({
          ...each,
          committedOffset: 0,
          committedLeaderEpoch: -1,
          committedMetadata: '',
        })),
      })),
    }),
    errorOf: secondOf,
    refusals: [GROUP_AUTHORIZATION_FAILED, TOPIC_AUTHORIZATION_FAILED],
  },
  OffsetFetch: {
    version: 8,
    request: () => ({
      groups: [ALLOWED, ASKED].map((groupId) => ({ groupId, memberId: null, memberEpoch: -1, topics: null })),
    }),
    errorOf: ({ groups }: { groups: { errorCode: number }[] }) => groups[1]?.errorCode,
    otherErrorOf: ({ groups }: { groups: { errorCode: number }[] }) => groups[0]?.errorCode,
    refusals: [GROUP_AUTHORIZATION_FAILED],
  },
  OffsetDelete: {
    version: 0,
    request: () => ({ groupId: ASKED, topics: partitionsOf(ALLOWED, ASKED) }),
    errorOf: (answer: Listed & { errorCode: number }) => answer.errorCode || secondOf(answer),
    refusals: [GROUP_AUTHORIZATION_FAILED, TOPIC_AUTHORIZATION_FAILED],
  },
  DeleteGroups: {
    version: 2,
    request: () => ({ groupsNames: [ALLOWED, ASKED] }),
    errorOf: ({ results }: { results: { errorCode: number }[] }) => results[1]?.errorCode,
    otherErrorOf: ({ results }: { results: { errorCode: number }[] }) => results[0]?.errorCode,
    refusals: [GROUP_AUTHORIZATION_FAILED],
  },
  JoinGroup: {
    version: 4,
    request: () => ({
      ...{ groupId: ASKED, sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 10_000, protocolType: 'consumer' },
      protocols: [{ name: 'range', metadata: new Uint8Array(0) }],
    }),
    errorOf: codeOf,
    refusals: [GROUP_AUTHORIZATION_FAILED],
    granted: MEMBER_ID_REQUIRED,
  },
  SyncGroup: {
    version: 3,
    request: () => ({ groupId: ASKED, memberId: 'm', generationId: 1, assignments: [] }),
    errorOf: codeOf,
    refusals: [GROUP_AUTHORIZATION_FAILED],
    granted: UNKNOWN_MEMBER_ID,
  },
  Heartbeat: {
    version: 3,
    request: () => ({ groupId: ASKED, memberId: 'm', generationId: 1 }),
    errorOf: codeOf,
    refusals: [GROUP_AUTHORIZATION_FAILED],
    granted: UNKNOWN_MEMBER_ID,
  },
  LeaveGroup: {
    version: 3,
    request: () => ({ groupId: ASKED, members: [{ memberId: 'm', groupInstanceId: null }] }),
    errorOf: codeOf,
    refusals: [GROUP_AUTHORIZATION_FAILED],
  },
  ListGroups: {
    version: 4,
    request: () => ({ statesFilter: [] }),
    errorOf: ({ groups }: { groups: { groupId: string }[] }) =>
      groups.some(({ groupId }) => groupId === ASKED) ? NONE : HIDDEN,
    refusals: [HIDDEN],
  },
  DescribeGroups: {
    version: 5,
    request: () => ({ groups: [ALLOWED, ASKED] }),
    errorOf: ({ groups }: { groups: { errorCode: number }[] }) => groups[1]?.errorCode,
    otherErrorOf: ({ groups }: { groups: { errorCode: number }[] }) => groups[0]?.errorCode,
    refusals: [GROUP_AUTHORIZATION_FAILED],
  },
  CreateTopics: {
    version: 5,
    request: () => ({
      topics: [ALLOWED, ASKED].map((name) => ({
        name,
        numPartitions: 1,
        replicationFactor: 1,
        assignments: [],
        configs: [],
      })),
    }),
    errorOf: ({ topics }: { topics: Named[] }) => topics.find(isAsked)?.errorCode,
    refusals: [TOPIC_AUTHORIZATION_FAILED],
    granted: TOPIC_ALREADY_EXISTS,
  },
  DeleteTopics: {
    version: 5,
    request: () => ({ topicNames: [ALLOWED, ASKED] }),
    errorOf: ({ responses }: { responses: Named[] }) => responses.find(isAsked)?.errorCode,
    otherErrorOf: ({ responses }: { responses: Named[] }) => responses.find((one) => !isAsked(one))?.errorCode,
    refusals: [TOPIC_AUTHORIZATION_FAILED],
  },
  CreatePartitions: {
    version: 1,
    request: () => ({ topics: [ALLOWED, ASKED].map((name) => ({ name, count: 2, assignments: null })) }),
    errorOf: ({ results }: { results: Named[] }) => results.find(isAsked)?.errorCode,
    otherErrorOf: ({ results }: { results: Named[] }) => results.find((one) => !isAsked(one))?.errorCode,
    refusals: [TOPIC_AUTHORIZATION_FAILED],
  },
  DeleteRecords: {
    version: 1,
    request: () => ({
      topics: [ALLOWED, ASKED].map((name) => ({ name, partitions: [{ partitionIndex: 0, offset: 0 }] })),
    }),
    errorOf: secondOf,
    otherErrorOf: firstOf,
    refusals: [TOPIC_AUTHORIZATION_FAILED],
  },
  DescribeConfigs: {
    version: 3,
    request: () => ({ resources: topicResources({ configurationKeys: null }) }),
    errorOf: ({ results }: { results: { errorCode: number }[] }) => results[1]?.errorCode,
    otherErrorOf: ({ results }: { results: { errorCode: number }[] }) => results[0]?.errorCode,
    refusals: [TOPIC_AUTHORIZATION_FAILED],
  },
  AlterConfigs: {
    version: 1,
    request: () => ({ resources: topicResources({ configs: [] }) }),
    errorOf: ({ responses }: { responses: { errorCode: number }[] }) => responses[1]?.errorCode,
    otherErrorOf: ({ responses }: { responses: { errorCode: number }[] }) => responses[0]?.errorCode,
    refusals: [TOPIC_AUTHORIZATION_FAILED],
  },
  IncrementalAlterConfigs: {
    version: 1,
    request: () => ({ resources: topicResources({ configs: [] }) }),
    errorOf: ({ responses }: { responses: { errorCode: number }[] }) => responses[1]?.errorCode,
    otherErrorOf: ({ responses }: { responses: { errorCode: number }[] }) => responses[0]?.errorCode,
    refusals: [TOPIC_AUTHORIZATION_FAILED],
  },
  DescribeTopicPartitions: {
    version: 0,
    request: () => ({ topics: [ALLOWED, ASKED].map((name) => ({ name })), responsePartitionLimit: 10 }),
    errorOf: ({ topics }: { topics: Named[] }) => topics.find(isAsked)?.errorCode,
    otherErrorOf: ({ topics }: { topics: Named[] }) => topics.find((one) => !isAsked(one))?.errorCode,
    refusals: [TOPIC_AUTHORIZATION_FAILED],
  },
  DescribeLogDirs: {
    version: 4,
    request: () => ({ topics: null }),
    errorOf: ({ results }: { results: { topics: { name: string }[] }[] }) =>
      results[0]?.topics.some(({ name }) => name === ASKED) ? NONE : HIDDEN,
    refusals: [HIDDEN],
  },
  DescribeProducers: {
    version: 0,
    request: () => ({ topics: [ALLOWED, ASKED].map((name) => ({ name, partitionIndexes: [0] })) }),
    errorOf: secondOf,
    otherErrorOf: firstOf,
    refusals: [TOPIC_AUTHORIZATION_FAILED],
  },
};
