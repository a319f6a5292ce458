import * as z from 'zod';
import { ERROR_CODES, type ErrorCode, type Outcome, type Retry } from '../log/errors.ts';
import { OFFSET_MAX, PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX, TOPIC_NAME_LENGTH_MAX } from '../log/limits.ts';

/**
 * The shapes that every area of the HTTP API shares. One schema does three jobs: it checks requests, it gives the types
 * (also the SDK's), and the OpenAPI document is made of it. Requests are strict, so that a misspelt field is an error and
 * not silence; answers may gain members, and a reader ignores what it does not know. In a request `null` stands for an
 * optional member that is absent, as many programs print it.
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
  .regex(/^[a-zA-Z0-9._-]+$/, "a topic's name is made of the letters a-z and A-Z, digits, '.', '_' and '-'")
  .describe("Letters a-z and A-Z, digits, '.', '_' and '-'; not '.' or '..'.");

// Problems

const ERROR_CODE_LIST = Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]];
export const errorCode = z.enum(ERROR_CODE_LIST);
export const retry = z
  .enum(['never', 'as_is', 'after_refresh'] satisfies [Retry, ...Retry[]])
  .describe('What to do next: give up (`never`), send the same again (`as_is`), or look again and then decide.');
export const outcome = z
  .enum(['not_applied', 'applied', 'unknown'] satisfies [Outcome, ...Outcome[]])
  .describe('Whether the request took effect.');

export const problem = z
  .looseObject({
    type: z.string().describe('The address, on this server, of a page about the code: `/errors/<code>`.'),
    title: z.string(),
    status: z.int().min(400).max(599),
    detail: z.string().describe('For people. It may change.'),
    instance: z.string().optional().describe('The request id.'),
    code: errorCode,
    retry,
    outcome,
    field: z.string().optional().describe('The field, parameter or header that an `invalid_request` is about.'),
  })
  .describe('RFC 9457. Details of the code come as further members, such as `logStartOffset` and `highWatermark`.');
export type Problem = z.infer<typeof problem>;

/** In the place of an answer's item that failed by itself. */
export const failed = z.object({ error: problem });

// Parameters: each names what it is in the path, the query or the headers. Numbers and booleans are written as in JSON.

export const noParams = z.strictObject({});
export const topicParams = z.strictObject({ topic: topicName });
export const partitionParams = z.strictObject({ topic: topicName, partition });

export const limit = z
  .int()
  .min(1)
  .max(PAGE_LIMIT_MAX)
  .optional()
  .describe(`Items of a page; default ${PAGE_LIMIT_DEFAULT}.`);
export const pageToken = z.string().max(1_024).optional().describe('`nextPageToken` of the page before.');

export const noQuery = z.strictObject({});
export const pageQuery = z.strictObject({ limit, pageToken });

// Pages

export const nextPageToken = z.string().optional().describe('Absent on the last page.');
