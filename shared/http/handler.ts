import type { Principal } from '../access/credentials.ts';
import type { Broker } from '../broker/broker.ts';
import type { MeasuredLag } from '../broker/groups/offsets/measure-lag.ts';
import type { SweptTransactions } from '../broker/transactions/sweep-transactions.ts';
import type { Clock, Random } from '../storage/ports.ts';
import type { AnswerContext } from './answer/respond.ts';
import type { Inputs, Operation, Tag } from './operation.ts';
import type { TailSettings } from './read/tail.ts';
import type { OriginSettings } from './request/origin.ts';
import type { AccessSettings } from './request/principal.ts';

export interface HttpSettings extends OriginSettings, TailSettings {
  /**
   * Whether a component in front of the server, such as a Function URL, answers browsers' preflights and adds the CORS
   * headers. The server then adds no CORS headers, but still rejects other origins.
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

/** Objects that this server itself returns at the addresses of fetch plans, if there is no S3. */
export interface SignedObjects {
  /** Whether `start`, `end`, `expires` and `signature` were signed for the key and have not expired. */
  verify(key: string, params: URLSearchParams, nowMs: number): boolean;
  get(key: string, range: { readonly start: number; readonly end: number }): Promise<Uint8Array | undefined>;
}

/** What the process that serves the app tells of itself. */
export interface ProcessMetrics {
  readonly startedAtMs: number;
  /** User and system time together. */
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  readonly heapUsedBytes: number;
  /** Between 0 and 1, since the start. */
  readonly eventLoopUtilization: number;
  readonly jobs: readonly {
    readonly name: string;
    readonly runs: number;
    readonly failures: number;
    readonly blocked: number;
    readonly lastSuccessMs: number | undefined;
  }[];
  /** As they were last measured. */
  readonly groupLags: readonly MeasuredLag[];
  /** As the last sweep has left them; `undefined` if it failed, or none has run. */
  readonly transactions: TransactionFigures | undefined;
}

export type TransactionFigures = Pick<
  SweptTransactions,
  'transactionalIds' | 'transactionsOpen' | 'transactionsLate' | 'oldestTransactionMs'
>;

/** The settings and components of the app. */
export interface HttpAppComponents {
  readonly broker: Broker;
  readonly clock: Clock;
  /** The source of request ids. */
  readonly random: Random;
  readonly settings?: Partial<HttpSettings>;
  /** The tags of the operations to serve. Default: all operations. */
  readonly tags?: readonly Tag[] | undefined;
  /** The access rules. Default: everybody may do everything. */
  readonly access?: AccessSettings | undefined;
  readonly signedObjects?: SignedObjects | undefined;
  /** For `GET /metrics`, which is served only with it: one environment of many would tell little. */
  readonly processMetrics?: (() => ProcessMetrics) | undefined;
  /** A signal that is aborted when the server begins to stop: live tails and waits end, new requests are rejected. */
  readonly stopping?: AbortSignal | undefined;
  /** Called with errors that no problem can report: bugs, whose text is not returned, and failures after the status. */
  readonly onError?: ((error: unknown, requestId: string) => void) | undefined;
}

export interface HttpContext extends Omit<HttpAppComponents, 'settings' | 'onError'> {
  readonly settings: HttpSettings;
  readonly onError: (error: unknown, requestId: string) => void;
}

/** One request to an operation. It is admitted, and its path, query and headers are checked. */
export interface Call<O extends Operation = Operation> extends AnswerContext, Inputs<O> {
  readonly request: Request;
  /** The authenticated caller. Already authorised for the operation on the resource in the path. */
  readonly principal: Principal;
  /** Checks again whether the request is admitted, for long answers; `undefined` if everybody is admitted. */
  readonly isStillAllowed?: (() => Promise<boolean>) | undefined;
}

export type Handler<O extends Operation = Operation> = (call: Call<O>) => Response | Promise<Response>;

/** The handlers of an area's operations. */
export type Handlers<Operations extends Readonly<Record<string, Operation>>> = {
  readonly [Id in keyof Operations]: Handler<Operations[Id]>;
};

/**
 * Makes a controller that is aborted when any of the signals is. The caller must abort it at the end, which releases the
 * signals.
 */
export function abortedWith(...signals: readonly (AbortSignal | undefined)[]): AbortController {
  const controller = new AbortController();
  for (const signal of signals) {
    if (signal?.aborted) controller.abort();
    signal?.addEventListener('abort', () => controller.abort(), { once: true, signal: controller.signal });
  }
  return controller;
}
