import * as z from 'zod';
import {
  IDEMPOTENCY_KEY_LENGTH_MAX,
  PRODUCER_BATCHES_KEPT,
  PRODUCER_EPOCH_MAX,
  RECORDS_PER_REQUEST_MAX,
  SEQUENCE_MAX,
} from '../../log/limits.ts';
import { count, failed, offset, partition, problem, timeMs, topicName } from '../contract.ts';
import { recordInput } from '../records/contract.ts';

/** The maximum number of entries in one append to several topics. */
export const ENTRIES_PER_REQUEST_MAX = 1_000;
export const ENTRY_ID_LENGTH_MAX = 255;
/** The maximum number of names in the parameter `keepHeaders`. */
export const KEPT_HEADERS_MAX = 50;

export const appendInput = z.strictObject({
  records: z.array(recordInput).min(1).max(RECORDS_PER_REQUEST_MAX),
});

export const valuesInput = z
  .array(z.unknown())
  .min(1)
  .max(RECORDS_PER_REQUEST_MAX)
  .describe('With `envelope=false`: each element is the value of one record.');

export const cloudEvent = z
  .looseObject({
    specversion: z.string().min(1),
    id: z.string().min(1),
    source: z.string().min(1),
    type: z.string().min(1),
  })
  .describe('A CloudEvent, stored as it was sent with the record header `content-type: application/cloudevents+json`.');

export const cloudEventBatch = z.array(cloudEvent).min(1).max(RECORDS_PER_REQUEST_MAX);

const appendedRecord = z.object({ partition, offset, timestamp: timeMs });

export const recordOutcome = z.union([appendedRecord, failed]);
export type RecordOutcomeOutput = z.infer<typeof recordOutcome>;

export const appendOutput = z
  .object({ records: z.array(recordOutcome).describe('In the order of the request. At least one was appended.') })
  .describe('The answer to an append of records, for every content type except raw record batches.');
export type AppendOutput = z.infer<typeof appendOutput>;

export const singleAppendOutput = appendedRecord;
export type SingleAppendOutput = z.infer<typeof singleAppendOutput>;

export const batchesAppendOutput = z
  .object({
    batches: z
      .array(
        z.union([
          z.object({
            partition,
            baseOffset: offset,
            records: count,
            duplicate: z.boolean().describe('An earlier attempt appended the batch, at this offset.'),
            timestamp: timeMs
              .optional()
              .describe('The time that the topic gave the records; absent if they keep their own (`CreateTime`).'),
          }),
          failed,
        ]),
      )
      .describe('In the order of the request. At least one was appended.'),
  })
  .describe('The answer to raw record batches (`application/vnd.apache.kafka.record-batches`).');
export type BatchesAppendOutput = z.infer<typeof batchesAppendOutput>;

export const appendAnswer = z
  .union([appendOutput, batchesAppendOutput])
  .describe('`records` in the answer to records, `batches` in the answer to raw record batches.');

export const entriesInput = z.strictObject({
  entries: z
    .array(
      z.strictObject({
        id: z
          .string()
          .min(1)
          .max(ENTRY_ID_LENGTH_MAX)
          .describe('Any text that is unique among the entries of the request.'),
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
  producerId: count.describe('A new id, which was never returned before.'),
  producerEpoch: z.int().min(0).max(PRODUCER_EPOCH_MAX),
});
export type ProducerOutput = z.infer<typeof producerOutput>;

export const appendQuery = z.strictObject({
  atomic: z.boolean().optional().describe('Append all records by one commit, or none.'),
  envelope: z
    .boolean()
    .optional()
    .describe(
      'Default true: records have the members `key`, `value`, `headers`, `timestamp`, `partition`. With false, every element of ' +
        'a JSON array, or every line of NDJSON, is itself the value of one record, as log shippers send events.',
    ),
  partition: partition
    .optional()
    .describe('The partition of raw record batches; required with them, and only with them.'),
});

export const singleAppendQuery = z.strictObject({
  key: z.string().optional().describe("The record's key, as text. Without this parameter the record has no key."),
  partition: partition.optional(),
  keepHeaders: z
    .string()
    .max(4_096)
    .optional()
    .describe(
      'Request headers to keep as record headers: lowercase names separated by commas. A name can end with an asterisk ' +
        `(\`x-github-*\`). At most ${KEPT_HEADERS_MAX} names. Credentials are never kept.`,
    ),
});

export const entriesQuery = z.strictObject({
  atomic: z
    .boolean()
    .optional()
    .describe('Append all entries by one commit, or none. All entries must be for one topic.'),
});

export const appendHeaders = z.strictObject({
  'Producer-Id': count
    .optional()
    .describe(
      'The id from `POST /v1/producers`. The three producer headers must be sent together. A retry with the same three values ' +
        'appends nothing twice.',
    ),
  'Producer-Epoch': z
    .int()
    .min(0)
    .max(PRODUCER_EPOCH_MAX)
    .optional()
    .describe('The epoch of the producer id. A batch of an older epoch is rejected.'),
  'Producer-Seq': z
    .int()
    .min(0)
    .max(SEQUENCE_MAX)
    .optional()
    .describe(
      'The sequence of the first record; each record takes one. All records must be in one partition, and take at most ' +
        `${PRODUCER_BATCHES_KEPT} batches of the topic's max.message.bytes.`,
    ),
  'Idempotency-Key': z
    .string()
    .min(1)
    .max(IDEMPOTENCY_KEY_LENGTH_MAX)
    // Servers and proxies join two headers of a name by a comma.
    .regex(/^[^,]*$/, 'takes one key, without a comma')
    .optional()
    .describe(
      'Any text without a comma. For 24 hours, the same request under the same key is done once, and every retry gets the ' +
        'first answer. A request that is rejected and appends nothing releases the key.',
    ),
  'If-Match': z
    .string()
    .regex(/^"(0|[1-9]\d{0,15})"$/, 'takes one offset in double quotes, such as "42"')
    .optional()
    .describe(
      'Append only if the first record gets this offset, in double quotes. All records must be in one partition.',
    ),
});
export type AppendHeaders = z.infer<typeof appendHeaders>;

export const appendSchemas = {
  AppendAnswer: appendAnswer,
  AppendInput: appendInput,
  AppendOutput: appendOutput,
  BatchesAppendOutput: batchesAppendOutput,
  CloudEvent: cloudEvent,
  EntriesInput: entriesInput,
  EntriesOutput: entriesOutput,
  Producer: producerOutput,
  RecordOutcome: recordOutcome,
  ValuesInput: valuesInput,
};
