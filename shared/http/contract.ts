import * as z from 'zod';
import { ERROR_CODES, type ErrorCode, type Outcome, type Retry } from '../log/errors.ts';
import { OFFSET_MAX, PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX, TOPIC_NAME_LENGTH_MAX } from '../log/limits.ts';

/**
 * The schemas that all areas of the HTTP API share. One schema does three jobs: it checks requests, it defines the types
 * (also for the SDK), and it describes the data in the OpenAPI document. Requests are strict, so that a misspelt field is an
 * error instead of being ignored. Answers may gain members, and readers must ignore unknown members. In a request `null`
 * means that an optional member is absent, as many programs print it.
 */

export const MEDIA = {
  json: 'application/json',
  ndjson: 'application/x-ndjson',
  sse: 'text/event-stream',
  batches: 'application/vnd.apache.kafka.record-batches',
  cloudEvent: 'application/cloudevents+json',
  cloudEvents: 'application/cloudevents-batch+json',
  problem: 'application/problem+json',
  html: 'text/html',
  text: 'text/plain',
  bytes: 'application/octet-stream',
} as const;

const PARTITION_MAX = 2_147_483_647;

export const partition = z.int().min(0).max(PARTITION_MAX).describe('A partition of the topic, counted from 0.');
export const offset = z.int().min(0).max(OFFSET_MAX);
export const timeMs = z.int().min(0).max(OFFSET_MAX).describe('Milliseconds since 1970-01-01T00:00:00Z.');
export const count = z.int().min(0).max(OFFSET_MAX);
export const logStartOffset = offset.describe('The first offset that can be read.');
export const highWatermark = offset.describe('The offset that the next record will get.');
export const topicName = z
  .string()
  .min(1, `a topic's name has 1 to ${TOPIC_NAME_LENGTH_MAX} characters`)
  .max(TOPIC_NAME_LENGTH_MAX, `a topic's name has 1 to ${TOPIC_NAME_LENGTH_MAX} characters`)
  .regex(/^[a-zA-Z0-9._-]+$/, "a topic's name can contain only the letters a-z and A-Z, digits, '.', '_' and '-'")
  .describe("Letters a-z and A-Z, digits, '.', '_' and '-'; not '.' or '..'.");

// Problems

const ERROR_CODE_LIST = Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]];
export const errorCode = z.enum(ERROR_CODE_LIST).describe('What went wrong, for programs.');
export const retry = z
  .enum(['never', 'as_is', 'after_refresh'] satisfies [Retry, ...Retry[]])
  .describe(
    'What to do next: give up (`never`), send the same request again (`as_is`), or refresh your state and then decide ' +
      '(`after_refresh`).',
  );
export const outcome = z
  .enum(['not_applied', 'applied', 'unknown'] satisfies [Outcome, ...Outcome[]])
  .describe('Whether the request took effect.');

export const problem = z
  .looseObject({
    type: z.string().describe('The address, on this server, of a page about the code: `/errors/<code>`.'),
    title: z.string(),
    status: z.int().min(400).max(599),
    detail: z.string().describe('An explanation for people. It may change.'),
    instance: z.string().optional().describe('The request id.'),
    code: errorCode,
    retry,
    outcome,
    field: z.string().optional().describe('The invalid field, parameter or header of an `invalid_request`.'),
  })
  .describe(
    'A problem (RFC 9457). Details of the code are further members, such as `logStartOffset` and `highWatermark`.',
  );
export type Problem = z.infer<typeof problem>;

/** The outcome of a failed item, in the item's place in the answer. */
export const failed = z.object({ error: problem });

// Parameters of the path, the query or the headers. Numbers and booleans are written as in JSON.

export const noParams = z.strictObject({});
export const topicParams = z.strictObject({ topic: topicName });
export const partitionParams = z.strictObject({ topic: topicName, partition });

export const limit = z
  .int()
  .min(1)
  .max(PAGE_LIMIT_MAX)
  .optional()
  .describe(`The maximum number of items in a page; default ${PAGE_LIMIT_DEFAULT}.`);
export const pageToken = z.string().max(1_024).optional().describe('`nextPageToken` of the previous page.');

export const noQuery = z.strictObject({});
export const pageQuery = z.strictObject({ limit, pageToken });

// Pages

export const nextPageToken = z.string().optional().describe('Absent on the last page.');
