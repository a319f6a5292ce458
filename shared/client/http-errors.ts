import type { Problem } from '../http/contract.ts';
import {
  ERROR_CODES,
  type ErrorCode,
  type ErrorDetails,
  EventLogError,
  type Outcome,
  type Retry,
} from '../log/errors.ts';

/**
 * Errors over HTTP, with the codes that the log itself throws. An answer that never came, or was cut short, is
 * `storage_unavailable` with the outcome `unknown`: that code means that nobody answered, and asks for the same request
 * again, which is what a caller has to do here too. So there is no code for the network.
 */

/** No answer, or not a whole one. */
export function noWholeAnswer(origin: string, cause: unknown): EventLogError {
  const why = cause instanceof Error ? `${cause.message}${causeOf(cause)}` : String(cause);
  return new EventLogError('storage_unavailable', `${origin} gave no whole answer: ${why}.`, { cause });
}

/** Node says only "fetch failed", and the reason in its cause. */
function causeOf({ cause }: Error): string {
  if (!(cause instanceof Error)) return '';
  return ` (${'code' in cause ? String(cause.code) : cause.message})`;
}

/** The error of an answer whose status is not a success. Reads its body. */
export async function errorOfResponse(response: Response): Promise<EventLogError> {
  const body = await response.text().catch(() => '');
  const problem = problemOf(body);
  return problem === undefined ? errorOfStatus(response, body) : errorOfProblem(problem);
}

const RETRIES: readonly unknown[] = ['never', 'as_is', 'after_refresh'] satisfies Retry[];
const OUTCOMES: readonly unknown[] = ['not_applied', 'applied', 'unknown'] satisfies Outcome[];

function problemOf(body: string): Problem | undefined {
  try {
    const parsed = JSON.parse(body) as Partial<Problem> | null;
    const isProblem =
      typeof parsed === 'object' &&
      typeof parsed?.code === 'string' &&
      RETRIES.includes(parsed.retry) &&
      OUTCOMES.includes(parsed.outcome);
    return isProblem ? (parsed as Problem) : undefined;
  } catch {
    return undefined;
  }
}

/** An error of the log as the log threw it. */
export function errorOfProblem(problem: Problem): EventLogError {
  const { type: _type, title, status: _status, detail, instance, code, retry, outcome, ...rest } = problem;
  const details: Record<string, string | number | boolean | null> = {};
  for (const [name, value] of Object.entries(rest)) if (isDetail(value)) details[name] = value;
  if (instance !== undefined) details.requestId = instance;
  // A newer log may have further codes. What to do is in `retry` and `outcome`.
  if (!Object.hasOwn(ERROR_CODES, code)) details.code = code;
  const known: ErrorCode = Object.hasOwn(ERROR_CODES, code) ? code : 'internal';
  return new EventLogError(known, detail ?? title ?? code, { retry, outcome, details });
}

function isDetail(value: unknown): value is ErrorDetails[string] {
  return value === null || ['string', 'number', 'boolean'].includes(typeof value);
}

/** What proxies, gateways and AWS answer by themselves. */
const CODES_BY_STATUS: Readonly<Record<number, ErrorCode>> = {
  401: 'unauthenticated',
  403: 'access_denied',
  404: 'not_found',
  405: 'method_not_allowed',
  408: 'storage_unavailable',
  413: 'request_too_large',
  415: 'unsupported_media_type',
  429: 'throttled',
  431: 'headers_too_large',
};

function errorOfStatus(response: Response, body: string): EventLogError {
  const { status, headers } = response;
  const code = CODES_BY_STATUS[status] ?? (status >= 500 ? 'storage_unavailable' : 'invalid_request');
  const waitS = Number(headers.get('retry-after') ?? Number.NaN);
  const details = { status, ...(waitS >= 0 ? { retryAfterMs: waitS * 1_000 } : {}) };
  const said = body.trim().slice(0, 200);
  return new EventLogError(code, `The answer has the status ${status}${said === '' ? '' : `: ${said}`}`, { details });
}
