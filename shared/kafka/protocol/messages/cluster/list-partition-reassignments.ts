import { api } from '../../api.ts';
import { field, struct } from '../../fields.ts';
import { array, int16, int32, nullable, string } from '../../types.ts';

export const LIST_PARTITION_REASSIGNMENTS = api({
  key: 46,
  name: 'ListPartitionReassignments',
  versions: [0, 0],
  flexible: 0,
  request: {
    timeoutMs: field(int32, 60000),
    topics: field(nullable(array(struct({ name: string, partitionIndexes: array(int32) }))), null),
  },
  response: {
    throttleTimeMs: field(int32, 0),
    errorCode: int16,
    errorMessage: nullable(string),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            partitionIndex: int32,
            replicas: array(int32),
            addingReplicas: array(int32),
            removingReplicas: array(int32),
          }),
        ),
      }),
    ),
  },
});
