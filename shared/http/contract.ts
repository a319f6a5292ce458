import * as z from 'zod';
import { ERROR_CODES, type ErrorCode, type Outcome, type Retry } from '../log/errors.ts';
import {
  FETCH_PLAN_PARTITIONS_MAX,
  HEADERS_PER_RECORD_MAX,
  IDEMPOTENCY_KEY_LENGTH_MAX,
  OFFSET_MAX,
  PAGE_LIMIT_DEFAULT,
  PAGE_LIMIT_MAX,
  PARTITIONS_PER_TOPIC_MAX,
  PRODUCER_EPOCH_MAX,
  READ_BYTES_DEFAULT,
  READ_BYTES_MAX,
  READ_RECORDS_DEFAULT,
  READ_RECORDS_MAX,
  READ_WAIT_MS_MAX,
  RECORDS_PER_REQUEST_MAX,
  SEQUENCE_MAX,
  TOPIC_NAME_LENGTH_MAX,
} from '../log/limits.ts';
import { TOPIC_SETTING_NAMES, type TopicSettingName } from '../log/topic/topic-config.ts';

/**
 * Every shape of the HTTP API: what requests may hold and what answers hold. One schema does three jobs: it checks
 * requests, it gives the types (also the SDK's), and the OpenAPI document is made of it. Requests are strict, so that a
 * misspelt field is an error and not silence; answers may gain members, and a reader leaves alone what it does not know.
 */

export const MEDIA = {
  json: 'application/json',
  ndjson: 'application/x-ndjson',
  sse: 'text/event-stream',
  batches: 'application/vnd.apache.kafka.record-batches',
  problem: 'application/problem+json',
  bytes: 'application/octet-stream',
} as const;

/** Entries of one append to several topics. */
export const ENTRIES_PER_REQUEST_MAX = 1_000;
export const ENTRY_ID_LENGTH_MAX = 255;
/** Partitions that one live tail follows: the id of an event names an offset of each, and goes back in a header. */
export const TAIL_PARTITIONS_MAX = 1_000;
export const FILTER_LENGTH_MAX = 1_000;
/** How deep JSON may be nested within a key or a value: what the common parsers of other languages still take. */
export const JSON_DEPTH_MAX = 64;

const PARTITION_MAX = 2_147_483_647;

const partition = z.int().min(0).max(PARTITION_MAX).describe('A partition of the topic, counted from 0.');
const offset = z.int().min(0).max(OFFSET_MAX);
const timeMs = z.int().min(0).max(OFFSET_MAX).describe('Milliseconds since 1970-01-01T00:00:00Z.');
const count = z.int().min(0).max(OFFSET_MAX);
const logStartOffset = offset.describe('The first offset that can still be read.');
const highWatermark = offset.describe('Where the partition ends: the offset that the next record will get.');
const topicName = z
  .string()
  .min(1, `a topic's name has 1 to ${TOPIC_NAME_LENGTH_MAX} characters`)
  .max(TOPIC_NAME_LENGTH_MAX, `a topic's name has 1 to ${TOPIC_NAME_LENGTH_MAX} characters`)
  .regex(/^[a-zA-Z0-9._-]+$/, "a topic's name is made of the letters a-z and A-Z, digits, '.', '_' and '-'")
  .describe("Letters a-z and A-Z, digits, '.', '_' and '-'; not '.' or '..'.");

// Keys, values and headers

export const base64Bytes = z
  .strictObject({ $base64: z.string().describe('Base64 with padding (RFC 4648, section 4).') })
  .describe('Bytes. An object with this one member always means the bytes, never itself.');

const anyJson = z.unknown();

const JSON_TO_BYTES =
  'A string is stored as its UTF-8 text; an object, an array, a number or a boolean as its JSON text, as it was sent but ' +
  'for blanks between tokens; `{"$base64": "…"}` as those bytes; `null` as null.';
const BYTES_TO_JSON =
  'With `encoding=auto`: JSON text of an object or an array comes back as that, its own text and so its exact numbers; other ' +
  'UTF-8 as a string; other bytes as `{"$base64": "…"}`.';

