import type { CheckedCredential, Credentials } from '../../access/credentials.ts';
import type { Broker } from '../../broker/broker.ts';
import type { Clock, Random } from '../../storage/ports.ts';

/** The SASL mechanisms, by their registered names, in the order in which they are offered. */
export const MECHANISMS = ['SCRAM-SHA-512', 'SCRAM-SHA-256', 'PLAIN', 'OAUTHBEARER'] as const;
export type Mechanism = (typeof MECHANISMS)[number];

/** Mechanisms that send the secret itself: who can read the connection can use it. */
export const CLEARTEXT_MECHANISMS: readonly Mechanism[] = ['PLAIN', 'OAUTHBEARER'];

/** What decides which mechanisms a listener can offer. */
export interface ListenerSafety {
  /** Whether nobody can read the connections: they are encrypted, or never leave the machine. */
  readonly isSafe: boolean;
  /** Whether tokens of an issuer are accepted. */
  readonly hasTokens: boolean;
}

/** Why a listener cannot offer a mechanism; `undefined` if it can. */
export function mechanismProblem(
  mechanism: string,
  { isSafe, hasTokens }: ListenerSafety,
): 'unknown' | 'no_issuer' | 'not_encrypted' | undefined {
  const known = MECHANISMS.find((each) => each === mechanism);
  if (known === undefined) return 'unknown';
  if (known === 'OAUTHBEARER' && !hasTokens) return 'no_issuer';
  return isSafe || !CLEARTEXT_MECHANISMS.includes(known) ? undefined : 'not_encrypted';
}

/** Those of the wanted mechanisms that a listener can offer, in their order; by default all that it can. */
export function offeredMechanisms(
  safety: ListenerSafety,
  wanted: readonly Mechanism[] = MECHANISMS,
): readonly Mechanism[] {
  return MECHANISMS.filter((each) => wanted.includes(each) && mechanismProblem(each, safety) === undefined);
}

/** The longest token of a client, in bytes. */
export const SASL_TOKEN_BYTES_MAX = 64 * 1024;

/** What a mechanism needs to check callers. */
export interface MechanismContext {
  readonly credentials: Credentials;
  readonly broker: Pick<Broker, 'findApiKey'>;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: Random;
  /** The same in all gateways of a log: `broker.saltSecret()`. */
  readonly saltSecret: Uint8Array;
}

/** How a token was taken: the exchange goes on, or the caller is known. */
export interface Step {
  readonly answer: Uint8Array;
  /** Set by the last step. */
  readonly credential?: CheckedCredential;
}

/** One run of a mechanism. */
export interface Exchange {
  /** @throws EventLogError `unauthenticated`, `storage_unavailable`, `throttled` */
  take(token: Uint8Array): Promise<Step>;
}

export const NO_ANSWER: Uint8Array = new Uint8Array(0);

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The token as text; `undefined` if it is not UTF-8. */
export function textOf(token: Uint8Array): string | undefined {
  try {
    return decoder.decode(token);
  } catch {
    return undefined;
  }
}
