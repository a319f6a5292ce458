import * as z from 'zod';
import { ASSIGNOR_NAMES } from '../../log/group/assignor.ts';
import { POLL_TOKEN_LENGTH_MAX } from '../../log/group/poll-token.ts';
import {
  GROUP_ID_BYTES_MAX,
  OFFSET_MAX,
  OFFSET_METADATA_BYTES_MAX,
  OFFSETS_PER_REQUEST_MAX,
  PARTITIONS_PER_TOPIC_MAX,
  READ_BYTES_DEFAULT,
  READ_BYTES_MAX,
  READ_RECORDS_DEFAULT,
  READ_RECORDS_MAX,
  READ_WAIT_MS_MAX,
  REBALANCE_TIMEOUT_MS_DEFAULT,
  REBALANCE_TIMEOUT_MS_MAX,
  SESSION_TIMEOUT_MS_DEFAULT,
  SESSION_TIMEOUT_MS_MAX,
  SESSION_TIMEOUT_MS_MIN,
  SUBSCRIBED_TOPICS_MAX,
  TOPIC_PATTERN_LENGTH_MAX,
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
  problem,
  timeMs,
  topicName,
} from '../contract.ts';
import { encoding, recordOutput } from '../records/contract.ts';

/** Groups, members and instances are named alike; what the length leaves open is checked by the broker. */
const name = z.string().min(1).max(GROUP_ID_BYTES_MAX);
const NAME_RULE = `1 to ${GROUP_ID_BYTES_MAX} bytes of UTF-8, without control or format characters.`;
export const groupName = name.describe(
  `The name of the group: ${NAME_RULE} Percent-encode it in a path. HTTP cannot transport a path segment \`.\` or \`..\`.`,
);
const memberId = name.describe(`The member's id, which the member chooses: ${NAME_RULE}`);
const instanceId = name.describe(
  `Makes the member a static one. Another member may follow it under the same instance id: ${NAME_RULE}`,
);

const EPOCH_MAX = 2_147_483_647;
const memberEpoch = z.int().min(0).max(EPOCH_MAX);
const partitions = z.array(partition).max(PARTITIONS_PER_TOPIC_MAX).readonly();

export const pollToken = z.string().max(POLL_TOKEN_LENGTH_MAX);

export const groupParams = z.strictObject({ group: groupName });
export const memberParams = z.strictObject({ group: groupName, member: memberId });

// Members

const subscription = {
  topics: z
    .array(topicName)
    .max(SUBSCRIBED_TOPICS_MAX)
    .readonly()
    .nullish()
    .describe('The topics to read. They need not exist yet. To join, give `topics`, `topicPattern` or both.'),
  topicPattern: z
    .string()
    .min(1)
    .max(TOPIC_PATTERN_LENGTH_MAX)
    .nullish()
    .describe('A regular expression (RE2) that whole names of topics must match. Needs the right on all topics.'),
};

export const heartbeatInput = z
  .strictObject({
    memberEpoch: memberEpoch.describe('As the last answer gave it; 0 to join.'),
    instanceId: instanceId.nullish(),
    ...subscription,
    assignor: z
      .enum(ASSIGNOR_NAMES)
      .nullish()
      .describe('How partitions are distributed. The group uses what most of its members ask for.'),
    sessionTimeoutMs: z
      .int()
      .min(SESSION_TIMEOUT_MS_MIN)
      .max(SESSION_TIMEOUT_MS_MAX)
      .nullish()
      .describe(
        `The member is gone if it sends no heartbeat for this long. Taken when it joins; default ${SESSION_TIMEOUT_MS_DEFAULT}.`,
      ),
    rebalanceTimeoutMs: z
      .int()
      .min(SESSION_TIMEOUT_MS_MIN)
      .max(REBALANCE_TIMEOUT_MS_MAX)
      .nullish()
      .describe(
        `The member is gone if it does not let go of a partition within this time. Taken when it joins; default ${REBALANCE_TIMEOUT_MS_DEFAULT}.`,
      ),
    owned: z
      .array(z.strictObject({ topicId: z.string().min(1).max(100), topic: topicName.nullish(), partitions }))
      .max(SUBSCRIBED_TOPICS_MAX)
      .readonly()
      .nullish()
      .describe(
        'The partitions that the member still reads, in the shape of `assignment`. Default: all that it was ever told of.',
      ),
  })
  .describe('A heartbeat of a member.');
