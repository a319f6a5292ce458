/**
 * Every error that leaves the broker. The codes are API, and the list is closed: a code is added only if callers would act
 * differently on it. The message is for people and may change.
 */

/**
 * What the caller does next: give up, send the identical request again, or refresh its state (topic, offset, epoch) and
 * then decide.
 */
export type Retry = 'never' | 'as_is' | 'after_refresh';

/**
 * Whether the request took effect. To resolve `unknown`, send the same request again with the same producer id or key.
 */
export type Outcome = 'not_applied' | 'applied' | 'unknown';

interface Facts {
  readonly retry: Retry;
  readonly outcome: Outcome;
}

/** Code -> its meaning, and the defaults for `retry` and `outcome`, which a thrower can override. */
export const ERROR_CODES = {
  /** A field, header or parameter is missing, unknown, of the wrong type or out of range; `field` names it. */
  invalid_request: { retry: 'never', outcome: 'not_applied' },
  /** The bytes are not a valid Kafka record batch: wrong length, magic, CRC, count, or compression. */
  invalid_batch: { retry: 'never', outcome: 'not_applied' },
  unknown_topic: { retry: 'after_refresh', outcome: 'not_applied' },
  unknown_partition: { retry: 'after_refresh', outcome: 'not_applied' },
  /** The topic exists with other settings than those asked for. */
  topic_conflict: { retry: 'never', outcome: 'not_applied' },
  /** The offset is below the log start offset or past the high watermark; details hold both. */
  offset_out_of_range: { retry: 'after_refresh', outcome: 'not_applied' },
  /** A conditional append expected another offset; `nextOffset` is the current one. */
  offset_mismatch: { retry: 'after_refresh', outcome: 'not_applied' },
  /** A record or batch is larger than the topic's `max.message.bytes`. */
  record_too_large: { retry: 'never', outcome: 'not_applied' },
  /** The whole request is larger than its limit. */
  request_too_large: { retry: 'never', outcome: 'not_applied' },
  /** The headers of the request are together larger than the server's limit. */
  headers_too_large: { retry: 'never', outcome: 'not_applied' },
  /** A newer epoch of this producer id has written to the partition. */
  producer_fenced: { retry: 'never', outcome: 'not_applied' },
  /** The sequence does not follow the last one of this producer and partition. */
  out_of_order_sequence: { retry: 'never', outcome: 'not_applied' },
  /** The transactional id has no open transaction that could take this, or it has ended the other way. */
  invalid_transaction_state: { retry: 'never', outcome: 'not_applied' },
  /** No producer was initialised under the transactional id, or with another producer id. */
  unknown_transactional_id: { retry: 'never', outcome: 'not_applied' },
  /** Another transaction of the same id, head or offset is being completed. */
  concurrent_transactions: { retry: 'as_is', outcome: 'not_applied' },
  /** A transaction that is not completed has pending offsets of the partition. */
  unstable_offsets: { retry: 'as_is', outcome: 'not_applied' },
  /** The idempotency key was used with other content, or an earlier request with it was rejected and released the key. */
  idempotency_key_reused: { retry: 'never', outcome: 'not_applied' },
  /** The append is all or nothing, and another part of it failed. */
  atomic_append_refused: { retry: 'never', outcome: 'not_applied' },
  unknown_group: { retry: 'after_refresh', outcome: 'not_applied' },
  /** The group has members: they must leave before its offsets can be set or the group can be deleted. */
  group_not_empty: { retry: 'after_refresh', outcome: 'not_applied' },
  /** The group has no such member: its session has ended, or it has left. It must join again. */
  unknown_member: { retry: 'after_refresh', outcome: 'not_applied' },
  /** The member does not own the partition any more, or its epoch is not the group's. It must drop its partitions and join again. */
  fenced_member_epoch: { retry: 'after_refresh', outcome: 'not_applied' },
  /** Another member uses this instance id, and has not left. */
  instance_in_use: { retry: 'after_refresh', outcome: 'not_applied' },
  /** The group's members use the other protocol: Kafka's classic one, or KIP-848 and HTTP. They must leave first. */
  group_type_mismatch: { retry: 'after_refresh', outcome: 'not_applied' },
  /** The generation is not the group's present one. The member must drop its partitions and join again. Only in classic groups. */
  illegal_generation: { retry: 'after_refresh', outcome: 'not_applied' },
  /** The members of the group join a new round: the member must join too. Only in classic groups. */
  rebalance_in_progress: { retry: 'after_refresh', outcome: 'not_applied' },
  /** The member supports no protocol that the other members support, or one of another type. Only in classic groups. */
  inconsistent_group_protocol: { retry: 'never', outcome: 'not_applied' },
  /** The member joins again under the id `memberId` of the details. Only in classic groups. */
  member_id_required: { retry: 'after_refresh', outcome: 'not_applied' },
  /** A newer member uses the instance id. The older one must stop. Only in classic groups. */
  fenced_instance_id: { retry: 'never', outcome: 'not_applied' },
  /** The group has as many members as it can have. Only in classic groups. */
  group_full: { retry: 'after_refresh', outcome: 'not_applied' },
  /** There is no such path, or no such API key. */
  not_found: { retry: 'never', outcome: 'not_applied' },
  method_not_allowed: { retry: 'never', outcome: 'not_applied' },
  unsupported_media_type: { retry: 'never', outcome: 'not_applied' },
  not_acceptable: { retry: 'never', outcome: 'not_applied' },
  /** There is no credential, or it is not valid. `reason`: `missing`, `invalid` or `expired`. */
  unauthenticated: { retry: 'after_refresh', outcome: 'not_applied' },
  /** The credential lacks the right, the web page may not use the server, or a signed URL has expired or was altered. */
  access_denied: { retry: 'after_refresh', outcome: 'not_applied' },
  /** There are too many requests at once; wait `retryAfterMs`. */
  throttled: { retry: 'as_is', outcome: 'not_applied' },
  /** The storage did not answer, or the deadline passed before the outcome was certain. */
  storage_unavailable: { retry: 'as_is', outcome: 'unknown' },
  /** No space is left for records. */
  storage_full: { retry: 'as_is', outcome: 'not_applied' },
  /** Stored bytes are missing or fail their checksum; none of them are returned. */
  corrupt_data: { retry: 'never', outcome: 'not_applied' },
  /** The data folder belongs to another process, is read-only, or has a newer format. */
  data_folder_unusable: { retry: 'never', outcome: 'not_applied' },
  shutting_down: { retry: 'as_is', outcome: 'not_applied' },
  /** The error is a bug. */
  internal: { retry: 'never', outcome: 'unknown' },
} as const satisfies Record<string, Facts>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** Facts in addition to the message, by name: only JSON values, never record contents. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | null>>;

