import type { EventLogError } from '../errors.ts';
import type { EntryMarker, EntryProducer } from './entry.ts';

/** A record batch as it will be stored, with the facts that its check read from it. */
export interface CheckedBatch {
  readonly data: Uint8Array;
  readonly records: number;
  readonly maxTimestampMs: number;
  readonly producer?: EntryProducer | undefined;
  /** Whether the batch says that it belongs to a transaction. */
  readonly transactional?: boolean | undefined;
  /** The time that `LogAppendTime` gave the records; `undefined` with `CreateTime`. */
  readonly logAppendTimeMs: number | undefined;
}

/** A checked batch with its partition, and the partition's slot in its head. */
export interface PlacedBatch extends CheckedBatch {
  readonly partition: number;
  readonly slot: number;
  /** The sequence that the batch must have if the slot does not know its producer. Default: 0 if the id is young, else any. */
  readonly firstSequence?: 'zero' | 'any' | undefined;
  /** The offset that the batch must get; otherwise it is rejected. */
  readonly expectedOffset?: number | undefined;
}

/**
 * The share of one append in one head. Its batches are committed by the same entry or, if `atomic` is not set, at least in
 * their order. An append without batches either ends a transaction or, under an idempotency key, shuts out the other attempts
 * of the same use: see `PlannedCommit`.
 */
export interface HeadAppend {
  readonly atomic: boolean;
  readonly batches: readonly PlacedBatch[];
  /** The length of all data, in bytes. */
  readonly bytes: number;
  readonly idempotency?: IdempotencyUse | undefined;
  /**
   * The end of a transaction in this head: which slots it marks follows from the head. It has no outcome of a batch, unless it
   * fails.
   */
  readonly marker?: TransactionEnd | undefined;
}

export type TransactionEnd = Omit<EntryMarker, 'slots'>;

export interface IdempotencyUse {
  /** Names this use of the idempotency key. If the key is used again for another append, that use has another name. */
  readonly use: Uint8Array;
  /** An entry number that was observed in the head before the first attempt. No entry below it belongs to this use. */
  readonly observedEntry: number;
}

/** The outcome of one record batch. */
export type BatchOutcome =
  | { readonly type: 'appended'; readonly baseOffset: number; readonly logStartOffset: number }
  | { readonly type: 'duplicate'; readonly baseOffset: number; readonly logStartOffset: number }
  | { readonly type: 'failed'; readonly error: EventLogError };

/**
 * DynamoDB accepts 300 operators in an expression, and counts functions among them. The head's own conditions and sixteen
 * slots take 81 operators; each key that is demanded absent takes two, a `contains` and an `OR`. So the expression also stays
 * within the 4,096 bytes that DynamoDB accepts.
 */
const KEYS_PER_COMMIT_MAX = 105;
/**
 * A batch of an idempotent producer demands absent: its own once key, three fence keys, and the key of a first batch. In a
 * transaction it has the keys of the marker and of a new slot in place of the fence keys.
 */
const KEYS_PER_IDEMPOTENT_BATCH = 5;
/** The marker's own key, and the key of a batch that would add a slot. */
const KEYS_PER_MARKER = 2;

/** An expected offset takes as much of the expression as this many keys. */
const KEYS_PER_EXPECTED_OFFSET = 2;

/** The maximum number of batches of idempotent producers in one atomic append that expects no offsets. */
export const IDEMPOTENT_BATCHES_PER_APPEND_MAX = Math.floor(KEYS_PER_COMMIT_MAX / KEYS_PER_IDEMPOTENT_BATCH);

/** The number of once keys that an append demands absent, together with what else it demands, counted in keys. */
export function keysDemanded(append: HeadAppend): number {
  let keys = (append.idempotency === undefined ? 0 : 1) + (append.marker === undefined ? 0 : KEYS_PER_MARKER);
  for (const { producer, expectedOffset } of append.batches) {
    if (producer !== undefined) keys += KEYS_PER_IDEMPOTENT_BATCH;
    if (expectedOffset !== undefined) keys += KEYS_PER_EXPECTED_OFFSET;
  }
  return keys;
}

/**
 * Each batch under an idempotency key is a part of its own in the commit's entry, of 12 bytes or somewhat more. A head holds up
 * to 32 entries while its tail is moved slowly, and is one item of at most 400 KB.
 */
const KEYED_BATCHES_PER_COMMIT_MAX = 512;

/** The number of batches of an append that are appended under an idempotency key. */
export function keyedBatches({ idempotency, batches }: HeadAppend): number {
  return idempotency === undefined ? 0 : batches.length;
}

/** Whether one commit can demand this many once keys absent, and append this many batches under idempotency keys. */
export function fitsCommit(keys: number, keyed = 0): boolean {
  return keys <= KEYS_PER_COMMIT_MAX && keyed <= KEYED_BATCHES_PER_COMMIT_MAX;
}
