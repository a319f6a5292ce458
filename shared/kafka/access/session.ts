import { type CheckedCredential, CREDENTIAL_CACHE_MS } from '../../access/credentials.ts';
import { EventLogError } from '../../log/errors.ts';
import type { Clock } from '../../storage/ports.ts';
import { KAFKA_ERRORS, type KafkaErrorNumber } from '../error-codes.ts';
import { SASL_AUTHENTICATE } from '../protocol/messages/access/sasl-authenticate.ts';
import { SASL_HANDSHAKE } from '../protocol/messages/access/sasl-handshake.ts';
import { type Exchange, type Mechanism, type MechanismContext, NO_ANSWER, SASL_TOKEN_BYTES_MAX } from './mechanism.ts';
import { oauthBearer } from './oauth-bearer.ts';
import { plain } from './plain.ts';
import { ALL_RIGHTS, type Needs, NO_RIGHTS, Rights } from './rights.ts';
import { ScramExchange } from './scram.ts';

/** How callers of a listener show who they are. */
export interface SaslAccess extends MechanismContext {
  readonly clock: Clock;
  readonly mechanisms: readonly Mechanism[];
}

/** From the connection, or from the begin of a further authentication, to its end. */
export const AUTHENTICATION_MS_MAX = 30_000;
/** A refusal is answered no earlier, so that guesses take their time. As Kafka's connection.failed.authentication.delay.ms. */
export const REFUSAL_DELAY_MS = 100;
/** If a key can't be checked again, because the storage fails, it is trusted for this long in total. */
const TRUSTED_MS_MAX = 60_000;
/** Before a failed check is tried again. */
const CHECK_PAUSE_MS = 5_000;
/** The longest lifetime that clients get to know: they count in nanoseconds of 64 bits, or set timers of 32 bits of milliseconds. */
const LIFETIME_TOLD_MS_MAX = 7 * 24 * 3_600_000;
/** Since this version tokens come in requests of their own; before it as bare frames. */
const WRAPPED_FROM = 1;

interface Handshaken {
  readonly errorCode: KafkaErrorNumber;
  readonly mechanisms: readonly Mechanism[];
}

interface Authenticated {
  readonly errorCode: KafkaErrorNumber;
  readonly errorMessage: string | null;
  readonly authBytes: Uint8Array;
  readonly sessionLifetimeMs: number;
}

type Phase =
  | { readonly type: 'begun' }
  | {
      readonly type: 'exchange';
      readonly exchange: Exchange;
      readonly mechanism: Mechanism;
      readonly isBare: boolean;
      readonly beganAtMs: number;
    }
  | { readonly type: 'authenticated' }
  /** The connection ends with the next answer. */
  | { readonly type: 'failed' };

interface Held {
  readonly credential: CheckedCredential;
  readonly mechanism: Mechanism;
  readonly rights: Rights;
  readonly checkAgainAtMs: number;
}

/**
 * Who is at the other end of a connection. Until that is known only ApiVersions and the two SASL requests are taken. A caller
 * whose credential ends can show a newer one over the same connection (KIP-368). One failure ends the connection.
 */
export class Session {
  readonly #access: SaslAccess | undefined;
  #phase: Phase;
  #held: Held | undefined;

  /** `access`: `undefined` if every caller may do everything. */
  constructor(access: SaslAccess | undefined) {
    this.#access = access;
    this.#phase = { type: access === undefined ? 'authenticated' : 'begun' };
  }

  get isAuthenticated(): boolean {
    return this.#phase.type === 'authenticated';
  }

  /** Whether the next frame is a token without a header. */
  get takesBareTokens(): boolean {
    return this.#phase.type === 'exchange' && this.#phase.isBare;
  }

  get hasFailed(): boolean {
    return this.#phase.type === 'failed';
  }

  /**
   * The rights of a request that has come; `undefined` if it must end the connection. At times 1 GetItem.
   * @throws EventLogError `storage_unavailable`, `throttled`
   */
  admit(apiKey: number, needs: Needs): Rights | undefined | Promise<Rights | undefined> {
    const access = this.#access;
    if (access === undefined) return ALL_RIGHTS;
    if (this.#phase.type !== 'authenticated')
      return needs === 'nothing' && this.#phase.type !== 'failed' ? NO_RIGHTS : undefined;
    const held = this.#held as Held;
    if (apiKey === SASL_HANDSHAKE.key || apiKey === SASL_AUTHENTICATE.key) return NO_RIGHTS;
    const nowMs = access.clock.nowMs();
    if (nowMs >= held.credential.endsAtMs) return undefined;
    // If the clock was set back, the time to check again may be far away.
    const isChecked = nowMs >= held.credential.checkedAtMs && nowMs < held.checkAgainAtMs;
    return isChecked ? held.rights : this.#checkAgain(access, held, nowMs);
  }

  /** Only a key can end before its time. */
  async #checkAgain(access: SaslAccess, held: Held, nowMs: number): Promise<Rights | undefined> {
    const { keyId, checkedAtMs } = held.credential;
    if (keyId === undefined) return held.rights;
    try {
      this.#held = holding(await access.credentials.checkKeyAgain(keyId), held.mechanism);
      return this.#held.rights;
    } catch (error) {
      if (!(error instanceof EventLogError)) throw error;
      if (error.code === 'unauthenticated') return undefined;
      if (nowMs - checkedAtMs >= TRUSTED_MS_MAX) throw error;
      this.#held = { ...held, checkAgainAtMs: nowMs + CHECK_PAUSE_MS };
      return held.rights;
    }
  }

