import { api } from '../../api.ts';
import { field, struct } from '../../fields.ts';
import { array, int16, int32, int64, string } from '../../types.ts';

export const DESCRIBE_TRANSACTIONS = api({
  key: 65,
  name: 'DescribeTransactions',
  versions: [0, 0],
  flexible: 0,
  request: { transactionalIds: array(string) },
  response: {
    throttleTimeMs: field(int32, 0),
    transactionStates: array(
      struct({
        errorCode: int16,
        transactionalId: string,
        transactionState: field(string, ''),
        transactionTimeoutMs: field(int32, 0),
        transactionStartTimeMs: field(int64, -1),
        producerId: field(int64, -1),
        producerEpoch: field(int16, -1),
        topics: array(struct({ topic: string, partitions: array(int32) })),
      }),
    ),
  },
});
