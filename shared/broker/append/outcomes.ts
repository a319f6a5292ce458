import type { RecordHeader } from '../../log/batch/record.ts';
import type { EventLogError } from '../../log/errors.ts';
import type { EntryProducer } from '../../log/head/entry.ts';
import type { CheckedBatch } from '../../log/head/head-append.ts';

/** What is asked of an append, and what becomes of it: of record batches, and of records that are made into batches. */

export interface AppendRequest {
  readonly batches: readonly BatchToAppend[];
  /** All batches by one commit, or none: they must be of one topic and of partitions that one head decides. */
  readonly atomic?: boolean | undefined;
}

export interface BatchToAppend {
  readonly topic: string;
  readonly partition: number;
  /**
   * One Kafka RecordBatch, magic 2, or one that was made and checked here. Its base offset is ignored; its producer id,
   * epoch and sequence are honoured.
   */
  readonly batch: Uint8Array | CheckedBatch;
  /** Append only if the batch gets this offset. On the first batch of a partition, for all its batches in the request. */
  readonly expectedOffset?: number | undefined;
}

export type AppendOutcome =
  | {
      readonly ok: true;
      readonly baseOffset: number;
      readonly records: number;
      readonly logStartOffset: number;
      /** An earlier attempt had appended it, at this offset. */
      readonly duplicate: boolean;
      /** The time that `LogAppendTime` gave the records; `undefined` with `CreateTime`. */
      readonly logAppendTimeMs: number | undefined;
    }
  | { readonly ok: false; readonly error: EventLogError };

export interface AppendRecordsRequest {
  readonly topic: string;
  readonly records: readonly RecordToAppend[];
  /** All records by one commit, or none; see `AppendRequest.atomic`. */
  readonly atomic?: boolean | undefined;
  /** For records of one partition: `baseSequence` is that of the first record, and each record takes one. */
  readonly producer?: EntryProducer | undefined;
  /** For records of one partition: append only if the first record gets this offset. */
  readonly expectedOffset?: number | undefined;
  /**
   * Any text of up to 255 characters: for 24 hours, the same append under the same key is done once and gets the same
   * answer. A request that was rejected for certain and appended nothing gives the key free again.
   */
  readonly idempotencyKey?: string | undefined;
}

export interface RecordToAppend {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly RecordHeader[];
  /** Default: now. */
  readonly timestampMs?: number | undefined;
  /** Default: by the key as Kafka's clients choose it; without a key, one partition for the whole request. */
  readonly partition?: number | undefined;
}

export type RecordOutcome =
  | {
      readonly ok: true;
      readonly partition: number;
      readonly offset: number;
      readonly timestampMs: number;
      readonly duplicate: boolean;
    }
  | { readonly ok: false; readonly error: EventLogError };

/** Makes a whole append of one topic happen once: see `idempotency-key.ts`. */
export interface AppendIdentity {
  /** The topic that the key was used on; the append belongs to no other, not even of the same name. */
  readonly topicId: string;
  /** Names this use of the key. */
  readonly use: Uint8Array;
  /** Head number -> an entry number from before the first attempt. */
  readonly observedEntry: ReadonlyMap<number, number>;
}
