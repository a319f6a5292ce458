import { type ErrorCode, EventLogError } from '../../log/errors.ts';
import { MEDIA, type Problem } from '../contract.ts';

/**
 * How errors leave the HTTP API: RFC 9457 (`application/problem+json`). The table is the only place that gives a code its
 * status, and the compiler holds it complete.
 */
export const PROBLEMS = {
  invalid_request: { status: 400, title: 'Invalid request' },
  invalid_batch: { status: 400, title: 'Invalid record batch' },
  unknown_topic: { status: 404, title: 'Unknown topic' },
  unknown_partition: { status: 404, title: 'Unknown partition' },
  topic_conflict: { status: 409, title: 'Topic has other settings' },
  offset_out_of_range: { status: 416, title: 'Offset out of range' },
  offset_mismatch: { status: 412, title: 'The partition ends elsewhere' },
  record_too_large: { status: 413, title: 'Record too large' },
  request_too_large: { status: 413, title: 'Request too large' },
  producer_fenced: { status: 409, title: 'Producer fenced by a newer epoch' },
  out_of_order_sequence: { status: 409, title: 'Sequence out of order' },
  idempotency_key_reused: { status: 422, title: 'Idempotency key used for other content' },
  atomic_append_refused: { status: 409, title: 'Atomic append refused' },
  not_found: { status: 404, title: 'Not found' },
  method_not_allowed: { status: 405, title: 'Method not allowed' },
  unsupported_media_type: { status: 415, title: 'Unsupported media type' },
  not_acceptable: { status: 406, title: 'Not acceptable' },
  unauthenticated: { status: 401, title: 'Unauthenticated' },
  access_denied: { status: 403, title: 'Access denied' },
  throttled: { status: 429, title: 'Too many requests' },
  storage_unavailable: { status: 503, title: 'Storage unavailable' },
  storage_full: { status: 507, title: 'Storage full' },
  corrupt_data: { status: 500, title: 'Stored data is damaged or missing' },
  data_folder_unusable: { status: 503, title: 'Data folder unusable' },
  shutting_down: { status: 503, title: 'Shutting down' },
  internal: { status: 500, title: 'Internal error' },
} as const satisfies Record<ErrorCode, { readonly status: number; readonly title: string }>;

const ERROR_PAGES = 'https://tailrace.dev/errors/';

/** What is thrown, as the API's error: anything that is not one of ours is a bug, whose text stays inside. */
export function asEventLogError(error: unknown): EventLogError {
  if (error instanceof EventLogError) return error;
  return new EventLogError(
    'internal',
    'Something went wrong here that should not have. The request id finds it in the log.',
    {
      cause: error,
    },
  );
}

/** The problem's body. `instance` is left out of problems within an answer, which has its request id once. */
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

/** Headers that a problem has beside those of every answer. */
export function problemHeaders(error: EventLogError): Record<string, string> {
  const headers: Record<string, string> = { 'Content-Type': MEDIA.problem };
  if (error.code === 'throttled' || error.code === 'shutting_down' || error.code === 'storage_unavailable') {
    const { retryAfterMs } = error.details;
    headers['Retry-After'] = String(Math.max(1, Math.ceil(Number(retryAfterMs ?? 1_000) / 1_000)));
  }
  if (error.code === 'unauthenticated') {
    // RFC 6750: an error is named only to those who sent a credential.
    const why = error.details.reason === 'missing' ? '' : ', error="invalid_token"';
    headers['WWW-Authenticate'] = `Bearer realm="tailrace"${why}`;
  }
  return headers;
}
