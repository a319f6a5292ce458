import { api } from '../../api.ts';
import { field, since, struct } from '../../fields.ts';
import { array, int16, int32, int64, nullable, string } from '../../types.ts';

export const LIST_TRANSACTIONS = api({
  key: 66,
  name: 'ListTransactions',
  versions: [0, 2],
  flexible: 0,
  request: {
    stateFilters: array(string),
    producerIdFilters: array(int64),
    durationFilter: since(1)(int64, -1),
    transactionalIdPattern: since(2)(nullable(string), null),
  },
  response: {
    throttleTimeMs: field(int32, 0),
    errorCode: int16,
    unknownStateFilters: array(string),
    transactionStates: array(struct({ transactionalId: string, producerId: int64, transactionState: string })),
  },
});
