import type { Server, ServerResponse } from 'node:http';
import { type AddressInfo, Server as NetServer, type Socket } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { EventLogError } from '../log/errors.ts';
import { systemClock } from '../storage/system/clock.ts';

/**
 * Connections stay open this long after closing has begun, so that a client that is just sending a request on one gets an
 * answer that says `Connection: close`, rather than a reset that leaves it guessing whether its append was applied.
 */
const GRACE_MS = 100;
const LOOK_MS = 20;

export interface HttpServerOptions {
  readonly fetch: (request: Request) => Response | Promise<Response>;
  /** The process is the server's own: it may replace the global Request and Response. */
  readonly ownProcess: boolean;
}

/** Node's HTTP server for the app, which can be closed without losing an answer. */
export class LocalHttpServer {
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();
  /** Answers that are not yet handed to the system as a whole. */
  private readonly answers = new Set<ServerResponse>();
  private closing = false;

  constructor({ fetch, ownProcess }: HttpServerOptions) {
    this.server = createAdaptorServer({ fetch, overrideGlobalObjects: ownProcess }) as Server;
    this.server.on('connection', (socket: Socket) => {
      this.sockets.add(socket);
      socket.once('close', () => this.sockets.delete(socket));
    });
    // Before the app's own listener, which may answer at once.
    this.server.prependListener('request', (_, answer: ServerResponse) => {
      if (this.closing) endConnectionWith(answer);
      this.answers.add(answer);
      answer.once('close', () => this.answers.delete(answer));
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
   * Every answer from now on ends its connection. Takes connections for `GRACE_MS` more, then none; resolves when the last
   * answer is out and the last connection closed. The app is told by the caller to refuse new requests.
   */
  async finish(): Promise<void> {
    this.closing = true;
    for (const answer of this.answers) endConnectionWith(answer);
    await systemClock.sleep(GRACE_MS);
    await afterReading();
    let open = true;
    // `close` of an HTTP server would first destroy connections whose answer is written, though not all of it is sent.
    const closed = new Promise<void>((resolve) => NetServer.prototype.close.call(this.server, () => resolve())).then(
      () => {
        open = false;
      },
    );
    while (open) {
      this.endIdleConnections();
      const pause = new AbortController();
      await Promise.race([closed, systemClock.sleep(LOOK_MS, pause.signal)]);
      pause.abort();
    }
    // Lets go of the server's own timer.
    this.server.close();
  }

  /** Ends all connections, whatever is under way on them. */
  cut(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  private endIdleConnections(): void {
    const busy = new Set([...this.answers].map(({ req }) => req.socket));
    for (const socket of this.sockets) if (!busy.has(socket)) socket.destroy();
  }
}

function endConnectionWith(answer: ServerResponse): void {
  if (!answer.headersSent) answer.setHeader('Connection', 'close');
}

/** Once all that has arrived by now was read: a busy process may have requests waiting in its connections. */
function afterReading(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
