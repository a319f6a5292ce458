import type { Server, ServerResponse } from 'node:http';
import { type AddressInfo, Server as NetServer, type Socket } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { EventLogError } from '../log/errors.ts';
import { systemClock } from '../storage/system/clock.ts';
import { refuseClient } from './refuse-client.ts';

/**
 * A client that is just sending a request when closing begins gets an answer that says `Connection: close`, rather than a
 * reset, which would leave it guessing whether its append was applied. So the server listens until no connection has come
 * for `QUIET_MS`, and a connection stays open that long after its last answer, or `FIRST_REQUEST_MS` if nothing was received
 * on it yet.
 */
const QUIET_MS = 100;
const FIRST_REQUEST_MS = 1_000;
/** Clients that never stop to connect are not waited for. */
const LISTEN_MS_MAX = 1_000;
const LOOK_MS = 20;

export interface HttpServerOptions {
  readonly fetch: (request: Request) => Response | Promise<Response>;
  /** The process is the server's own: it may replace the global Request and Response. */
  readonly ownProcess: boolean;
}

/** Node's HTTP server for the app, which can be closed without losing an answer. */
export class LocalHttpServer {
  private readonly server: Server;
  /** Each with when it was opened. */
  private readonly sockets = new Map<Socket, number>();
  /** Answers that are not yet handed to the system as a whole, in the order of their requests. */
  private readonly answers = new Set<ServerResponse>();
  /** When closing began, by the monotonic clock. */
  private closingSinceMs: number | undefined;
  private lastConnectionMs = 0;
  /** When the last answer on a connection was out, if that was since closing began. */
  private readonly answeredAtMs = new WeakMap<Socket, number>();

  constructor({ fetch, ownProcess }: HttpServerOptions) {
    this.server = createAdaptorServer({ fetch, overrideGlobalObjects: ownProcess }) as Server;
    this.server.on('connection', (socket: Socket) => {
      this.lastConnectionMs = performance.now();
      this.sockets.set(socket, this.lastConnectionMs);
      socket.once('close', () => this.sockets.delete(socket));
    });
    this.server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => this.refuse(error, socket));
    // Before the app's own listener, which may answer at once.
    this.server.prependListener('request', (_, answer: ServerResponse) => {
      if (this.closingSinceMs !== undefined) endConnectionWith(answer);
      this.answers.add(answer);
      answer.once('close', () => {
        this.answers.delete(answer);
        if (this.closingSinceMs !== undefined) this.answeredAtMs.set(answer.req.socket, performance.now());
      });
    });
  }

  /** Resolves to the base URL. @throws EventLogError `invalid_request` (port or host) */
  listen(port: number, host: string): Promise<string> {
    return new Promise((resolve, reject) => {
      this.server.once('error', (cause: NodeJS.ErrnoException) => {
        const taken = cause.code === 'EADDRINUSE';
        const what = taken
          ? `Port ${port} of ${host} is taken. Choose another with --port, or 0 for any free one.`
          : `Can't listen on ${host}:${port}: ${cause.message}.`;
        reject(new EventLogError('invalid_request', what, { details: { field: taken ? 'port' : 'host' }, cause }));
      });
      this.server.listen(port, host, () => {
        const bound = this.server.address() as AddressInfo;
        const name = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address;
        resolve(`http://${name}:${bound.port}`);
      });
    });
  }

  /**
   * Every answer from now on ends its connection. Resolves when the server no longer listens, the last answer is out, and
   * the last connection is closed. The caller must tell the app to reject new requests.
   */
  async finish(): Promise<void> {
    const sinceMs = performance.now();
    this.closingSinceMs = sinceMs;
    for (const answer of this.answers) endConnectionWith(answer);
    let closed: Promise<void> | undefined;
    let open = true;
    while (open) {
      const pause = new AbortController();
      const paused = systemClock.sleep(LOOK_MS, pause.signal);
      await (closed === undefined ? paused : Promise.race([closed, paused]));
      pause.abort();
      await afterReading();
      const nowMs = performance.now();
      const quietMs = nowMs - Math.max(sinceMs, this.lastConnectionMs);
      if (quietMs >= QUIET_MS || nowMs - sinceMs >= LISTEN_MS_MAX) {
        closed ??= this.stopListening().then(() => {
          open = false;
        });
      }
      this.endIdleConnections(sinceMs, nowMs);
    }
    // Lets go of the server's own timer.
    this.server.close();
  }

  /** Resolves when the last connection is closed. */
  private stopListening(): Promise<void> {
    // `close` of an HTTP server would first destroy connections whose answer is written, though not all of it is sent.
    return new Promise((resolve) => NetServer.prototype.close.call(this.server, () => resolve()));
  }

  /** Ends all connections, whatever is under way on them. */
  cut(): void {
    for (const socket of this.sockets.keys()) socket.destroy();
  }

  /**
   * What is not HTTP ends its connection, but behind the answers that the client still waits for: it would take a refusal for
   * one of them, whatever became of that request.
   */
  private refuse(error: NodeJS.ErrnoException, socket: Socket): void {
    const answers = [...this.answers].filter(({ req }) => req.socket === socket);
    const last = answers.findLast(({ req }) => req.complete);
    if (last === undefined || !socket.writable) refuseClient(error, socket);
    else if (answers.some(({ headersSent }) => headersSent)) socket.destroy();
    else endConnectionWith(last);
  }

  private endIdleConnections(sinceMs: number, nowMs: number): void {
    const busy = new Set([...this.answers].map(({ req }) => req.socket));
    for (const [socket, connectedAtMs] of this.sockets) {
      if (busy.has(socket)) continue;
      const idleMs = nowMs - Math.max(sinceMs, connectedAtMs, this.answeredAtMs.get(socket) ?? 0);
      if (idleMs >= (socket.bytesRead === 0 ? FIRST_REQUEST_MS : QUIET_MS)) socket.destroy();
    }
  }
}

function endConnectionWith(answer: ServerResponse): void {
  if (!answer.headersSent) answer.setHeader('Connection', 'close');
}

/** Once all that has arrived by now was read: a busy process may have requests waiting in its connections. */
function afterReading(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
