import { ByteFormatError } from '../../log/bytes.ts';
import { type Fields, type ReadOf, struct, type WrittenOf } from './fields.ts';
import { type MessageReader, MessageWriter } from './message-bytes.ts';
import type { Codec, Layout, Type } from './types.ts';

/** One of Kafka's APIs: its key, the versions that are spoken here, and the layouts of its two messages. */
export interface Api<Request extends Fields = Fields, Response extends Fields = Fields> {
  readonly key: number;
  readonly name: string;
  /** The oldest and the newest version, inclusive. */
  readonly versions: readonly [number, number];
  /** The first version with varint lengths and tagged fields (KIP-482). */
  readonly flexible: number;
  readonly request: Message<Request>;
  readonly response: Message<Response>;
}

export type RequestOf<A> = A extends Api<infer Request, infer _> ? ReadOf<Request> : never;
export type ResponseOf<A> = A extends Api<infer _, infer Response> ? WrittenOf<Response> : never;

/** The layout of a message in all versions. What reads and writes a version is made when it is first needed. */
class Message<F extends Fields> {
  readonly layout: Layout;
  readonly #type: Type<ReadOf<F>, WrittenOf<F>>;
  readonly #flexible: number;
  readonly #codecs = new Map<number, Codec<ReadOf<F>, WrittenOf<F>>>();

  constructor(fields: F, flexible: number) {
    this.#type = struct(fields);
    this.layout = this.#type.layout;
    this.#flexible = flexible;
  }

  /** What each field has that a version leaves out. */
  get empty(): ReadOf<F> {
    return this.#type.empty;
  }

  at(version: number): Codec<ReadOf<F>, WrittenOf<F>> {
    let codec = this.#codecs.get(version);
    if (codec === undefined) {
      codec = this.#type.at({ version, flexible: version >= this.#flexible, nullable: false });
      this.#codecs.set(version, codec);
    }
    return codec;
  }
}

export type { Message };

export interface ApiDeclaration<Request extends Fields, Response extends Fields> {
  readonly key: number;
  readonly name: string;
  readonly versions: readonly [number, number];
  /** Left out: no version is flexible. */
  readonly flexible?: number;
  readonly request: Request;
  readonly response: Response;
}

export function api<Request extends Fields, Response extends Fields>({
  key,
  name,
  versions,
  flexible = Number.POSITIVE_INFINITY,
  request,
  response,
}: ApiDeclaration<Request, Response>): Api<Request, Response> {
  return {
    key,
    name,
    versions,
    flexible,
    request: new Message(request, flexible),
    response: new Message(response, flexible),
  };
}

export interface RequestHeader {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly correlationId: number;
}

/** The part of the header that is the same in every version. @throws ByteFormatError */
export function readRequestHeader(from: MessageReader): RequestHeader {
  return { apiKey: from.int16(), apiVersion: from.int16(), correlationId: from.int32() };
}

/** The rest of the header. Its string has the old form also in flexible versions. @throws ByteFormatError */
export function readClientId(from: MessageReader, isFlexible: boolean): string | null {
  const length = from.int16();
  if (length < -1) throw new ByteFormatError(`the length ${length}`);
  const clientId = length === -1 ? null : new TextDecoder().decode(from.view(length));
  if (isFlexible) skipTagged(from);
  return clientId;
}

function skipTagged(from: MessageReader): void {
  const count = from.varuint();
  for (let i = 0; i < count; i++) {
    from.varuint();
    from.view(from.varuint());
  }
}

/** Clients ask for the versions before they know which header the server writes: their answer has always the oldest one. */
const API_VERSIONS_KEY = 18;
const FRAME_LENGTH_BYTES = 4;

/** A whole frame, ready to be sent, as chunks: length, header, message. */
export function writeResponse<Response extends Fields>(
  { key, response, flexible }: Api<Fields, Response>,
  version: number,
  correlationId: number,
  message: WrittenOf<Response>,
): Uint8Array[] {
  const to = new MessageWriter();
  to.out.int32(correlationId);
  if (version >= flexible && key !== API_VERSIONS_KEY) to.out.varuint(0);
  response.at(version).write(to, message);
  return frameOf(to.finish());
}

/** The chunks with their length before them. */
export function frameOf(chunks: readonly Uint8Array[]): Uint8Array[] {
  const length = new Uint8Array(FRAME_LENGTH_BYTES);
  new DataView(length.buffer).setInt32(
    0,
    chunks.reduce((sum, chunk) => sum + chunk.length, 0),
  );
  return [length, ...chunks];
}
