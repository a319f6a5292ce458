import type { StoredRecord } from '../log/batch/record.ts';
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
