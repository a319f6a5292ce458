import { KAFKA_ERRORS } from '../../error-codes.ts';
import { handler } from '../../handler.ts';
import type { ResponseOf } from '../../protocol/api.ts';
import { END_TXN } from '../../protocol/messages/transactions/end-txn.ts';
import { answeringTransaction } from './transaction-errors.ts';

const FENCED_FROM = 2;
/** From this version on each transaction has an epoch of its own (transaction.version 2, KIP-890). */
const RAISES_EPOCH_FROM = 5;

/** Commits or aborts a transaction. Answers when every partition and every offset has the outcome. */
export const endTxn = handler(
  END_TXN,
  [{ action: 'produce', on: 'transactional id' }],
  async ({ gateway: { broker }, rights, version }, { transactionalId, producerId, producerEpoch, committed }) => {
    if (!rights.onTransactionalId('produce', transactionalId))
      return { errorCode: KAFKA_ERRORS.TRANSACTIONAL_ID_AUTHORIZATION_FAILED };
    return answeringTransaction<ResponseOf<typeof END_TXN>>(
      version >= FENCED_FROM,
      async () => {
        const next = await broker.endTransaction({
          transactionalId,
          producer: { producerId, producerEpoch },
          outcome: committed ? 'committed' : 'aborted',
          raisesEpoch: version >= RAISES_EPOCH_FROM,
        });
        return { errorCode: KAFKA_ERRORS.NONE, ...next };
      },
      (errorCode) => ({ errorCode }),
    );
  },
);
