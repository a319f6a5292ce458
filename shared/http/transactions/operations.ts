import { MEDIA, noParams, noQuery } from '../contract.ts';
import { BODY_ERRORS, type Operation } from '../operation.ts';
import {
  beginQuery,
  endInput,
  transactHeaders,
  transactInput,
  transactionOffsetsInput,
  transactionParams,
  transactionProducer,
  transactionRecordsInput,
  transactOutput,
} from './contract.ts';

const PRODUCER_ERRORS = [
  'producer_fenced',
  'unknown_transactional_id',
  'invalid_transaction_state',
  'concurrent_transactions',
] as const;
const RECORD_ERRORS = ['unknown_topic', 'unknown_partition', 'record_too_large', 'storage_full'] as const;
const OFFSET_ERRORS = [
  'unknown_topic',
  'unknown_partition',
  'unknown_member',
  'fenced_member_epoch',
  'group_not_empty',
] as const;

export const transactionOperations = {
  transact: {
    method: 'post',
    path: '/v1/transactions',
    tag: 'transactions',
    action: 'produce',
    topics: 'body',
    summary: 'Append to several topics and commit offsets of groups, all or nothing',
    description:
      'The whole transaction in one call. If it fails, readers of committed records see nothing of it, and no offset is ' +
      'committed. Takes the right to produce on each topic, and to consume on each group and what it reads.',
    params: noParams,
    query: noQuery,
    headers: transactHeaders,
    body: { required: true, content: { [MEDIA.json]: transactInput } },
    answers: { 200: { description: 'It is committed.', content: { [MEDIA.json]: transactOutput } } },
    errors: [
      ...RECORD_ERRORS,
      'unknown_member',
      'fenced_member_epoch',
      'group_not_empty',
      'concurrent_transactions',
      'idempotency_key_reused',
      ...BODY_ERRORS,
    ],
  },
  beginTransaction: {
    method: 'post',
    path: '/v1/transactions/{transactionalId}/begin',
    tag: 'transactions',
    action: 'produce',
    topics: 'none',
    transactionalIds: 'path',
    summary: 'Begin a transaction of several calls, as the only producer of a transactional id',
    description:
      'Whoever used the transactional id before is fenced, and what it has open is aborted. The first records or offsets open ' +
      'the transaction. `commit` and `abort` answer with the producer of the next one, so a program begins once.',
    params: transactionParams,
    query: beginQuery,
    answers: { 200: { description: 'The producer.', content: { [MEDIA.json]: transactionProducer } } },
    errors: ['concurrent_transactions'],
  },
  appendInTransaction: {
    method: 'post',
    path: '/v1/transactions/{transactionalId}/records',
    tag: 'transactions',
    action: 'produce',
    topics: 'body',
    transactionalIds: 'path',
    summary: 'Append to several topics in a transaction',
    description:
      'Readers of committed records see them once the transaction is committed. A request that is repeated appends its records ' +
      'again, unless its entries have a `sequence`: if the outcome of one is unknown, abort the transaction.',
    params: transactionParams,
    query: noQuery,
    body: { required: true, content: { [MEDIA.json]: transactionRecordsInput } },
    answers: { 200: { description: 'The offsets of the records.', content: { [MEDIA.json]: transactOutput } } },
    errors: [...PRODUCER_ERRORS, 'out_of_order_sequence', ...RECORD_ERRORS, ...BODY_ERRORS],
  },
  commitOffsetsInTransaction: {
    method: 'post',
    path: '/v1/transactions/{transactionalId}/offsets',
    tag: 'transactions',
    action: 'produce',
    topics: 'none',
    transactionalIds: 'path',
    summary: 'Commit offsets of a group with a transaction',
    description: 'Also takes the right to consume on the group and on what it reads. Repeating a request is safe.',
    params: transactionParams,
    query: noQuery,
    body: { required: true, content: { [MEDIA.json]: transactionOffsetsInput } },
    answers: { 204: { description: 'They are committed if and when the transaction is.' } },
    errors: [...PRODUCER_ERRORS, ...OFFSET_ERRORS, ...BODY_ERRORS],
  },
  commitTransaction: {
    method: 'post',
    path: '/v1/transactions/{transactionalId}/commit',
    tag: 'transactions',
    action: 'produce',
    topics: 'none',
    transactionalIds: 'path',
    summary: 'Commit a transaction',
    description: 'Repeating a request gives the same answer.',
    params: transactionParams,
    query: noQuery,
    body: { required: true, content: { [MEDIA.json]: endInput } },
    answers: { 200: { description: 'It is committed.', content: { [MEDIA.json]: transactionProducer } } },
    errors: [...PRODUCER_ERRORS, ...BODY_ERRORS],
  },
  abortOwnTransaction: {
    method: 'post',
    path: '/v1/transactions/{transactionalId}/abort',
    tag: 'transactions',
    action: 'produce',
    topics: 'none',
    transactionalIds: 'path',
    summary: 'Abort a transaction, as its producer',
    description: 'Repeating a request gives the same answer.',
    params: transactionParams,
    query: noQuery,
    body: { required: true, content: { [MEDIA.json]: endInput } },
    answers: { 200: { description: 'It is aborted.', content: { [MEDIA.json]: transactionProducer } } },
    errors: [...PRODUCER_ERRORS, ...BODY_ERRORS],
  },
} as const satisfies Record<string, Operation>;