const headerValue = z.union([z.string(), z.null(), base64Bytes], {
  error: 'takes a string, null, or {"$base64": "…"}',
});

export const recordHeader = z
  .strictObject({ name: z.string(), value: headerValue })
  .describe('Headers keep their order, and a name may come more than once.');

export const recordInput = z
  .strictObject({
    key: anyJson.optional().describe(`Decides the partition where none is given. ${JSON_TO_BYTES}`),
    value: anyJson.describe(`${JSON_TO_BYTES} A null value is a tombstone.`),
    headers: z.array(recordHeader).max(HEADERS_PER_RECORD_MAX).optional(),
    timestamp: timeMs.optional().describe('Milliseconds since 1970-01-01T00:00:00Z; default: now.'),
    partition: partition
      .optional()
      .describe(
        "Default: by the key as Kafka's clients choose it; without a key, one partition for the whole request.",
      ),
  })
  .describe('A record to append. Only `value` is required.');
export type RecordInput = z.infer<typeof recordInput>;

const recordMembers = {
  offset,
  timestamp: z.int().min(-1).describe('Milliseconds since 1970-01-01T00:00:00Z; −1 where the producer gave none.'),
  key: anyJson.describe(BYTES_TO_JSON),
  value: anyJson.describe(BYTES_TO_JSON),
  headers: z.array(z.object({ name: z.string(), value: headerValue })),
};
export const recordOutput = z.object(recordMembers).describe('A record with its place in the partition.');
export type RecordOutput = z.infer<typeof recordOutput>;

export const tailRecord = z.object({ partition, ...recordMembers }).describe('A record of a live tail.');
export type TailRecord = z.infer<typeof tailRecord>;

const encoding = z
  .enum(['auto', 'json', 'string', 'base64'])
  .describe(
    'How keys and values are written. `auto`: see `key` and `value`. `json`: like `auto`, but a value that is any JSON text ' +
      'comes back parsed, and one that is not as `{"$base64": "…"}`. `string`: UTF-8 as a string, else `{"$base64": "…"}`. ' +
      '`base64`: always `{"$base64": "…"}`.',
  );
export type Encoding = z.infer<typeof encoding>;

// Problems

const ERROR_CODE_LIST = Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]];

export const problem = z
  .looseObject({
    type: z.string().describe('A stable address that documents the code.'),
    title: z.string(),
    status: z.int().min(400).max(599),
    detail: z.string().describe('For people. It may change.'),
    instance: z.string().optional().describe('The request id.'),
    code: z.enum(ERROR_CODE_LIST),
    retry: z
      .enum(['never', 'as_is', 'after_refresh'] satisfies [Retry, ...Retry[]])
      .describe('What to do next: give up, send the same again, or look again and then decide.'),
    outcome: z
      .enum(['not_applied', 'applied', 'unknown'] satisfies [Outcome, ...Outcome[]])
      .describe('Whether the request took effect.'),
    field: z.string().optional().describe('What an `invalid_request` is about.'),
  })
  .describe('RFC 9457. Details of the code come as further members, such as `logStartOffset` and `highWatermark`.');
export type Problem = z.infer<typeof problem>;

// Topics

const settingInput = z
  .union([z.string(), z.number(), z.null()], { error: 'takes a string, a number, or null for the default' })
  .optional();

export const topicInput = z
  .strictObject({
    partitions: z
      .int()
      .min(1)
      .max(PARTITIONS_PER_TOPIC_MAX)
      .optional()
      .describe('Default 1 for a new topic; partitions only grow.'),
    config: z
      .strictObject(Object.fromEntries(TOPIC_SETTING_NAMES.map((name) => [name, settingInput])))
      .optional()
      .describe("Kafka's names and values. What is not named stays; null goes back to the default."),
  })
  .describe('What a topic is made or changed to.');
export type TopicInput = z.infer<typeof topicInput>;

const describedSetting = z.object({
  value: z.union([z.string(), z.number()]),
  source: z.enum(['default', 'topic']),
});

