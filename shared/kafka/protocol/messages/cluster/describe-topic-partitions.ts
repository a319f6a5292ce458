import { api } from '../../api.ts';
import { field, struct } from '../../fields.ts';
import { array, bool, int16, int32, nullable, string, uuid } from '../../types.ts';

export const DESCRIBE_TOPIC_PARTITIONS = api({
  key: 75,
  name: 'DescribeTopicPartitions',
  versions: [0, 0],
  flexible: 0,
  request: {
    topics: array(struct({ name: string })),
    responsePartitionLimit: field(int32, 2000),
    cursor: field(nullable(struct({ topicName: string, partitionIndex: int32 })), null),
  },
  response: {
    throttleTimeMs: field(int32, 0),
    topics: array(
      struct({
        errorCode: int16,
        name: nullable(string),
        topicId: uuid,
        isInternal: field(bool, false),
        partitions: array(
          struct({
            errorCode: int16,
            partitionIndex: int32,
            leaderId: int32,
            leaderEpoch: field(int32, -1),
            replicaNodes: array(int32),
            isrNodes: array(int32),
            eligibleLeaderReplicas: field(nullable(array(int32)), null),
            lastKnownElr: field(nullable(array(int32)), null),
            offlineReplicas: array(int32),
          }),
        ),
        topicAuthorizedOperations: field(int32, -(2 ** 31)),
      }),
    ),
    nextCursor: field(nullable(struct({ topicName: string, partitionIndex: int32 })), null),
  },
});
