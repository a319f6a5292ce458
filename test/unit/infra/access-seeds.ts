import type { AppendRecordsRequest, RecordToAppend } from '../../../shared/broker/append/outcomes.ts';
import type { Broker } from '../../../shared/broker/broker.ts';
import { bytes } from '../../support/memory-broker.ts';

export const LARGE = 20_000;

/** Partition 0 in the tail and in tail nodes, partition 1 in an object. */
export async function seed(broker: Broker): Promise<void> {
  await broker.putTopic({ name: 'orders', partitions: 4 });
  await appended(broker, [record(1, LARGE)]);
  for (let i = 0; i < 40; i++) await appended(broker, [record(0)]);
  await broker.idle();
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
