import { KAFKA_ERRORS } from '../../error-codes.ts';
import { handler } from '../../handler.ts';
import { ADD_OFFSETS_TO_TXN } from '../../protocol/messages/transactions/add-offsets-to-txn.ts';
import { answeringTransaction } from './transaction-errors.ts';

const FENCED_FROM = 2;

/** Names a group whose offsets the transaction of a producer is going to commit: clients of transaction.version 1 do it. */
export const addOffsetsToTxn = handler(
  ADD_OFFSETS_TO_TXN,
  [
    { action: 'produce', on: 'transactional id' },
    { action: 'consume', on: 'group' },
  ],
  async ({ gateway: { broker }, rights, version }, { transactionalId, producerId, producerEpoch, groupId }) => {
    if (!rights.onTransactionalId('produce', transactionalId))
      return { errorCode: KAFKA_ERRORS.TRANSACTIONAL_ID_AUTHORIZATION_FAILED };
    if (!rights.onGroup('consume', groupId)) return { errorCode: KAFKA_ERRORS.GROUP_AUTHORIZATION_FAILED };
    return answeringTransaction<{ errorCode: number }>(
      version >= FENCED_FROM,
      async () => {
        const producer = { producerId, producerEpoch };
        await broker.enlist({ transactionalId, producer, participants: { groups: [groupId] }, isFresh: true });
        return { errorCode: KAFKA_ERRORS.NONE };
      },
      (errorCode) => ({ errorCode }),
    );
  },
);