const topicMembers = {
  name: topicName,
  topicId: z.string().describe('A topic that is made again under its name gets another.'),
  partitions: z.int().min(1).max(PARTITIONS_PER_TOPIC_MAX),
  createdAtMs: timeMs,
  config: z.object(
    Object.fromEntries(TOPIC_SETTING_NAMES.map((name) => [name, describedSetting])) as Record<
      TopicSettingName,
      typeof describedSetting
    >,
  ),
};
export const topicOutput = z.object(topicMembers).describe('A topic.');
export type TopicOutput = z.infer<typeof topicOutput>;

export const partitionState = z.object({
  partition,
  logStartOffset,
  highWatermark,
  bytes: count.describe('Of the stored record batches, as they are compressed.'),
});

export const topicDetail = z
  .object({ ...topicMembers, partitionStates: z.array(partitionState) })
  .describe('A topic and where its partitions begin and end.');
export type TopicDetail = z.infer<typeof topicDetail>;

const nextPageToken = z.string().optional().describe('Absent on the last page.');

export const topicPage = z.object({ items: z.array(topicOutput), nextPageToken });
export type TopicPage = z.infer<typeof topicPage>;

// Appends

export const appendInput = z.strictObject({
  records: z.array(recordInput).min(1).max(RECORDS_PER_REQUEST_MAX),
});
export type AppendInput = z.infer<typeof appendInput>;

const appendedRecord = z.object({ partition, offset, timestamp: timeMs });
const failed = z.object({ error: problem });

export const recordOutcome = z.union([appendedRecord, failed]);
export type RecordOutcomeOutput = z.infer<typeof recordOutcome>;

export const appendOutput = z.object({
  records: z.array(recordOutcome).describe('In the order of the request. At least one was appended.'),
});
export type AppendOutput = z.infer<typeof appendOutput>;

export const singleAppendOutput = appendedRecord;
export type SingleAppendOutput = z.infer<typeof singleAppendOutput>;

export const batchesAppendOutput = z.object({
  batches: z
    .array(
      z.union([
        z.object({
          partition,
          baseOffset: offset,
          records: count,
          duplicate: z.boolean().describe('An earlier try had appended it, at this offset.'),
        }),
        failed,
      ]),
    )
    .describe('In the order of the request. At least one was appended.'),
});
export type BatchesAppendOutput = z.infer<typeof batchesAppendOutput>;

export const entriesInput = z.strictObject({
  entries: z
    .array(
      z.strictObject({
        id: z.string().min(1).max(ENTRY_ID_LENGTH_MAX).describe('Any text that no other entry of the request has.'),
        topic: topicName,
        records: z.array(recordInput).min(1).max(RECORDS_PER_REQUEST_MAX),
      }),
    )
    .min(1)
    .max(ENTRIES_PER_REQUEST_MAX),
});
export type EntriesInput = z.infer<typeof entriesInput>;

export const entriesOutput = z.object({
  entries: z.array(
    z.union([
      z.object({ id: z.string(), records: z.array(recordOutcome) }),
      z.object({ id: z.string(), error: problem }),
    ]),
  ),
});
export type EntriesOutput = z.infer<typeof entriesOutput>;

export const producerOutput = z.object({
  producerId: count.describe('No one has had it before.'),
  producerEpoch: z.int().min(0).max(PRODUCER_EPOCH_MAX),
});
export type ProducerOutput = z.infer<typeof producerOutput>;

// Reads

export const positions = z.object({
  nextOffset: offset.describe('Where to go on.'),
  logStartOffset,
  highWatermark,
});
export type Positions = z.infer<typeof positions>;

export const readOutput = z.object({ records: z.array(recordOutput), ...positions.shape });
export type ReadOutput = z.infer<typeof readOutput>;

export const ndjsonLine = z
  .union([recordOutput, z.object({ end: positions })])
  .describe('One a line. The last line, and no other, is `{"end": …}`: an answer without it is not whole.');

export const offsetForTimeOutput = z.object({
  offset: offset.describe('Of the first record of that time or later; the high watermark where there is none.'),
  timestamp: z.int().nullable().describe("That record's time; null where there is none."),
  logStartOffset,
  highWatermark,
});
export type OffsetForTimeOutput = z.infer<typeof offsetForTimeOutput>;

