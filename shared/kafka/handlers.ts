import { saslAuthenticate } from './apis/access/sasl-authenticate.ts';
import { saslHandshake } from './apis/access/sasl-handshake.ts';
import { apiVersions } from './apis/cluster/api-versions.ts';
import { describeClientQuotas } from './apis/cluster/describe-client-quotas.ts';
import { describeCluster } from './apis/cluster/describe-cluster.ts';
import { describeLogDirs } from './apis/cluster/describe-log-dirs.ts';
import { describeTopicPartitions } from './apis/cluster/describe-topic-partitions.ts';
import { listPartitionReassignments } from './apis/cluster/list-partition-reassignments.ts';
import { metadata } from './apis/cluster/metadata.ts';
import { consumerGroupDescribe } from './apis/groups/consumer-group-describe.ts';
import { deleteGroups } from './apis/groups/delete-groups.ts';
import { describeGroups } from './apis/groups/describe-groups.ts';
import { listGroups } from './apis/groups/list-groups.ts';
import { offsetCommit } from './apis/groups/offset-commit.ts';
import { offsetDelete } from './apis/groups/offset-delete.ts';
import { offsetFetch } from './apis/groups/offset-fetch.ts';
import { consumerGroupHeartbeat } from './apis/members/consumer-group-heartbeat.ts';
import { findCoordinator } from './apis/members/find-coordinator.ts';
import { heartbeat } from './apis/members/heartbeat.ts';
import { joinGroup } from './apis/members/join-group.ts';
import { leaveGroup } from './apis/members/leave-group.ts';
import { syncGroup } from './apis/members/sync-group.ts';
import { describeProducers } from './apis/records/describe-producers.ts';
import { fetch } from './apis/records/fetch.ts';
import { initProducerId } from './apis/records/init-producer-id.ts';
import { listOffsets } from './apis/records/list-offsets.ts';
import { offsetForLeaderEpoch } from './apis/records/offset-for-leader-epoch.ts';
import { produce } from './apis/records/produce.ts';
import { alterConfigs } from './apis/topics/alter-configs.ts';
import { createPartitions } from './apis/topics/create-partitions.ts';
import { createTopics } from './apis/topics/create-topics.ts';
import { deleteRecords } from './apis/topics/delete-records.ts';
import { deleteTopics } from './apis/topics/delete-topics.ts';
import { describeConfigs } from './apis/topics/describe-configs.ts';
import { incrementalAlterConfigs } from './apis/topics/incremental-alter-configs.ts';
import { addOffsetsToTxn } from './apis/transactions/add-offsets-to-txn.ts';
import { addPartitionsToTxn } from './apis/transactions/add-partitions-to-txn.ts';
import { describeTransactions } from './apis/transactions/describe-transactions.ts';
import { endTxn } from './apis/transactions/end-txn.ts';
import { listTransactions } from './apis/transactions/list-transactions.ts';
import { txnOffsetCommit } from './apis/transactions/txn-offset-commit.ts';
import type { Handler } from './handler.ts';

const ALL: readonly Handler[] = [
  apiVersions(() => ALL),
  saslHandshake,
  saslAuthenticate,
  metadata,
  produce,
  fetch,
  listOffsets,
  initProducerId,
  offsetForLeaderEpoch,
  findCoordinator,
  joinGroup,
  syncGroup,
  heartbeat,
  leaveGroup,
  listGroups,
  describeGroups,
  consumerGroupHeartbeat,
  consumerGroupDescribe,
  offsetCommit,
  offsetFetch,
  offsetDelete,
  deleteGroups,
  createTopics,
  deleteTopics,
  createPartitions,
  deleteRecords,
  describeConfigs,
  alterConfigs,
  incrementalAlterConfigs,
  describeCluster,
  describeTopicPartitions,
  describeLogDirs,
  listPartitionReassignments,
  describeClientQuotas,
  describeProducers,
  addPartitionsToTxn,
  addOffsetsToTxn,
  txnOffsetCommit,
  endTxn,
  describeTransactions,
  listTransactions,
];

/** API key -> its handler. What is here is what ApiVersions announces. */
export const HANDLERS: ReadonlyMap<number, Handler> = new Map(ALL.map((handler) => [handler.api.key, handler]));
