import { KAFKA_ERRORS, type KafkaErrorNumber } from '../../error-codes.ts';
import { handler } from '../../handler.ts';
import type { ResponseOf } from '../../protocol/api.ts';
import { OFFSET_DELETE } from '../../protocol/messages/groups/offset-delete.ts';
import { answering, groupError } from '../group-errors.ts';

/** Forgets committed offsets of a group that has no members. */
export const offsetDelete = handler(OFFSET_DELETE, ({ gateway: { broker } }, { groupId, topics }) =>
  answering<ResponseOf<typeof OFFSET_DELETE>>(
    async () => {
      const partitions = topics.flatMap(({ name, partitions: ofTopic }) =>
        ofTopic.map(({ partitionIndex }) => ({ topic: name, partition: partitionIndex })),
      );
      const outcomes = await broker.deleteOffsets({ group: groupId, partitions });
      const errors = outcomes.map(
        (outcome): KafkaErrorNumber => (outcome.ok ? KAFKA_ERRORS.NONE : groupError(outcome.error)),
      );
      let next = 0;
      return {
        errorCode: KAFKA_ERRORS.NONE,
        topics: topics.map(({ name, partitions: ofTopic }) => ({
          name,
          partitions: ofTopic.map(({ partitionIndex }) => ({
            partitionIndex,
            errorCode: errors[next++] as KafkaErrorNumber,
          })),
        })),
      };
    },
    (errorCode) => ({ errorCode, topics: [] }),
  ),
);
