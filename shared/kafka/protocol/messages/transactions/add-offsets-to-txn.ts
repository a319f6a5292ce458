import { api } from '../../api.ts';
import { field } from '../../fields.ts';
import { int16, int32, int64, string } from '../../types.ts';

export const ADD_OFFSETS_TO_TXN = api({
  key: 25,
  name: 'AddOffsetsToTxn',
  versions: [0, 4],
  flexible: 3,
  request: { transactionalId: string, producerId: int64, producerEpoch: int16, groupId: string },
  response: { throttleTimeMs: field(int32, 0), errorCode: int16 },
});
