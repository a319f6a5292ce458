import { eachOf } from '../../../broker/topics/each-head.ts';
import { KAFKA_ERRORS } from '../../error-codes.ts';
import { type Call, handler } from '../../handler.ts';
import type { ResponseOf } from '../../protocol/api.ts';
import { DESCRIBE_TRANSACTIONS } from '../../protocol/messages/transactions/describe-transactions.ts';
import { eachOnce } from '../each-once.ts';
import { answeringTransaction } from './transaction-errors.ts';
import { KAFKA_STATES } from './transaction-states.ts';

type Described = ResponseOf<typeof DESCRIBE_TRANSACTIONS>['transactionStates'][number];

/**
 * Describes transactional ids. A transaction enlists heads, so it shows all partitions that have a head in common, of topics
 * that the caller has any right on.
 */
export const describeTransactions = handler(
  DESCRIBE_TRANSACTIONS,
  [{ action: 'any', on: 'transactional id' }],
  async (call, { transactionalIds }) => ({
    transactionStates: await eachOf(eachOnce(transactionalIds), (id) => describe(call, id)),
  }),
);

async function describe({ gateway: { broker }, rights }: Call, transactionalId: string): Promise<Described> {
  const refused = (errorCode: number): Described => ({ errorCode, transactionalId, topics: [] });
  if (!rights.onTransactionalId('any', transactionalId))
    return refused(KAFKA_ERRORS.TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
  return answeringTransaction<Described>(
    true,
    async () => {
      const { state, timeoutMs, startedAtMs, producer, participants } =
        await broker.describeTransaction(transactionalId);
      const topics = await broker.enlistedPartitions(participants);
      return {
        errorCode: KAFKA_ERRORS.NONE,
        transactionalId,
        transactionState: KAFKA_STATES[state],
        transactionTimeoutMs: timeoutMs,
        ...(startedAtMs === undefined ? {} : { transactionStartTimeMs: startedAtMs }),
        ...producer,
        topics: topics.filter(({ topic }) => rights.onTopic('any', topic)),
      };
    },
    (errorCode) =>
      refused(
        errorCode === KAFKA_ERRORS.INVALID_PRODUCER_ID_MAPPING ? KAFKA_ERRORS.TRANSACTIONAL_ID_NOT_FOUND : errorCode,
      ),
  );
}
