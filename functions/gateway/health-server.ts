import { createServer, type Server } from 'node:http';
import type { Clock } from '../../shared/storage/ports.ts';

export interface HealthComponents {
  readonly clock: Clock;
  /** Asks the table for something small. Rejects if it cannot be reached. */
  look(): Promise<unknown>;
}

/** A look at the table is remembered for this long, so that who asks often costs no more than a read a few seconds. */
const LOOK_MS = 5_000;
/** Load balancers send no bodies and short headers. */
const HEADERS_MS_MAX = 5_000;

/**
 * Says by HTTP, on a port of its own, how this gateway is.
 *
 * `/health` is for the load balancer and ECS: 200 while clients are served, 503 before and while draining. It does not look
 * at the table. When DynamoDB fails, it fails for all gateways at once: if they then all were unhealthy, ECS would replace
 * them one after the other, cutting every connection, and the new ones could do no more than the old.
 *
 * `/health/table` is for people and monitors: 503 also if the table cannot be reached.
 */
export class HealthServer {
  readonly #clock: Clock;
  readonly #look: HealthComponents['look'];
  readonly #server: Server;
  #looked: { readonly atMs: number; readonly isReached: Promise<boolean> } | undefined;

  state: 'starting' | 'serving' | 'draining' = 'starting';

  constructor({ clock, look }: HealthComponents) {
    this.#clock = clock;
    this.#look = look;
    this.#server = createServer(
      { headersTimeout: HEADERS_MS_MAX, requestTimeout: HEADERS_MS_MAX },
      (request, response) => {
        void this.#answer(request.method ?? '', request.url ?? '').then(({ status, body }) => {
          response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
          response.end(`${JSON.stringify(body)}\n`);
        });
      },
    );
  }

  /** Resolves to the port. @throws Error if the port is taken */
  listen(port: number, host: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => {
        const address = this.#server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : port);
      });
    });
  }

  /** 1 GetItem, unless one was sent a moment ago. */
  isTableReached(): Promise<boolean> {
    const nowMs = this.#clock.nowMs();
    if (this.#looked === undefined || Math.abs(nowMs - this.#looked.atMs) >= LOOK_MS) {
      const isReached = this.#look().then(
        () => true,
        () => false,
      );
      this.#looked = { atMs: nowMs, isReached };
    }
    return this.#looked.isReached;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #answer(method: string, url: string): Promise<{ readonly status: number; readonly body: object }> {
    const { state } = this;
    const status = state === 'serving' ? 200 : 503;
    if (method !== 'GET' && method !== 'HEAD') return { status: 405, body: { error: 'Only GET is answered here.' } };
    if (url === '/health') return { status, body: { state } };
    if (url !== '/health/table') return { status: 404, body: { error: 'Only /health and /health/table are here.' } };
    const isReached = await this.isTableReached();
    return { status: isReached ? status : 503, body: { state, table: isReached ? 'reached' : 'not_reached' } };
  }
}
