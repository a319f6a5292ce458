import { api } from '../../api.ts';
import { field, since, struct } from '../../fields.ts';
import { array, int8, int16, int32, int64, string } from '../../types.ts';

export const LIST_OFFSETS = api({
  key: 2,
  name: 'ListOffsets',
  versions: [1, 11],
  flexible: 6,
  request: {
    replicaId: int32,
    isolationLevel: since(2)(int8),
    topics: array(
      struct({
        name: string,
        partitions: array(struct({ partitionIndex: int32, currentLeaderEpoch: since(4)(int32, -1), timestamp: int64 })),
      }),
    ),
    timeoutMs: since(10)(int32),
  },
  response: {
    throttleTimeMs: since(2)(int32, 0),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            partitionIndex: int32,
            errorCode: int16,
            timestamp: field(int64, -1),
            offset: field(int64, -1),
            leaderEpoch: since(4)(int32, -1),
          }),
        ),
      }),
    ),
  },
});
