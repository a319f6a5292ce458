import * as apiKeys from './access/api-keys.ts';
import { allocateProducerId } from './append/allocate-producer-id.ts';
import { appendBatches } from './append/append-batches.ts';
import { appendRecords, StickyPartitions } from './append/append-records.ts';
import { GroupCommit } from './append/group-commit.ts';
import { markHead } from './append/mark-head.ts';
import type { AppendOutcome, AppendRecordsRequest, AppendRequest, RecordOutcome } from './append/outcomes.ts';
import type { BrokerContext } from './context.ts';
import * as gateways from './gateways/announcements.ts';
import { clusterId, saltSecret } from './gateways/cluster-id.ts';
import { type CommitClassicRequest, commitClassicOffsets } from './groups/classic/commit-classic-offsets.ts';
import { type ClassicGroupDescription, describeClassicGroup } from './groups/classic/describe-classic-group.ts';
import { heartbeatClassicGroup } from './groups/classic/heartbeat-classic-group.ts';
import { type JoinClassicRequest, joinClassicGroup } from './groups/classic/join-classic-group.ts';
import { type LeaveClassicRequest, leaveClassicGroup } from './groups/classic/leave-classic-group.ts';
import { type ListedGroupState, listGroupStates } from './groups/classic/list-group-states.ts';
import { syncClassicGroup } from './groups/classic/sync-classic-group.ts';
import type { InGeneration, SyncClassicRequest, SyncClassicResult } from './groups/classic/sync-request.ts';
import { type NamedMember, usesClassicProtocol } from './groups/classic/uses-classic-protocol.ts';
import { deleteGroup } from './groups/delete-group.ts';
import { describeGroup, type GroupDescription } from './groups/describe-group.ts';
import { type ExtendLeaseRequest, extendLease } from './groups/extend-lease.ts';
import { type ListedGroup, type ListGroupsRequest, listGroups } from './groups/list-groups.ts';
import { type HeartbeatResult, heartbeat } from './groups/membership/heartbeat.ts';
import type { HeartbeatRequest } from './groups/membership/heartbeat-request.ts';
import { type LeaveRequest, leaveGroup } from './groups/membership/leave-group.ts';
import { type CommitOffsetsRequest, type CommitOutcome, commitOffsets } from './groups/offsets/commit-offsets.ts';
import { type DeleteOffsetsRequest, deleteOffsets } from './groups/offsets/delete-offsets.ts';
import { type FetchOffsetsRequest, fetchOffsets, type PartitionOffset } from './groups/offsets/fetch-offsets.ts';
import { type GroupLag, type GroupLagRequest, groupLag } from './groups/offsets/lag.ts';
import { type MeasuredLags, type MeasureLagRequest, measureLag } from './groups/offsets/measure-lag.ts';
import { type ResetOffsetsRequest, type ResetPartition, resetOffsets } from './groups/offsets/reset-offsets.ts';
import type { SettlePending } from './groups/offsets/settle-page.ts';
import { settlePage } from './groups/offsets/settle-page.ts';
import { type PollResult, pollGroup } from './groups/poll.ts';
import { type PollRecordsResult, pollRecords } from './groups/poll-records.ts';
import type { PollRequest } from './groups/poll-request.ts';
import { type SweptGroups, sweepGroups } from './groups/sweep-groups.ts';
import { type CompactionReport, compactHead } from './jobs/compact/compact-head.ts';
import { type ExpiredHead, expireHead } from './jobs/expire/expire-head.ts';
import type { HeadJobOptions } from './jobs/head-job.ts';
import type { JobRequest } from './jobs/job-run.ts';
import { mergeBusy } from './jobs/merge/merge-busy.ts';
import { type MergeResult, mergeHead } from './jobs/merge/merge-head.ts';
import { type ResumedDeletions, resumeDeletions } from './jobs/resume-deletions.ts';
import { type DueRun, runDue, runOnHead } from './jobs/run-due.ts';
import { type SweptTopics, sweepDeletedTopics } from './jobs/sweep/deleted-topics.ts';
import { type SweptHotOrphans, sweepHotOrphans } from './jobs/sweep/hot-orphans.ts';
import { runSweep, type SweepRun } from './jobs/sweep/run-sweep.ts';
import { type SweptHead, sweepHead } from './jobs/sweep/sweep-head.ts';
import { type BrokerComponents, makeContext } from './make-context.ts';
import type { Page, PageRequest } from './page.ts';
import { type FetchedPartition, type FetchPartitionsRequest, fetchPartitions } from './read/fetch-partitions.ts';
import { type Follower, type FollowRequest, follow } from './read/follow.ts';
import { listSegments, type SegmentDescription } from './read/list-segments.ts';
import { type FetchPlan, type FetchPlanRequest, planFetch } from './read/plan-fetch.ts';
import { type OffsetForTime, offsetForTime, type ReadRequest, type ReadResult, read } from './read/read.ts';
import { type ReadRecordsRequest, type RecordsRead, readRecords } from './read/read-records.ts';
import type { FoundTime } from './read/times/find-time.ts';
import { newestTime } from './read/times/newest-time.ts';
import { type PartitionEnds, partitionEnds } from './read/view-partitions.ts';
import { type DeletedRecords, type DeleteRecordsRequest, deleteRecords } from './topics/delete-records.ts';
import { deleteTopic } from './topics/delete-topic.ts';
import {
  describePartitions,
  describeTopic,
  type PartitionDescription,
  type TopicDescription,
} from './topics/describe.ts';
import { describeProducers, type ProducerDescription } from './topics/describe-producers.ts';
import { knownTopic, type Topic, topicById } from './topics/known-topic.ts';
import { type ListTopicsRequest, listTopics } from './topics/list-topics.ts';
import { type PutTopicRequest, putTopic } from './topics/put-topic.ts';
import {
  type EnlistedHeads,
  type EnlistedTopic,
  enlistedPartitions,
} from './transactions/admin/enlisted-partitions.ts';
import { fenceProducer } from './transactions/admin/fence-producer.ts';
import {
  type DescribedTransaction,
  describeTransaction,
  type ListTransactionsRequest,
  listTransactions,
} from './transactions/admin/list.ts';
import { type TransactionTraffic, transactionTraffic } from './transactions/admin/transaction-traffic.ts';
import { type AppendInTransactionRequest, appendInTransaction } from './transactions/append/append-in-transaction.ts';
import {
  type AppendedRecord,
  type AppendRecordsInTransactionRequest,
  appendRecordsInTransaction,
} from './transactions/append/append-records.ts';
import type { Completing } from './transactions/complete.ts';
import { type EndRequest, endTransaction } from './transactions/end.ts';
import { type Enlisted, type EnlistRequest, enlist } from './transactions/enlist.ts';
import { type InitialiseRequest, initialiseProducer } from './transactions/initialise.ts';
import { type CommitInTransactionRequest, commitOffsetsInTransaction } from './transactions/offsets/commit-offsets.ts';
import { type CommitPollInTransactionRequest, commitPollInTransaction } from './transactions/offsets/commit-poll.ts';
import { settlePending } from './transactions/offsets/settle-pending.ts';
import { endOverdue } from './transactions/overdue.ts';
import { type SweptTransactions, sweepTransactions } from './transactions/sweep-transactions.ts';
import type { TransactionRequest } from './transactions/whole/request.ts';
import { WholeTransactions } from './transactions/whole/whole-transactions.ts';
import type { TrafficRow } from './usage/traffic.ts';
import type { UsageRow } from './usage/usage-meter.ts';
import type { VerificationPage } from './verify/report.ts';
import { type VerifyRequest, verifyTopic } from './verify/verify-topic.ts';

