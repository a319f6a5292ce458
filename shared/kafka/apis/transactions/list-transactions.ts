import type { Broker } from '../../../broker/broker.ts';
import { compileTopicPattern } from '../../../broker/groups/membership/topic-pattern.ts';
import { KAFKA_ERRORS } from '../../error-codes.ts';
import { handler } from '../../handler.ts';
import type { ResponseOf } from '../../protocol/api.ts';
import { LIST_TRANSACTIONS } from '../../protocol/messages/transactions/list-transactions.ts';
import { answeringTransaction } from './transaction-errors.ts';
import { KAFKA_STATES, type State, stateNamed } from './transaction-states.ts';

type Response = ResponseOf<typeof LIST_TRANSACTIONS>;

const PAGE_LIMIT = 1_000;

/** Lists the transactional ids that the caller has any right on, as far as they meet all filters. */
export const listTransactions = handler(
  LIST_TRANSACTIONS,
  [{ action: 'any', on: 'transactional id' }],
  async ({ gateway: { broker }, rights }, request) => {
    const refused = (errorCode: number): Response => ({ errorCode, unknownStateFilters: [], transactionStates: [] });
    const { stateFilters, producerIdFilters, durationFilter, transactionalIdPattern } = request;
    const named = stateFilters.map((name) => ({ name, state: stateNamed(name) }));
    const states = named.flatMap(({ state }): State[] => (state === undefined || state === 'never' ? [] : [state]));
    return answeringTransaction<Response>(
      true,
      async () => {
        const isMatch = transactionalIdPattern ? await compileTopicPattern(transactionalIdPattern) : () => true;
        return {
          errorCode: KAFKA_ERRORS.NONE,
          unknownStateFilters: named.flatMap(({ name, state }) => (state === undefined ? [name] : [])),
          transactionStates: await listAll(broker, {
            states: stateFilters.length === 0 ? undefined : states,
            producerIds: producerIdFilters.length === 0 ? undefined : producerIdFilters,
            openLongerThanMs: durationFilter < 0 ? undefined : durationFilter,
            visible: (id) => rights.onTransactionalId('any', id) && isMatch(id),
          }),
        };
      },
      refused,
    );
  },
);

async function listAll(
  broker: Broker,
  filters: Parameters<Broker['listTransactions']>[0],
): Promise<Response['transactionStates']> {
  const found: Response['transactionStates'][number][] = [];
  let pageToken: string | undefined;
  do {
    const page = await broker.listTransactions({ ...filters, limit: PAGE_LIMIT, pageToken });
    for (const { transactionalId, producer, state } of page.items)
      found.push({ transactionalId, producerId: producer.producerId, transactionState: KAFKA_STATES[state] });
    pageToken = page.nextPageToken;
  } while (pageToken !== undefined);
  return found;
}
