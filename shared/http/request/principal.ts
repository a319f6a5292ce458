import { hashOfToken, looksLikeApiKey } from '../../broker/access/api-keys.ts';
import type { Broker } from '../../broker/broker.ts';
import { EventLogError } from '../../log/errors.ts';
import { TOKEN_LENGTH_MAX } from '../../log/limits.ts';
import { ALL_SCOPES, allowsAllTopics, allowsSomeTopic, allowsTopic, type Scope } from '../../log/scopes.ts';
import type { Clock } from '../../storage/ports.ts';
import type { Operation } from '../operation.ts';
import { type JwtSettings, type JwtVerifier, jwtVerifier } from './jwt.ts';

/**
 * Who may do what. A request is let in before anything of it is looked at but its path: who it comes from (401 where that
 * can't be told), then whether they have the right that the operation takes (403). Neither looks whether a topic exists,
 * so that neither tells.
 */
export type AccessSettings =
  /** Whoever reaches the server may do everything: it listens to this machine alone, or others have looked before. */
  | { readonly mode: 'open' }
  /** By any of these that is given; with none of them nobody gets in. */
  | {
      readonly mode: 'authenticated';
      /** The keys of `POST /v1/api-keys`, as bearer tokens. Default false. */
      readonly apiKeys?: boolean;
      readonly jwt?: JwtSettings | undefined;
      /** Whom a request comes from, as those have found who handed it to us; asked where it has no bearer token. */
      readonly identity?: ((request: Request) => Principal | undefined) | undefined;
    };

export interface Principal {
  readonly id: string;
  readonly scopes: readonly Scope[];
}

/** A credential that was checked is trusted for so long: a key that is revoked works until then. */
export const CREDENTIAL_CACHE_MS = 30_000;
const CREDENTIALS_KEPT_MAX = 1_000;
const EVERYBODY: Principal = { id: 'everybody', scopes: ALL_SCOPES };

export interface AccessCheck {
  readonly mode: AccessSettings['mode'];
  /**
   * Whom the request comes from, if they may use the operation as far as its path tells; what the body names is for the
   * operation to check. @throws EventLogError `unauthenticated`, `access_denied`, `storage_unavailable`, `throttled`
   */
  admit(request: Request, operation: Operation, topic: string | undefined): Promise<Principal> | Principal;
}

export interface AccessComponents {
  readonly broker: Pick<Broker, 'verifyApiKey'>;
  readonly clock: Pick<Clock, 'nowMs'>;
}

export function createAccess(settings: AccessSettings, components: AccessComponents): AccessCheck {
  if (settings.mode === 'open') return { mode: 'open', admit: () => EVERYBODY };
  const authenticator = new Authenticator(settings, components);
  return {
    mode: 'authenticated',
    async admit(request, operation, topic) {
      if (operation.action === 'open') return NOBODY;
      const principal = await authenticator.principalOf(request);
      if (!hasRight(principal, operation, topic)) throw accessDenied();
      return principal;
    },
  };
}

/** Of operations that take no right. */
const NOBODY: Principal = { id: 'nobody', scopes: [] };

function hasRight({ scopes }: Principal, { action, topics }: Operation, topic: string | undefined): boolean {
  if (action === 'open') return true;
  if (topics === 'all') return allowsAllTopics(scopes, action);
  if (topics === 'path') return topic !== undefined && allowsTopic(scopes, action, topic);
  return allowsSomeTopic(scopes, action);
}

/** The same for every topic, be there one or not. */
export function accessDenied(): EventLogError {
  return new EventLogError('access_denied', 'This credential does not give the right to do this here.', {
    retry: 'never',
  });
}

type Authenticated = AccessSettings & { readonly mode: 'authenticated' };

interface Checked {
  readonly principal: Principal;
  readonly checkedAtMs: number;
  /** When the credential itself ends. */
  readonly endsAtMs: number;
}

class Authenticator {
  private readonly settings: Authenticated;
  private readonly components: AccessComponents;
  private readonly verifyJwt: JwtVerifier | undefined;
  /** By the token's hash, the least recently checked first. Only good ones, so that others can't drive them out. */
  private readonly checked = new Map<string, Checked>();

  constructor(settings: Authenticated, components: AccessComponents) {
    this.settings = settings;
    this.components = components;
    this.verifyJwt = settings.jwt === undefined ? undefined : jwtVerifier(settings.jwt, components.clock);
  }

  async principalOf(request: Request): Promise<Principal> {
    const token = bearerOf(request);
    if (token !== undefined) return this.bearer(token);
    const principal = this.settings.identity?.(request);
    if (principal !== undefined) return principal;
    throw unauthenticated('missing');
  }

  private async bearer(token: string): Promise<Principal> {
    const hash = hashOfToken(token);
    const nowMs = this.components.clock.nowMs();
    const known = this.checked.get(hash);
    if (known !== undefined && isFresh(known, nowMs)) return known.principal;
    this.checked.delete(hash);
    const checked = { ...(await this.check(token)), checkedAtMs: nowMs };
    this.checked.set(hash, checked);
    if (this.checked.size > CREDENTIALS_KEPT_MAX) this.checked.delete(this.checked.keys().next().value as string);
    return checked.principal;
  }

  private async check(token: string): Promise<Omit<Checked, 'checkedAtMs'>> {
    if (looksLikeApiKey(token)) {
      if (!this.settings.apiKeys) throw unauthenticated('invalid');
      const verdict = await this.components.broker.verifyApiKey(token).catch(asNotApplied);
      if (!verdict.ok) throw unauthenticated(verdict.reason === 'expired' ? 'expired' : 'invalid');
      const { id, scopes, expiresAtMs = Number.POSITIVE_INFINITY } = verdict;
      return { principal: { id: `key:${id}`, scopes }, endsAtMs: expiresAtMs };
    }
    if (this.verifyJwt === undefined) throw unauthenticated('invalid');
    const verdict = await this.verifyJwt(token);
    if (!verdict.ok) throw unauthenticated(verdict.reason);
    return {
      principal: { id: `jwt:${verdict.subject}`, scopes: verdict.scopes },
      endsAtMs: verdict.expiresAtMs,
    };
  }
}

/** A clock that was set back makes nothing last longer. */
function isFresh({ checkedAtMs, endsAtMs }: Checked, nowMs: number): boolean {
  return nowMs >= checkedAtMs && nowMs - checkedAtMs < CREDENTIAL_CACHE_MS && nowMs < endsAtMs;
}

const BEARER = /^bearer +([A-Za-z0-9._~+/-]+=*)$/i;

/** Other schemes are for others, such as AWS's signatures, which have been checked before us. */
function bearerOf({ headers }: Request): string | undefined {
  const given = headers.get('authorization');
  if (given === null || !/^bearer\b/i.test(given)) return undefined;
  const token = given.length > TOKEN_LENGTH_MAX ? undefined : BEARER.exec(given)?.[1];
  if (token === undefined) throw unauthenticated('invalid');
  return token;
}

const WHY = {
  missing: 'This takes a credential, as `Authorization: Bearer …`.',
  invalid: 'The credential is not valid here.',
  expired: 'The credential has expired.',
} as const;

function unauthenticated(reason: keyof typeof WHY): EventLogError {
  return new EventLogError('unauthenticated', WHY[reason], { details: { reason } });
}

/** What failed was to find out who asks: what they asked for was not begun. */
function asNotApplied(error: unknown): never {
  if (!(error instanceof EventLogError) || error.code === 'internal') throw error;
  const { code, message, details, retry } = error;
  throw new EventLogError(code, message, { details, retry, outcome: 'not_applied', cause: error });
}
