import { api } from '../../api.ts';
import { field, struct } from '../../fields.ts';
import { array, int16, int32, int64, nullable, string } from '../../types.ts';

export const DESCRIBE_PRODUCERS = api({
  key: 61,
  name: 'DescribeProducers',
  versions: [0, 0],
  flexible: 0,
  request: { topics: array(struct({ name: string, partitionIndexes: array(int32) })) },
  response: {
    throttleTimeMs: field(int32, 0),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            partitionIndex: int32,
            errorCode: int16,
            errorMessage: field(nullable(string), null),
            activeProducers: array(
              struct({
                producerId: int64,
                producerEpoch: int32,
                lastSequence: field(int32, -1),
                lastTimestamp: field(int64, -1),
                coordinatorEpoch: int32,
                currentTxnStartOffset: field(int64, -1),
              }),
            ),
          }),
        ),
      }),
    ),
  },
});
