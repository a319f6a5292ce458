import type { Broker } from '../broker/broker.ts';
import type { AnswerContext } from './answer/respond.ts';
import type { TailClock, TailSettings } from './read/tail.ts';
import type { GuardSettings } from './request/origin.ts';
import type { AccessSettings, Principal } from './request/principal.ts';

export interface HttpSettings extends GuardSettings, TailSettings {
  /** Of Tailrace, as `GET /v1/health` tells it. */
  readonly version: string;
}

export const DEFAULT_HTTP_SETTINGS: HttpSettings = {
  allowedOrigins: [],
  allowedHosts: undefined,
  heartbeatMs: 15_000,
  lookMs: 1_000,
  tailMaxMs: undefined,
  reconnectMs: 1_000,
  version: '0.0.0',
};

/** Objects that this server itself hands out at the addresses of fetch plans, where no S3 does. */
export interface SignedObjects {
  /** Whether `start`, `end`, `expires` and `signature` were signed for the key and have not expired. */
  verify(key: string, params: URLSearchParams, nowMs: number): boolean;
  get(key: string, range: { readonly start: number; readonly end: number }): Promise<Uint8Array | undefined>;
}

/** What the app works with; plain settings, and components as arguments. */
export interface HttpAppParts {
  readonly broker: Broker;
  readonly clock: TailClock;
  /** For request ids. */
  readonly random: { bytes(length: number): Uint8Array };
  readonly settings?: Partial<HttpSettings>;
  /** Who may do what. Default: everybody everything. */
  readonly access?: AccessSettings | undefined;
  readonly signedObjects?: SignedObjects | undefined;
  /** Aborted when the server begins to stop: live tails and waiting reads end, and new requests are refused. */
  readonly stopping?: AbortSignal | undefined;
  /** Told of what no problem can tell: bugs, whose text stays inside, and failures after the status was sent. */
  readonly onError?: ((error: unknown, requestId: string) => void) | undefined;
}

export interface HttpContext extends Omit<HttpAppParts, 'settings' | 'onError'> {
  readonly settings: HttpSettings;
  readonly onError: (error: unknown, requestId: string) => void;
}

/** One request on its way through an operation. */
export interface Call extends AnswerContext {
  readonly request: Request;
  /** Path parameters, decoded. */
  readonly params: Readonly<Record<string, string>>;
  /** Whom it comes from; with the right that the operation takes on what its path names. */
  readonly principal: Principal;
  /** Whether it would be let in now as well, for answers that outlive a credential; `undefined` where everybody is. */
  readonly isStillAllowed?: (() => Promise<boolean>) | undefined;
}

/**
 * Aborted when any of the signals is, or by the caller, which must do so at the end: only then are they let go of.
 */
export function abortedWith(...signals: readonly (AbortSignal | undefined)[]): AbortController {
  const controller = new AbortController();
  for (const signal of signals) {
    if (signal?.aborted) controller.abort();
    signal?.addEventListener('abort', () => controller.abort(), { once: true, signal: controller.signal });
  }
  return controller;
}

export type Handler = (call: Call) => Response | Promise<Response>;
