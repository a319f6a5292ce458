import { createServer, type Server } from 'node:net';
import { EventLogError } from '../log/errors.ts';
import { Connection } from './connection.ts';
import type { Gateway } from './gateway.ts';
import { HANDLERS } from './handlers.ts';
import { RequestBytes } from './request-bytes.ts';

/** So many times within the time after which a connection is idle. */
const IDLE_LOOKS = 10;

export interface KafkaServerComponents {
  readonly onError: (error: unknown, api: string) => void;
}

/** Listens for Kafka's clients. */
export class KafkaServer {
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  #gateway: Gateway | undefined;

  constructor({ onError }: KafkaServerComponents) {
    let requestBytes: RequestBytes | undefined;
    this.#server = createServer({ pauseOnConnect: false }, (socket) => {
      const gateway = this.#gateway;
      if (gateway === undefined || this.#connections.size >= gateway.settings.connectionsMax) {
        socket.destroy();
        return;
      }
      requestBytes ??= new RequestBytes(gateway.settings.requestBytesMax);
      const connection = new Connection({ gateway, socket, handlers: HANDLERS, requestBytes, onError });
      this.#connections.add(connection);
      socket.once('close', () => this.#connections.delete(connection));
    });
  }

  /** Resolves to the port. Connections are answered from `serve` on. @throws EventLogError `invalid_request` (port or host) */
  listen(port: number, host: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', (cause: NodeJS.ErrnoException) => {
        const isTaken = cause.code === 'EADDRINUSE';
        const message = isTaken
          ? `Port ${port} of ${host} is taken. Choose another with --kafka-port, or 0 for any free one.`
          : `Can't listen on ${host}:${port}: ${cause.message}.`;
        reject(
          new EventLogError('invalid_request', message, { details: { field: isTaken ? 'kafkaPort' : 'host' }, cause }),
        );
      });
      this.#server.listen(port, host, () => {
        const address = this.#server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : port);
      });
    });
  }

  serve(gateway: Gateway): void {
    this.#gateway = gateway;
    void this.#cutIdle(gateway);
  }

  async #cutIdle({ clock, settings, stopping }: Gateway): Promise<void> {
    while (!stopping.aborted) {
      await clock.sleep(settings.idleMs / IDLE_LOOKS, stopping);
      for (const connection of this.#connections) connection.cutIfIdle();
    }
  }

  /** Takes no new connections, and resolves when every request that has come is answered. */
  async finish(): Promise<void> {
    this.#server.close();
    await Promise.all([...this.#connections].map((connection) => connection.finish()));
  }

  cut(): void {
    for (const connection of this.#connections) connection.cut();
  }
}
