import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  errors,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose';
import { EventLogError } from '../log/errors.ts';
import { parseScopes, type Scope } from '../log/scopes.ts';
import type { Clock } from '../storage/ports.ts';

/**
 * Checks tokens that an issuer signs (JWT, as OpenID Connect providers issue them) by the issuer's public keys. A claim
 * contains the bearer's rights in the form of an API key's scopes: one object or a list of objects.
 */
export type JwtSettings = {
  /** The required value of `iss`. */
  readonly issuer: string;
  /** The required value of `aud`; a list must contain it. */
  readonly audience: string;
  /** The claim with the scopes. Default `tailrace`. */
  readonly scopesClaim?: string | undefined;
} & (
  | { readonly keys: JSONWebKeySet }
  /** The address of the issuer's keys. `fetch` is called when keys are first needed, and again when keys change. */
  | { readonly jwksUrl: string; readonly fetch: JwksFetch }
);

export type JwksFetch = (
  url: string,
  init: {
    readonly headers: Headers;
    readonly method: 'GET';
    readonly redirect: 'manual';
    readonly signal: AbortSignal;
  },
) => Promise<Response>;

export type JwtVerdict =
  | { readonly ok: true; readonly subject: string; readonly scopes: readonly Scope[]; readonly expiresAtMs: number }
  | { readonly ok: false; readonly reason: 'invalid' | 'expired' };

/** Only signatures by private keys: otherwise an attacker could use the issuer's public key as a shared secret. */
const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];
const DEFAULT_SCOPES_CLAIM = 'tailrace';
/** The maximum difference between the issuer's clock and ours. */
const CLOCK_TOLERANCE_S = 5;
const JWKS_TIMEOUT_MS = 3_000;
/** After a failure the keys are not fetched again for this long, whatever tokens arrive. */
const JWKS_PAUSE_MS = 5_000;
/** A clock that is further back than before was set back. */
const CLOCK_STEP_MS = 1_000;

/**
 * Checks a token by `clock`. The verdict is the same for every fault, except for a token that has expired.
 * @throws EventLogError `storage_unavailable` if the issuer's keys cannot be fetched
 */
export type JwtVerifier = (token: string) => Promise<JwtVerdict>;

export function jwtVerifier(settings: JwtSettings, clock: Pick<Clock, 'nowMs'>): JwtVerifier {
  const { issuer, audience, scopesClaim = DEFAULT_SCOPES_CLAIM } = settings;
  const getKey = 'keys' in settings ? createLocalJWKSet(settings.keys) : remoteKeys(settings, clock);
  return async (token) => {
    try {
      const { payload } = await jwtVerify(token, getKey, {
        issuer,
        audience,
        algorithms: ALGORITHMS,
        currentDate: new Date(clock.nowMs()),
        clockTolerance: CLOCK_TOLERANCE_S,
        requiredClaims: ['exp'],
      });
      return {
        ok: true,
        subject: payload.sub ?? '',
        scopes: scopesOf(payload, scopesClaim),
        expiresAtMs: (Number(payload.exp) + CLOCK_TOLERANCE_S) * 1_000,
      };
    } catch (error) {
      if (error instanceof errors.JWTExpired) return { ok: false, reason: 'expired' };
      if (error instanceof errors.JOSEError) return { ok: false, reason: 'invalid' };
      throw error;
    }
  };
}

/** The scopes of a token. A claim that is missing or malformed gives no right. */
function scopesOf(payload: JWTPayload, claim: string): readonly Scope[] {
  const given = Object.hasOwn(payload, claim) ? payload[claim] : undefined;
  try {
    return parseScopes(Array.isArray(given) ? given : [given]);
  } catch {
    return [];
  }
}

function remoteKeys(
  { jwksUrl, fetch }: { readonly jwksUrl: string; readonly fetch: JwksFetch },
  clock: Pick<Clock, 'nowMs'>,
): JWTVerifyGetKey {
  let failedAtMs = Number.NEGATIVE_INFINITY;
  const isPaused = (): boolean => {
    const sinceMs = clock.nowMs() - failedAtMs;
    return sinceMs >= 0 && sinceMs < JWKS_PAUSE_MS;
  };
  const unfetched = (): JWTVerifyGetKey =>
    createRemoteJWKSet(new URL(jwksUrl), {
      timeoutDuration: JWKS_TIMEOUT_MS,
      async [customFetch](url, init) {
        if (isPaused()) throw new Error('Fetching the keys failed a moment ago.');
        return fetch(url, init);
      },
    });
  let keys = unfetched();
  let askedAtMs = Number.NEGATIVE_INFINITY;
  return async (header, token) => {
    const nowMs = clock.nowMs();
    // jose compares times of day: if the clock was set back, it would neither renew its keys nor look for new ones for as long.
    if (askedAtMs - nowMs > CLOCK_STEP_MS) keys = unfetched();
    askedAtMs = nowMs;
    try {
      return await keys(header, token);
    } catch (cause) {
      if (isAboutTheToken(cause)) throw cause;
      if (!isPaused()) failedAtMs = clock.nowMs();
      throw new EventLogError('storage_unavailable', "The keys of the tokens' issuer could not be fetched.", {
        outcome: 'not_applied',
        cause,
      });
    }
  };
}

/** Whether the error is the token's fault: it names an unknown key, names none of several, or has another kind of key. */
function isAboutTheToken(error: unknown): boolean {
  return (
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys ||
    error instanceof errors.JOSENotSupported
  );
}
