/** Turns the errors of the AWS SDK into `EventLogError`, and repeats the requests that may be repeated. */
import { type ErrorCode, EventLogError, type Outcome, type Retry } from '../log/errors.ts';
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
 * Runs a request until it succeeds or fails permanently, at most four times. `request` gets whether an earlier attempt may have
 * been applied.
 *
 * The SDK's own retries are switched off (`maxAttempts: 1`). A rejected attempt says nothing about an earlier attempt whose
 * reply was lost, so the outcome of the whole is unknown as soon as the outcome of one attempt is.
 */
export async function withRetries<T>(
  { clock, random }: AwsAdapterOptions,
  what: string,
  request: (mayBeApplied: boolean) => Promise<T>,
): Promise<T> {
  let uncertain = false;
  for (let tries = 1; ; tries++) {
    try {
      return await request(uncertain);
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

/** What AWS, its SDK or the network said, and what that means here. */
interface Failure {
  /** Names of errors, or their codes if they have no name of their own. */
  readonly names: readonly string[];
  readonly code: ErrorCode;
  /** Default: as `ERROR_CODES` has it. */
  readonly retry?: Retry;
  readonly outcome?: Outcome;
  /** The end of the sentence that the request begins; `place` is the host that was not reached. */
  message(name: string, place: string): string;
}

const THROTTLED: Failure = {
  names: [
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
  ],
  code: 'throttled',
  message: (name) => `was throttled by AWS (${name}).`,
};

const INVALID: Failure = {
  names: ['ValidationException', 'SerializationException', 'EntityTooLarge', 'InvalidArgument', 'KeyTooLongError'],
  code: 'invalid_request',
  message: (name) => `was refused as invalid (${name}).`,
};

/** Nothing but a change to the deployment, the environment or the role helps. */
const MISCONFIGURED = { code: 'storage_unavailable', retry: 'never', outcome: 'not_applied' } as const;

/** The connection was never made, so the request was never sent. It may be made later. */
const UNREACHABLE = { code: 'storage_unavailable', retry: 'as_is', outcome: 'not_applied' } as const;

/** How the SDK says that it has no Region: by a message only. */
const NO_REGION = 'Region is missing';

const FAILURES: readonly Failure[] = [
  THROTTLED,
  INVALID,
  {
    ...MISCONFIGURED,
    names: ['ResourceNotFoundException', 'NoSuchBucket'],
    message: (name) =>
      `failed: it does not exist in this account and Region (${name}). Check its name and AWS_REGION, and that the stack is deployed.`,
  },
  {
    ...MISCONFIGURED,
    names: ['AccessDenied', 'AccessDeniedException', 'AllAccessDisabled'],
    message: (name) => `was refused: these credentials have no permission for it (${name}).`,
  },
  {
    ...MISCONFIGURED,
    names: ['KMS.DisabledException', 'KMS.KMSInvalidStateException', 'KMS.NotFoundException'],
    message: (name) =>
      `was refused: the encryption key cannot be used (${name}). Enable the key, or cancel its deletion; nothing is lost until it is deleted.`,
  },
  {
    ...MISCONFIGURED,
    names: ['ExpiredToken', 'ExpiredTokenException'],
    message: (name) => `was refused: the AWS credentials have expired (${name}). Get new ones and start again.`,
  },
  {
    ...MISCONFIGURED,
    names: [
      'IncompleteSignature',
      'InvalidAccessKeyId',
      'InvalidSignatureException',
      'MissingAuthenticationToken',
      'MissingAuthenticationTokenException',
      'SignatureDoesNotMatch',
      'UnrecognizedClientException',
    ],
    message: (name) =>
      `was refused: AWS does not accept these credentials (${name}). Check them, AWS_REGION, and the clock of this machine.`,
  },
  {
    ...MISCONFIGURED,
    names: ['CredentialsProviderError', 'TokenProviderError'],
    message: (name) =>
      `was not sent: there are no AWS credentials (${name}). Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the function or machine a role.`,
  },
  {
    ...MISCONFIGURED,
    names: [NO_REGION],
    message: () => 'was not sent: there is no AWS Region. Set AWS_REGION, such as AWS_REGION=us-east-1.',
  },
  {
    ...MISCONFIGURED,
    names: [
      'CERT_HAS_EXPIRED',
      'DEPTH_ZERO_SELF_SIGNED_CERT',
      'ERR_TLS_CERT_ALTNAME_INVALID',
      'SELF_SIGNED_CERT_IN_CHAIN',
      'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    ],
    message: (name) =>
      `was not sent: this process does not trust the certificate of the server (${name}). If a proxy answers for AWS, set NODE_EXTRA_CA_CERTS to its certificate.`,
  },
  {
    ...UNREACHABLE,
    names: ['ECONNREFUSED'],
    message: (name, place) =>
      `was not sent: ${place} refused the connection (${name}). If AWS_ENDPOINT_URL is set, check it, and that a server listens there.`,
  },
  {
    ...UNREACHABLE,
    names: ['ENOTFOUND', 'EAI_AGAIN'],
    message: (name, place) =>
      `was not sent: the address of ${place} was not found (${name}). Check AWS_REGION, AWS_ENDPOINT_URL if it is set, and the network.`,
  },
  {
    ...UNREACHABLE,
    names: ['EHOSTUNREACH', 'ENETUNREACH'],
    message: (name, place) => `was not sent: there is no route to ${place} (${name}). Check the network.`,
  },
];

const FAILURES_BY_NAME = new Map(FAILURES.flatMap((failure) => failure.names.map((name) => [name, failure] as const)));

/** Timeouts, resets, and errors of the service: the request may have been applied. */
const UNCERTAIN: Omit<Failure, 'names'> = {
  code: 'storage_unavailable',
  message: (name) => `may or may not have been applied: no certain answer came (${name}).`,
};

/** `what` names the request and the table or bucket, such as "UpdateItem of table 'x'". It never holds content. */
export function toEventLogError(cause: unknown, what: string): EventLogError {
  const name = failureName(cause);
  const { code, retry, outcome, message } = FAILURES_BY_NAME.get(name) ?? UNCERTAIN;
  return new EventLogError(code, `${what} ${message(name, placeOf(cause))}`, {
    cause,
    details: { awsError: name },
    ...(retry === undefined ? {} : { retry }),
    ...(outcome === undefined ? {} : { outcome }),
  });
}

function failureName(cause: unknown): string {
  if (!(cause instanceof Error)) return 'unknown';
  // Errors of AWS and its SDK have names; those of the network have codes, and those of several addresses are one.
  if (cause.name !== 'Error' && cause.name !== 'AggregateError') return cause.name;
  if ('code' in cause && typeof cause.code === 'string') return cause.code;
  return cause.message === NO_REGION ? NO_REGION : cause.name;
}

interface NetworkError extends Error {
  readonly hostname?: string;
  readonly address?: string;
  readonly port?: number;
}

/** The host that an error of the network is about. */
function placeOf(cause: unknown): string {
  const error: unknown = cause instanceof AggregateError ? cause.errors[0] : cause;
  if (!(error instanceof Error)) return 'AWS';
  const { hostname, address, port } = error as NetworkError;
  const host = hostname ?? address;
  if (host === undefined) return 'AWS';
  return port === undefined ? host : `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
