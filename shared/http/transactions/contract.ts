import * as z from 'zod';
import {
  OFFSETS_PER_REQUEST_MAX,
  PRODUCER_BATCHES_KEPT,
  RECORDS_PER_REQUEST_MAX,
  SEQUENCE_MAX,
  TRANSACTION_TIMEOUT_MS_MAX,
  TRANSACTIONAL_EPOCH_MAX,
  TRANSACTIONAL_ID_BYTES_MAX,
} from '../../log/limits.ts';
import { appendHeaders, ENTRIES_PER_REQUEST_MAX } from '../append/contract.ts';
import { count, offset, partition, timeMs, topicName } from '../contract.ts';
import { commitInput, groupName, pollToken } from '../groups/contract.ts';
import { recordInput } from '../records/contract.ts';

/** Transactions of producers: in one call, or in several. */

export const TRANSACTION_TIMEOUT_MS_DEFAULT = 60_000;
const GROUPS_PER_REQUEST_MAX = 100;

export const transactionalId = z
  .string()
  .min(1)
  .max(TRANSACTIONAL_ID_BYTES_MAX)
  .describe(
    `The transactional id: 1 to ${TRANSACTIONAL_ID_BYTES_MAX} bytes of UTF-8. Percent-encode it in a path. HTTP cannot transport a path segment \`.\` or \`..\`.`,
  );

export const transactionParams = z.strictObject({ transactionalId });

const entry = z.strictObject({
  topic: topicName,
  records: z.array(recordInput).min(1).max(RECORDS_PER_REQUEST_MAX),
});
const entries = z.array(entry).min(1).max(ENTRIES_PER_REQUEST_MAX);

const { memberId, instanceId, memberEpoch, offsets } = commitInput.shape;
const offsetsOfGroup = z
  .strictObject({
    group: groupName,
    after: pollToken
      .nullish()
      .describe(
        'The `token` of the poll whose records were processed. The next poll gives it too, and has nothing left to commit.',
      ),
    memberId,
    instanceId,
    memberEpoch,
    offsets: offsets.max(OFFSETS_PER_REQUEST_MAX).nullish().describe('In place of `after`: offsets by partition.'),
  })
  .describe('Offsets of a group to commit: those of a poll (`after`), or `offsets`.');
export type OffsetsOfGroup = z.infer<typeof offsetsOfGroup>;

export const transactInput = z
  .strictObject({
    entries: entries.nullish(),
    offsets: z.array(offsetsOfGroup).min(1).max(GROUPS_PER_REQUEST_MAX).nullish(),
  })
  .describe('Records for topics, and offsets of groups: all or nothing.');

export const transactHeaders = z.strictObject({ 'Idempotency-Key': appendHeaders.shape['Idempotency-Key'] });

const appendedEntries = z
  .array(
    z.object({
      topic: topicName,
      records: z.array(z.object({ partition, offset, timestamp: timeMs })).describe('In the order of the request.'),
    }),
  )
  .describe('In the order of the request.');

export const transactOutput = z
  .object({ entries: appendedEntries })
  .describe('Where the records of a transaction are.');
export type TransactOutput = z.infer<typeof transactOutput>;

// In several calls

export const beginQuery = z.strictObject({
  timeoutMs: z
    .int()
    .min(1)
    .max(TRANSACTION_TIMEOUT_MS_MAX)
    .optional()
    .describe(
      `A transaction that is open for this long, and five seconds more, is aborted by whoever it holds up; default ${TRANSACTION_TIMEOUT_MS_DEFAULT}.`,
    ),
});

const producer = {
  producerId: count.describe('As `begin` and the end of the last transaction answer it.'),
  producerEpoch: z
    .int()
    .min(0)
    .max(TRANSACTIONAL_EPOCH_MAX)
    .describe('As `begin` and the end of the last transaction answer it.'),
};

export const transactionProducer = z
  .object({ transactionalId, ...producer })
  .describe('The producer of the next transaction: each transaction has an epoch of its own.');
export type TransactionProducer = z.infer<typeof transactionProducer>;

export const endInput = z.strictObject(producer).describe('The producer whose transaction is ended.');

export const transactionRecordsInput = z
  .strictObject({
    ...producer,
    entries: z
      .array(
        entry.extend({
          sequence: z
            .int()
            .min(0)
            .max(SEQUENCE_MAX)
            .nullish()
            .describe(
              'How many records of the transaction are before these in their partition, which each of them must name. Then ' +
                'repeating the request appends nothing twice. All such entries of a partition may take at most ' +
                `${PRODUCER_BATCHES_KEPT} batches of the topic's max.message.bytes.`,
            ),
        }),
      )
      .min(1)
      .max(ENTRIES_PER_REQUEST_MAX),
  })
  .describe('Records to append in the transaction of the producer.');

export const transactionOffsetsInput = z
  .strictObject({ ...producer, ...offsetsOfGroup.shape })
  .describe('Offsets of a group that are committed with the transaction of the producer.');

export const transactionSchemas = {
  OffsetsOfGroup: offsetsOfGroup,
  TransactInput: transactInput,
  TransactOutput: transactOutput,
  TransactionEndInput: endInput,
  TransactionOffsetsInput: transactionOffsetsInput,
  TransactionProducer: transactionProducer,
  TransactionRecordsInput: transactionRecordsInput,
};
