import { type ErrorCode, EventLogError } from '../../log/errors.ts';
import { MEDIA, type Problem } from '../contract.ts';

/**
 * Converts errors to problems of the HTTP API: RFC 9457 (`application/problem+json`). Only this table defines the status,
 * the title and the meaning of a code, and the compiler keeps the table complete.
 */
export const PROBLEMS = {
  invalid_request: {
    status: 400,
    title: 'Invalid request',
    meaning: 'A field, header or parameter is missing, unknown, of the wrong type or out of range. `field` names it.',
  },
  invalid_batch: {
    status: 400,
    title: 'Invalid record batch',
    meaning: 'The bytes are not a valid Kafka record batch: wrong length, magic, CRC, count or compression.',
  },
  unknown_topic: { status: 404, title: 'Unknown topic', meaning: 'There is no topic of this name.' },
  unknown_partition: { status: 404, title: 'Unknown partition', meaning: 'The topic has no such partition.' },
  topic_conflict: {
    status: 409,
    title: 'Topic has other settings',
    meaning: 'The topic exists and cannot be changed as requested.',
  },
  offset_out_of_range: {
    status: 416,
    title: 'Offset out of range',
    meaning: 'The offset is below the log start offset or past the high watermark. The details contain both.',
  },
  offset_mismatch: {
    status: 412,
    title: 'The partition ends at another offset',
    meaning: 'A conditional append expected another offset. `nextOffset` is the current one.',
  },
  record_too_large: {
    status: 413,
    title: 'Record too large',
    meaning: "A record or batch is larger than the topic's `max.message.bytes`.",
  },
  request_too_large: {
    status: 413,
    title: 'Request too large',
    meaning: 'The request is larger than its limit. Send it as several smaller ones.',
  },
  headers_too_large: {
    status: 431,
    title: 'Request headers too large',
    meaning: "The headers of the request are together larger than the server's limit.",
  },
  producer_fenced: {
    status: 409,
    title: 'Producer fenced by a newer epoch',
    meaning: 'A newer epoch of this producer id has written to the partition.',
  },
  invalid_transaction_state: {
    status: 409,
    title: 'Transaction in another state',
    meaning: 'The transactional id has no open transaction that could take this, or it has ended the other way.',
  },
  unknown_transactional_id: {
    status: 404,
    title: 'Unknown transactional id',
    meaning: 'No producer was initialised under the transactional id, or it has another producer id.',
  },
  concurrent_transactions: {
    status: 503,
    title: 'Another transaction is in the way',
    meaning: 'Another transaction of the same id, partitions or offsets is being completed. Send the request again.',
  },
  unstable_offsets: {
    status: 503,
    title: 'Offsets of an open transaction',
    meaning: 'A transaction that is not completed has pending offsets of the partition. Send the request again.',
  },
  out_of_order_sequence: {
    status: 409,
    title: 'Sequence out of order',
    meaning: 'The sequence does not follow the last one of this producer in the partition.',
  },
  idempotency_key_reused: {
    status: 422,
    title: 'Idempotency key used for other content',
    meaning: 'The idempotency key was used with other content.',
  },
  atomic_append_refused: {
    status: 409,
    title: 'Atomic append refused',
    meaning: 'The append is all or nothing, and another part of it failed.',
  },
  not_found: { status: 404, title: 'Not found', meaning: 'There is no such path, or no such API key.' },
  method_not_allowed: {
    status: 405,
    title: 'Method not allowed',
    meaning: 'The path has other methods. `Allow` names them.',
  },
  unsupported_media_type: {
    status: 415,
    title: 'Unsupported media type',
    meaning: 'The body has a type or an encoding that this operation does not accept.',
  },
  not_acceptable: {
    status: 406,
    title: 'Not acceptable',
    meaning: 'The answer is not available in any type of `Accept`.',
  },
  unauthenticated: {
    status: 401,
    title: 'Unauthenticated',
    meaning: 'There is no credential, or it is not valid. `reason` is `missing`, `invalid` or `expired`.',
  },
  access_denied: {
    status: 403,
    title: 'Access denied',
    meaning:
      "The credential lacks the right, the page's origin may not use the server, or a signed address has expired or was altered.",
  },
  unknown_group: { status: 404, title: 'Unknown group', meaning: 'There is no such consumer group.' },
  group_not_empty: {
    status: 409,
    title: 'Group has members',
    meaning: 'The consumer group has members. They must leave first, or their sessions must end.',
  },
  unknown_member: {
    status: 404,
    title: 'Unknown member',
    meaning:
      'The group has no such member: its session has ended, or it has left. It must drop its partitions and join again.',
  },
  fenced_member_epoch: {
    status: 409,
    title: 'Member fenced',
    meaning:
      'The member does not own the partition any more, or its epoch is not one that the group has given it. It must drop what it has lost.',
  },
  instance_in_use: {
    status: 409,
    title: 'Instance id in use',
    meaning: 'Another member uses this instance id. It must leave, or its session must end.',
  },
  group_type_mismatch: {
    status: 409,
    title: 'Group uses another protocol',
    meaning:
      "The members of the group use the other protocol: Kafka's classic one, or KIP-848 and HTTP. They must leave first, or their sessions must end.",
  },
  illegal_generation: {
    status: 409,
    title: 'Illegal generation',
    meaning: "The generation is not the group's present one. Only Kafka's classic protocol has this error.",
  },
  rebalance_in_progress: {
    status: 409,
    title: 'Rebalance in progress',
    meaning: "The members of the group join a new round. Only Kafka's classic protocol has this error.",
  },
  inconsistent_group_protocol: {
    status: 409,
    title: 'Inconsistent group protocol',
    meaning:
      "The member supports no protocol that the other members support. Only Kafka's classic protocol has this error.",
  },
  member_id_required: {
    status: 409,
    title: 'Member id required',
    meaning: "The member joins again under `memberId` of the details. Only Kafka's classic protocol has this error.",
  },
  fenced_instance_id: {
    status: 409,
    title: 'Instance id fenced',
    meaning: "A newer member uses the instance id. Only Kafka's classic protocol has this error.",
  },
  group_full: {
    status: 409,
    title: 'Group is full',
    meaning: "The group has as many members as it can have. Only Kafka's classic protocol has this error.",
  },
  throttled: {
    status: 429,
    title: 'Too many requests',
    meaning: 'Too many requests at once. Wait `retryAfterMs`.',
  },
  storage_unavailable: {
    status: 503,
    title: 'Storage unavailable',
    meaning:
      'The storage, or the issuer of tokens, did not answer; or the deadline passed before the outcome was certain.',
  },
  storage_full: { status: 507, title: 'Storage full', meaning: 'No space is left for records.' },
  corrupt_data: {
    status: 500,
    title: 'Stored data is damaged or missing',
    meaning: 'Stored bytes are missing or fail their checksum. None of them are returned.',
  },
  data_folder_unusable: {
    status: 503,
    title: 'Data folder unusable',
    meaning: 'The data folder belongs to another process, is read-only, or has a newer format.',
  },
  shutting_down: { status: 503, title: 'Shutting down', meaning: 'The server is stopping.' },
  internal: { status: 500, title: 'Internal error', meaning: 'A bug.' },
} as const satisfies Record<ErrorCode, { readonly status: number; readonly title: string; readonly meaning: string }>;

