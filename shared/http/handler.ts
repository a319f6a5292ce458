import type { Broker } from '../broker/broker.ts';
import type { Clock, Random } from '../storage/ports.ts';
import type { AnswerContext } from './answer/respond.ts';
import type { Inputs, Operation, Tag } from './operation.ts';
import type { TailSettings } from './read/tail.ts';
import type { OriginSettings } from './request/origin.ts';
import type { AccessSettings, Principal } from './request/principal.ts';

export interface HttpSettings extends OriginSettings, TailSettings {
  /**
   * Whether something before the server answers the preflights of browsers and adds the CORS headers, as a Function URL
   * does. The server then adds none, and still refuses other origins.
   */
  readonly corsInFront: boolean;
  /** The version of Tailrace, as `GET /v1/health` returns it. */
  readonly version: string;
}

export const DEFAULT_HTTP_SETTINGS: HttpSettings = {
  allowedOrigins: [],
  allowedHosts: undefined,
  corsInFront: false,
  heartbeatMs: 15_000,
  lookMs: 1_000,
  tailMaxMs: undefined,
  reconnectMs: 1_000,
  version: '0.0.0',
};

/** Objects that this server itself returns at the addresses of fetch plans, if no S3 does. */
export interface SignedObjects {
  /** Whether `start`, `end`, `expires` and `signature` were signed for the key and have not expired. */
  verify(key: string, params: URLSearchParams, nowMs: number): boolean;
  get(key: string, range: { readonly start: number; readonly end: number }): Promise<Uint8Array | undefined>;
}

/** What the app works with: plain settings, and components as arguments. */
export interface HttpAppComponents {
  readonly broker: Broker;
  readonly clock: Clock;
  /** For request ids. */
  readonly random: Random;
  readonly settings?: Partial<HttpSettings>;
  /** Serve only the operations with these tags. Default: all. */
  readonly tags?: readonly Tag[] | undefined;
  /** Who may do what. Default: everybody everything. */
  readonly access?: AccessSettings | undefined;
  readonly signedObjects?: SignedObjects | undefined;
  /** Aborted when the server begins to stop: live tails and waiting reads end, and new requests are rejected. */
  readonly stopping?: AbortSignal | undefined;
  /** Called with what no problem can say: bugs, whose text stays inside, and failures after the status was sent. */
  readonly onError?: ((error: unknown, requestId: string) => void) | undefined;
}

export interface HttpContext extends Omit<HttpAppComponents, 'settings' | 'onError'> {
  readonly settings: HttpSettings;
  readonly onError: (error: unknown, requestId: string) => void;
}

/** One request on its way through an operation: admitted, and its path, query and headers checked. */
export interface Call<O extends Operation = Operation> extends AnswerContext, Inputs<O> {
  readonly request: Request;
  /** The authenticated caller. Already authorised for the operation on the resource in the path. */
  readonly principal: Principal;
  /** Whether it would be admitted now as well, for answers that outlive a credential; `undefined` if everybody is. */
  readonly isStillAllowed?: (() => Promise<boolean>) | undefined;
}

export type Handler<O extends Operation = Operation> = (call: Call<O>) => Response | Promise<Response>;

/** The handlers of an area's operations. */
export type Handlers<Operations extends Readonly<Record<string, Operation>>> = {
  readonly [Id in keyof Operations]: Handler<Operations[Id]>;
};

/** Aborted when any of the signals is, or by the caller, which must do so at the end: that releases the signals. */
export function abortedWith(...signals: readonly (AbortSignal | undefined)[]): AbortController {
  const controller = new AbortController();
  for (const signal of signals) {
    if (signal?.aborted) controller.abort();
    signal?.addEventListener('abort', () => controller.abort(), { once: true, signal: controller.signal });
  }
  return controller;
}
