import type { RecordHeader, StoredRecord } from '../../log/batch/record.ts';
import { type EventLogError, invalidField } from '../../log/errors.ts';
import { fromBase64, toBase64 } from './base64.ts';
import { type Encoding, JSON_DEPTH_MAX } from './contract.ts';
import { checkMembers, hasLoneSurrogate, skipBlanks, valueAt } from './json-text.ts';

/**
 * Converts between JSON and the bytes of keys, values and headers. Kafka stores bytes; the schemas in `contract.ts` describe
 * the conversion in both directions. An object with the only member `$base64` always means bytes, in both directions. So a
 * stored object of exactly that form is returned as the base64 of its own text.
 */
const UTF8 = new TextEncoder();
const TEXT = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const BASE64_NAME = '$base64';

/**
 * Converts a parsed key or value to bytes. `textOf` returns the text of the value in the request.
 * @throws EventLogError `invalid_request` naming the field
 */
export function bytesOfJson(
  value: unknown,
  field: string,
  textOf: () => { text: string; depth: number },
): Uint8Array | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'string') return bytesOfText(value, field);
  if (typeof value === 'boolean') return UTF8.encode(String(value));
  const { text, depth } = textOf();
  const coded = base64Of(value);
  if (coded !== undefined) {
    checkMembers(text);
    return bytesOfBase64(coded, field);
  }
  if (depth > JSON_DEPTH_MAX) {
    throw invalidField(field, `${field} is nested ${depth} deep; at most ${JSON_DEPTH_MAX} is allowed.`, {
      depthMax: JSON_DEPTH_MAX,
    });
  }
  if (hasLoneSurrogate(text)) throw loneSurrogate(field);
  return UTF8.encode(text);
}

/** @throws EventLogError `invalid_request` naming the field, if the text has an unpaired surrogate */
export function bytesOfText(text: string, field: string): Uint8Array {
  if (!text.isWellFormed()) throw loneSurrogate(field);
  return UTF8.encode(text);
}

/** The value of `$base64`, if it is the object's only member. */
function base64Of(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, BASE64_NAME))
    return undefined;
  return Object.keys(value).length === 1 ? (value as Readonly<Record<string, unknown>>)[BASE64_NAME] : undefined;
}

function bytesOfBase64(coded: unknown, field: string): Uint8Array {
  const bytes = typeof coded === 'string' ? fromBase64(coded) : undefined;
  if (bytes !== undefined) return bytes;
  throw invalidField(
    field,
    `An object with only the member ${BASE64_NAME} means bytes, but ${field}.${BASE64_NAME} is not base64 (RFC 4648 section 4, with padding). ` +
      'To store such an object itself, send the base64 of its text.',
  );
}

/** Converts a header value of a request, which the schema has checked. @throws EventLogError `invalid_request` */
export function bytesOfHeader(value: string | null | { readonly $base64: string }, field: string): Uint8Array | null {
  if (value === null) return null;
  return typeof value === 'string' ? bytesOfText(value, field) : bytesOfBase64(value.$base64, field);
}

function loneSurrogate(field: string): EventLogError {
  return invalidField(
    field,
    `${field} has an unpaired surrogate (\\ud800 to \\udfff), which UTF-8 cannot represent. Remove it, or send bytes as base64.`,
  );
}

/** The JSON text of a value in an answer. It never contains a line break. */
export function jsonOfValue(bytes: Uint8Array | null, encoding: Encoding): string {
  if (bytes === null) return 'null';
  if (encoding === 'base64') return jsonOfBytes(bytes);
  const text = decode(bytes);
  if (text === undefined) return jsonOfBytes(bytes);
  if (encoding === 'string') return JSON.stringify(text);
  if (encoding === 'json') return ownText(text) ?? jsonOfBytes(bytes);
  if (!beginsAsContainer(text)) return JSON.stringify(text);
  const own = ownText(text);
  if (own !== undefined) return own;
  return isBase64Object(text) ? jsonOfBytes(bytes) : JSON.stringify(text);
}

/** The JSON text of a key. It is like that of a value, but `json` returns plain text as a string: few keys are JSON. */
export function jsonOfKey(bytes: Uint8Array | null, encoding: Encoding): string {
  return jsonOfValue(bytes, encoding === 'json' ? 'auto' : encoding);
}

function jsonOfHeaders(headers: readonly RecordHeader[]): string {
  if (headers.length === 0) return '[]';
  let json = '';
  for (const { key, value } of headers) {
    json += `${json === '' ? '[' : ','}{"name":${JSON.stringify(key)},"value":${jsonOfValue(value, 'string')}}`;
  }
  return `${json}]`;
}

/** A record as one line of JSON, which begins with `partition` if it is given. */
export function jsonOfRecord(record: StoredRecord, encoding: Encoding, partition?: number): string {
  const where = partition === undefined ? '' : `"partition":${partition},`;
  return (
    `{${where}"offset":${record.offset},"timestamp":${record.timestampMs},"key":${jsonOfKey(record.key, encoding)},` +
    `"value":${jsonOfValue(record.value, encoding)},"headers":${jsonOfHeaders(record.headers)}}`
  );
}

function jsonOfBytes(bytes: Uint8Array): string {
  return `{"${BASE64_NAME}":"${toBase64(bytes)}"}`;
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return TEXT.decode(bytes);
  } catch {
    return undefined;
  }
}

function beginsAsContainer(text: string): boolean {
  const first = text[skipBlanks(text, 0)];
  return first === '{' || first === '[';
}

/**
 * Returns the text without blanks between tokens, if an answer can contain it as JSON. The text must not be an object that
 * would mean bytes. It must not be JSON on which the reader's parser may fail, because that would lose the whole answer.
 */
function ownText(text: string): string | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (base64Of(parsed) !== undefined) return undefined;
  const { text: own, depth } = valueAt(text, 0);
  if (depth > JSON_DEPTH_MAX || hasLoneSurrogate(own)) return undefined;
  return own;
}

function isBase64Object(text: string): boolean {
  try {
    return base64Of(JSON.parse(text)) !== undefined;
  } catch {
    return false;
  }
}

/** Whether the text occurs in the key or the value, read as UTF-8. */
export function recordHasText(record: StoredRecord, text: string): boolean {
  return hasText(record.value, text) || hasText(record.key, text);
}

const LENIENT = new TextDecoder('utf-8', { ignoreBOM: true });

function hasText(bytes: Uint8Array | null, text: string): boolean {
  return bytes !== null && bytes.length >= text.length && LENIENT.decode(bytes).includes(text);
}
