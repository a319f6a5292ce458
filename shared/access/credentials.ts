import { type ApiKeyVerdict, hashOfToken, looksLikeApiKey } from '../broker/access/api-keys.ts';
import type { Broker } from '../broker/broker.ts';
import { EventLogError } from '../log/errors.ts';
import type { Scope } from '../log/scopes.ts';
import type { Clock } from '../storage/ports.ts';
import { type JwtSettings, type JwtVerifier, jwtVerifier } from './jwt.ts';

/** Who a caller is, and what the caller may do. */
export interface Principal {
  readonly id: string;
  readonly scopes: readonly Scope[];
}

/** Which credentials are accepted. */
export interface CredentialSettings {
  /** Whether API keys are accepted. Default: false. */
  readonly apiKeys?: boolean;
  readonly jwt?: JwtSettings | undefined;
}

/** A checked credential is trusted for this long: a revoked key works until then. */
export const CREDENTIAL_CACHE_MS = 30_000;
const CREDENTIALS_KEPT_MAX = 1_000;

export interface CheckedCredential {
  readonly principal: Principal;
  /** The API key that the caller proved to have; it can be looked up again. */
  readonly keyId?: string;
  readonly checkedAtMs: number;
  /** The time at which the credential expires; `Infinity`: never. */
  readonly endsAtMs: number;
}

export interface CredentialComponents {
  readonly broker: Pick<Broker, 'verifyApiKey' | 'findApiKey'>;
  readonly clock: Pick<Clock, 'nowMs'>;
}

/** Checks API keys and tokens, for every protocol alike, and remembers for a short time which are valid. */
export class Credentials {
  readonly #settings: CredentialSettings;
  readonly #broker: CredentialComponents['broker'];
  readonly #clock: CredentialComponents['clock'];
  readonly #verifyJwt: JwtVerifier | undefined;
  /**
   * Valid credentials by the token's hash, and keys by their ids, the least recently checked first. Invalid credentials are not cached, so that
   * they cannot displace the valid ones.
   */
  readonly #checked = new Map<string, CheckedCredential>();

  constructor(settings: CredentialSettings, { broker, clock }: CredentialComponents) {
    this.#settings = settings;
    this.#broker = broker;
    this.#clock = clock;
    this.#verifyJwt = settings.jwt === undefined ? undefined : jwtVerifier(settings.jwt, clock);
  }

  /** 1 GetItem for an API key that is not remembered. @throws EventLogError `unauthenticated`, `storage_unavailable`, `throttled` */
  check(token: string): Promise<CheckedCredential> {
    return this.#remembering(hashOfToken(token), () => this.#verify(token));
  }

  /**
   * Looks up a key again whose holder has proved to have it. 1 GetItem in `CREDENTIAL_CACHE_MS`, for all connections of the
   * key. @throws EventLogError as `check`
   */
  checkKeyAgain(id: string): Promise<CheckedCredential> {
    return this.#remembering(`key ${id}`, async () => {
      const { verdict } = await this.#broker.findApiKey(id).catch(asNotApplied);
      return ofVerdict(verdict);
    });
  }

  async #remembering(
    name: string,
    check: () => Promise<Omit<CheckedCredential, 'checkedAtMs'>>,
  ): Promise<CheckedCredential> {
    const nowMs = this.#clock.nowMs();
    const known = this.#checked.get(name);
    if (known !== undefined && isFresh(known, nowMs)) return known;
    this.#checked.delete(name);
    const checked = { ...(await check()), checkedAtMs: nowMs };
    this.#checked.set(name, checked);
    if (this.#checked.size > CREDENTIALS_KEPT_MAX) this.#checked.delete(this.#checked.keys().next().value as string);
    return checked;
  }

  async #verify(token: string): Promise<Omit<CheckedCredential, 'checkedAtMs'>> {
    if (looksLikeApiKey(token)) {
      if (!this.#settings.apiKeys) throw unauthenticated('invalid');
      return ofVerdict(await this.#broker.verifyApiKey(token).catch(asNotApplied));
    }
    if (this.#verifyJwt === undefined) throw unauthenticated('invalid');
    const verdict = await this.#verifyJwt(token);
    if (!verdict.ok) throw unauthenticated(verdict.reason);
    const { subject, scopes, expiresAtMs } = verdict;
    return { principal: { id: `jwt:${subject}`, scopes }, endsAtMs: expiresAtMs };
  }
}

/** @throws EventLogError `unauthenticated` */
export function ofVerdict(verdict: ApiKeyVerdict): Omit<CheckedCredential, 'checkedAtMs'> {
  if (!verdict.ok) throw unauthenticated(verdict.reason === 'expired' ? 'expired' : 'invalid');
  const { id, scopes, expiresAtMs = Number.POSITIVE_INFINITY } = verdict;
  return { principal: { id: `key:${id}`, scopes }, keyId: id, endsAtMs: expiresAtMs };
}

/** If the clock moves backwards, the entry counts as expired. */
function isFresh({ checkedAtMs, endsAtMs }: CheckedCredential, nowMs: number): boolean {
  return nowMs >= checkedAtMs && nowMs - checkedAtMs < CREDENTIAL_CACHE_MS && nowMs < endsAtMs;
}

const WHY = {
  missing: 'This operation requires a credential: send `Authorization: Bearer …`.',
  invalid: 'The credential is not valid on this server.',
  expired: 'The credential has expired.',
} as const;

export function unauthenticated(reason: keyof typeof WHY): EventLogError {
  return new EventLogError('unauthenticated', WHY[reason], { details: { reason } });
}

/** Authentication failed before the operation began, so nothing was applied. */
function asNotApplied(error: unknown): never {
  if (!(error instanceof EventLogError) || error.code === 'internal') throw error;
  const { code, message, details, retry } = error;
  throw new EventLogError(code, message, { details, retry, outcome: 'not_applied', cause: error });
}
