import { api } from '../../api.ts';
import { field, struct } from '../../fields.ts';
import { array, int16, int32, int64, string } from '../../types.ts';

/** Later versions are for brokers among themselves. */
export const ADD_PARTITIONS_TO_TXN = api({
  key: 24,
  name: 'AddPartitionsToTxn',
  versions: [0, 3],
  flexible: 3,
  request: {
    v3AndBelowTransactionalId: string,
    v3AndBelowProducerId: int64,
    v3AndBelowProducerEpoch: int16,
    v3AndBelowTopics: array(struct({ name: string, partitions: array(int32) })),
  },
  response: {
    throttleTimeMs: field(int32, 0),
    resultsByTopicV3AndBelow: array(
      struct({
        name: string,
        resultsByPartition: array(struct({ partitionIndex: int32, partitionErrorCode: int16 })),
      }),
    ),
  },
});
