import * as z from 'zod';
import { OFFSET_MAX, PARTITIONS_PER_TOPIC_MAX } from '../../log/limits.ts';
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

export const topicSchemas = {
  DeletedRecords: deletedRecords,
  PartitionState: partitionState,
  Topic: topicOutput,
  TopicDetail: topicDetail,
  TopicInput: topicInput,
  TopicPage: topicPage,
};
