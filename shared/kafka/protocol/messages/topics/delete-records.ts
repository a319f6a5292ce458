import { api } from '../../api.ts';
import { field, struct } from '../../fields.ts';
import { array, int16, int32, int64, string } from '../../types.ts';

export const DELETE_RECORDS = api({
  key: 21,
  name: 'DeleteRecords',
  versions: [0, 2],
  flexible: 2,
  request: {
    topics: array(struct({ name: string, partitions: array(struct({ partitionIndex: int32, offset: int64 })) })),
    timeoutMs: int32,
  },
  response: {
    throttleTimeMs: field(int32, 0),
    topics: array(
      struct({
        name: string,
        partitions: array(struct({ partitionIndex: int32, lowWatermark: int64, errorCode: int16 })),
      }),
    ),
  },
});
