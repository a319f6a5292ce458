import type { Broker } from '../../broker/broker.ts';
import { eachOf } from '../../broker/topics/each-head.ts';
import { allowsGroup, allowsTopic, visibleTransactionalIds } from '../../log/scopes.ts';
import { empty, json } from '../answer/respond.ts';
import type { Handlers, HttpContext } from '../handler.ts';
import type { TransactionOutput, TransactionPage } from './admin-contract.ts';
import type { transactionAdminOperations } from './admin-operations.ts';

export function transactionAdminHandlers({ broker }: HttpContext): Handlers<typeof transactionAdminOperations> {
  return {
    async listTransactions(call) {
      const { state, producerId, ...query } = call.query;
      const { items, nextPageToken } = await broker.listTransactions({
        ...query,
        states: state && [state],
        producerIds: producerId === undefined ? undefined : [producerId],
        visible: visibleTransactionalIds(call.principal.scopes),
      });
      const page: TransactionPage = {
        items: await eachOf(items, async (each) => listed(each, await broker.enlistedPartitions(each.participants))),
        nextPageToken,
      };
      return json(call, 200, page);
    },

    async getTransaction(call) {
      const { scopes } = call.principal;
      const described = await broker.describeTransaction(call.params.transactionalId);
      const { timeoutMs, participants } = described;
      const topics = await broker.enlistedPartitions(participants);
      const groups = new Set([...participants.groups, ...participants.pages.map(({ group }) => group)]);
      const output: TransactionOutput = {
        ...listed(described, topics),
        timeoutMs,
        topics: topics.filter(({ topic }) => allowsTopic(scopes, 'any', topic)),
        groups: [...groups].filter((group) => allowsGroup(scopes, 'any', group)).sort(),
      };
      return json(call, 200, output);
    },

    async abortTransaction(call) {
      await broker.fenceProducer(call.params.transactionalId);
      return empty(call, 204);
    },
  };
}

type Described = Awaited<ReturnType<Broker['describeTransaction']>>;
type Topics = Awaited<ReturnType<Broker['enlistedPartitions']>>;

function listed(described: Described, topics: Topics): TransactionPage['items'][number] {
  const { transactionalId, producer, state, startedAtMs } = described;
  return {
    transactionalId,
    ...producer,
    state,
    openSinceMs: startedAtMs ?? null,
    partitions: topics.reduce((sum, { partitions }) => sum + partitions.length, 0),
  };
}