export const segmentOutput = z.object({
  partition,
  startOffset: offset,
  endOffset: offset.describe('Exclusive.'),
  storage: z.string().describe('`inline`: in the table. `hot`: in an object as it was appended, not merged yet.'),
  storedAs: z.string().describe("The object's key, or the item's."),
  position: count,
  bytes: count,
  maxTimestampMs: z.int(),
  writtenAtMs: z.int(),
});
export const segmentPage = z.object({ items: z.array(segmentOutput), nextPageToken });
export type SegmentPage = z.infer<typeof segmentPage>;

export const fetchPlanInput = z.strictObject({
  partitions: z
    .array(z.strictObject({ partition, offset, maxBytes: z.int().min(1).max(READ_BYTES_MAX).optional() }))
    .min(1)
    .max(FETCH_PLAN_PARTITIONS_MAX),
});
export type FetchPlanInput = z.infer<typeof fetchPlanInput>;

const partOffsets = { startOffset: offset, endOffset: offset.describe('Exclusive.'), bytes: count };
export const fetchPlanOutput = z
  .object({
    expiresAtMs: timeMs.describe('The addresses are good until then.'),
    partitions: z.array(
      z.object({
        partition,
        logStartOffset,
        highWatermark,
        nextOffset: offset,
        parts: z.array(
          z.union([
            z.object({
              ...partOffsets,
              storage: z.literal('hot'),
              url: z.string().describe('GET it with `headers`: its answer is `bytes` long.'),
              headers: z.record(z.string(), z.string()),
            }),
            z.object({ ...partOffsets, storage: z.literal('inline'), data: z.string().describe('Base64.') }),
          ]),
        ),
      }),
    ),
  })
  .describe(
    'Where to take record batches from, without passing through this server. Parts hold Kafka record batches back to back. ' +
      'Their own base offset fields are not set: the first begins at `startOffset`, each next one where the one before ends.',
  );
export type FetchPlanOutput = z.infer<typeof fetchPlanOutput>;

// Usage, health

export const requestCounts = z.object({
  putObject: z.number(),
  getObject: z.number(),
  getItem: z.number(),
  putItem: z.number(),
  updateItem: z.number(),
  deleteItem: z.number(),
  query: z.number(),
  readUnits: z.number(),
  writeUnits: z.number(),
  bytesWritten: z.number(),
  bytesRead: z.number(),
});

const usageBy = z.enum(['topic', 'purpose']);
export const usageOutput = z.object({
  by: usageBy,
  rows: z.array(
    z.object({
      topic: z.string().optional(),
      purpose: z.string().optional(),
      counts: requestCounts,
      dollars: z.number(),
    }),
  ),
  total: z.object({ counts: requestCounts, dollars: z.number() }),
  prices: z.object({ asOf: z.string(), region: z.string(), currency: z.string() }),
  note: z.string(),
});
export type UsageOutput = z.infer<typeof usageOutput>;

export const healthOutput = z.object({ status: z.literal('ok'), version: z.string() });
export type HealthOutput = z.infer<typeof healthOutput>;

export const rootOutput = z.object({
  name: z.string(),
  version: z.string(),
  openapi: z.string(),
  health: z.string(),
  documentation: z.string(),
});
export type RootOutput = z.infer<typeof rootOutput>;

// Parameters: each names what it is in the path, the query or the headers. Numbers and booleans are written as in JSON.

export const noParams = z.strictObject({});
export const topicParams = z.strictObject({ topic: topicName });
export const partitionParams = z.strictObject({ topic: topicName, partition });
export const objectParams = z.strictObject({ key: z.string().min(1).max(1_024) });

const limit = z.int().min(1).max(PAGE_LIMIT_MAX).optional().describe(`Items of a page; default ${PAGE_LIMIT_DEFAULT}.`);
const pageToken = z.string().max(1_024).optional().describe('From `nextPageToken` of the page before.');

