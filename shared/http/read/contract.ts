import * as z from 'zod';
import { ISOLATIONS } from '../../broker/read/isolation.ts';
import {
  FETCH_PLAN_PARTITIONS_MAX,
  READ_BYTES_DEFAULT,
  READ_BYTES_MAX,
  READ_RECORDS_DEFAULT,
  READ_RECORDS_MAX,
  READ_WAIT_MS_MAX,
} from '../../log/limits.ts';
import {
  count,
  highWatermark,
  limit,
  logStartOffset,
  nextPageToken,
  offset,
  pageToken,
  partition,
  timeMs,
} from '../contract.ts';
import { encoding, recordOutput } from '../records/contract.ts';

/** The maximum length of a live tail's position, which is an event's id or written by hand. It fits a request's headers. */
export const TAIL_POSITION_LENGTH_MAX = 12_000;
export const FILTER_LENGTH_MAX = 1_000;

const isolation = z
  .enum(ISOLATIONS)
  .describe(
    '`read_committed` (default): no records of transactions that are open or were aborted; the read ends where the oldest open ' +
      'transaction begins. `read_uncommitted`: all records. Neither shows the markers of transactions.',
  );

const positions = z.object({
  nextOffset: offset.describe(
    'Where the next read continues. It passes over offsets whose records retention or compaction has dropped, so it can be ' +
      'larger than `offset` although there are no records.',
  ),
  logStartOffset,
  highWatermark,
});

export const readOutput = z.object({ records: z.array(recordOutput), ...positions.shape });
export type ReadOutput = z.infer<typeof readOutput>;

export const ndjsonLine = z
  .union([recordOutput, z.object({ end: positions })])
  .describe('One record a line. The last line is `{"end": …}`; an answer without this line is incomplete.');

export const offsetForTimeOutput = z.object({
  offset: offset.describe(
    'The offset of the first record at that time or later; the high watermark if there is no such record.',
  ),
  timestamp: z.int().nullable().describe("The record's timestamp; null if there is no such record."),
  logStartOffset,
  highWatermark,
});
export type OffsetForTimeOutput = z.infer<typeof offsetForTimeOutput>;

export const segmentOutput = z.object({
  partition,
  startOffset: offset,
  endOffset: offset.describe('Exclusive.'),
  storage: z
    .string()
    .describe(
      '`inline`: in the table. `hot`: in an object as it was appended. `segment`: in an object of this partition. ' +
        '`marker`: the end of a transaction, which has no data of its own.',
    ),
  state: z
    .string()
    .describe(
      '`tail`: the newest records. `unmerged`: older records, which wait to be merged. `merged`: in a segment; retention or ' +
        'compaction can have dropped some of the offsets. `compacted`: in a segment that compaction has been through.',
    ),
  storedAs: z.string().describe("The object's key, or the item's."),
  position: count,
  bytes: count,
  maxTimestampMs: z.int(),
  writtenAtMs: z.int().describe('When the records were appended; for a segment, the oldest of them.'),
});
export const segmentPage = z.object({ items: z.array(segmentOutput).readonly(), nextPageToken });
export type SegmentPage = z.infer<typeof segmentPage>;

export const fetchPlanInput = z.strictObject({
  partitions: z
    .array(z.strictObject({ partition, offset, maxBytes: z.int().min(1).max(READ_BYTES_MAX).nullish() }))
    .min(1)
    .max(FETCH_PLAN_PARTITIONS_MAX),
  isolation: isolation.nullish(),
});

