import { api } from '../../api.ts';
import { field, since } from '../../fields.ts';
import { bool, int16, int32, int64, string } from '../../types.ts';

export const END_TXN = api({
  key: 26,
  name: 'EndTxn',
  versions: [0, 5],
  flexible: 3,
  request: { transactionalId: string, producerId: int64, producerEpoch: int16, committed: bool },
  response: {
    throttleTimeMs: field(int32, 0),
    errorCode: int16,
    producerId: since(5)(int64, -1),
    producerEpoch: since(5)(int16, -1),
  },
});