export type HeartbeatInput = z.infer<typeof heartbeatInput>;

const assignedTopic = z.object({ topic: topicName, topicId: z.string(), partitions });

export const heartbeatOutput = z
  .object({
    memberId,
    memberEpoch: memberEpoch.describe('For the next request.'),
    heartbeatIntervalMs: count.describe('When to send the next heartbeat: sooner while partitions move.'),
    sessionTimeoutMs: count,
    isSettled: z.boolean().describe('Whether the member has all partitions that it will get for now.'),
    assignment: z
      .array(assignedTopic)
      .readonly()
      .describe('The partitions that the member reads from now on, and no others.'),
  })
  .describe('What a member has from now on.');
export type HeartbeatOutput = z.infer<typeof heartbeatOutput>;

export const leaveQuery = z.strictObject({
  instanceId: instanceId.optional(),
  willReturn: z
    .boolean()
    .optional()
    .describe('A static member comes back: its partitions wait until its session ends. Needs `instanceId`.'),
});

export const pollInput = z
  .strictObject({
    memberId: memberId.nullish().describe('Default: that of `after`, otherwise a random one.'),
    instanceId: instanceId.nullish(),
    ...subscription,
    assignor: z.enum(ASSIGNOR_NAMES).nullish(),
    after: pollToken
      .nullish()
      .describe('The `token` of the last poll: its records are processed, and are committed now.'),
    commit: z
      .enum(['after', 'at_once', 'later'])
      .nullish()
      .describe(
        '`after` (default): the next poll commits the records of this one, so each is given out at least once. `at_once`: they ' +
          'are committed before they are returned, so each is given out at most once. `later`: the records of `after` are not ' +
          'processed yet, so read on and commit nothing; a later poll with `after` commits them too.',
      ),
    paused: z
      .array(z.strictObject({ topic: topicName, partitions: partitions.nullish() }))
      .max(SUBSCRIBED_TOPICS_MAX)
      .readonly()
      .nullish()
      .describe('Partitions that stay the member’s, and are not read now. Without `partitions`, all of the topic.'),
    startAt: z
      .enum(['earliest', 'latest'])
      .nullish()
      .describe('Where partitions begin of which the group has committed nothing; default `earliest`.'),
    maxRecords: z
      .int()
      .min(0)
      .max(READ_RECORDS_MAX)
      .nullish()
      .describe(`Default ${READ_RECORDS_DEFAULT}. With 0 the poll only commits and keeps the membership.`),
    maxBytes: z.int().min(1).max(READ_BYTES_MAX).nullish().describe(`Default ${READ_BYTES_DEFAULT}.`),
    waitMs: z
      .int()
      .min(0)
      .max(READ_WAIT_MS_MAX)
      .nullish()
      .describe('At the end of all partitions, wait this long for records; default 0.'),
    leaseMs: z
      .int()
      .min(SESSION_TIMEOUT_MS_MIN)
      .max(SESSION_TIMEOUT_MS_MAX)
      .nullish()
      .describe(
        'The member keeps its partitions for this long after each poll. Taken when it joins; default 30 seconds.',
      ),
    encoding: encoding.nullish(),
  })
  .describe('A poll: join or go on, commit, and read.');
export type PollInput = z.infer<typeof pollInput>;

const polledPartition = z
  .object({
    topic: topicName,
    partition,
    records: z.array(recordOutput).readonly(),
    nextOffset: offset.describe('Where the next poll continues. Offsets can lack records.'),
    logStartOffset,
    highWatermark,
  })
  .describe('What a poll read of one partition.');

const leaseExpiresAtMs = timeMs.describe(
  'By then the next poll must come, or the lease must be extended. Otherwise other members get the partitions.',
);
export const pollOutput = z
  .object({
    memberId,
    memberEpoch,
    token: z.string().describe('For `after` of the next poll, and to extend the lease.'),
    leaseExpiresAtMs,
    isSettled: z.boolean().describe('Whether the member has all partitions that it will get for now.'),
    assignment: z.array(assignedTopic).readonly(),
    unknownTopics: z
      .array(topicName)
      .readonly()
      .optional()
      .describe(
        'In the answer to a poll without `after`: those of `topics` that do not exist. The member gets them once they are made.',
      ),
    commits: z
      .array(z.object({ topic: topicName, partition, offset, error: problem.optional() }))
      .readonly()
      .describe(
        'What was committed. A partition that was lost meanwhile has an `error`: its new owner reads it again.',
      ),
    gaps: z
      .array(z.object({ topic: topicName, partition, from: offset, to: offset.describe('Exclusive.') }))
      .readonly()
      .describe('Offsets that retention dropped before they could be read.'),
    partitions: z.array(polledPartition).readonly().describe('Only partitions of which something was read.'),
  })
  .describe('What a poll committed and read.');
