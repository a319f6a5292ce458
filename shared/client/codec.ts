import { invalidField } from '../log/errors.ts';

/** Between values of a program and the bytes of keys and values. A `null` never gets here: it is stored as Kafka's null. */
export interface Codec<T> {
  /** @throws EventLogError `invalid_request`, or any other error, if the value has no such form */
  encode(value: T): Uint8Array;
  decode(bytes: Uint8Array): T;
}

/** What has a form in bytes without being told which; an object or array must be one that JSON can hold. */
export type Plain = string | number | boolean | object;

const UTF8 = new TextEncoder();
const TEXT = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const BASE64_NAME = '$base64';

/** UTF-8 text. Decoding throws a `TypeError` if the bytes are no UTF-8. */
export const text: Codec<string> = {
  encode: (value) => {
    if (typeof value !== 'string') throw invalidField('value', `A ${typeof value} is no text.`);
    if (!value.isWellFormed())
      throw invalidField('value', 'The text has an unpaired surrogate, which UTF-8 cannot represent.');
    return UTF8.encode(value);
  },
  decode: (encoded) => TEXT.decode(encoded),
};

/** Bytes as they are. They are not copied: leave them unchanged until the record is acknowledged. */
export const bytes: Codec<Uint8Array> = { encode: (value) => value, decode: (encoded) => encoded };

/** JSON text; a string too is written in quotes. The type is a promise of the writers: nothing checks it. */
export function json<T>(): Codec<T> {
  return {
    encode: (value) => UTF8.encode(jsonText(value)),
    decode: (encoded) => JSON.parse(TEXT.decode(encoded)) as T,
  };
}

/**
 * As JSON becomes bytes in the HTTP API (docs/http-api.md, "Records"), and bytes as they are. Decoding is the API's
 * `encoding=auto`: an object or array if the bytes are its JSON text, otherwise a string if they are UTF-8, otherwise bytes.
 * So a number comes back as text.
 */
export const plain: Codec<Plain> = {
  encode: (value) => {
    if (value instanceof Uint8Array) return value;
    if (typeof value === 'string') return text.encode(value);
    return base64Of(value) ?? UTF8.encode(jsonText(value));
  },
  decode: (encoded) => {
    let decoded: string;
    try {
      decoded = TEXT.decode(encoded);
    } catch {
      return encoded;
    }
    return containerOf(decoded) ?? decoded;
  },
};

function jsonText(value: unknown): string {
  if (typeof value === 'number' && !Number.isFinite(value)) throw invalidField('value', `JSON has no ${value}.`);
  let written: string | undefined;
  try {
    written = JSON.stringify(value);
  } catch (cause) {
    throw invalidField(
      'value',
      `The value cannot be written as JSON: ${cause instanceof Error ? cause.message : cause}`,
    );
  }
  if (written === undefined) throw invalidField('value', `A ${typeof value} cannot be written as JSON.`);
  return written;
}

/** The bytes of an object whose only member is `$base64`, which means bytes in the HTTP API too. */
function base64Of(value: Plain): Uint8Array | undefined {
  if (typeof value !== 'object' || !Object.hasOwn(value, BASE64_NAME) || Object.keys(value).length !== 1)
    return undefined;
  const coded = (value as { readonly [BASE64_NAME]: unknown })[BASE64_NAME];
  const decoded = typeof coded === 'string' ? bytesOfBase64(coded) : undefined;
  if (decoded === undefined) throw invalidField(BASE64_NAME, 'An object with only $base64 means bytes, in base64.');
  return decoded;
}

/** The bytes, or `undefined` if the text is no base64. */
export function bytesOfBase64(coded: string): Uint8Array | undefined {
  try {
    return Uint8Array.from(atob(coded), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}

/** In pieces, since a function takes a limited number of arguments. */
export function base64OfBytes(bytes: Uint8Array): string {
  let characters = '';
  for (let i = 0; i < bytes.length; i += 8_192) characters += String.fromCharCode(...bytes.subarray(i, i + 8_192));
  return btoa(characters);
}

function containerOf(json: string): object | undefined {
  if (!/^[ \t\n\r]*[[{]/.test(json)) return undefined;
  try {
    return JSON.parse(json) as object;
  } catch {
    return undefined;
  }
}

/** A topic with what its keys and values are. */
export interface Topic<V, K> {
  readonly name: string;
  readonly value: Codec<V>;
  readonly key: Codec<K>;
}

/** Names a topic and the types of its records: `topic('orders', { value: json<Order>() })`. Makes no request. */
export function topic(name: string): Topic<Plain, Plain>;
export function topic<V, K = Plain>(
  name: string,
  codecs: { readonly value: Codec<V>; readonly key?: Codec<K> },
): Topic<V, K>;
export function topic(
  name: string,
  codecs: { readonly value?: Codec<unknown>; readonly key?: Codec<unknown> } = {},
): Topic<unknown, unknown> {
  return { name, value: codecs.value ?? (plain as Codec<unknown>), key: codecs.key ?? (plain as Codec<unknown>) };
}