/** The path of the error pages, relative to the server: each server explains its own codes. */
const ERROR_PAGES = '/errors/';

/** Converts a thrown value to the API's error. A value that is not our own error is a bug, and its text is not returned. */
export function asEventLogError(error: unknown): EventLogError {
  if (error instanceof EventLogError) return error;
  return new EventLogError('internal', 'An unexpected error occurred. The server logged it under the request id.', {
    cause: error,
  });
}

/** The problem's body. Problems within an answer have no `instance`, because the answer has its request id once. */
export function toProblem(error: EventLogError, instance?: string): Problem {
  const { status, title } = PROBLEMS[error.code];
  return {
    ...error.details,
    type: `${ERROR_PAGES}${error.code}`,
    title,
    status,
    detail: error.message,
    ...(instance === undefined ? {} : { instance }),
    code: error.code,
    retry: error.retry,
    outcome: error.outcome,
  };
}

/** Headers of a problem in addition to the headers of every answer. */
export function problemHeaders(error: EventLogError): Record<string, string> {
  const headers: Record<string, string> = { 'Content-Type': MEDIA.problem };
  if (error.code === 'throttled' || error.code === 'shutting_down' || error.code === 'storage_unavailable') {
    const { retryAfterMs } = error.details;
    headers['Retry-After'] = String(Math.max(1, Math.ceil(Number(retryAfterMs ?? 1_000) / 1_000)));
  }
  if (error.code === 'unauthenticated') {
    // RFC 6750: the error is named only if the request has a credential.
    const why = error.details.reason === 'missing' ? '' : ', error="invalid_token"';
    headers['WWW-Authenticate'] = `Bearer realm="tailrace"${why}`;
  }
  return headers;
}
