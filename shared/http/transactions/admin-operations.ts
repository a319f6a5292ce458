import { MEDIA, noParams, noQuery } from '../contract.ts';
import type { Operation } from '../operation.ts';
import { transactionOutput, transactionPage, transactionsQuery } from './admin-contract.ts';
import { transactionParams } from './contract.ts';

export const transactionAdminOperations = {
  listTransactions: {
    method: 'get',
    path: '/v1/transactions',
    tag: 'transactions',
    action: 'any',
    topics: 'none',
    transactionalIds: 'some',
    summary: 'List transactional ids and their transactions, in the order of the ids',
    description:
      'Only those that the credential has any right on. With a filter, all ids are looked at until the page is full: each is a ' +
      'read of the table. A transactional id that nobody used for a week is not listed.',
    params: noParams,
    query: transactionsQuery,
    answers: {
      200: { description: 'A page of transactional ids.', content: { [MEDIA.json]: transactionPage } },
    },
    errors: [],
  },
  getTransaction: {
    method: 'get',
    path: '/v1/transactions/{transactionalId}',
    tag: 'transactions',
    action: 'any',
    topics: 'none',
    transactionalIds: 'path',
    summary: 'Describe a transactional id and its transaction',
    params: transactionParams,
    query: noQuery,
    answers: { 200: { description: 'The transactional id.', content: { [MEDIA.json]: transactionOutput } } },
    errors: ['unknown_transactional_id'],
  },
  abortTransaction: {
    method: 'delete',
    path: '/v1/transactions/{transactionalId}',
    tag: 'transactions',
    action: 'admin',
    topics: 'none',
    transactionalIds: 'path',
    summary: 'Abort what a transactional id has open, and fence its producer',
    description:
      'The producer cannot go on: its next request fails, and it must be started again. A transaction that has its outcome keeps ' +
      'it, and is completed. Repeating the request fences whoever uses the transactional id by then.',
    params: transactionParams,
    query: noQuery,
    answers: { 204: { description: 'No transaction is open, and the producer is fenced.' } },
    errors: ['unknown_transactional_id'],
  },
} as const satisfies Record<string, Operation>;
