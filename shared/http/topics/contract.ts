import * as z from 'zod';
import { PROBLEM_KINDS } from '../../broker/verify/report.ts';
import { OFFSET_MAX, PARTITIONS_PER_TOPIC_MAX, READ_BYTES_MAX } from '../../log/limits.ts';
import {
  isWhole,
  settingRange,
  TOPIC_SETTING_NAMES,
  TOPIC_SETTINGS,
  type TopicSettingName,
} from '../../log/topic/topic-config.ts';
import {
  count,
  highWatermark,
  logStartOffset,
  nextPageToken,
  offset,
  pageToken,
  partition,
  timeMs,
  topicName,
} from '../contract.ts';

/** The schema of a setting's value: its type and range. Numbers may also be text, as Kafka's tools send them. */
function settingInput(name: TopicSettingName): z.ZodType<string | number | null | undefined> {
  const setting = TOPIC_SETTINGS[name];
  const value =
    setting.type === 'choice'
      ? z.enum(setting.values)
      : z.union([
          (isWhole(name) ? z.int() : z.number()).min(setting.min).max(setting.max),
          z.string().regex(/^-?\d+(\.\d+)?$/),
        ]);
  return z
    .union([value, z.null()], { error: `takes ${settingRange(name)}, or null for the default` })
    .optional()
    .describe(`Default ${JSON.stringify(setting.default)}.`);
}

export const topicInput = z
  .strictObject({
    partitions: z
      .int()
      .min(1)
      .max(PARTITIONS_PER_TOPIC_MAX)
      .nullish()
      .describe('Default: 1 for a new topic. Partitions can only be added.'),
    config: z
      .strictObject(Object.fromEntries(TOPIC_SETTING_NAMES.map((name) => [name, settingInput(name)])))
      .nullish()
      .describe(
        "Settings with Kafka's names and values. Settings that are not given keep their value; null resets one to its default.",
      ),
  })
  .describe('The requested properties of a topic.');
export type TopicInput = z.infer<typeof topicInput>;

const describedSetting = z.object({
  value: z.union([z.string(), z.number()]),
  source: z.enum(['default', 'topic']),
});

const topicMembers = {
  name: topicName,
  topicId: z.string().describe('A topic that is made again under the same name gets another id.'),
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
  bytes: count.describe('The compressed size of the stored record batches.'),
});

export const topicDetail = z
  .object({ ...topicMembers, partitionStates: z.array(partitionState) })
  .describe('A topic and the ends of its partitions.');
export type TopicDetail = z.infer<typeof topicDetail>;

export const deleteRecordsQuery = z.strictObject({
  before: z
    .union([offset, z.literal('end')], { error: `takes an offset from 0 to ${OFFSET_MAX}, or end` })
    .describe('Records below this offset are deleted. `end`: all records that the partition has.'),
});

export const deletedRecords = z
  .object({ partition, logStartOffset, highWatermark })
  .describe('The ends of a partition after its oldest records were deleted.');
export type DeletedRecordsOutput = z.infer<typeof deletedRecords>;

export const topicPage = z.object({ items: z.array(topicOutput).readonly(), nextPageToken });
export type TopicPage = z.infer<typeof topicPage>;

export const verificationQuery = z.strictObject({
  partition: partition.optional().describe('Verify only this partition, and what its head needs. Default: all.'),
  maxBytes: z
    .int()
    .min(1)
    .max(READ_BYTES_MAX)
    .optional()
    .describe(`The answer comes soon after this many bytes were read; default ${READ_BYTES_MAX}.`),
  deep: z.boolean().optional().describe('Also decompress and decode every record; default false.'),
  pageToken: pageToken.describe('`nextPageToken` of the previous page, with the same `partition`.'),
});

const foundProblem = z
  .object({
    kind: z
      .enum(PROBLEM_KINDS)
      .describe('What is wrong. With `orphan` nothing is lost: it is an object or item that nothing refers to.'),
    headNumber: count.describe('The partition head, which decides the order of up to 16 partitions.'),
    partition: partition.optional().describe('Absent if the problem concerns all partitions of the head.'),
    storedAs: z.string().optional().describe("The object's key, or the item's keys joined by a slash."),
    position: count.optional().describe('The position in the object from which on it is damaged.'),
    offset: offset.optional().describe('The first offset that is concerned.'),
    message: z.string().describe('An explanation for people. It may change.'),
  })
  .describe('A problem that a verification found.');

const partitionReport = z
  .object({
    partition,
    logStartOffset: offset.describe('The log start offset when the verification of the partition began.'),
    highWatermark: offset.describe('The high watermark at that time. What was appended later is not counted.'),
    records: count.describe('Without the markers of transactions.'),
    markers: count.describe('The markers of transactions. Each is a batch with one offset.'),
    batches: count,
    bytes: count,
    segments: count,
    unmergedParts: count.describe('Runs of batches that a tail node names.'),
    tailParts: count.describe('Runs of batches that the head names.'),
    setHash: z
      .string()
      .describe('A hash of all record batches that were found, 16 hex digits. Merging and joining do not change it.'),
    problems: count.describe('Without orphans, and without those of the whole head.'),
    orphans: count,
  })
  .describe('What a verification found in a partition.');

export const verificationPage = z.object({
  partitions: z.array(partitionReport).readonly().describe('The partitions that this call finished.'),
  problems: z.array(foundProblem).readonly(),
  nextPageToken: nextPageToken.describe('Absent when everything was verified.'),
});
export type VerificationOutput = z.infer<typeof verificationPage>;

export const topicSchemas = {
  DeletedRecords: deletedRecords,
  FoundProblem: foundProblem,
  PartitionReport: partitionReport,
  PartitionState: partitionState,
  Topic: topicOutput,
  TopicDetail: topicDetail,
  TopicInput: topicInput,
  TopicPage: topicPage,
  VerificationPage: verificationPage,
};
