import { EventLogError } from '../../log/errors.ts';
import { ANY_ORIGIN } from './cors.ts';

/**
 * Decides who may use a server that needs no credentials. Any web page can make a browser send requests to 127.0.0.1. Two
 * headers reveal such requests. Pages cannot remove `Origin` from requests that change something. `Host` names the page's
 * own site if the site's name was pointed at this machine (DNS rebinding).
 */
export interface OriginSettings {
  /** Origins besides the server's own, such as `https://console.example`, whose pages may use the API. `*`: all. */
  readonly allowedOrigins: readonly string[];
  /** If given, the server answers only under these host names and those of this machine. */
  readonly allowedHosts?: readonly string[] | undefined;
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

/**
 * Returns the request's origin for the CORS headers, if it belongs to another site that may read the answer.
 * @throws EventLogError `access_denied`
 */
export function checkOrigin(request: Request, settings: OriginSettings): string | undefined {
  const host = hostOf(request);
  if (settings.allowedHosts !== undefined) checkHost(host, settings.allowedHosts);
  const origin = request.headers.get('origin');
  if (origin === null) return undefined;
  if (settings.allowedOrigins.includes(origin) || settings.allowedOrigins.includes(ANY_ORIGIN)) return origin;
  // A proxy may terminate TLS for us, so the scheme says nothing.
  if (/^https?:\/\//.test(origin) && origin.slice(origin.indexOf('//') + 2) === host) return undefined;
  throw new EventLogError(
    'access_denied',
    `Web pages of the origin '${origin.slice(0, 255)}' may not use this server. To allow them, add the origin to allowedOrigins (locally --allow-origin).`,
    { retry: 'never' },
  );
}

function checkHost(host: string, allowed: readonly string[]): void {
  const name = host.replace(/:\d+$/, '').toLowerCase();
  if (LOOPBACK.test(name) || allowed.some((one) => one.toLowerCase() === name)) return;
  throw new EventLogError(
    'access_denied',
    `This server does not answer under the host name '${name.slice(0, 255)}', only under localhost and the names in allowedHosts (locally --allow-host).`,
    { retry: 'never' },
  );
}

/** The host with its port: from the `Host` header, or from the URL if the runtime has no such header. */
function hostOf(request: Request): string {
  return request.headers.get('host') ?? new URL(request.url).host;
}