export interface ErrorOptions {
  readonly details?: ErrorDetails;
  readonly cause?: unknown;
  readonly retry?: Retry;
  readonly outcome?: Outcome;
}

export class EventLogError extends Error {
  override readonly name = 'EventLogError';
  readonly code: ErrorCode;
  readonly retry: Retry;
  readonly outcome: Outcome;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retry = options.retry ?? ERROR_CODES[code].retry;
    this.outcome = options.outcome ?? ERROR_CODES[code].outcome;
    this.details = options.details ?? {};
  }
}

/**
 * Stored data is not where it was expected. A reader that meets this error looks again, because a job may have moved the data
 * since; only if it is missing then too, the data is lost.
 */
export class MissingDataError extends EventLogError {
  constructor(message: string, details: ErrorDetails) {
    super('corrupt_data', message, { details });
  }
}

/** Makes an `invalid_request` error that names the field. */
export function invalidField(field: string, message: string, details: ErrorDetails = {}): EventLogError {
  return new EventLogError('invalid_request', message, { details: { field, ...details } });
}

/** Checks a condition that always holds. A broken invariant is a bug, and the operation must not continue. */
export function invariant(holds: boolean, what: string | (() => string)): asserts holds {
  if (!holds) throw new EventLogError('internal', `Broken invariant: ${typeof what === 'string' ? what : what()}.`);
}
