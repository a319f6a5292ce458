import type { Broker } from '../../../broker/broker.ts';
import { eachOf } from '../../../broker/topics/each-head.ts';
import { headPartitions } from '../../../log/topic/topic.ts';
import { KAFKA_ERRORS } from '../../error-codes.ts';
import { type Call, handler } from '../../handler.ts';
import type { ResponseOf } from '../../protocol/api.ts';
import { DESCRIBE_TRANSACTIONS } from '../../protocol/messages/transactions/describe-transactions.ts';
import { answeringTransaction } from './transaction-errors.ts';
import { KAFKA_STATES } from './transaction-states.ts';

type Described = ResponseOf<typeof DESCRIBE_TRANSACTIONS>['transactionStates'][number];
type Participants = Awaited<ReturnType<Broker['describeTransaction']>>['participants'];

/** Describes transactional ids. A transaction enlists heads, so it shows all partitions that have a head in common. */
export const describeTransactions = handler(
  DESCRIBE_TRANSACTIONS,
  [{ action: 'any', on: 'some topic' }],
  async (call, { transactionalIds }) => ({
    transactionStates: await eachOf(transactionalIds, (id) => describe(call, id)),
  }),
);

async function describe({ gateway: { broker }, rights }: Call, transactionalId: string): Promise<Described> {
  const refused = (errorCode: number): Described => ({ errorCode, transactionalId, topics: [] });
  if (!rights.onSomeTopic('any')) return refused(KAFKA_ERRORS.TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
  return answeringTransaction<Described>(
    true,
    async () => {
      const { state, timeoutMs, startedAtMs, producer, participants } =
        await broker.describeTransaction(transactionalId);
      return {
        errorCode: KAFKA_ERRORS.NONE,
        transactionalId,
        transactionState: KAFKA_STATES[state],
        transactionTimeoutMs: timeoutMs,
        ...(startedAtMs === undefined ? {} : { transactionStartTimeMs: startedAtMs }),
        ...producer,
        topics: await topicsOf(broker, participants),
      };
    },
    (errorCode) =>
      refused(
        errorCode === KAFKA_ERRORS.INVALID_PRODUCER_ID_MAPPING ? KAFKA_ERRORS.TRANSACTIONAL_ID_NOT_FOUND : errorCode,
      ),
  );
}

async function topicsOf(broker: Broker, { heads }: Participants): Promise<Described['topics']> {
  const byTopic = Map.groupBy(heads, ({ topicId }) => topicId);
  const topics = await eachOf([...byTopic], async ([topicId, ofTopic]) => {
    const topic = await broker.topicById(topicId);
    if (topic === undefined) return [];
    const partitions = ofTopic.flatMap(({ headNumber }) => headPartitions(topic, headNumber));
    return [{ topic: topic.name, partitions }];
  });
  return topics.flat();
}