export const noQuery = z.strictObject({});
export const pageQuery = z.strictObject({ limit, pageToken });
export const segmentsQuery = z.strictObject({ partition: partition.optional(), limit, pageToken });
export const appendQuery = z.strictObject({
  atomic: z.boolean().optional().describe('All records by one commit, or none.'),
  partition: partition.optional().describe('Where raw record batches go; required with them, and only with them.'),
});
export const singleAppendQuery = z.strictObject({
  key: z.string().optional().describe("The record's key, as text; without it the record has none."),
  partition: partition.optional(),
});
export const entriesQuery = z.strictObject({
  atomic: z.boolean().optional().describe('All entries by one commit, or none: they must be for one topic.'),
});
export const offsetQuery = z.strictObject({ timestamp: timeMs });
export const usageQuery = z.strictObject({ by: usageBy.optional().describe('Default `topic`.') });

const fromQuery = {
  offset: offset.optional().describe('Begin at this offset. Default: at the log start offset.'),
  timestamp: timeMs.optional().describe('Begin at the first record of this time or later.'),
  tail: offset.optional().describe('Begin this many offsets before the end.'),
};
export const readQuery = z.strictObject({
  ...fromQuery,
  limit: z
    .int()
    .min(1)
    .max(READ_RECORDS_MAX)
    .optional()
    .describe(`Records; default ${READ_RECORDS_DEFAULT}. Not with raw batches or a live tail.`),
  maxBytes: z
    .int()
    .min(1)
    .max(READ_BYTES_MAX)
    .optional()
    .describe(
      `Bytes of records, at least one of which is always given; default ${READ_BYTES_DEFAULT}. Raw batches come whole, so that ` +
        'more may come. Not with a live tail.',
    ),
  waitMs: z
    .int()
    .min(0)
    .max(READ_WAIT_MS_MAX)
    .optional()
    .describe('At the end, wait so long for records to come; default 0. Not with a live tail.'),
  encoding: encoding.optional(),
});
export const tailQuery = z.strictObject({
  from: z
    .string()
    .max(TAIL_PARTITIONS_MAX * 24)
    .optional()
    .describe(
      '`latest` (default), `earliest`, `ts:<milliseconds>`, or the id of an event, such as `0:17,1:4`: partitions that it does ' +
        'not name begin at their log start offset.',
    ),
  filter: z
    .string()
    .min(1)
    .max(FILTER_LENGTH_MAX)
    .optional()
    .describe('Only records whose key or value has this text.'),
  encoding: encoding.optional(),
});

export const appendHeaders = z.strictObject({
  'Producer-Id': count
    .optional()
    .describe(
      'From `POST /v1/producers`. These three come together: a retry with the same ones appends nothing twice.',
    ),
  'Producer-Epoch': z.int().min(0).max(PRODUCER_EPOCH_MAX).optional(),
  'Producer-Seq': z
    .int()
    .min(0)
    .max(SEQUENCE_MAX)
    .optional()
    .describe('Of the first record; each record takes one. All records must be of one partition.'),
  'Idempotency-Key': z
    .string()
    .min(1)
    .max(IDEMPOTENCY_KEY_LENGTH_MAX)
    .optional()
    .describe(
      'Any text. For 24 hours the same request under the same key is done once and gets the first answer again.',
    ),
  'If-Match': z
    .string()
    .regex(/^"(0|[1-9]\d{0,15})"$/, 'takes one offset in double quotes, such as "42"')
    .optional()
    .describe(
      'Append only if the first record gets this offset, in double quotes. All records must be of one partition.',
    ),
});
export const tailHeaders = z.strictObject({
  'Last-Event-ID': z
    .string()
    .max(TAIL_PARTITIONS_MAX * 24)
    .optional()
    .describe('The id of the last event that was seen: the tail goes on behind it, whatever the query says.'),
});
/** The signature says which query parameters go together, so that they are checked by it alone. */
export const objectQuery = z.looseObject({
  start: z.string(),
  end: z.string(),
  expires: z.string(),
  signature: z.string(),
});

export const appendAnswer = z.union([appendOutput, batchesAppendOutput]);
export const openApiOutput = z.looseObject({ openapi: z.string() });
