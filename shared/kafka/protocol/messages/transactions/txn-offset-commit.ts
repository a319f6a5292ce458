import { api } from '../../api.ts';
import { field, since, struct } from '../../fields.ts';
import { array, int16, int32, int64, nullable, string } from '../../types.ts';

export const TXN_OFFSET_COMMIT = api({
  key: 28,
  name: 'TxnOffsetCommit',
  versions: [0, 5],
  flexible: 3,
  request: {
    transactionalId: string,
    groupId: string,
    producerId: int64,
    producerEpoch: int16,
    generationId: since(3)(int32, -1),
    memberId: since(3)(string, ''),
    groupInstanceId: since(3)(nullable(string), null),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            partitionIndex: int32,
            committedOffset: int64,
            committedLeaderEpoch: since(2)(int32, -1),
            committedMetadata: nullable(string),
          }),
        ),
      }),
    ),
  },
  response: {
    throttleTimeMs: field(int32, 0),
    topics: array(struct({ name: string, partitions: array(struct({ partitionIndex: int32, errorCode: int16 })) })),
  },
});