export type { BrokerComponents };

/**
 * The log: every operation of Tailrace over an object store and an item store. A broker holds only caches, so any number of
 * brokers, in any processes, can use the same stores at the same time. The contract of each method is in the docstring of
 * the function of the same name.
 */
export class Broker {
  readonly #context: BrokerContext;
  readonly #groupCommit: GroupCommit;
  readonly #sticky = new StickyPartitions();
  readonly #wholeTransactions: WholeTransactions;
  readonly #completing: Completing;
  readonly #settlePending: SettlePending = (page, pending) =>
    settlePending(this.#context, this.#completing, page, pending);

  constructor(components: BrokerComponents) {
    this.#context = makeContext(components);
    this.#groupCommit = new GroupCommit(this.#context);
    this.#completing = {
      mark: (head, marker) => markHead(this.#context, this.#groupCommit, head, marker),
      settle: (page, settlement) => settlePage(this.#context, page, settlement),
    };
    this.#wholeTransactions = new WholeTransactions(this.#context, this.#groupCommit, this.#completing, this.#sticky);
    this.#context.heldUp.resolveWith((producerId) => endOverdue(this.#context, this.#completing, producerId));
  }

  putTopic(request: PutTopicRequest): ReturnType<typeof putTopic> {
    return putTopic(this.#context, request);
  }

  listTopics(request?: ListTopicsRequest): Promise<Page<TopicDescription>> {
    return listTopics(this.#context, request);
  }

  knownTopic(name: string): Promise<Topic> {
    return knownTopic(this.#context, name);
  }

  topicById(topicId: string, isCertain?: boolean): Promise<Topic | undefined> {
    return topicById(this.#context, topicId, isCertain);
  }

  describeTopic(name: string): Promise<TopicDescription> {
    return describeTopic(this.#context, name);
  }

  describePartitions(name: string): Promise<PartitionDescription[]> {
    return describePartitions(this.#context, name);
  }

  describeProducers(topic: string, partition: number): Promise<ProducerDescription[]> {
    return describeProducers(this.#context, topic, partition);
  }

  deleteTopic(name: string, topicId?: string): Promise<void> {
    return deleteTopic(this.#context, name, topicId);
  }

  deleteRecords(request: DeleteRecordsRequest): Promise<DeletedRecords> {
    return deleteRecords(this.#context, request);
  }

  resumeDeletions(request?: JobRequest): Promise<ResumedDeletions> {
    return resumeDeletions(this.#context, request);
  }

  /** Merges every head that is due. See `runDue` and `mergeHead`. */
  runMerges(options?: HeadJobOptions): Promise<DueRun<MergeResult>> {
    return runDue(this.#context, 'merge', mergeHead, options);
  }

  /** Compacts every head that is due. See `runDue` and `compactHead`. */
  runCompactions(options?: HeadJobOptions): Promise<DueRun<CompactionReport>> {
    // One head needs as much memory as its job may take.
    return runDue(this.#context, 'compact', compactHead, options, 1);
  }

  /** Drops what retention no longer keeps in every head that is due. See `runDue` and `expireHead`. */
  runRetention(options?: HeadJobOptions): Promise<DueRun<ExpiredHead>> {
    return runDue(this.#context, 'expire', expireHead, options);
  }

  /** Deletes what is not needed any more in every head that is due. See `runDue` and `sweepHead`. */
  runSweeps(options?: HeadJobOptions): Promise<DueRun<SweptHead>> {
    return runDue(this.#context, 'sweep', sweepHead, options);
  }

  /** Everything that deletes, in turn. See `runSweep`. */
  sweep(options?: HeadJobOptions): Promise<SweepRun> {
    return runSweep(this.#context, options);
  }

  sweepHotOrphans(options?: HeadJobOptions): Promise<SweptHotOrphans> {
    return sweepHotOrphans(this.#context, options);
  }

  sweepDeletedTopics(options?: HeadJobOptions): Promise<SweptTopics> {
    return sweepDeletedTopics(this.#context, options);
  }

  /** Merges the heads that are due and whose tail nodes this process has moved. See `mergeBusy`. */
  mergeBusyHeads(options?: HeadJobOptions): Promise<DueRun<MergeResult>> {
    return mergeBusy(this.#context, options);
  }

  /**
   * Merges one head, if that is due or with `force`, and schedules the next look at it; `undefined` if its topic does not
   * exist. See `mergeHead` and `runOnHead`.
   */
  async mergeHead(
    topicId: string,
    headNumber: number,
    options?: HeadJobOptions & { readonly force?: boolean },
  ): Promise<MergeResult | undefined> {
    const topic = await this.#context.topics.byId(topicId, this.#context.topics.listings);
    return topic && runOnHead(this.#context, 'merge', mergeHead, topic, headNumber, options ?? {});
  }

  /** See `appendBatches`. */
  append(request: AppendRequest): Promise<AppendOutcome[]> {
    return appendBatches(this.#context, this.#groupCommit, request);
  }

  appendRecords(request: AppendRecordsRequest): Promise<RecordOutcome[]> {
    return appendRecords(this.#context, this.#groupCommit, this.#sticky, request);
  }

  /** See `appendInTransaction`. */
  appendInTransaction(request: AppendInTransactionRequest): Promise<AppendOutcome[]> {
    return appendInTransaction(this.#context, this.#groupCommit, request);
  }

  appendRecordsInTransaction(request: AppendRecordsInTransactionRequest): Promise<AppendedRecord[][]> {
    return appendRecordsInTransaction(this.#context, this.#groupCommit, this.#sticky, request);
  }

  /** A whole transaction in one call. See `WholeTransactions.run`. */
  transact(request: TransactionRequest): ReturnType<WholeTransactions['run']> {
    return this.#wholeTransactions.run(request);
  }

  initialiseProducer(request: InitialiseRequest): ReturnType<typeof initialiseProducer> {
    return initialiseProducer(this.#context, this.#completing, request);
  }

  enlist(request: EnlistRequest): Promise<Enlisted> {
    return enlist(this.#context, request);
  }

  endTransaction(request: EndRequest): ReturnType<typeof endTransaction> {
    return endTransaction(this.#context, this.#completing, request);
  }

  /** See `commitOffsetsInTransaction`; with the token of a poll, see `commitPollInTransaction`. */
  commitOffsetsInTransaction(
    request: CommitInTransactionRequest | CommitPollInTransactionRequest,
  ): Promise<CommitOutcome[]> {
    if ('after' in request) return commitPollInTransaction(this.#context, this.#completing, request);
    return commitOffsetsInTransaction(this.#context, this.#completing, request);
  }

  listTransactions(request?: ListTransactionsRequest): Promise<Page<DescribedTransaction>> {
    return listTransactions(this.#context, request);
  }

  describeTransaction(transactionalId: string): Promise<DescribedTransaction> {
    return describeTransaction(this.#context, transactionalId);
  }

  enlistedPartitions(participants: EnlistedHeads): Promise<EnlistedTopic[]> {
    return enlistedPartitions(this.#context, participants);
  }

  fenceProducer(transactionalId: string): Promise<void> {
    return fenceProducer(this.#context, this.#completing, transactionalId);
  }

  sweepTransactions(options?: HeadJobOptions): Promise<SweptTransactions> {
    return sweepTransactions(this.#context, this.#completing, options);
  }

  allocateProducerId(): Promise<number> {
    return allocateProducerId(this.#context);
  }

  read(request: ReadRequest): Promise<ReadResult> {
    return read(this.#context, request);
  }

  readRecords(request: ReadRecordsRequest): Promise<RecordsRead> {
    return readRecords(this.#context, request);
  }

  offsetForTime(topic: string, partition: number, timestampMs: number): Promise<OffsetForTime> {
    return offsetForTime(this.#context, topic, partition, timestampMs);
  }

  partitionEnds(topic: string, partition: number): Promise<PartitionEnds> {
    return partitionEnds(this.#context, topic, partition);
  }

  newestTime(topic: string, partition: number): Promise<FoundTime | undefined> {
    return newestTime(this.#context, topic, partition);
  }

  fetchPartitions(request: FetchPartitionsRequest): Promise<FetchedPartition[]> {
    return fetchPartitions(this.#context, request);
  }

  follow(request: FollowRequest): Promise<Follower> {
    return follow(this.#context, request);
  }

  listSegments(
    topic: string,
    request?: PageRequest & { partition?: number | undefined },
  ): Promise<Page<SegmentDescription>> {
    return listSegments(this.#context, topic, request);
  }

  planFetch(request: FetchPlanRequest): Promise<FetchPlan> {
    return planFetch(this.#context, request);
  }

  verifyTopic(name: string, request?: VerifyRequest): Promise<VerificationPage> {
    return verifyTopic(this.#context, name, request);
  }

  heartbeat(request: HeartbeatRequest): Promise<HeartbeatResult> {
    return heartbeat(this.#context, request);
  }

  pollGroup(request: PollRequest): Promise<PollResult> {
    return pollGroup(this.#context, this.#settlePending, request);
  }

  pollRecords(request: PollRequest): Promise<PollRecordsResult> {
    return pollRecords(this.#context, this.#settlePending, request);
  }

  extendLease(request: ExtendLeaseRequest): ReturnType<typeof extendLease> {
    return extendLease(this.#context, request);
  }

  leaveGroup(request: LeaveRequest): Promise<void> {
    return leaveGroup(this.#context, request);
  }

  commitOffsets(request: CommitOffsetsRequest): Promise<CommitOutcome[]> {
    return commitOffsets(this.#context, request);
  }

  fetchOffsets(request: FetchOffsetsRequest): Promise<Page<PartitionOffset>> {
    return fetchOffsets(this.#context, request, this.#settlePending);
  }

  resetOffsets(request: ResetOffsetsRequest): Promise<ResetPartition[]> {
    return resetOffsets(this.#context, request);
  }

  deleteOffsets(request: DeleteOffsetsRequest): Promise<CommitOutcome[]> {
    return deleteOffsets(this.#context, request);
  }

  groupLag(request: GroupLagRequest): Promise<GroupLag> {
    return groupLag(this.#context, request);
  }

  measureLag(request: MeasureLagRequest): Promise<MeasuredLags> {
    return measureLag(this.#context, request);
  }

  listGroups(request?: ListGroupsRequest): Promise<Page<ListedGroup>> {
    return listGroups(this.#context, request);
  }

  usesClassicProtocol(member: NamedMember): Promise<boolean> {
    return usesClassicProtocol(this.#context, member);
  }

  joinClassicGroup(request: JoinClassicRequest): ReturnType<typeof joinClassicGroup> {
    return joinClassicGroup(this.#context, request);
  }

  syncClassicGroup(request: SyncClassicRequest): Promise<SyncClassicResult> {
    return syncClassicGroup(this.#context, request);
  }

  heartbeatClassicGroup(request: InGeneration): Promise<void> {
    return heartbeatClassicGroup(this.#context, request);
  }

  leaveClassicGroup(request: LeaveClassicRequest): ReturnType<typeof leaveClassicGroup> {
    return leaveClassicGroup(this.#context, request);
  }

  commitClassicOffsets(request: CommitClassicRequest): Promise<CommitOutcome[]> {
    return commitClassicOffsets(this.#context, request);
  }

  describeClassicGroup(group: string): Promise<ClassicGroupDescription> {
    return describeClassicGroup(this.#context, group);
  }

  listGroupStates(request?: ListGroupsRequest): Promise<Page<ListedGroupState>> {
    return listGroupStates(this.#context, request);
  }

  describeGroup(group: string): Promise<GroupDescription> {
    return describeGroup(this.#context, group);
  }

  deleteGroup(group: string): Promise<void> {
    return deleteGroup(this.#context, group);
  }

  sweepGroups(options?: JobRequest): Promise<SweptGroups> {
    return sweepGroups(this.#context, options);
  }

  clusterId(): Promise<string> {
    return clusterId(this.#context);
  }

  saltSecret(): Promise<Uint8Array> {
    return saltSecret(this.#context);
  }

  announceGateway(gateway: gateways.GatewayAnnouncement): Promise<void> {
    return gateways.announceGateway(this.#context, gateway);
  }

  announcedGateways(): Promise<gateways.AnnouncedGateway[]> {
    return gateways.announcedGateways(this.#context);
  }

  withdrawGateway(id: string): Promise<void> {
    return gateways.withdrawGateway(this.#context, id);
  }

  createApiKey(request: apiKeys.CreateApiKeyRequest): Promise<apiKeys.CreatedApiKey> {
    return apiKeys.createApiKey(this.#context, request);
  }

  listApiKeys(request?: PageRequest): Promise<Page<apiKeys.ApiKeyDescription>> {
    return apiKeys.listApiKeys(this.#context, request);
  }

  revokeApiKey(id: string): Promise<void> {
    return apiKeys.revokeApiKey(this.#context, id);
  }

  verifyApiKey(text: string): Promise<apiKeys.ApiKeyVerdict> {
    return apiKeys.verifyApiKey(this.#context, text);
  }

  findApiKey(id: string): Promise<apiKeys.FoundApiKey> {
    return apiKeys.findApiKey(this.#context, id);
  }

  /** Returns the counted storage requests of this process since it started, by topic and purpose. Costs no request. */
  usage(): UsageRow[] {
    return this.#context.usage.rows();
  }

  /** Returns the records and bytes that this process appended and read, by topic. Costs no request. */
  traffic(): TrafficRow[] {
    return this.#context.traffic.rows();
  }

  transactionTraffic(): TransactionTraffic {
    return transactionTraffic(this.#context);
  }

  /** The heads with tail nodes that this process has moved and not merged, and when their oldest data was written. */
  unmerged(): { readonly heads: number; readonly oldestMs: number | undefined } {
    const { busyHeads } = this.#context;
    return { heads: busyHeads.size, oldestMs: busyHeads.oldestMs() };
  }

  /** Resolves when every accepted append is settled and no tail is being moved. */
  idle(): Promise<void> {
    return this.#groupCommit.idle();
  }

  /** Accepts no more appends and finishes the accepted ones. The stores stay open: they belong to the caller. */
  close(): Promise<void> {
    return this.#groupCommit.close();
  }
}
