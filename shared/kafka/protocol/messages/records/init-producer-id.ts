import { api } from '../../api.ts';
import { field, since } from '../../fields.ts';
import { int16, int32, int64, nullable, string } from '../../types.ts';

export const INIT_PRODUCER_ID = api({
  key: 22,
  name: 'InitProducerId',
  versions: [0, 5],
  flexible: 2,
  request: {
    transactionalId: nullable(string),
    transactionTimeoutMs: int32,
    producerId: since(3)(int64, -1),
    producerEpoch: since(3)(int16, -1),
  },
  response: { throttleTimeMs: field(int32, 0), errorCode: int16, producerId: field(int64, -1), producerEpoch: int16 },
});
