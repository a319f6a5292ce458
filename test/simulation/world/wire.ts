import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import type { Chance } from './chance.ts';
import type { SimulatedProcess } from './simulated-process.ts';

/** What a client hears of its connection. */
export interface WireListener {
  readonly received: (bytes: Uint8Array) => void;
  /** Nothing comes any more, and nothing that is sent arrives. */
  readonly closed: () => void;
}

export interface WireParts {
  readonly process: SimulatedProcess;
  /** Schedules what does not depend on the process. */
  readonly at: (afterMs: number, run: () => void) => void;
  readonly latencyMs: number;
  readonly chance: Chance;
  readonly listener: WireListener;
  /** Takes the connection in the process. */
  readonly accept: (socket: Socket) => void;
}

/**
 * A TCP connection between a client and a process, in simulated time: bytes keep their order and come in pieces of any size; the
 * process reads when it is not frozen, and takes more than it can send only until it is told so. Either end can close it, and the
 * death of the process does. What is under way then may still arrive or not.
 */
export class Wire {
  readonly #parts: WireParts;
  readonly #socket: ProcessSocket;
  /** By the direction of travel. */
  readonly #toProcess: Uint8Array[] = [];
  readonly #toClient: Uint8Array[] = [];
  #isOpen = true;

  constructor(parts: WireParts) {
    this.#parts = parts;
    const { process, at, latencyMs, chance, accept } = parts;
    this.#socket = new ProcessSocket({
      send: (bytes) => {
        this.#toClient.push(bytes);
        at(this.#takesMs(), () => {
          const next = this.#toClient.shift();
          if (next !== undefined && this.#isOpen) parts.listener.received(next);
        });
      },
      hangUp: (losesSent) => {
        if (losesSent && chance.chance(0.5)) this.#toClient.length = 0;
        // Behind all that was sent before.
        at(latencyMs * 2, () => this.#end());
      },
      isFull: () => chance.chance(FULL_SHARE),
      whenRoom: (run) => process.later(this.#takesMs(), run),
    });
    const forget = process.onDeath(() => at(this.#takesMs(), () => this.#end()));
    this.#socket.once('close', forget);
    process.later(this.#takesMs(), () => {
      accept(this.#socket as unknown as Socket);
      this.#socket.flow();
    });
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** In pieces, each of which takes its time. */
  send(bytes: Uint8Array): void {
    const { process, chance } = this.#parts;
    for (let from = 0; from < bytes.length; ) {
      const to = chance.chance(SPLIT_SHARE) ? from + 1 + chance.below(bytes.length - from) : bytes.length;
      this.#toProcess.push(bytes.slice(from, to));
      process.later(this.#takesMs(), () => {
        const next = this.#toProcess.shift();
        if (next !== undefined) this.#socket.receive(next);
      });
      from = to;
    }
  }

  /** By the client, which hears nothing of it. The process hears of it behind what was sent before, or loses that. */
  close(): void {
    const { process, chance, latencyMs } = this.#parts;
    if (!this.#isOpen) return;
    this.#isOpen = false;
    if (chance.chance(0.5)) this.#toProcess.length = 0;
    process.later(latencyMs * 2, () => this.#socket.hearClose());
  }

  #takesMs(): number {
    return this.#parts.latencyMs * this.#parts.chance.next();
  }

  #end(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#parts.listener.closed();
  }
}

const FULL_SHARE = 0.05;
const SPLIT_SHARE = 0.2;

interface SocketParts {
  readonly send: (bytes: Uint8Array) => void;
  readonly hangUp: (losesSent: boolean) => void;
  readonly isFull: () => boolean;
  readonly whenRoom: (run: () => void) => void;
}

/** The part of a socket of Node that the gateway uses. */
class ProcessSocket extends EventEmitter {
  readonly remoteAddress = '192.0.2.1';
  destroyed = false;
  readonly #parts: SocketParts;
  #isPaused = false;
  readonly #received: Uint8Array[] = [];

  constructor(parts: SocketParts) {
    super();
    this.#parts = parts;
  }

  receive(bytes: Uint8Array): void {
    if (this.destroyed) return;
    if (this.#isPaused || this.#received.length > 0 || this.listenerCount('data') === 0) this.#received.push(bytes);
    else this.emit('data', bytes);
  }

  hearClose(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.emit('close');
  }

  write(bytes: Uint8Array): boolean {
    if (this.destroyed) return false;
    this.#parts.send(bytes.slice());
    if (!this.#parts.isFull()) return true;
    this.#parts.whenRoom(() => this.emit('drain'));
    return false;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.flow();
  }

  /** Gives out what came while nobody read. */
  flow(): void {
    while (!this.#isPaused && this.#received.length > 0 && !this.destroyed)
      this.emit('data', this.#received.shift() as Uint8Array);
  }

  end(): void {
    this.#closeHere(false);
  }

  destroySoon(): void {
    this.#closeHere(false);
  }

  destroy(): void {
    this.#closeHere(true);
  }

  #closeHere(losesSent: boolean): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.#parts.hangUp(losesSent);
    // As in Node, not within the call.
    void Promise.resolve().then(() => this.emit('close'));
  }

  setNoDelay(): void {}
  setKeepAlive(): void {}
  cork(): void {}
  uncork(): void {}
}
