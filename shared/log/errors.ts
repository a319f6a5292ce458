/**
 * Every error that leaves the broker. The code is API and the list is closed: a code earns its place when the caller
 * would act differently. The message is for people and may change.
 */

/** What the caller does next: give up, send the very same again, or look again (topic, offset, epoch) and then decide. */
export type Retry = 'never' | 'as_is' | 'after_refresh';

/** Whether the request took effect. `unknown` settles itself when the same request is sent again with its producer id or key. */
export type Outcome = 'not_applied' | 'applied' | 'unknown';

interface Facts {
  readonly retry: Retry;
  readonly outcome: Outcome;
}

/** Code -> what it means, and the two facts unless the thrower says otherwise. */
export const ERROR_CODES = {
  /** A field, header or parameter is missing, unknown, of the wrong type or out of range; `field` names it. */
  invalid_request: { retry: 'never', outcome: 'not_applied' },
  /** Bytes that are not a valid Kafka record batch: wrong length, magic, CRC, count, or compression. */
  invalid_batch: { retry: 'never', outcome: 'not_applied' },
  unknown_topic: { retry: 'after_refresh', outcome: 'not_applied' },
  unknown_partition: { retry: 'after_refresh', outcome: 'not_applied' },
  /** The topic exists with other settings than those asked for. */
  topic_conflict: { retry: 'never', outcome: 'not_applied' },
  /** Below the log start offset or past the high watermark; details hold both. */
  offset_out_of_range: { retry: 'after_refresh', outcome: 'not_applied' },
  /** A conditional append met another end; `nextOffset` is the present one. */
  offset_mismatch: { retry: 'after_refresh', outcome: 'not_applied' },
  /** One record or batch over the topic's `max.message.bytes`. */
  record_too_large: { retry: 'never', outcome: 'not_applied' },
  /** A whole request over its limit. */
  request_too_large: { retry: 'never', outcome: 'not_applied' },
  /** The headers of a request, together, over the server's limit. */
  headers_too_large: { retry: 'never', outcome: 'not_applied' },
  /** A newer epoch of this producer id has written. */
  producer_fenced: { retry: 'never', outcome: 'not_applied' },
  /** The sequence does not follow the last one of this producer and partition. */
  out_of_order_sequence: { retry: 'never', outcome: 'not_applied' },
  /** The idempotency key was used with other content, or the request was rejected before and its key given free. */
  idempotency_key_reused: { retry: 'never', outcome: 'not_applied' },
  /** All or nothing was asked for, and one of the others failed. */
  atomic_append_refused: { retry: 'never', outcome: 'not_applied' },
  /** No such path, or no such API key. */
  not_found: { retry: 'never', outcome: 'not_applied' },
  method_not_allowed: { retry: 'never', outcome: 'not_applied' },
  unsupported_media_type: { retry: 'never', outcome: 'not_applied' },
  not_acceptable: { retry: 'never', outcome: 'not_applied' },
  /** The request says not, or not credibly, who it comes from. `reason`: `missing`, `invalid` or `expired`. */
  unauthenticated: { retry: 'after_refresh', outcome: 'not_applied' },
  /** The credential lacks the right, the web page may not use the server, or a signed URL has expired or was altered. */
  access_denied: { retry: 'after_refresh', outcome: 'not_applied' },
  /** Too much at once; wait `retryAfterMs`. */
  throttled: { retry: 'as_is', outcome: 'not_applied' },
  /** The storage did not answer, or the deadline passed before it was sure. */
  storage_unavailable: { retry: 'as_is', outcome: 'unknown' },
  /** No space is left where records are kept. */
  storage_full: { retry: 'as_is', outcome: 'not_applied' },
  /** Stored bytes are missing or fail their checksum; nothing of them is delivered. */
  corrupt_data: { retry: 'never', outcome: 'not_applied' },
  /** The data folder belongs to another process, is read-only, or has a newer format. */
  data_folder_unusable: { retry: 'never', outcome: 'not_applied' },
  shutting_down: { retry: 'as_is', outcome: 'not_applied' },
  /** A bug. */
  internal: { retry: 'never', outcome: 'unknown' },
} as const satisfies Record<string, Facts>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** Facts beside the message, by name; JSON values only, never record contents. */
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

/** An `invalid_request` that names the field. */
export function invalidField(field: string, message: string, details: ErrorDetails = {}): EventLogError {
  return new EventLogError('invalid_request', message, { details: { field, ...details } });
}

/** For what can't happen: a broken invariant is a bug, and the operation must not go on. */
export function invariant(holds: boolean, what: string | (() => string)): asserts holds {
  if (!holds) throw new EventLogError('internal', `Broken invariant: ${typeof what === 'string' ? what : what()}.`);
}
