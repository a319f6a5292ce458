import type { Needs, Rights } from './access/rights.ts';
import type { Session } from './access/session.ts';
import type { AnswerBytes } from './answer-bytes.ts';
import type { FetchSessions } from './apis/records/fetch-sessions.ts';
import type { Gateway } from './gateway.ts';
import type { Api, RequestOf, ResponseOf } from './protocol/api.ts';
import type { Fields } from './protocol/fields.ts';

/** One request, as its handler sees it. */
export interface Call {
  readonly gateway: Gateway;
  readonly version: number;
  readonly clientId: string;
  /** The address that the client connects from. */
  readonly clientHost: string;
  /** What the caller may do. The handler checks what it declares that it needs. */
  readonly rights: Rights;
  /** Who the caller is. */
  readonly session: Session;
  /** What this connection has done before. */
  readonly connection: ConnectionState;
  /** Those of all connections. */
  readonly fetchSessions: FetchSessions;
  /** Of all connections. */
  readonly answerBytes: AnswerBytes;
  /** Aborted when the client is gone or the gateway closes. */
  readonly signal: AbortSignal;
  /** Lets the next request of the connection begin before this one is answered. Answers keep the order of the requests. */
  readonly letNextBegin: () => void;
}

/** Thrown by a handler that ends the connection on purpose. */
export class ConnectionEnd extends Error {
  override readonly name = 'ConnectionEnd';
}

/** What lives as long as a connection. Nothing in it must outlive it. */
export class ConnectionState {
  readonly #parts = new Map<() => unknown, unknown>();

  /** The part that `make` makes, made when it is first asked for. */
  of<Part>(make: () => Part): Part {
    const known = this.#parts.get(make);
    if (known !== undefined) return known as Part;
    const part = make();
    this.#parts.set(make, part);
    return part;
  }
}

/** Answers one API. What it throws ends the connection, so it answers errors by their numbers. */
export interface Handler {
  readonly api: Api;
  readonly needs: Needs;
  /** `undefined`: nothing is answered, as for a produce request with `acks=0`. */
  readonly handle: (call: Call, request: unknown) => Promise<unknown>;
}

export function handler<Request extends Fields, Response extends Fields>(
  api: Api<Request, Response>,
  needs: Needs,
  handle: (
    call: Call,
    request: RequestOf<Api<Request, Response>>,
  ) => Promise<ResponseOf<Api<Request, Response>> | undefined>,
): Handler {
  return { api: api as unknown as Api, needs, handle: handle as Handler['handle'] };
}
