import { api } from '../../api.ts';
import { field, since, struct } from '../../fields.ts';
import { array, int16, int32, int64, string } from '../../types.ts';

export const OFFSET_FOR_LEADER_EPOCH = api({
  key: 23,
  name: 'OffsetForLeaderEpoch',
  versions: [2, 4],
  flexible: 4,
  request: {
    replicaId: since(3)(int32, -2),
    topics: array(
      struct({
        topic: string,
        partitions: array(struct({ partition: int32, currentLeaderEpoch: field(int32, -1), leaderEpoch: int32 })),
      }),
    ),
  },
  response: {
    throttleTimeMs: field(int32, 0),
    topics: array(
      struct({
        topic: string,
        partitions: array(
          struct({ errorCode: int16, partition: int32, leaderEpoch: field(int32, -1), endOffset: field(int64, -1) }),
        ),
      }),
    ),
  },
});
