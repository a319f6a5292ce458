import type { Socket } from 'node:net';
import type { ByteBudget } from '../broker/memory/byte-budget.ts';
import { ByteFormatError } from '../log/bytes.ts';
import { SASL_TOKEN_BYTES_MAX } from './access/mechanism.ts';
import { AUTHENTICATION_MS_MAX, Session } from './access/session.ts';
import type { AnswerBytes } from './answer-bytes.ts';
import { answerUnsupportedVersion } from './apis/cluster/api-versions.ts';
import type { FetchSessions } from './apis/records/fetch-sessions.ts';
import type { Gateway } from './gateway.ts';
import { ConnectionEnd, ConnectionState, type Handler } from './handler.ts';
import { frameOf, readClientId, readRequestHeader, writeResponse } from './protocol/api.ts';
import { FrameLengthError, FrameReader } from './protocol/frames.ts';
import { MessageReader } from './protocol/message-bytes.ts';

/** Requests of one connection in work, or behind an answer that the client does not take. Kafka's clients have five in flight. */
const REQUESTS_UNANSWERED_MAX = 64;
/** Frames up to this size need no share of the budget: their number is bounded by that of the connections. */
const SMALL_FRAME_BYTES = 16 * 1024;

/** The longest frame before the caller is known: a token with its header. */
const FIRST_FRAME_BYTES_MAX = SASL_TOKEN_BYTES_MAX + 1_024;

export interface ConnectionComponents {
  readonly gateway: Gateway;
  readonly socket: Socket;
  readonly handlers: ReadonlyMap<number, Handler>;
  readonly requestBytes: ByteBudget;
  readonly fetchSessions: FetchSessions;
  readonly answerBytes: AnswerBytes;
  readonly onError: (error: unknown, api: string) => void;
}

/**
 * One client. Its requests begin in the order in which they came, and are answered in this order; one begins when the one
 * before it is answered or lets it begin. A message that can't be read ends the connection, as with Kafka.
 */
export class Connection {
  readonly #gateway: Gateway;
  readonly #socket: Socket;
  readonly #handlers: ReadonlyMap<number, Handler>;
  readonly #requestBytes: ByteBudget;
  readonly #fetchSessions: FetchSessions;
  readonly #answerBytes: AnswerBytes;
  readonly #onError: ConnectionComponents['onError'];
  readonly #frames: FrameReader;
  readonly #state = new ConnectionState();
  readonly #session: Session;
  readonly #gone = new AbortController();
  readonly #signal: AbortSignal;
  #inWork = 0;
  /** Also those whose answers wait to be sent: a client that never reads would pile them up. */
  #unanswered = 0;
  #answered: Promise<void> = Promise.resolve();
  /** The taking of frames that is under way. */
  #work: Promise<void> | undefined;
  #isEnding = false;
  #heardAtMs: number;
  /** What the frame that is being received takes of the budget. */
  #reserved = 0;
  /** Since when the client has not taken all of an answer. */
  #fullSinceMs: number | undefined;
  /** When the frame began that is being received. */
  #frameBeganAtMs: number | undefined;
  #onAuthenticated: (() => void) | undefined;

