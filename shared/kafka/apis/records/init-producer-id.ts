import { EventLogError } from '../../../log/errors.ts';
import { KAFKA_ERRORS, kafkaError } from '../../error-codes.ts';
import { handler } from '../../handler.ts';
import { INIT_PRODUCER_ID } from '../../protocol/messages/records/init-producer-id.ts';

/** A new producer id for an idempotent producer, each time. */
export const initProducerId = handler(
  INIT_PRODUCER_ID,
  [{ action: 'produce', on: 'some topic' }],
  async ({ gateway: { broker }, rights }, { transactionalId, producerId, producerEpoch }) => {
    // A producer that has an id has an epoch as well.
    if (transactionalId === '' || producerId < 0 !== producerEpoch < 0)
      return { errorCode: KAFKA_ERRORS.INVALID_REQUEST, producerEpoch: -1 };
    if (transactionalId !== null)
      // There are no transactions yet, so nobody has the right to one: this is the refusal that clients do not repeat.
      return { errorCode: KAFKA_ERRORS.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, producerEpoch: -1 };
    if (!rights.onSomeTopic('produce'))
      return { errorCode: KAFKA_ERRORS.CLUSTER_AUTHORIZATION_FAILED, producerEpoch: -1 };
    try {
      return { errorCode: KAFKA_ERRORS.NONE, producerId: await broker.allocateProducerId(), producerEpoch: 0 };
    } catch (error) {
      if (!(error instanceof EventLogError)) throw error;
      return { errorCode: kafkaError(error.code), producerEpoch: -1 };
    }
  },
);
