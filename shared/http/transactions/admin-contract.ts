import * as z from 'zod';
import { TRANSACTION_TIMEOUT_MS_MAX } from '../../log/limits.ts';
import { count, limit, nextPageToken, offset, pageToken, partition, timeMs, topicName } from '../contract.ts';
import { transactionalId } from './contract.ts';

/** What operators see of transactions, and do about them. */

const producerId = offset.describe('The producer id that uses the transactional id now.');
const state = z
  .enum(['empty', 'ongoing', 'prepare_commit', 'prepare_abort', 'complete_commit', 'complete_abort'])
  .describe(
    "Kafka's states in another spelling. `ongoing`: open. `prepare_…`: it has its outcome, and not all partitions have it yet. " +
      '`complete_…`: the outcome of the last one; none is open. `empty`: none since the producer was initialised.',
  );

export const transactionsQuery = z.strictObject({
  limit,
  pageToken,
  state: state.optional().describe('Only transactional ids in this state.'),
  producerId: producerId.optional().describe('Only the transactional id of this producer.'),
  openLongerThanMs: count
    .optional()
    .describe('Only those with a transaction that is open, or being ended, for longer.'),
});

const members = {
  transactionalId,
  producerId,
  producerEpoch: z.int().min(0).describe('The epoch that the producer uses now. Whoever has a lower one is fenced.'),
  state,
  openSinceMs: timeMs
    .nullable()
    .describe('When its transaction was opened; null if none is open or being ended. Milliseconds since 1970.'),
  partitions: count.describe('How many partitions it may have records in. It enlists 16 neighbouring ones together.'),
};

const listedTransaction = z.object(members).describe('A transactional id, and its transaction.');

export const transactionPage = z.object({ items: z.array(listedTransaction).readonly(), nextPageToken });
export type TransactionPage = z.infer<typeof transactionPage>;

export const transactionOutput = z
  .object({
    ...members,
    timeoutMs: z
      .int()
      .min(0)
      .max(TRANSACTION_TIMEOUT_MS_MAX)
      .describe('A transaction that is open for this long, and five seconds more, is aborted by whoever it holds up.'),
    topics: z
      .array(z.object({ topic: topicName, partitions: z.array(partition).readonly() }))
      .readonly()
      .describe('Those partitions, of topics that the credential has any right on.'),
    groups: z
      .array(z.string())
      .readonly()
      .describe('The groups that it commits offsets of, as far as the credential has any right on them.'),
  })
  .describe('A transactional id, and what its transaction may have touched.');
export type TransactionOutput = z.infer<typeof transactionOutput>;

export const transactionAdminSchemas = {
  ListedTransaction: listedTransaction,
  Transaction: transactionOutput,
  TransactionPage: transactionPage,
};
