import { EventLogError } from '../../../log/errors.ts';
import { TIMESTAMP_MAX } from '../../../log/limits.ts';
import { KAFKA_ERRORS } from '../../error-codes.ts';
import type { Gateway } from '../../gateway.ts';
import { handler } from '../../handler.ts';
import type { RequestOf, ResponseOf } from '../../protocol/api.ts';
import { LIST_OFFSETS } from '../../protocol/messages/records/list-offsets.ts';
import { LEADER_EPOCH, leaderEpochError } from '../leader-epoch.ts';
import { knownTopicError } from '../topic-errors.ts';

type AskedPartition = RequestOf<typeof LIST_OFFSETS>['topics'][number]['partitions'][number];
type ListedPartition = ResponseOf<typeof LIST_OFFSETS>['topics'][number]['partitions'][number];

const READ_COMMITTED = 1;
/** Times that stand for something else. */
const LATEST = -1;
const EARLIEST = -2;
const MAX_TIMESTAMP = -3;
/** The earliest offset on the broker's own disk, where there is a second tier: here there is one. */
const EARLIEST_LOCAL = -4;
/** The end of what a second tier has: there is none. */
const LATEST_TIERED = -5;
const EARLIEST_PENDING_UPLOAD = -6;

/** Offsets by time: the first record of a time or later, the ends, or the record with the newest time. */
export const listOffsets = handler(
  LIST_OFFSETS,
  [{ action: 'consume', on: 'topic' }],
  async ({ gateway, rights }, { topics, isolationLevel }) => {
    const isCommitted = isolationLevel === READ_COMMITTED;
    const listed = topics.map(async ({ name, partitions }) => ({
      name,
      partitions: await Promise.all(
        partitions.map((partition) =>
          rights.onTopic('consume', name)
            ? listPartition(gateway, name, partition, isCommitted)
            : { partitionIndex: partition.partitionIndex, errorCode: KAFKA_ERRORS.TOPIC_AUTHORIZATION_FAILED },
        ),
      ),
    }));
    return { topics: await Promise.all(listed) };
  },
);

async function listPartition(
  gateway: Gateway,
  topic: string,
  { partitionIndex, timestamp: time, currentLeaderEpoch }: AskedPartition,
  isCommitted: boolean,
): Promise<ListedPartition> {
  if (time < EARLIEST_PENDING_UPLOAD) return { partitionIndex, errorCode: KAFKA_ERRORS.UNSUPPORTED_VERSION };
  try {
    const { offset, timestampMs } = await findOffset(gateway, topic, partitionIndex, time, isCommitted);
    const epochError = leaderEpochError(currentLeaderEpoch);
    if (epochError !== undefined) return { partitionIndex, errorCode: epochError };
    const leaderEpoch = offset === NONE ? NONE : LEADER_EPOCH;
    return { partitionIndex, errorCode: KAFKA_ERRORS.NONE, offset, timestamp: timestampMs, leaderEpoch };
  } catch (error) {
    if (!(error instanceof EventLogError)) throw error;
    return { partitionIndex, errorCode: knownTopicError(error) };
  }
}

interface FoundOffset {
  readonly offset: number;
  readonly timestampMs: number;
}

const NONE = -1;

async function findOffset(
  { broker }: Gateway,
  topic: string,
  partition: number,
  time: number,
  isCommitted: boolean,
): Promise<FoundOffset> {
  switch (time) {
    case LATEST: {
      const { highWatermark, lastStableOffset } = await broker.partitionEnds(topic, partition);
      return { offset: isCommitted ? lastStableOffset : highWatermark, timestampMs: NONE };
    }
    case EARLIEST:
    case EARLIEST_LOCAL:
      return { offset: (await broker.partitionEnds(topic, partition)).logStartOffset, timestampMs: NONE };
    case LATEST_TIERED:
    case EARLIEST_PENDING_UPLOAD:
      return { offset: NONE, timestampMs: NONE };
    case MAX_TIMESTAMP:
      return (await broker.newestTime(topic, partition)) ?? { offset: NONE, timestampMs: NONE };
    default: {
      // Kafka answers none, not the end, where no record is so new: none is newer than the latest time that there is.
      const { offset, timestampMs } = await broker.offsetForTime(topic, partition, Math.min(time, TIMESTAMP_MAX));
      return timestampMs === null ? { offset: NONE, timestampMs: NONE } : { offset, timestampMs };
    }
  }
}