const partOffsets = { startOffset: offset, endOffset: offset.describe('Exclusive.'), bytes: count };
export const fetchPlanOutput = z
  .object({
    expiresAtMs: timeMs.describe('The time until which the addresses are valid.'),
    partitions: z.array(
      z.object({
        partition,
        logStartOffset,
        highWatermark,
        lastStableOffset: offset.describe('Where the oldest open transaction begins; without one the high watermark.'),
        nextOffset: offset.describe('Where the next plan begins. It passes over offsets whose records were dropped.'),
        abortedTransactions: z
          .array(z.object({ producerId: count, firstOffset: offset, lastOffset: offset.describe('Of its marker.') }))
          .readonly()
          .describe(
            'With `read_committed`: leave out the transactional batches of these producers between these offsets. In any case leave ' +
              'out control batches, which are markers of transactions.',
          ),
        parts: z.array(
          z.union([
            z.object({
              ...partOffsets,
              storage: z
                .enum(['hot', 'segment'])
                .describe('`hot`: as it was appended. `segment`: merged, with base offsets set.'),
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
    'Where to fetch record batches directly, without passing through this server. Parts hold Kafka record batches back to ' +
      'back. In `inline` and `hot` parts the base offset fields of the batches are not set: the first begins at ' +
      '`startOffset`, each next one where the one before ends. In `segment` parts they are set and count: offsets can be ' +
      'missing between batches, and the last batches can be at or past `highWatermark`.',
  );
export type FetchPlanOutput = z.infer<typeof fetchPlanOutput>;

export const objectParams = z.strictObject({ key: z.string().min(1).max(1_024).describe('The key of the object.') });
/** The signature covers all query parameters together, so only the signature check examines them. */
export const objectQuery = z.looseObject({
  start: z.string().describe('The first byte.'),
  end: z.string().describe('The byte after the last one.'),
  expires: z.string().describe('When the address expires, in milliseconds since 1970-01-01T00:00:00Z.'),
  signature: z.string().describe('Of the key and the other parameters.'),
});

export const segmentsQuery = z.strictObject({ partition: partition.optional(), limit, pageToken });
export const offsetQuery = z.strictObject({ timestamp: timeMs });

/** For the OpenAPI document; what these patterns leave open is checked, with better messages, in `tail-from.ts`. */
const EVENT_ID_PATTERN = '[A-Za-z0-9_-]{8}\\.[A-Za-z0-9_-]+';
const FROM_PATTERN = `^(?:latest|earliest|ts:\\d{1,16}|${EVENT_ID_PATTERN}|\\d{1,10}:\\d{1,16}(?:,\\d{1,10}:\\d{1,16})*)$`;
const eventIdText = z
  .string()
  .max(TAIL_POSITION_LENGTH_MAX)
  .meta({ pattern: `^(?:${EVENT_ID_PATTERN})?$` });

const lastEventId = eventIdText
  .optional()
  .describe(
    'Only for a live tail: the same as `Last-Event-ID`, for clients that send it in the query. If both are given, the header ' +
      'counts. An empty value is ignored.',
  );

export const readQuery = z.strictObject({
  offset: offset.optional().describe('Begin at this offset. Default: at the log start offset.'),
  timestamp: timeMs.optional().describe('Begin at the first record at this time or later.'),
  tail: offset.optional().describe('Begin this many offsets before the end.'),
  limit: z
    .int()
    .min(1)
    .max(READ_RECORDS_MAX)
    .optional()
    .describe(`The maximum number of records; default ${READ_RECORDS_DEFAULT}. Not with raw batches or a live tail.`),
  maxBytes: z
    .int()
    .min(1)
    .max(READ_BYTES_MAX)
    .optional()
    .describe(
      `The maximum size of the records in bytes; default ${READ_BYTES_DEFAULT}. At least one record is returned, unless the ` +
        'read only passes over dropped ones. Raw batches are returned whole, so the answer can be larger. Not with a live tail.',
    ),
  waitMs: z
    .int()
    .min(0)
    .max(READ_WAIT_MS_MAX)
    .optional()
    .describe('At the end of the partition, wait this long for records; default 0. Not with a live tail.'),
  isolation: isolation.optional(),
  encoding: encoding.optional(),
  lastEventId,
});
export type ReadQuery = z.infer<typeof readQuery>;

export const tailQuery = z.strictObject({
  from: z
    .string()
    .max(TAIL_POSITION_LENGTH_MAX)
    .meta({ pattern: FROM_PATTERN })
    .optional()
    .describe(
      '`latest` (default), `earliest`, `ts:<milliseconds>`, the id of an event, or next offsets by partition such as ' +
        '`0:17,1:4`. Partitions that the last two do not name begin at their log start offset.',
    ),
  lastEventId,
  filter: z
    .string()
    .min(1)
    .max(FILTER_LENGTH_MAX)
    .optional()
    .describe('Only records whose key or value contains this text.'),
  isolation: isolation.optional(),
  encoding: encoding.optional(),
});

export const tailHeaders = z.strictObject({
  'Last-Event-ID': eventIdText
    .optional()
    .describe('The id of the last received event. The tail continues after this event, whatever the query says.'),
});

export const tailGap = z.discriminatedUnion('reason', [
  z
    .object({ reason: z.literal('retention'), partition, from: offset, to: offset.describe('Exclusive.') })
    .describe('Offsets that retention dropped before they could be read.'),
  z
    .object({
      reason: z.literal('topic_recreated'),
      topicId: z.string().describe('The id of the topic that is followed now.'),
      continuesFrom: z.literal('earliest'),
    })
    .describe(
      'The tail should continue in a topic that was deleted. Another topic has this name now, and all its records follow. ' +
        'Records of the deleted topic that were not received are lost.',
    ),
]);
export type TailGap = z.infer<typeof tailGap>;
export const tailHeartbeat = z.object({ timestamp: timeMs });

export const readSchemas = {
  FetchPlan: fetchPlanOutput,
  FetchPlanInput: fetchPlanInput,
  NdjsonLine: ndjsonLine,
  OffsetForTime: offsetForTimeOutput,
  ReadOutput: readOutput,
  Segment: segmentOutput,
  SegmentPage: segmentPage,
  TailGap: tailGap,
  TailHeartbeat: tailHeartbeat,
};
