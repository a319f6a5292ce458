import type { RecordHeader } from '../../log/batch/record.ts';
import type { EventLogError } from '../../log/errors.ts';
import type { EntryProducer } from '../../log/head/entry.ts';
import type { CheckedBatch } from '../../log/head/head-append.ts';

/** Requests and outcomes of appends: of record batches, and of records that are made into batches. */

export interface AppendRequest {
  readonly batches: readonly BatchToAppend[];
  /** Appends all batches by one commit, or none. All must belong to one topic and to partitions that one head decides. */
  readonly atomic?: boolean | undefined;
  /** The transaction that transactional batches belong to: all heads concerned are enlisted in it. */
  readonly transaction?: AppendTransaction | undefined;
  /**
   * Called when every batch has its place in the order of its partition: a batch that is appended afterwards comes behind it.
   * Not called if nothing can be appended.
   */
  readonly onPlaced?: (() => void) | undefined;
}

export interface AppendTransaction {
  readonly number: number;
  /** Whether the sequences of a transaction begin at 0 in each partition (Kafka's transaction.version 2). */
  readonly beginsAtZero: boolean;
}

export interface BatchToAppend {
  readonly topic: string;
  /** Append only to the topic with this id, and to no other that has its name now. */
  readonly topicId?: string | undefined;
  readonly partition: number;
  /**
   * One Kafka RecordBatch, magic 2, or a batch that was made and checked here. The batch's base offset is ignored; its
   * producer id, epoch and sequence are used.
   */
  readonly batch: Uint8Array | CheckedBatch;
  /**
   * Append only if the batch gets this offset. It is set on the first batch of a partition, and applies to all batches of
   * this partition in the request.
   */
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
  /** Appends all records by one commit, or none; see `AppendRequest.atomic`. */
  readonly atomic?: boolean | undefined;
  /** Requires all records to be in one partition. `baseSequence` belongs to the first record; each record takes one. */
  readonly producer?: EntryProducer | undefined;
  /** Append only if the first record gets this offset. Requires all records to be in one partition. */
  readonly expectedOffset?: number | undefined;
  /**
   * Any text of up to 255 characters. For 24 hours, the same append under the same key is done once and gets the same
   * answer. A request that was rejected for certain and appended nothing releases the key.
   */
  readonly idempotencyKey?: string | undefined;
}

export interface RecordToAppend {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly RecordHeader[];
  /** Milliseconds since the epoch. Default: now. */
  readonly timestampMs?: number | undefined;
  /** Default: chosen by the key as Kafka's clients do; without a key, one partition for the whole request. */
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

/** Ensures that a whole append to one topic happens once: see `idempotency-key.ts`. */
export interface AppendIdentity {
  /** The topic that the key was used on. The append belongs to no other topic, even of the same name. */
  readonly topicId: string;
  /** Names this use of the key. */
  readonly use: Uint8Array;
  /** Head number -> an entry number that was observed before the first attempt. */
  readonly observedEntry: ReadonlyMap<number, number>;
}
