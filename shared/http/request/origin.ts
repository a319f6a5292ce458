import { EventLogError } from '../../log/errors.ts';
import { ANY_ORIGIN } from './cors.ts';

/**
 * Who may talk to a server that asks for no credentials. Any web page can make a browser send requests to 127.0.0.1; what
 * tells them apart is `Origin`, which pages can't leave out of requests that change something, and `Host`, which names the
 * page's own site when its name was pointed at this machine (DNS rebinding).
 */
export interface OriginSettings {
  /** Origins besides the server's own, such as `https://console.example`, whose pages may use the API. `*`: all. */
  readonly allowedOrigins: readonly string[];
  /** Where given, the only host names, besides those of this machine, under which the server answers. */
  readonly allowedHosts?: readonly string[] | undefined;
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

/**
 * The request's origin where it is one of another site that may read the answer, for the CORS headers.
 * @throws EventLogError `access_denied`
 */
export function checkOrigin(request: Request, settings: OriginSettings): string | undefined {
  const host = hostOf(request);
  if (settings.allowedHosts !== undefined) checkHost(host, settings.allowedHosts);
  const origin = request.headers.get('origin');
  if (origin === null) return undefined;
  if (settings.allowedOrigins.includes(origin) || settings.allowedOrigins.includes(ANY_ORIGIN)) return origin;
  // A proxy may speak TLS for us, so that the scheme says nothing.
  if (/^https?:\/\//.test(origin) && origin.slice(origin.indexOf('//') + 2) === host) return undefined;
  throw new EventLogError(
    'access_denied',
    `Web pages of the origin '${origin.slice(0, 255)}' may not use the server. Its allowedOrigins (locally --allow-origin) name those that may, besides its own.`,
    { retry: 'never' },
  );
}

function checkHost(host: string, allowed: readonly string[]): void {
  const name = host.replace(/:\d+$/, '').toLowerCase();
  if (LOOPBACK.test(name) || allowed.some((one) => one.toLowerCase() === name)) return;
  throw new EventLogError(
    'access_denied',
    `The server does not answer under the host name '${name.slice(0, 255)}', only under localhost and its allowedHosts (locally --allow-host).`,
    { retry: 'never' },
  );
}

/** With its port. The `Host` header, or that of the URL where a runtime has no such header. */
function hostOf(request: Request): string {
  return request.headers.get('host') ?? new URL(request.url).host;
}
