import { KAFKA_ERRORS } from '../../error-codes.ts';
import { handler } from '../../handler.ts';
import type { ResponseOf } from '../../protocol/api.ts';
import { INIT_PRODUCER_ID } from '../../protocol/messages/records/init-producer-id.ts';
import { answeringTransaction } from '../transactions/transaction-errors.ts';

const FENCED_FROM = 4;

/**
 * A new producer id for an idempotent producer, each time. Under a transactional id, the producer id and the next epoch of it:
 * what was left open under the id is ended first.
 */
export const initProducerId = handler(
  INIT_PRODUCER_ID,
  [
    { action: 'produce', on: 'some topic' },
    { action: 'produce', on: 'transactional id' },
  ],
  async ({ gateway: { broker }, rights, version }, request) => {
    const { transactionalId, transactionTimeoutMs: timeoutMs, producerId, producerEpoch } = request;
    const refused = (errorCode: number): ResponseOf<typeof INIT_PRODUCER_ID> => ({ errorCode, producerEpoch: -1 });
    // A producer that has an id has an epoch as well.
    if (transactionalId === '' || producerId < 0 !== producerEpoch < 0) return refused(KAFKA_ERRORS.INVALID_REQUEST);
    if (transactionalId === null && !rights.onSomeTopic('produce'))
      return refused(KAFKA_ERRORS.CLUSTER_AUTHORIZATION_FAILED);
    if (transactionalId !== null && !rights.onTransactionalId('produce', transactionalId))
      return refused(KAFKA_ERRORS.TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    return answeringTransaction<ResponseOf<typeof INIT_PRODUCER_ID>>(
      version >= FENCED_FROM,
      async () => {
        if (transactionalId === null)
          return { errorCode: KAFKA_ERRORS.NONE, producerId: await broker.allocateProducerId(), producerEpoch: 0 };
        const producer = producerId < 0 ? undefined : { producerId, producerEpoch };
        return {
          errorCode: KAFKA_ERRORS.NONE,
          ...(await broker.initialiseProducer({ transactionalId, timeoutMs, producer })),
        };
      },
      refused,
    );
  },
);
