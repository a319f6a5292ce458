import { KAFKA_ERRORS, type KafkaErrorNumber } from '../../error-codes.ts';
import { handler } from '../../handler.ts';
import type { ResponseOf } from '../../protocol/api.ts';
import { OFFSET_DELETE } from '../../protocol/messages/groups/offset-delete.ts';
import { answering, groupError } from '../group-errors.ts';

type Response = ResponseOf<typeof OFFSET_DELETE>;

/** Forgets committed offsets of a group that has no members. */
export const offsetDelete = handler(
  OFFSET_DELETE,
  [
    { action: 'admin', on: 'group' },
    { action: 'any', on: 'topic' },
  ],
  ({ gateway: { broker }, rights }, { groupId, topics }) =>
    answering<Response>(
      async () => {
        if (!rights.onGroup('admin', groupId))
          return { errorCode: KAFKA_ERRORS.GROUP_AUTHORIZATION_FAILED, topics: [] };
        const isAllowed = topics.map(({ name }) => rights.onTopic('any', name));
        const partitions = topics.flatMap(({ name, partitions: ofTopic }, i) =>
          isAllowed[i] ? ofTopic.map(({ partitionIndex }) => ({ topic: name, partition: partitionIndex })) : [],
        );
        const outcomes = partitions.length === 0 ? [] : await broker.deleteOffsets({ group: groupId, partitions });
        const errors = outcomes.map(
          (outcome): KafkaErrorNumber => (outcome.ok ? KAFKA_ERRORS.NONE : groupError(outcome.error)),
        );
        let next = 0;
        return {
          errorCode: KAFKA_ERRORS.NONE,
          topics: topics.map(({ name, partitions: ofTopic }, i) => ({
            name,
            partitions: ofTopic.map(({ partitionIndex }) => ({
              partitionIndex,
              errorCode: isAllowed[i] ? (errors[next++] as KafkaErrorNumber) : KAFKA_ERRORS.TOPIC_AUTHORIZATION_FAILED,
            })),
          })),
        };
      },
      (errorCode) => ({ errorCode, topics: [] }),
    ),
);
