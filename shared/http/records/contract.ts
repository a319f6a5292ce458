import * as z from 'zod';
import { HEADERS_PER_RECORD_MAX, TIMESTAMP_MAX } from '../../log/limits.ts';
import { offset, partition, timeMs } from '../contract.ts';

/** The schemas of keys, values, headers and records in requests and answers. */

/** The maximum nesting of JSON within a key or a value. Common parsers of other languages accept this depth. */
export const JSON_DEPTH_MAX = 64;

export const base64Bytes = z
  .strictObject({ $base64: z.string().describe('Base64 with padding (RFC 4648, section 4).') })
  .describe('Bytes. An object with only this member always means the bytes, never the object itself.');

const anyJson = z.unknown();

const JSON_TO_BYTES =
  'A string is stored as its UTF-8 text; an object, an array, a number or a boolean as its JSON text, as it was sent except ' +
  'for blanks between tokens; `{"$base64": "…"}` as those bytes; `null` as null.';
const BYTES_TO_JSON =
  'With `encoding=auto`: JSON text of an object or an array is returned as that, with its own text and so its exact numbers; ' +
  'other UTF-8 as a string; other bytes as `{"$base64": "…"}`.';

const headerValue = z.union([z.string(), z.null(), base64Bytes], {
  error: 'takes a string, null, or {"$base64": "…"}',
});

export const recordHeader = z
  .strictObject({ name: z.string(), value: headerValue })
  .describe('Headers keep their order, and a name can occur more than once.');

export const recordInput = z
  .strictObject({
    key: anyJson.optional().describe(`Chooses the partition if none is given. ${JSON_TO_BYTES}`),
    value: anyJson.describe(`${JSON_TO_BYTES} A null value is a tombstone.`),
    headers: z.array(recordHeader).max(HEADERS_PER_RECORD_MAX).nullish(),
    timestamp: timeMs.max(TIMESTAMP_MAX).nullish().describe('Milliseconds since 1970-01-01T00:00:00Z; default: now.'),
    partition: partition
      .nullish()
      .describe(
        "Default: chosen by the key as Kafka's clients do; without a key, one partition for the whole request.",
      ),
  })
  .describe('A record to append. Only `value` is required.');
export type RecordInput = z.infer<typeof recordInput>;

const recordMembers = {
  offset,
  timestamp: z.int().min(-1).describe('Milliseconds since 1970-01-01T00:00:00Z; −1 if the producer gave none.'),
  key: anyJson.describe(BYTES_TO_JSON),
  value: anyJson.describe(BYTES_TO_JSON),
  headers: z.array(z.object({ name: z.string(), value: headerValue })),
};
export const recordOutput = z.object(recordMembers).describe('A record with its offset in the partition.');
export type RecordOutput = z.infer<typeof recordOutput>;

export const tailRecord = z.object({ partition, ...recordMembers }).describe('A record of a live tail.');
export type TailRecord = z.infer<typeof tailRecord>;

export const encoding = z
  .enum(['auto', 'json', 'string', 'base64'])
  .describe(
    'How keys and values are written. `auto`: see `key` and `value`. `json`: like `auto`, but a value that is any JSON text ' +
      'is returned parsed, and any other as `{"$base64": "…"}`. `string`: UTF-8 as a string, otherwise `{"$base64": "…"}`. ' +
      '`base64`: always `{"$base64": "…"}`.',
  );
export type Encoding = z.infer<typeof encoding>;

/** Schemas that are in the OpenAPI document under their names. */
export const recordSchemas = {
  Bytes: base64Bytes,
  Record: recordOutput,
  RecordHeader: recordHeader,
  RecordInput: recordInput,
  TailRecord: tailRecord,
};