export type PollOutput = z.infer<typeof pollOutput>;

export const extendInput = z.strictObject({
  token: pollToken.describe('The `token` of the last poll.'),
});
export const extendOutput = z.object({ leaseExpiresAtMs });
export type ExtendOutput = z.infer<typeof extendOutput>;

// Groups

export const groupPage = z.object({ items: z.array(z.object({ group: name })).readonly(), nextPageToken });
export type GroupPage = z.infer<typeof groupPage>;

const topicPartitions = z.array(z.object({ topic: topicName, partitions })).readonly();

const memberOutput = z
  .object({
    memberId: name,
    instanceId: name.nullable(),
    protocol: z
      .enum(['classic', 'consumer'])
      .describe(
        '`classic`: it uses Kafka’s classic protocol, and was in the group before members of the other one, or follows them.',
      ),
    client: z
      .object({ clientId: z.string().optional(), host: z.string().optional(), rack: z.string().optional() })
      .describe('What the member told of its program.'),
    memberEpoch,
    targetEpoch: count.describe('The epoch of the target that the member works towards.'),
    topics: z.array(topicName).readonly(),
    topicPattern: z.string().nullable(),
    assigned: topicPartitions,
    revoking: topicPartitions.describe('What the member was told to let go of, and still has.'),
    wanted: topicPartitions.describe('What the target gives the member.'),
    secondsSinceSeen: count.describe('Since the last heartbeat.'),
    sessionTimeoutMs: count,
    isAway: z.boolean().describe('Whether it is a static member that will come back.'),
  })
  .describe('A member of a consumer group.');

export const groupOutput = z
  .object({
    group: name,
    state: z
      .enum(['empty', 'computing', 'reconciling', 'stable'])
      .describe(
        '`empty`: no members. `computing`: the next heartbeat computes a target. `reconciling`: partitions move. `stable`: each ' +
          'member has what the target gives it.',
      ),
    epoch: count,
    targetEpoch: count,
    assignor: z.enum(ASSIGNOR_NAMES),
    members: z.array(memberOutput).readonly(),
  })
  .describe('A consumer group and its members.');
export type GroupOutput = z.infer<typeof groupOutput>;

export const lagQuery = z.strictObject({
  withTimes: z
    .boolean()
    .optional()
    .describe(
      'Whether to find out how long the oldest unread record of each partition waits, which costs a read of each; default true.',
    ),
});

const partitionLag = z
  .object({
    topic: topicName,
    partition,
    committedOffset: offset.nullable().describe('The next offset that the group reads; null if it committed none.'),
    metadata: z.string(),
    logStartOffset,
    highWatermark,
    lagRecords: count.nullable().describe('Offsets that are not read yet; null without a committed offset.'),
    lagMs: count
      .nullable()
      .describe('The age of the next record to read; 0 if there is none, null if it is not known.'),
    memberId: name.nullable().describe('The member that owns the partition.'),
    instanceId: name.nullable(),
  })
  .describe('How far a group is behind in a partition.');

export const lagOutput = z
  .object({
    group: name,
    partitions: z.array(partitionLag).readonly(),
    totalLagRecords: count,
    maxLagMs: count.nullable().describe('null without times.'),
    partitionsWithLag: count,
    partitionsWithoutOffset: count.describe('Partitions that the group reads, and has never committed an offset for.'),
  })
  .describe('How far a group is behind.');
export type LagOutput = z.infer<typeof lagOutput>;

// Offsets

export const offsetsQuery = z.strictObject({
  limit: limit.describe(
    'The maximum number of items of the table in a page; an item has the offsets of 16 partitions.',
  ),
  pageToken,
});

const committedOffset = z
  .object({
    topic: topicName,
    partition,
    offset: offset.nullable().describe('The next offset to read; null if none was committed.'),
    leaderEpoch: z.int().min(-1).max(EPOCH_MAX),
    metadata: z.string(),
    committedAtMs: timeMs.nullable(),
  })
  .describe('What a group has committed for a partition.');