  /** Answers SaslHandshake. */
  async handshake(name: string, version: number): Promise<Handshaken> {
    const { mechanisms = [] } = this.#access ?? {};
    const access = this.#access;
    const mechanism = mechanisms.find((each) => each === name);
    const held = this.#held;
    const isInOrder =
      access !== undefined &&
      (this.#phase.type === 'begun' || (this.#phase.type === 'authenticated' && version >= WRAPPED_FROM));
    if (!isInOrder) return this.#refuse({ errorCode: KAFKA_ERRORS.ILLEGAL_SASL_STATE, mechanisms });
    if (mechanism === undefined)
      return this.#refuse({ errorCode: KAFKA_ERRORS.UNSUPPORTED_SASL_MECHANISM, mechanisms });
    if (held !== undefined && held.mechanism !== mechanism)
      return this.#refuse({ errorCode: KAFKA_ERRORS.ILLEGAL_SASL_STATE, mechanisms });
    this.#phase = {
      type: 'exchange',
      exchange: exchangeOf(mechanism, access),
      mechanism,
      isBare: version < WRAPPED_FROM,
      beganAtMs: access.clock.nowMs(),
    };
    return { errorCode: KAFKA_ERRORS.NONE, mechanisms };
  }

  /** Answers SaslAuthenticate. @throws EventLogError `storage_unavailable`, `throttled`: the caller may be right */
  async authenticate(token: Uint8Array): Promise<Authenticated> {
    const phase = this.#phase;
    const access = this.#access;
    if (access === undefined || phase.type !== 'exchange')
      return this.#refuse(refused(KAFKA_ERRORS.ILLEGAL_SASL_STATE, 'A SaslHandshake must come first.'));
    try {
      const { answer, credential } = await this.#take(access, phase, token);
      if (credential === undefined)
        return { errorCode: KAFKA_ERRORS.NONE, errorMessage: null, authBytes: answer, sessionLifetimeMs: 0 };
      this.#held = holding(credential, phase.mechanism);
      this.#phase = { type: 'authenticated' };
      const sessionLifetimeMs = lifetimeOf(credential, access.clock.nowMs());
      return { errorCode: KAFKA_ERRORS.NONE, errorMessage: null, authBytes: answer, sessionLifetimeMs };
    } catch (error) {
      this.#phase = { type: 'failed' };
      if (!(error instanceof EventLogError) || error.code !== 'unauthenticated') throw error;
      return this.#refuse(refused(KAFKA_ERRORS.SASL_AUTHENTICATION_FAILED, messageOf(error)));
    }
  }

  async #take(access: SaslAccess, phase: Phase & { readonly type: 'exchange' }, token: Uint8Array) {
    const nowMs = access.clock.nowMs();
    if (token.length > SASL_TOKEN_BYTES_MAX || nowMs - phase.beganAtMs >= AUTHENTICATION_MS_MAX) throw outOfBounds();
    const step = await phase.exchange.take(token);
    const other = step.credential !== undefined && this.#held?.credential.principal.id;
    if (other && other !== step.credential?.principal.id) throw outOfBounds();
    return step;
  }

  async #refuse<Answer>(answer: Answer): Promise<Answer> {
    this.#phase = { type: 'failed' };
    await this.#access?.clock.sleep(REFUSAL_DELAY_MS);
    return answer;
  }
}

function exchangeOf(mechanism: Mechanism, context: MechanismContext): Exchange {
  switch (mechanism) {
    case 'PLAIN':
      return plain(context);
    case 'OAUTHBEARER':
      return oauthBearer(context);
    case 'SCRAM-SHA-256':
      return new ScramExchange('sha256', context);
    case 'SCRAM-SHA-512':
      return new ScramExchange('sha512', context);
  }
}

function holding(credential: CheckedCredential, mechanism: Mechanism): Held {
  const { principal, checkedAtMs } = credential;
  const rights = new Rights(principal.scopes);
  return { credential, mechanism, rights, checkAgainAtMs: checkedAtMs + CREDENTIAL_CACHE_MS };
}

/** 0: for ever. */
function lifetimeOf({ endsAtMs }: CheckedCredential, nowMs: number): number {
  return endsAtMs === Number.POSITIVE_INFINITY ? 0 : Math.min(Math.max(1, endsAtMs - nowMs), LIFETIME_TOLD_MS_MAX);
}

function refused(errorCode: KafkaErrorNumber, errorMessage: string): Authenticated {
  return { errorCode, errorMessage, authBytes: NO_ANSWER, sessionLifetimeMs: 0 };
}

const INVALID = 'Authentication failed: user, password or token is not valid here.';

/** Only who has a credential learns that it has expired. */
function messageOf({ details }: EventLogError): string {
  return details.reason === 'expired' ? 'Authentication failed: the credential has expired.' : INVALID;
}

function outOfBounds(): EventLogError {
  return new EventLogError('unauthenticated', INVALID, { details: { reason: 'invalid' } });
}
