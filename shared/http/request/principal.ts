import { hashOfToken, looksLikeApiKey } from '../../broker/access/api-keys.ts';
import type { Broker } from '../../broker/broker.ts';
import { EventLogError } from '../../log/errors.ts';
import { TOKEN_LENGTH_MAX } from '../../log/limits.ts';
import {
  ALL_SCOPES,
  allowsAllTopics,
  allowsGroup,
  allowsSomeGroup,
  allowsSomeTopic,
  allowsTopic,
  type Scope,
} from '../../log/scopes.ts';
import type { Clock } from '../../storage/ports.ts';
import type { Operation } from '../operation.ts';
import { type JwtSettings, type JwtVerifier, jwtVerifier } from './jwt.ts';

/**
 * Decides who may do what. A request is admitted before anything except its path is examined. First the caller is
 * authenticated (otherwise 401); then the caller's right to the operation is checked (otherwise 403). Neither check looks
 * up the topic, so neither reveals whether it exists.
 */
export type AccessSettings =
  /** Every caller may do everything: the server listens only on this machine, or another component checks requests. */
  | { readonly mode: 'open' }
  /** A credential is checked by any of these means; if none is given, every request is rejected. */
  | {
      readonly mode: 'authenticated';
      /** Whether the keys of `POST /v1/api-keys` are accepted as bearer tokens. Default: false. */
      readonly apiKeys?: boolean;
      readonly jwt?: JwtSettings | undefined;
      /** Returns the caller that the component in front of us has authenticated. Called if there is no bearer token. */
      readonly identity?: ((request: Request) => Principal | undefined) | undefined;
    };

export interface Principal {
  readonly id: string;
  readonly scopes: readonly Scope[];
}

/** A checked credential is trusted for this long: a revoked key works until then. */
export const CREDENTIAL_CACHE_MS = 30_000;
const CREDENTIALS_KEPT_MAX = 1_000;
const EVERYBODY: Principal = { id: 'everybody', scopes: ALL_SCOPES };

export interface AccessCheck {
  readonly mode: AccessSettings['mode'];
  /**
   * Returns the caller, if the caller may use the operation on the path's resource. The operation itself must check the
   * topics in the body. @throws EventLogError `unauthenticated`, `access_denied`, `storage_unavailable`, `throttled`
   */
  admit(request: Request, operation: Operation, named: Named): Promise<Principal> | Principal;
}

/** What the path names. */
interface Named {
  readonly topic?: string | undefined;
  readonly group?: string | undefined;
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
    async admit(request, operation, named) {
      if (operation.action === 'open') return NOBODY;
      const principal = await authenticator.principalOf(request);
      if (!hasRight(principal, operation, named)) throw accessDenied();
      return principal;
    },
  };
}

/** The caller of operations that require no right. */
const NOBODY: Principal = { id: 'nobody', scopes: [] };

function hasRight({ scopes }: Principal, { action, topics, groups }: Operation, { topic, group }: Named): boolean {
  if (action === 'open') return true;
  if (groups === 'path') return group !== undefined && allowsGroup(scopes, action, group);
  if (groups === 'some') return allowsSomeGroup(scopes, action);
  if (topics === 'all') return allowsAllTopics(scopes, action);
  if (topics === 'path') return topic !== undefined && allowsTopic(scopes, action, topic);
  return allowsSomeTopic(scopes, action);
}

/** The error is the same for every topic, whether it exists or not. */
export function accessDenied(): EventLogError {
  return new EventLogError(
    'access_denied',
    'The credential does not have the right to this operation on this resource.',
    {
      retry: 'never',
    },
  );
}

type Authenticated = AccessSettings & { readonly mode: 'authenticated' };

interface Checked {
  readonly principal: Principal;
  readonly checkedAtMs: number;
  /** The time at which the credential expires. */
  readonly endsAtMs: number;
}

class Authenticator {
  private readonly settings: Authenticated;
  private readonly components: AccessComponents;
  private readonly verifyJwt: JwtVerifier | undefined;
  /**
   * Valid credentials by the token's hash, the least recently checked first. Invalid credentials are not cached, so that
   * they cannot displace the valid ones.
   */
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

/** If the clock moves backwards, the entry counts as expired. */
function isFresh({ checkedAtMs, endsAtMs }: Checked, nowMs: number): boolean {
  return nowMs >= checkedAtMs && nowMs - checkedAtMs < CREDENTIAL_CACHE_MS && nowMs < endsAtMs;
}

const BEARER = /^bearer +([A-Za-z0-9._~+/-]+=*)$/i;

/** The bearer token. Other schemes are not ours, such as AWS's signatures, which AWS has already checked. */
function bearerOf({ headers }: Request): string | undefined {
  const given = headers.get('authorization');
  if (given === null || !/^bearer\b/i.test(given)) return undefined;
  const token = given.length > TOKEN_LENGTH_MAX ? undefined : BEARER.exec(given)?.[1];
  if (token === undefined) throw unauthenticated('invalid');
  return token;
}

const WHY = {
  missing: 'This operation requires a credential: send `Authorization: Bearer …`.',
  invalid: 'The credential is not valid on this server.',
  expired: 'The credential has expired.',
} as const;

function unauthenticated(reason: keyof typeof WHY): EventLogError {
  return new EventLogError('unauthenticated', WHY[reason], { details: { reason } });
}

/** Authentication failed before the operation began, so nothing was applied. */
function asNotApplied(error: unknown): never {
  if (!(error instanceof EventLogError) || error.code === 'internal') throw error;
  const { code, message, details, retry } = error;
  throw new EventLogError(code, message, { details, retry, outcome: 'not_applied', cause: error });
}
