import type { RecordHeader, StoredRecord } from '../log/batch/record.ts';
import type { EventLogError } from '../log/errors.ts';

/**
 * All that the client needs of a log. The broker has these methods, so that it can be used as it is, embedded or on S3 and
 * DynamoDB. `HttpLog` has them over the HTTP API. Methods throw `EventLogError`, with the same codes everywhere.
 */
export interface LogApi {
  describeTopic(name: string, options?: CallOptions): Promise<TopicFacts>;

  /** A producer id that nobody has had before. It begins at epoch 0 and, in each partition, at sequence 0. */
  allocateProducerId(options?: CallOptions): Promise<number>;

  /** Appends record batches. Each has its own outcome, in the order of the request. */
  append(request: BatchesToAppend): Promise<BatchOutcome[]>;

  /** Reads records of a partition from an offset or a time on, or the last ones. */
  readRecords(request: ReadRecordsRequest): Promise<RecordsRead>;

  /** Joins a group or goes on as its member, commits what the last poll gave out, and reads from its partitions. */
  pollRecords(request: GroupPollRequest): Promise<GroupPoll>;

  /** The member keeps the partitions of its last poll for another lease. */
  extendLease(request: LeaseToExtend): Promise<{ readonly leaseExpiresAtMs: number }>;

  /** A member that has stopped reading gives its partitions away. */
  leaveGroup(request: GroupToLeave): Promise<void>;

  /** Makes the caller the only producer of a transactional id: what another one has open is aborted. */
  initialiseProducer(request: ProducerToInitialise): Promise<ProducerName>;

  /** Appends in the transaction of a producer; the first records or offsets open it. Returns the places by entry. */
  appendRecordsInTransaction(request: RecordsInTransaction): Promise<PlaceOfRecord[][]>;

  /** What a poll gave out is committed with the transaction. Each partition has its own outcome. */
  commitOffsetsInTransaction(request: PollInTransaction): Promise<CommitOutcome[]>;

  /** Commits or aborts. Repeating a request gives the same answer: who goes on with the next transaction. */
  endTransaction(request: TransactionToEnd): Promise<ProducerName>;
}

export interface ProducerName {
  readonly producerId: number;
  readonly producerEpoch: number;
}

export interface ProducerToInitialise extends CallOptions {
  readonly transactionalId: string;
  readonly timeoutMs: number;
}

/** A transaction: each one has an epoch of its own. */
export interface TransactionName {
  readonly transactionalId: string;
  readonly producer: ProducerName;
}

export interface RecordsInTransaction extends CallOptions, TransactionName {
  readonly entries: readonly {
    readonly topic: string;
    /** All for one partition. */
    readonly records: readonly RecordToAppend[];
    /** How many records of the transaction are before these in their partition: so a repeated request appends nothing twice. */
    readonly baseSequence: number;
  }[];
}

export interface RecordToAppend {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly RecordHeader[];
  readonly timestampMs: number;
  readonly partition: number;
}

export interface PlaceOfRecord {
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs: number;
}

export interface PollInTransaction extends CallOptions, TransactionName {
  readonly group: string;
  /** The token of the poll. */
  readonly after: string;
}

export type CommitOutcome = { readonly ok: true } | { readonly ok: false; readonly error: EventLogError };

export interface TransactionToEnd extends CallOptions, TransactionName {
  readonly outcome: 'committed' | 'aborted';
  /** Each transaction has an epoch of its own. */
  readonly raisesEpoch: true;
}

export interface GroupPollRequest extends CallOptions {
  readonly group: string;
  readonly memberId: string;
  readonly instanceId?: string | undefined;
  /** Only to join: without it a late copy of a poll cannot make a member of one that has left. */
  readonly subscription?: { readonly topics: readonly string[]; readonly pattern?: string } | undefined;
  /** The token of the last poll, whose records are committed now, unless `commitLater`. */
  readonly after?: string | undefined;
  readonly commitLater?: boolean | undefined;
  readonly paused?: readonly { readonly topic: string; readonly partitions?: readonly number[] | undefined }[];
  readonly startAt?: 'earliest' | 'latest' | undefined;
  /** With 0 the poll only commits. */
  readonly maxRecords?: number | undefined;
  readonly maxBytes?: number | undefined;
  readonly waitMs?: number | undefined;
  readonly leaseMs?: number | undefined;
}

export interface GroupPoll {
  readonly token: string;
  readonly leaseExpiresAtMs: number;
  readonly assignment: readonly { readonly topic: string; readonly partitions: readonly number[] }[];
  /** Of a poll without `after`: topics of its subscription that do not exist. */
  readonly unknownTopics?: readonly string[] | undefined;
  readonly commits: readonly {
    readonly topic: string;
    readonly partition: number;
    readonly offset: number;
    readonly outcome: { readonly ok: true } | { readonly ok: false; readonly error: EventLogError };
  }[];
  readonly partitions: readonly {
    readonly topic: string;
    readonly partition: number;
    readonly records: readonly StoredRecord[];
    readonly nextOffset: number;
    readonly highWatermark: number;
  }[];
  readonly gaps: readonly {
    readonly topic: string;
    readonly partition: number;
    readonly from: number;
    readonly to: number;
  }[];
}

export interface LeaseToExtend extends CallOptions {
  readonly group: string;
  readonly memberId: string;
  readonly token: string;
}

export interface GroupToLeave extends CallOptions {
  readonly group: string;
  readonly memberId: string;
  readonly instanceId?: string | undefined;
  readonly willReturn?: boolean | undefined;
}

export interface CallOptions {
  /** The caller no longer waits for the answer. What was asked may still happen. */
  readonly signal?: AbortSignal | undefined;
}

/** What a producer has to know of a topic. */
export interface TopicFacts {
  readonly topicId: string;
  readonly partitions: number;
  readonly config: { readonly 'max.message.bytes': { readonly value: string | number } };
}

export interface BatchesToAppend extends CallOptions {
  readonly batches: readonly BatchToAppend[];
}

export interface BatchToAppend {
  readonly topic: string;
  readonly partition: number;
  /** One Kafka RecordBatch (magic 2), with its producer id, epoch and sequence. */
  readonly batch: Uint8Array;
}

export type BatchOutcome =
  | {
      readonly ok: true;
      readonly baseOffset: number;
      readonly records: number;
      /** An earlier attempt appended it, at this offset. */
      readonly duplicate: boolean;
      /** The time that the topic gave the records; `undefined` if they keep their own. */
      readonly logAppendTimeMs: number | undefined;
    }
  | { readonly ok: false; readonly error: EventLogError };

export interface ReadRecordsRequest extends CallOptions {
  readonly topic: string;
  readonly partition: number;
  readonly from: ReadFrom;
  /** Default 500, at most 100,000. */
  readonly maxRecords?: number | undefined;
  /** Bytes of keys, values and headers; at least one record comes. Default 1 MiB, at most 64 MiB. */
  readonly maxBytes?: number | undefined;
  /** At the end of the partition, wait so long for records; default 0, at most 20,000. */
  readonly waitMs?: number | undefined;
}

/** At an offset, at the first record of a time or later, or so many offsets before the end. */
export type ReadFrom = { readonly offset: number } | { readonly timestampMs: number } | { readonly tail: number };

export interface RecordsRead {
  readonly records: readonly StoredRecord[];
  /** Where the next read goes on. It can be further on although no records came: dropped offsets are passed over. */
  readonly nextOffset: number;
  readonly logStartOffset: number;
  readonly highWatermark: number;
}
