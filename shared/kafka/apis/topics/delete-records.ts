import { eachOf } from '../../../broker/topics/each-head.ts';
import { choiceSetting } from '../../../log/topic/topic-config.ts';
import { KAFKA_ERRORS } from '../../error-codes.ts';
import type { Gateway } from '../../gateway.ts';
import { handler } from '../../handler.ts';
import type { ResponseOf } from '../../protocol/api.ts';
import { DELETE_RECORDS } from '../../protocol/messages/topics/delete-records.ts';
import { answeringTopic, checkRight, TopicRefusal } from '../topic-errors.ts';

type Result = ResponseOf<typeof DELETE_RECORDS>['topics'][number]['partitions'][number];

/** Stands for the high watermark: all records are deleted. */
const ALL = -1;
const NONE = -1;

/** Deletes the oldest records of partitions, each partition by itself. */
export const deleteRecords = handler(DELETE_RECORDS, [{ action: 'admin', on: 'topic' }], async (call, { topics }) => ({
  topics: await eachOf(topics, async ({ name, partitions }) => {
    const results: Result[] = [];
    // One after the other: the partitions of a head would only get in each other's way.
    for (const { partitionIndex, offset } of partitions)
      results.push(
        await answeringTopic<Result>(
          async () => {
            checkRight(call, 'admin', name);
            const lowWatermark = await deleteBefore(call.gateway, name, partitionIndex, offset);
            return { partitionIndex, lowWatermark, errorCode: KAFKA_ERRORS.NONE };
          },
          (errorCode) => ({ partitionIndex, lowWatermark: NONE, errorCode }),
        ),
      );
    return { name, partitions: results };
  }),
}));

/** The partition's first offset afterwards. @throws TopicRefusal, EventLogError */
async function deleteBefore({ broker }: Gateway, topic: string, partition: number, offset: number): Promise<number> {
  if (offset < ALL) throw new TopicRefusal('OFFSET_OUT_OF_RANGE', 'An offset is from 0, or -1 for the high watermark.');
  const { config } = await broker.knownTopic(topic);
  // As with Kafka: the newest record of each key is what a compacted topic promises to keep.
  if (!choiceSetting(config, 'cleanup.policy').includes('delete'))
    throw new TopicRefusal('POLICY_VIOLATION', `The cleanup.policy of '${topic}' does not include delete.`);
  return (await broker.deleteRecords({ topic, partition, before: offset === ALL ? 'end' : offset })).logStartOffset;
}
