import { ByteFormatError } from '../../log/bytes.ts';
import type { MessageReader, MessageWriter } from './message-bytes.ts';

/**
 * The types that Kafka's messages are made of (https://kafka.apache.org/protocol, "Protocol Primitive Types"). A type is
 * described once; `at` makes what reads and writes it in one version of a message.
 */

/** How a value is encoded in one version of a message. */
export interface Form {
  readonly version: number;
  /** Lengths are varints, and every struct ends with tagged fields (KIP-482). */
  readonly flexible: boolean;
  readonly nullable: boolean;
}

export interface Codec<Read, Written> {
  /** @throws ByteFormatError */
  read(from: MessageReader): Read;
  write(to: MessageWriter, value: Written): void;
}

/** What a type consists of: documentation and checks of the layouts are made from it. */
export type Layout =
  | { readonly kind: 'primitive'; readonly name: string }
  | { readonly kind: 'array'; readonly of: Layout }
  | { readonly kind: 'nullable'; readonly of: Layout; readonly from: number }
  | { readonly kind: 'struct'; readonly fields: readonly FieldLayout[] };

export interface FieldLayout {
  readonly name: string;
  readonly layout: Layout;
  /** Versions, inclusive. */
  readonly from: number;
  readonly to: number;
  readonly tag: number | undefined;
}

/** `Read` is what reading gives, `Written` what writing takes: fields with a default may be left out there. */
export interface Type<Read, Written = Read> {
  readonly layout: Layout;
  /** What a field has in versions without it. */
  readonly empty: Read;
  at(form: Form): Codec<Read, Written>;
}

function primitive(name: string): Layout {
  return { kind: 'primitive', name };
}

function fixed<T>(name: string, empty: T, codec: Codec<T, T>): Type<T> {
  return { layout: primitive(name), empty, at: () => codec };
}

export const int8 = fixed('int8', 0, { read: (from) => from.int8(), write: (to, value) => to.out.uint8(value & 0xff) });
export const int16 = fixed('int16', 0, { read: (from) => from.int16(), write: (to, value) => to.out.int16(value) });
export const int32 = fixed('int32', 0, { read: (from) => from.int32(), write: (to, value) => to.out.int32(value) });

/** Beyond ±(2^53 − 1) it is read as the nearest number, which no check of an offset or a time accepts, and written unchecked. */
export const int64 = fixed('int64', 0, {
  read: (from) => from.int32() * 0x1_0000_0000 + from.uint32(),
  write: (to, value) => {
    to.out.int32(Math.floor(value / 0x1_0000_0000));
    to.out.uint32(value >>> 0);
  },
});

export const float64 = fixed('float64', 0, {
  read: (from) => {
    const { buffer, byteOffset } = from.view(8);
    return new DataView(buffer, byteOffset).getFloat64(0);
  },
  write: (to, value) => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setFloat64(0, value);
    to.out.write(bytes);
  },
});

export const bool = fixed('bool', false, {
  read: (from) => from.uint8() !== 0,
  write: (to, value) => to.out.uint8(value ? 1 : 0),
});

/** Kafka's own text form of 16 bytes: base64url without padding, 22 characters. */
export const ZERO_UUID = 'AAAAAAAAAAAAAAAAAAAAAA';
const UUID_BYTES = 16;

export const uuid = fixed('uuid', ZERO_UUID, {
  read: (from) => Buffer.from(from.view(UUID_BYTES)).toString('base64url'),
  write: (to, value) => to.out.write(Buffer.from(value, 'base64url')),
});

const NO_BYTES = new Uint8Array(0);
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
const encoder = new TextEncoder();

export const string: Type<string> = {
  layout: primitive('string'),
  empty: '',
  at: (form) => ({
    read(from) {
      const length = readLength(from, form, 'int16');
      return (length === null ? null : decoder.decode(from.view(length))) as string;
    },
    write(to, value) {
      const bytes = value === null ? null : encoder.encode(value);
      writeLength(to, bytes === null ? null : bytes.length, form, 'int16');
      if (bytes !== null) to.out.write(bytes);
    },
  }),
};

/** Read as a view on the message. */
export const bytes: Type<Uint8Array> = {
  layout: primitive('bytes'),
  empty: NO_BYTES,
  at: (form) => ({
    read(from) {
      const length = readLength(from, form, 'int32');
      return (length === null ? null : from.view(length)) as Uint8Array;
    },
    write(to, value) {
      writeLength(to, value === null ? null : value.length, form, 'int32');
      if (value !== null) to.bytes(value);
    },
  }),
};

/** Record batches, one behind the other; none for null. Read as one view on the message, written without a copy. */
export const records: Type<readonly Uint8Array[]> = {
  layout: primitive('records'),
  empty: [],
  at: (form) => ({
    read(from) {
      const length = readLength(from, { ...form, nullable: true }, 'int32') ?? 0;
      return length === 0 ? [] : [from.view(length)];
    },
    write(to, value) {
      let length = 0;
      for (const batch of value) length += batch.length;
      writeLength(to, length, form, 'int32');
      for (const batch of value) to.bytes(batch);
    },
  }),
};

export function array<Read, Written>(type: Type<Read, Written>): Type<readonly Read[], readonly Written[]> {
  return {
    layout: { kind: 'array', of: type.layout },
    empty: [],
    at(form) {
      const codec = type.at({ ...form, nullable: false });
      return {
        read(from) {
          const count = readLength(from, form, 'int32');
          if (count === null) return null as unknown as readonly Read[];
          from.elements(count);
          const elements: Read[] = [];
          for (let i = 0; i < count; i++) elements.push(codec.read(from));
          return elements;
        },
        write(to, value) {
          writeLength(to, value === null ? null : value.length, form, 'int32');
          if (value !== null) for (const item of value) codec.write(to, item);
        },
      };
    },
  };
}

/** `from`: the first version that can hold null. */
export function nullable<Read, Written>(type: Type<Read, Written>, from = 0): Type<Read | null, Written | null> {
  return {
    layout: { kind: 'nullable', of: type.layout, from },
    empty: null,
    at: (form) => type.at({ ...form, nullable: form.version >= from }) as Codec<Read | null, Written | null>,
  };
}

/**
 * The length of a string, of bytes or of an array; `null` only where null may be. A flexible form adds 1, so that 0 is null.
 * Whether so many bytes are there is checked by who takes them.
 */
function readLength(from: MessageReader, { flexible, nullable }: Form, size: 'int16' | 'int32'): number | null {
  const length = flexible ? from.varuint() - 1 : size === 'int16' ? from.int16() : from.int32();
  if (length >= 0) return length;
  if (length === -1 && nullable) return null;
  throw new ByteFormatError(length === -1 ? 'null where a value must be' : `the length ${length}`);
}

function writeLength(
  to: MessageWriter,
  length: number | null,
  { flexible, nullable }: Form,
  size: 'int16' | 'int32',
): void {
  if (length === null && !nullable) throw new Error('null is to be written where this version has no null');
  if (flexible) to.out.varuint((length ?? -1) + 1);
  else if (size === 'int16') to.out.int16(length ?? -1);
  else to.out.int32(length ?? -1);
}
