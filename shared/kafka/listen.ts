import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { ByteBudget } from '../broker/memory/byte-budget.ts';
import { EventLogError } from '../log/errors.ts';
import { FetchSessions } from './apis/records/fetch-sessions.ts';
import { Connection } from './connection.ts';
import type { Gateway } from './gateway.ts';
import { HANDLERS } from './handlers.ts';

/** So many times within the time after which a connection is idle. */
const IDLE_LOOKS = 10;

/** A certificate with its chain, and its private key, as PEM. */
export interface TlsSettings {
  readonly cert: string | Uint8Array;
  readonly key: string | Uint8Array;
}

export interface KafkaServerComponents {
  /** Default: connections are not encrypted. */
  readonly tls?: TlsSettings | undefined;
  readonly onError: (error: unknown, api: string) => void;
}

/** The time that a client has for the handshake of TLS. */
const HANDSHAKE_MS_MAX = 30_000;

/** Listens for Kafka's clients. */
export class KafkaServer {
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  /** By their peers: the TLS handshake is not done yet. */
  readonly #handshaking = new Map<string, Socket>();
  #gateway: Gateway | undefined;

  /** @throws Error of OpenSSL (certificate, key) */
  constructor({ onError, tls }: KafkaServerComponents) {
    let requestBytes: ByteBudget | undefined;
    let fetchSessions: FetchSessions | undefined;
    const accept = (socket: Socket): void => {
      this.#handshaking.delete(peerOf(socket));
      const gateway = this.#gateway;
      if (gateway === undefined || this.#connections.size >= gateway.settings.connectionsMax) {
        socket.destroy();
        return;
      }
      requestBytes ??= new ByteBudget(gateway.settings.requestBytesMax);
      fetchSessions ??= new FetchSessions(gateway.settings.fetchSessionBytesMax, gateway.random);
      const shared = { gateway, handlers: HANDLERS, requestBytes, fetchSessions, onError };
      const connection = new Connection({ ...shared, socket });
      this.#connections.add(connection);
      socket.once('close', () => this.#connections.delete(connection));
    };
    this.#server =
      tls === undefined
        ? createServer(accept)
        : createTlsServer(tlsOptions(tls), accept).on('connection', (socket: Socket) => this.#noteHandshake(socket));
  }

  #noteHandshake(socket: Socket): void {
    const peer = peerOf(socket);
    this.#handshaking.set(peer, socket);
    socket.once('close', () => this.#handshaking.delete(peer));
    const count = this.#connections.size + this.#handshaking.size;
    if (count > (this.#gateway?.settings.connectionsMax ?? 0)) socket.destroy();
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
    // They have asked for nothing yet.
    for (const socket of this.#handshaking.values()) socket.destroy();
    await Promise.all([...this.#connections].map((connection) => connection.finish()));
  }

  cut(): void {
    for (const connection of this.#connections) connection.cut();
    for (const socket of this.#handshaking.values()) socket.destroy();
  }
}

function tlsOptions({ cert, key }: TlsSettings): TlsOptions {
  const pem = { cert: Buffer.from(cert), key: Buffer.from(key) };
  return { ...pem, minVersion: 'TLSv1.2', handshakeTimeout: HANDSHAKE_MS_MAX };
}

/** The same for a connection with TLS and for what is below it. */
function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
