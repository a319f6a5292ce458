import type { Broker } from '../../shared/broker/broker.ts';
import { encodeBatch } from '../../shared/log/batch/record-batch.ts';
import type { ProducerName, TransactionOutcome } from '../../shared/log/transaction/transaction.ts';
import { bytes } from './memory-broker.ts';

export interface Begin {
  readonly topic?: string;
  /** One record is written to each of them. */
  readonly partitions?: readonly number[];
  readonly timeoutMs?: number;
}

/** Initialises a producer, and leaves its first transaction open. */
export async function beginTransaction(
  broker: Broker,
  transactionalId: string,
  { topic = 't', partitions = [0], timeoutMs = 60_000 }: Begin = {},
): Promise<ProducerName> {
  const producer = await broker.initialiseProducer({ transactionalId, timeoutMs });
  await writeIn(broker, transactionalId, producer, { topic, partitions });
  return producer;
}

/** Writes the first record of a transaction to each partition. */
export async function writeIn(
  broker: Broker,
  transactionalId: string,
  producer: ProducerName,
  { topic = 't', partitions = [0] }: Pick<Begin, 'topic' | 'partitions'> = {},
): Promise<void> {
  const records = [{ key: null, value: bytes('v'), headers: [], timestampMs: 1_000 }];
  const batch = encodeBatch(records, { producer: { ...producer, baseSequence: 0 }, transactional: true });
  const outcomes = await broker.appendInTransaction({
    transactionalId,
    enlists: true,
    batches: partitions.map((partition) => ({ topic, partition, batch })),
  });
  for (const outcome of outcomes) if (!outcome.ok) throw outcome.error;
}

/** As producers of transaction.version 2 do. */
export function end(
  broker: Broker,
  transactionalId: string,
  producer: ProducerName,
  outcome: TransactionOutcome = 'committed',
): Promise<ProducerName> {
  return broker.endTransaction({ transactionalId, producer, outcome, raisesEpoch: true });
}
