/** Turns the errors of the AWS SDK into `EventLogError`, and repeats the requests that may be repeated. */
import { EventLogError } from '../log/errors.ts';
import type { Clock, Random } from './ports.ts';

export interface AwsAdapterOptions {
  readonly clock: Clock;
  readonly random: Random;
}

/** Attempts of one request, including the first. The waits between them have full jitter. */
const TRIES_MAX = 4;
const WAIT_MS = 25;
const WAIT_MS_MAX = 1_000;

/**
 * Runs a request until it succeeds or fails permanently, at most four times.
 *
 * The SDK's own retries are switched off (`maxAttempts: 1`). A rejected attempt says nothing about an earlier attempt whose
 * reply was lost, so the outcome of the whole is unknown as soon as the outcome of one attempt is.
 */
export async function withRetries<T>(
  { clock, random }: AwsAdapterOptions,
  what: string,
  request: () => Promise<T>,
): Promise<T> {
  let uncertain = false;
  for (let tries = 1; ; tries++) {
    try {
      return await request();
    } catch (cause) {
      const error = cause instanceof EventLogError ? cause : toEventLogError(cause, what);
      uncertain ||= error.outcome === 'unknown';
      if (error.retry !== 'as_is' || tries === TRIES_MAX) {
        if (!uncertain || error.outcome === 'unknown') throw error;
        throw new EventLogError(error.code, error.message, {
          cause,
          details: error.details,
          retry: error.retry,
          outcome: 'unknown',
        });
      }
      const share = (random.bytes(1)[0] as number) / 255;
      await clock.sleep(Math.min(WAIT_MS_MAX, WAIT_MS * 2 ** tries) * share);
    }
  }
}

const THROTTLED = new Set([
  'ProvisionedThroughputExceededException',
  'ThrottlingException',
  'Throttling',
  'RequestLimitExceeded',
  'TooManyRequestsException',
  'TransactionConflictException',
  'TransactionInProgressException',
  'ReplicatedWriteConflictException',
  'LimitExceededException',
  'SlowDown',
  'ServiceUnavailable',
  'ConditionalRequestConflict',
  'OperationAborted',
]);

const MISSING = new Set(['ResourceNotFoundException', 'NoSuchBucket']);

const DENIED = new Set([
  'AccessDenied',
  'AccessDeniedException',
  'AllAccessDisabled',
  'ExpiredToken',
  'ExpiredTokenException',
  'IncompleteSignature',
  'InvalidAccessKeyId',
  'InvalidSignatureException',
  'MissingAuthenticationToken',
  'MissingAuthenticationTokenException',
  'SignatureDoesNotMatch',
  'UnrecognizedClientException',
  'CredentialsProviderError',
]);

const INVALID = new Set([
  'ValidationException',
  'SerializationException',
  'EntityTooLarge',
  'InvalidArgument',
  'KeyTooLongError',
]);

/** `what` names the request and the table or bucket, such as "UpdateItem of table 'x'". It never holds content. */
export function toEventLogError(cause: unknown, what: string): EventLogError {
  const name = cause instanceof Error ? cause.name : 'unknown';
  if (THROTTLED.has(name)) {
    return new EventLogError('throttled', `${what} was throttled by AWS (${name}).`, {
      cause,
      details: { awsError: name },
    });
  }
  if (MISSING.has(name)) {
    return new EventLogError(
      'storage_unavailable',
      `${what} failed: it does not exist in this Region (${name}). Is the stack deployed?`,
      {
        cause,
        retry: 'never',
        outcome: 'not_applied',
        details: { awsError: name },
      },
    );
  }
  if (DENIED.has(name)) {
    return new EventLogError(
      'storage_unavailable',
      `${what} was refused: the role has no permission for it, or no valid credentials (${name}).`,
      {
        cause,
        retry: 'never',
        outcome: 'not_applied',
        details: { awsError: name },
      },
    );
  }
  if (INVALID.has(name)) {
    return new EventLogError('invalid_request', `${what} was refused as invalid (${name}).`, {
      cause,
      details: { awsError: name },
    });
  }
  // Timeouts, resets, and errors of the service: the request may have been applied.
  return new EventLogError('storage_unavailable', `${what} was not answered with certainty (${name}).`, {
    cause,
    details: { awsError: name },
  });
}