  constructor({ gateway, socket, handlers, requestBytes, fetchSessions, answerBytes, onError }: ConnectionComponents) {
    this.#gateway = gateway;
    this.#socket = socket;
    this.#handlers = handlers;
    this.#requestBytes = requestBytes;
    this.#fetchSessions = fetchSessions;
    this.#answerBytes = answerBytes;
    this.#onError = onError;
    this.#session = new Session(gateway.access);
    this.#frames = new FrameReader(this.#frameBytesMax());
    this.#signal = AbortSignal.any([this.#gone.signal, gateway.stopping]);
    this.#heardAtMs = gateway.clock.nowMs();
    if (!this.#session.isAuthenticated) void this.#endUnlessAuthenticated();
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.on('data', (chunk: Buffer) => {
      this.#heardAtMs = gateway.clock.nowMs();
      // Plain bytes: a Buffer's `slice` is no copy, and the log relies on copies.
      this.#frames.push(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length));
      this.#takeFrames();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      if (this.#work === undefined) this.#giveReserved();
      this.#gone.abort(CLIENT_IS_GONE);
      fetchSessions.endAllOf(this.#state);
    });
  }

  /** Resolves when the requests that have come are answered; no more begin. */
  async finish(): Promise<void> {
    this.#isEnding = true;
    this.#socket.pause();
    await this.#work;
    await this.#answered;
    this.#socket.end();
  }

  /**
   * Ends a connection that waits for no answer, and on which nothing came for `idleMs` or no whole frame for `frameMs`. Also one
   * that takes nothing of its answer for `stuckMs`, if there are many of them.
   */
  cutIfSilent(): void {
    const { clock, settings } = this.#gateway;
    const nowMs = clock.nowMs();
    if (this.#inWork === 0 && nowMs - this.#heardAtMs >= settings.idleMs) this.cut();
    if (this.#work === undefined && nowMs - (this.#frameBeganAtMs ?? nowMs) >= settings.frameMs) this.cut();
    if (this.#answerBytes.isScarce && nowMs - (this.#fullSinceMs ?? nowMs) >= settings.stuckMs) this.cut();
  }

  cut(): void {
    this.#socket.destroy();
  }

  #frameBytesMax(): number {
    const { frameBytesMax } = this.#gateway.settings;
    return this.#session.isAuthenticated ? frameBytesMax : Math.min(frameBytesMax, FIRST_FRAME_BYTES_MAX);
  }

  async #endUnlessAuthenticated(): Promise<void> {
    const ended = new AbortController();
    this.#onAuthenticated = () => ended.abort();
    await this.#gateway.clock.sleep(AUTHENTICATION_MS_MAX, AbortSignal.any([ended.signal, this.#gone.signal]));
    if (!ended.signal.aborted) this.#socket.destroy();
  }

  /** Takes the frames that have come, one after the other. Meanwhile nothing more is read than the system's buffer holds. */
  #takeFrames(): void {
    if (this.#work !== undefined) return;
    this.#socket.pause();
    this.#work = this.#takeAll().finally(() => {
      this.#work = undefined;
      if (this.#socket.destroyed) this.#giveReserved();
      else if (!this.#isEnding) this.#socket.resume();
    });
  }

  async #takeAll(): Promise<void> {
    try {
      for (;;) {
        const frame = this.#frames.next();
        if (this.#isEnding || this.#socket.destroyed) break;
        if (frame !== undefined) {
          const bytes = this.#reserved;
          this.#reserved = 0;
          this.#frameBeganAtMs = undefined;
          await this.#begin(frame, bytes);
        } else {
          const { announced = 0 } = this.#frames;
          if (announced <= SMALL_FRAME_BYTES || this.#reserved > 0) break;
          // The client need not hurry while there is no room.
          await this.#requestBytes.take(announced);
          this.#reserved = announced;
          this.#frameBeganAtMs = undefined;
        }
      }
      this.#frameBeganAtMs = this.#frames.isInFrame ? (this.#frameBeganAtMs ?? this.#gateway.clock.nowMs()) : undefined;
    } catch (error) {
      if (!isExpected(error)) this.#onError(error, 'unknown');
      // What was asked before is still answered.
      await this.#answered;
      this.#socket.destroy();
    }
  }

  #giveReserved(): void {
    this.#requestBytes.give(this.#reserved);
    this.#reserved = 0;
  }

  /** Resolves when the next request may begin. `bytes` are given back when it is answered. @throws ByteFormatError */
  async #begin(frame: Uint8Array, bytes: number): Promise<void> {
    try {
      await this.#read(frame, bytes);
    } catch (error) {
      this.#requestBytes.give(bytes);
      throw error;
    }
  }

  async #read(frame: Uint8Array, bytes: number): Promise<void> {
    if (this.#session.takesBareTokens) {
      await this.#readToken(frame, bytes);
      return;
    }
    const from = new MessageReader(frame);
    const { apiKey, apiVersion: version, correlationId } = readRequestHeader(from);
    const handler = this.#handlers.get(apiKey);
    if (handler === undefined) throw new ByteFormatError(`the API ${apiKey} is not known`);
    const { api } = handler;
    const admitted = this.#session.admit(apiKey, handler.needs);
    const rights = admitted instanceof Promise ? await admitted : admitted;
    if (rights === undefined) throw new ConnectionEnd();
    const [oldest, newest] = api.versions;
    if (version < oldest || version > newest) {
      const answer = answerUnsupportedVersion(api, correlationId, this.#handlers.values());
      if (answer === undefined) throw new ByteFormatError(`version ${version} of ${api.name} is not known`);
      this.#requestBytes.give(bytes);
      await this.#send(Promise.resolve(answer));
      return;
    }
    const clientId = readClientId(from, version >= api.flexible) ?? '';
    const request = api.request.at(version).read(from);
    const { promise: mayNextBegin, resolve: letNextBegin } = Promise.withResolvers<void>();
    const work = handler.handle(
      {
        gateway: this.#gateway,
        version,
        clientId,
        clientHost: this.#socket.remoteAddress ?? '',
        rights,
        session: this.#session,
        connection: this.#state,
        fetchSessions: this.#fetchSessions,
        answerBytes: this.#answerBytes,
        signal: this.#signal,
        letNextBegin,
      },
      request,
    );
    this.#inWork++;
    const answer = work
      .then((response) =>
        response === undefined ? undefined : writeResponse(api, version, correlationId, response as never),
      )
      .catch((error: unknown) => {
        // Handlers answer what they expect. After this nobody knows what was done, so the client must not get an answer.
        if (!(error instanceof ConnectionEnd)) this.#onError(error, api.name);
        this.#socket.destroy();
        return undefined;
      })
      .finally(() => {
        this.#inWork--;
        this.#requestBytes.give(bytes);
      });
    this.#unanswered++;
    const sent = this.#send(answer).then(() => {
      this.#unanswered--;
    });
    await (this.#unanswered < REQUESTS_UNANSWERED_MAX ? Promise.race([mayNextBegin, sent]) : sent);
    if (handler.needs === 'nothing') this.#followSession();
  }

  /** As clients before Kafka 1.0 send it. What fails is not answered: such an answer has no place for an error. */
  async #readToken(token: Uint8Array, bytes: number): Promise<void> {
    try {
      const { authBytes } = await this.#session.authenticate(token);
      if (this.#session.hasFailed) throw new ConnectionEnd();
      await this.#send(Promise.resolve(frameOf([authBytes])));
      this.#followSession();
    } finally {
      this.#requestBytes.give(bytes);
    }
  }

  /** After a request that may have changed who the caller is. */
  #followSession(): void {
    this.#frames.bytesMax = this.#frameBytesMax();
    if (this.#session.isAuthenticated) this.#onAuthenticated?.();
    if (!this.#session.hasFailed) return;
    this.#isEnding = true;
    this.#socket.destroySoon();
  }

  /** Sends it when all before it are sent; resolves when the client has taken so much that more can be sent. */
  #send(answer: Promise<readonly Uint8Array[] | undefined>): Promise<void> {
    const before = this.#answered;
    this.#answered = answer.then(async (chunks) => {
      if (chunks === undefined) return before;
      const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
      this.#answerBytes.hold(bytes);
      await before;
      await this.#write(chunks);
      this.#answerBytes.release(bytes);
    });
    return this.#answered;
  }

  async #write(chunks: readonly Uint8Array[]): Promise<void> {
    if (this.#socket.destroyed) return;
    this.#socket.cork();
    let hasRoom = true;
    for (const chunk of chunks) hasRoom = this.#socket.write(chunk);
    this.#socket.uncork();
    if (hasRoom) return;
    this.#fullSinceMs = this.#gateway.clock.nowMs();
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#socket.off('drain', done);
        this.#socket.off('close', done);
        resolve();
      };
      this.#socket.on('drain', done);
      this.#socket.on('close', done);
    });
    this.#fullSinceMs = undefined;
    // It has taken the answer, so it is there.
    this.#heardAtMs = this.#gateway.clock.nowMs();
  }
}

/** Whether the client is the reason, so that nobody needs to hear of it. */
function isExpected(error: unknown): boolean {
  return error instanceof FrameLengthError || error instanceof ByteFormatError || error instanceof ConnectionEnd;
}

const KEEP_ALIVE_MS = 60_000;
const CLIENT_IS_GONE = 'the client is gone';
