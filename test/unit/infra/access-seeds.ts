import type { AppendRecordsRequest, RecordToAppend } from '../../../shared/broker/append/outcomes.ts';
import type { Broker } from '../../../shared/broker/broker.ts';
import { encodeBatch } from '../../../shared/log/batch/record-batch.ts';
import type { ProducerName } from '../../../shared/log/transaction/transaction.ts';
import { bytes } from '../../support/memory-broker.ts';

export const LARGE = 20_000;

/** Partition 0 in the tail and in tail nodes, partition 1 in an object. */
export async function seed(broker: Broker): Promise<void> {
  await broker.putTopic({ name: 'orders', partitions: 4 });
  await appended(broker, [record(1, LARGE)]);
  for (let i = 0; i < 40; i++) await appended(broker, [record(0)]);
  await broker.idle();
}

/** The marker of an aborted transaction, in the tail. */
export async function abortTransaction(broker: Broker): Promise<void> {
  const producer = await beginTransaction(broker, 'x');
  await broker.endTransaction({ transactionalId: 'x', producer, outcome: 'aborted', raisesEpoch: true });
}

/** A transaction with a record in partition 0. */
export async function beginTransaction(broker: Broker, transactionalId: string): Promise<ProducerName> {
  const producer = await broker.initialiseProducer({ transactionalId, timeoutMs: 900_000 });
  const records = [{ key: null, value: bytes('v'), headers: [], timestampMs: 1_000 }];
  const batch = encodeBatch(records, { producer: { ...producer, baseSequence: 0 }, transactional: true });
  const batches = [{ topic: 'orders', partition: 0, batch }];
  await broker.appendInTransaction({ transactionalId, enlists: true, batches });
  return producer;
}

export function record(partition: number, valueBytes = 8): RecordToAppend {
  return { key: null, value: bytes('v'.repeat(valueBytes)), headers: [], partition };
}

export async function appended(
  broker: Broker,
  records: RecordToAppend[],
  more: Partial<AppendRecordsRequest> = {},
): Promise<void> {
  const outcomes = await broker.appendRecords({ topic: 'orders', records, ...more });
  for (const outcome of outcomes) if (!outcome.ok) throw outcome.error;
}
