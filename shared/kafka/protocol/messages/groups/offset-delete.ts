import { api } from '../../api.ts';
import { field, struct } from '../../fields.ts';
import { array, int16, int32, string } from '../../types.ts';

export const OFFSET_DELETE = api({
  key: 47,
  name: 'OffsetDelete',
  versions: [0, 0],
  request: {
    groupId: string,
    topics: array(struct({ name: string, partitions: array(struct({ partitionIndex: int32 })) })),
  },
  response: {
    errorCode: int16,
    throttleTimeMs: field(int32, 0),
    topics: array(struct({ name: string, partitions: array(struct({ partitionIndex: int32, errorCode: int16 })) })),
  },
});
