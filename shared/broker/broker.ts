import { COUNTER, PRODUCER_ID_COUNTER } from '../storage/keys.ts';
import type { Clock, ItemStore, ObjectStore, Random } from '../storage/ports.ts';
import * as apiKeys from './access/api-keys.ts';
import { type AppendOutcome, type AppendRequest, append } from './append/append-batches.ts';
import {
  type AppendRecordsRequest,
  appendRecords,
  type RecordOutcome,
  StickyPartitions,
} from './append/append-records.ts';
import { Committer } from './append/group-commit.ts';
import type { BrokerContext } from './context.ts';
import { type ResumeDeletionsRequest, type ResumedDeletions, resumeDeletions } from './jobs/resume-deletions.ts';
import { AppendSignals } from './memory/append-signals.ts';
import { DataCache } from './memory/data-cache.ts';
import { TopicCache } from './memory/topic-cache.ts';
import {
  type FetchPlan,
  type FetchPlanRequest,
  listSegments,
  planFetch,
  type SegmentDescription,
} from './read/list-segments.ts';
import { type OffsetForTime, offsetForTime, type ReadRequest, type ReadResult, read } from './read/read.ts';
import { type TopicWatch, watchTopic } from './read/watch-topic.ts';
import { type BrokerSettings, DEFAULT_SETTINGS } from './settings.ts';
import * as topics from './topics/put-topic.ts';
import { NO_TOPIC, UsageMeter, type UsageRow } from './usage/usage-meter.ts';

export interface BrokerParts {
  readonly objects: ObjectStore;
  readonly items: ItemStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly settings?: Partial<BrokerSettings>;
}

/**
 * The log: every operation of Tailrace over an object store and an item store. Keeps nothing that matters: any number of
 * brokers, in any processes, may work on the same stores at the same time. Each method's contract stands with the
 * function of the same name.
 */
export class Broker {
  private readonly context: BrokerContext;
  private readonly committer: Committer;
  private readonly sticky = new StickyPartitions();

  constructor(parts: BrokerParts) {
    const settings = { ...DEFAULT_SETTINGS, ...parts.settings };
    const usage = new UsageMeter({ objects: parts.objects, items: parts.items });
    this.context = {
      usage,
      clock: parts.clock,
      random: parts.random,
      settings,
      topics: new TopicCache(usage, parts.clock, settings.topicCacheMs),
      cache: new DataCache(settings.cacheBytesMax),
      signals: new AppendSignals(),
    };
    this.committer = new Committer(this.context);
  }

  putTopic(request: topics.PutTopicRequest): ReturnType<typeof topics.putTopic> {
    return topics.putTopic(this.context, request);
  }

  listTopics(request?: topics.ListTopicsRequest): Promise<topics.Page<topics.TopicDescription>> {
    return topics.listTopics(this.context, request);
  }

  describeTopic(name: string): Promise<topics.TopicDescription> {
    return topics.describeTopic(this.context, name);
  }

  describePartitions(name: string): Promise<topics.PartitionDescription[]> {
    return topics.describePartitions(this.context, name);
  }

  deleteTopic(name: string): Promise<void> {
    return topics.deleteTopic(this.context, name);
  }

  resumeDeletions(request?: ResumeDeletionsRequest): Promise<ResumedDeletions> {
    return resumeDeletions(this.context, request);
  }

  append(request: AppendRequest): Promise<AppendOutcome[]> {
    return append(this.context, this.committer, request);
  }

  appendRecords(request: AppendRecordsRequest): Promise<RecordOutcome[]> {
    return appendRecords(this.context, this.committer, this.sticky, request);
  }

  read(request: ReadRequest): Promise<ReadResult> {
    return read(this.context, request);
  }

  offsetForTime(topic: string, partition: number, timestampMs: number): Promise<OffsetForTime> {
    return offsetForTime(this.context, topic, partition, timestampMs);
  }

  watchTopic(name: string, signal: AbortSignal): Promise<TopicWatch> {
    return watchTopic(this.context, name, signal);
  }

  listSegments(
    topic: string,
    request?: topics.PageRequest & { partition?: number | undefined },
  ): Promise<topics.Page<SegmentDescription>> {
    return listSegments(this.context, topic, request);
  }

  planFetch(request: FetchPlanRequest): Promise<FetchPlan> {
    return planFetch(this.context, request);
  }

  createApiKey(request: apiKeys.CreateApiKeyRequest): Promise<apiKeys.CreatedApiKey> {
    return apiKeys.createApiKey(this.context, request);
  }

  listApiKeys(request?: topics.PageRequest): Promise<topics.Page<apiKeys.ApiKeyDescription>> {
    return apiKeys.listApiKeys(this.context, request);
  }

  revokeApiKey(id: string): Promise<void> {
    return apiKeys.revokeApiKey(this.context, id);
  }

  verifyApiKey(text: string): Promise<apiKeys.ApiKeyVerdict> {
    return apiKeys.verifyApiKey(this.context, text);
  }

  /** A producer id that no one has had, to begin at epoch 0 and sequence 0. 1 UpdateItem. */
  async allocateProducerId(): Promise<number> {
    const { items } = this.context.usage.of(NO_TOPIC, 'admin');
    const result = await items.update(PRODUCER_ID_COUNTER, [{ do: 'add', name: COUNTER.next, by: 1 }]);
    return Number(result.attributes?.[COUNTER.next]) - 1;
  }

  /** Requests to the storage that this process has made since it started, by topic and purpose. No request. */
  usage(): UsageRow[] {
    return this.context.usage.rows();
  }

  /** Resolves when every accepted append is settled and no tail is being moved. */
  idle(): Promise<void> {
    return this.committer.idle();
  }

  /** Takes no more appends and finishes those that were accepted. The stores stay open: they are the caller's. */
  close(): Promise<void> {
    return this.committer.close();
  }
}