export const offsetsPage = z.object({ items: z.array(committedOffset).readonly(), nextPageToken });
export type OffsetsPage = z.infer<typeof offsetsPage>;

export const commitInput = z
  .strictObject({
    memberId: memberId
      .nullish()
      .describe('The member that commits. Without it, the group must have no members (manual assignment).'),
    instanceId: instanceId.nullish(),
    memberEpoch: memberEpoch.nullish().describe('The epoch of the last answer to the member.'),
    offsets: z
      .array(
        z.strictObject({
          topic: topicName,
          partition,
          offset: offset.describe('The next offset to read: one more than that of the last record that was processed.'),
          leaderEpoch: z.int().min(-1).max(EPOCH_MAX).nullish(),
          metadata: z
            .string()
            .max(OFFSET_METADATA_BYTES_MAX)
            .refine((text) => text.isWellFormed(), 'has an unpaired surrogate, which UTF-8 cannot represent')
            .nullish()
            .describe(`Any text of up to ${OFFSET_METADATA_BYTES_MAX} bytes of UTF-8.`),
        }),
      )
      .min(1)
      .max(OFFSETS_PER_REQUEST_MAX),
  })
  .describe('Offsets to commit.');
export type CommitInput = z.infer<typeof commitInput>;

const partitionOutcome = z
  .object({ topic: topicName, partition, error: problem.optional().describe('Absent if it succeeded.') })
  .describe('The outcome for one partition.');

export const offsetsOutput = z
  .object({ offsets: z.array(partitionOutcome).readonly().describe('In the order of the request.') })
  .describe('The outcome for each partition. If all failed, the answer is a problem instead.');
export type OffsetsOutput = z.infer<typeof offsetsOutput>;

export const resetInput = z
  .strictObject({
    topics: z
      .array(
        z.strictObject({
          topic: topicName,
          partitions: z
            .array(partition)
            .min(1)
            .max(PARTITIONS_PER_TOPIC_MAX)
            .readonly()
            .nullish()
            .describe('Default: all partitions of the topic.'),
        }),
      )
      .min(1)
      .max(SUBSCRIBED_TOPICS_MAX),
    to: z.enum(['earliest', 'latest']).nullish(),
    timestamp: timeMs.nullish().describe('To the first record of this time or later.'),
    offset: offset.nullish(),
    shiftBy: z
      .int()
      .min(-OFFSET_MAX)
      .max(OFFSET_MAX)
      .nullish()
      .describe('By so many offsets forward, or back if negative, from what is committed.'),
    dryRun: z.boolean().nullish().describe('Only tell what would be changed; default false.'),
  })
  .describe('How to reset offsets: exactly one of `to`, `timestamp`, `offset` and `shiftBy`.');
export type ResetInput = z.infer<typeof resetInput>;

export const resetOutput = z
  .object({
    dryRun: z.boolean(),
    partitions: z
      .array(
        z.object({
          topic: topicName,
          partition,
          oldOffset: offset.nullable(),
          newOffset: offset.nullable().describe('null: nothing was committed that could be shifted.'),
          clampedTo: z
            .enum(['log_start_offset', 'high_watermark'])
            .optional()
            .describe('The requested offset is outside of the log, so this end of it was taken.'),
          error: problem.optional().describe('The reset of this partition failed.'),
        }),
      )
      .readonly(),
  })
  .describe('What a reset changed, or would change.');
export type ResetOutput = z.infer<typeof resetOutput>;

export const deleteOffsetsQuery = z.strictObject({
  topic: topicName,
  partition: partition.optional().describe('Default: all partitions of the topic.'),
});

export const groupSchemas = {
  AssignedTopic: assignedTopic,
  CommitInput: commitInput,
  CommittedOffset: committedOffset,
  Group: groupOutput,
  GroupLag: lagOutput,
  GroupMember: memberOutput,
  GroupPage: groupPage,
  HeartbeatInput: heartbeatInput,
  HeartbeatOutput: heartbeatOutput,
  OffsetsOutput: offsetsOutput,
  OffsetsPage: offsetsPage,
  PartitionLag: partitionLag,
  PartitionOutcome: partitionOutcome,
  PolledPartition: polledPartition,
  PollInput: pollInput,
  PollOutput: pollOutput,
  ResetInput: resetInput,
  ResetOutput: resetOutput,
};
