import { invalidField } from '../../log/errors.ts';

/**
 * The headers that tell browsers about requests of web pages from other origins (CORS). Either the server adds them, or a
 * component in front of the server, such as a Function URL. Never both, since a browser rejects an answer that has one of
 * these headers twice.
 */

/** Request headers that the API supports, or rejects rather than ignores, in addition to those that any page may send. */
export const CORS_REQUEST_HEADERS = [
  'Authorization',
  'Content-Type',
  'Content-Encoding',
  'Producer-Id',
  'Producer-Epoch',
  'Producer-Seq',
  'Idempotency-Key',
  'If-Match',
  'If-Unmodified-Since',
  'Last-Event-ID',
] as const;

/** Headers of answers that a page may read, in addition to those that any page may read. */
export const CORS_ANSWER_HEADERS = [
  'Request-Id',
  'Retry-After',
  'Allow',
  'WWW-Authenticate',
  'Tailrace-Next-Offset',
  'Tailrace-High-Watermark',
  'Tailrace-Log-Start-Offset',
] as const;

/** How long a browser may cache the answer to a preflight. */
export const CORS_MAX_AGE_S = 600;

/** Every origin. */
export const ANY_ORIGIN = '*';

/**
 * Checks origins as they are written in settings. `*` is allowed only if requests need credentials: otherwise every web page
 * that someone opens could read and change the log.
 * @throws EventLogError `invalid_request`, saying how to write the origin
 */
export function checkAllowedOrigins(
  origins: readonly string[],
  field: string,
  { needCredentials }: { readonly needCredentials: boolean },
): void {
  for (const origin of origins) {
    if (origin === ANY_ORIGIN) {
      if (needCredentials) continue;
      throw invalidField(
        field,
        `${field} can contain '*' only if requests need credentials. This server needs none, so any web page could use it. Name the origins, or require API keys.`,
      );
    }
    const remedy = wellWritten(origin);
    if (remedy !== origin) {
      const hint = remedy === undefined ? 'Write it as scheme, host and port' : `Write '${remedy}'`;
      throw invalidField(
        field,
        `${field} must contain origins such as https://console.example or http://localhost:5173, not '${origin.slice(0, 255)}'. ${hint}, as the browser sends it in Origin.`,
      );
    }
  }
}

/** The origin as a browser writes it; `undefined` if the text is not an origin. */
function wellWritten(origin: string): string | undefined {
  const url = URL.canParse(origin) ? new URL(origin) : undefined;
  if (url === undefined || url.host === '') return undefined;
  if (url.protocol === 'http:' || url.protocol === 'https:') {
    return url.username === '' && url.password === '' && !url.host.includes('*') ? url.origin : undefined;
  }
  // Pages of an application or a browser extension, such as capacitor://localhost.
  return `${url.protocol}//${url.host.toLowerCase()}`;
}

/**
 * Checks host names as they are written in settings: without scheme, port and path.
 * @throws EventLogError `invalid_request`
 */
export function checkAllowedHosts(hosts: readonly string[], field: string): void {
  for (const host of hosts) {
    if (/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(host) || /^\[[0-9a-f:.]+\]$/i.test(host)) continue;
    throw invalidField(
      field,
      `${field} must contain host names such as log.example or [2001:db8::1], without scheme, port, path and '*', not '${host.slice(0, 255)}'.`,
    );
  }
}
