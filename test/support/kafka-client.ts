import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Api } from '../../shared/kafka/protocol/api.ts';
import type { Fields, ReadOf, WrittenOf } from '../../shared/kafka/protocol/fields.ts';
import { FrameReader } from '../../shared/kafka/protocol/frames.ts';
import { MessageReader, MessageWriter } from '../../shared/kafka/protocol/message-bytes.ts';

const FRAME_BYTES_MAX = 256 * 1024 * 1024;
const API_VERSIONS_KEY = 18;

/** The bytes of a request as a client sends it: length, header, message. */
export function requestFrame<Request extends Fields, Response extends Fields>(
  api: Api<Request, Response>,
  version: number,
  request: WrittenOf<Request>,
  { correlationId = 0, clientId = 'test' }: { correlationId?: number; clientId?: string | null } = {},
): Uint8Array {
  const to = new MessageWriter();
  to.out.int16(api.key);
  to.out.int16(version);
  to.out.int32(correlationId);
  const id = clientId === null ? null : new TextEncoder().encode(clientId);
  to.out.int16(id === null ? -1 : id.length);
  if (id !== null) to.out.write(id);
  if (version >= api.flexible) to.out.varuint(0);
  api.request.at(version).write(to, request);
  const length = Buffer.alloc(4);
  length.writeInt32BE(to.length);
  return new Uint8Array(Buffer.concat([length, ...to.finish()]));
}

/** Speaks Kafka's protocol over a socket, by the layouts of the log itself. */
export class KafkaClient {
  readonly socket: Socket;
  readonly #reader = new FrameReader(FRAME_BYTES_MAX);
  /** Frames that nobody has asked for yet. */
  readonly #frames: Uint8Array[] = [];
  readonly #waiting: ((frame: Uint8Array | undefined) => void)[] = [];
  #isClosed = false;
  #correlationId = 0;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#reader.push(new Uint8Array(chunk));
      for (let frame = this.#reader.next(); frame !== undefined; frame = this.#reader.next()) {
        const next = this.#waiting.shift();
        if (next === undefined) this.#frames.push(frame);
        else next(frame);
      }
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#isClosed = true;
      for (const next of this.#waiting.splice(0)) next(undefined);
    });
  }

  /** `bootstrapServers`: `host:port`. */
  static async connect(bootstrapServers: string): Promise<KafkaClient> {
    const { hostname, port } = new URL(`kafka://${bootstrapServers}`);
    const socket = connect(Number(port), hostname.replace(/^\[|\]$/g, ''));
    await once(socket, 'connect');
    return new KafkaClient(socket);
  }

  /** Sends a request, and resolves to its answer. @throws Error if the connection ends before */
  async request<Request extends Fields, Response extends Fields>(
    api: Api<Request, Response>,
    version: number,
    request: WrittenOf<Request>,
  ): Promise<ReadOf<Response>> {
    const correlationId = ++this.#correlationId;
    this.socket.write(requestFrame(api, version, request, { correlationId }));
    const frame = await this.nextFrame();
    if (frame === undefined) throw new Error(`The connection ended before ${api.name} was answered.`);
    return readAnswer(api, version, frame, correlationId);
  }

  /** The next frame, without its length; `undefined` if the connection ends before. */
  nextFrame(): Promise<Uint8Array | undefined> {
    const frame = this.#frames.shift();
    if (frame !== undefined || this.#isClosed) return Promise.resolve(frame);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  close(): void {
    this.socket.destroy();
  }
}

/** The answer in a frame; all of its bytes belong to it. */
export function readAnswer<Request extends Fields, Response extends Fields>(
  api: Api<Request, Response>,
  version: number,
  frame: Uint8Array,
  correlationId: number,
): ReadOf<Response> {
  const from = new MessageReader(frame);
  const answered = from.int32();
  if (answered !== correlationId) throw new Error(`The answer belongs to request ${answered}, not ${correlationId}.`);
  if (version >= api.flexible && api.key !== API_VERSIONS_KEY && from.varuint() !== 0)
    throw new Error('The header of the answer has tagged fields.');
  const answer = api.response.at(version).read(from);
  if (from.remaining > 0) throw new Error(`${from.remaining} bytes follow the answer.`);
  return answer;
}
