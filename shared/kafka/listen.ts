import { BlockList, createServer, isIP, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { ByteBudget } from '../broker/memory/byte-budget.ts';
import { EventLogError } from '../log/errors.ts';
import { AnswerBytes } from './answer-bytes.ts';
import { FetchSessions } from './apis/records/fetch-sessions.ts';
import { Connection, type ConnectionComponents } from './connection.ts';
import type { Gateway, RequestObserver } from './gateway.ts';
import { HANDLERS } from './handlers.ts';
import { observedHandlers } from './observed-handlers.ts';
import type { TlsSettings } from './tls.ts';

/** Silent connections are looked for so many times within the time after which they are cut. */
const LOOKS = 10;

export interface KafkaServerComponents {
  /** Default: connections are not encrypted. */
  readonly tls?: TlsSettings | undefined;
  readonly onError: (error: unknown, api: string) => void;
  /** Hears of each request. Default: nobody does. */
  readonly observer?: RequestObserver | undefined;
}

/** What all connections have done together, those that are closed included. */
export interface Traffic {
  /** Connections that are open. */
  readonly connections: number;
  /** Connections that were taken. */
  readonly accepted: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

/** The time that a client has for the handshake of TLS. */
const HANDSHAKE_MS_MAX = 30_000;

/** Listens for Kafka's clients. */
export class KafkaServer {
  readonly #server: Server;
  readonly #connections = new Map<Connection, Socket>();
  /** By their peers: the TLS handshake is not done yet. */
  readonly #handshaking = new Map<string, Socket>();
  #gateway: Gateway | undefined;
  #accepted = 0;
  /** Of the connections that are closed. */
  #bytesRead = 0;
  #bytesWritten = 0;
  #onLastClosed: (() => void) | undefined;

  /** @throws Error of OpenSSL (certificate, key) */
  constructor({ onError, tls, observer }: KafkaServerComponents) {
    let shared: Omit<ConnectionComponents, 'socket'> | undefined;
    const accept = (socket: Socket): void => {
      this.#handshaking.delete(peerOf(socket));
      const gateway = this.#gateway;
      if (gateway === undefined || this.#connections.size >= gateway.settings.connectionsMax) {
        socket.destroy();
        return;
      }
      shared ??= {
        gateway,
        handlers: observer === undefined ? HANDLERS : observedHandlers(HANDLERS, observer, gateway.clock),
        requestBytes: new ByteBudget(gateway.settings.requestBytesMax),
        answerBytes: new AnswerBytes(gateway.settings.answerBytesMax),
        fetchSessions: new FetchSessions(gateway.settings.fetchSessionBytesMax, gateway.random),
        onError,
      };
      const connection = new Connection({ ...shared, gateway: asReached(gateway, socket), socket });
      this.#connections.set(connection, socket);
      this.#accepted++;
      socket.once('close', () => {
        this.#connections.delete(connection);
        this.#bytesRead += socket.bytesRead;
        this.#bytesWritten += socket.bytesWritten;
        if (this.#connections.size === 0) this.#onLastClosed?.();
      });
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
          ? `Port ${port} of ${host} is taken. Choose another for Kafka's clients (--kafka-port), or 0 for any free one.`
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
    void this.#cutSilent(gateway);
  }

  async #cutSilent({ clock, settings, stopping }: Gateway): Promise<void> {
    while (!stopping.aborted) {
      await clock.sleep(Math.min(settings.idleMs, settings.frameMs, settings.stuckMs) / LOOKS, stopping);
      for (const connection of this.#connections.keys()) connection.cutIfSilent();
    }
  }

  /** Takes no new connections, and resolves when every request that has come is answered. */
  async finish(): Promise<void> {
    this.#server.close();
    // They have asked for nothing yet.
    for (const socket of this.#handshaking.values()) socket.destroy();
    await Promise.all(
      [...this.#connections].map(async ([connection, socket]) => {
        await connection.finish();
        // What a client has sent and nobody read would make the system reset the connection, answers and all, when it is
        // closed; and only who reads learns that the client has hung up.
        socket.removeAllListeners('data').resume();
      }),
    );
  }

  /** Resolves when the last client has hung up. After `finish` they do, unless they are stuck. */
  async closed(): Promise<void> {
    if (this.#connections.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#onLastClosed = resolve;
    });
  }

  traffic(): Traffic {
    let [bytesRead, bytesWritten] = [this.#bytesRead, this.#bytesWritten];
    for (const socket of this.#connections.values()) {
      bytesRead += socket.bytesRead;
      bytesWritten += socket.bytesWritten;
    }
    return { connections: this.#connections.size, accepted: this.#accepted, bytesRead, bytesWritten };
  }

  cut(): void {
    for (const connection of this.#connections.keys()) connection.cut();
    for (const socket of this.#handshaking.values()) socket.destroy();
  }
}

function tlsOptions({ cert, key }: TlsSettings): TlsOptions {
  const pem = { cert: Buffer.from(cert), key: Buffer.from(key) };
  return { ...pem, minVersion: 'TLSv1.2', handshakeTimeout: HANDSHAKE_MS_MAX };
}

/** Addresses that stand for all of this machine's. They lead every other machine to itself. */
const ANY_ADDRESS = new BlockList();
ANY_ADDRESS.addAddress('0.0.0.0', 'ipv4');
ANY_ADDRESS.addAddress('::', 'ipv6');

/** A gateway that listens on every address tells each client the one at which it has reached it. */
function asReached(gateway: Gateway, { localAddress }: Socket): Gateway {
  const { self } = gateway;
  const family = isIP(self.host);
  if (localAddress === undefined || family === 0) return gateway;
  if (!ANY_ADDRESS.check(self.host, family === 6 ? 'ipv6' : 'ipv4')) return gateway;
  // Where IPv6 serves IPv4 too, the address of IPv4 is written within one of IPv6.
  const reached = { ...self, host: localAddress.replace(/^::ffff:(?=[\d.]+$)/, '') };
  return {
    ...gateway,
    self: reached,
    nodes: () => gateway.nodes().map((node) => (node.nodeId === self.nodeId ? reached : node)),
  };
}

/** The same for a connection with TLS and for what is below it. */
function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
