import { EventLogError } from '../../../log/errors.ts';
import { KAFKA_ERRORS } from '../../error-codes.ts';
import { handler } from '../../handler.ts';
import { OFFSET_FOR_LEADER_EPOCH } from '../../protocol/messages/records/offset-for-leader-epoch.ts';
import { LEADER_EPOCH, leaderEpochError } from '../leader-epoch.ts';
import { knownTopicError } from '../topic-errors.ts';

/** Where the records of a leader epoch end: consumers ask it to find out whether the log was cut off behind their back. */
export const offsetForLeaderEpoch = handler(
  OFFSET_FOR_LEADER_EPOCH,
  [{ action: 'consume', on: 'topic' }],
  async ({ gateway: { broker }, rights }, { topics }) => ({
    topics: await Promise.all(
      topics.map(async ({ topic, partitions }) => ({
        topic,
        partitions: await Promise.all(
          partitions.map(async ({ partition, leaderEpoch, currentLeaderEpoch }) => {
            if (!rights.onTopic('consume', topic))
              return { errorCode: KAFKA_ERRORS.TOPIC_AUTHORIZATION_FAILED, partition };
            try {
              const { highWatermark } = await broker.partitionEnds(topic, partition);
              const errorCode = leaderEpochError(currentLeaderEpoch);
              if (errorCode !== undefined) return { errorCode, partition };
              const known = leaderEpoch >= LEADER_EPOCH ? { leaderEpoch: LEADER_EPOCH, endOffset: highWatermark } : {};
              return { errorCode: KAFKA_ERRORS.NONE, partition, ...known };
            } catch (error) {
              if (!(error instanceof EventLogError)) throw error;
              return { errorCode: knownTopicError(error), partition };
            }
          }),
        ),
      })),
    ),
  }),
);
