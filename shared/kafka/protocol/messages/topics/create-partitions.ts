import { api } from '../../api.ts';
import { field, struct } from '../../fields.ts';
import { array, bool, int16, int32, nullable, string } from '../../types.ts';

export const CREATE_PARTITIONS = api({
  key: 37,
  name: 'CreatePartitions',
  versions: [0, 3],
  flexible: 2,
  request: {
    topics: array(
      struct({ name: string, count: int32, assignments: nullable(array(struct({ brokerIds: array(int32) }))) }),
    ),
    timeoutMs: int32,
    validateOnly: bool,
  },
  response: {
    throttleTimeMs: field(int32, 0),
    results: array(struct({ name: string, errorCode: int16, errorMessage: field(nullable(string), null) })),
  },
});
