import { api } from '../../api.ts';
import { field, since, struct, until } from '../../fields.ts';
import { array, int16, int32, int64, nullable, string, uuid } from '../../types.ts';

export const OFFSET_COMMIT = api({
  key: 8,
  name: 'OffsetCommit',
  versions: [2, 10],
  flexible: 8,
  request: {
    groupId: string,
    generationIdOrMemberEpoch: field(int32, -1),
    memberId: string,
    groupInstanceId: since(7)(nullable(string), null),
    retentionTimeMs: until(4)(int64, -1),
    topics: array(
      struct({
        name: until(9)(string),
        topicId: since(10)(uuid),
        partitions: array(
          struct({
            partitionIndex: int32,
            committedOffset: int64,
            committedLeaderEpoch: since(6)(int32, -1),
            committedMetadata: nullable(string),
          }),
        ),
      }),
    ),
  },
  response: {
    throttleTimeMs: since(3)(int32, 0),
    topics: array(
      struct({
        name: until(9)(string),
        topicId: since(10)(uuid),
        partitions: array(struct({ partitionIndex: int32, errorCode: int16 })),
      }),
    ),
  },
});
