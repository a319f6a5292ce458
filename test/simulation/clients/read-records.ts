import type { Broker } from '../../../shared/broker/broker.ts';
import type { ReadAnswer, ReadRecord } from '../../history/history.ts';
import { readRecords } from '../../history/history-records.ts';

/** Reads whole batches from an offset on; `pause` is waited for before each. */
export async function readOnce(
  broker: Broker,
  topic: string,
  partition: number,
  offset: number,
  { maxBytes, waitMs }: { maxBytes?: number; waitMs?: number } = {},
  pause?: () => Promise<void>,
): Promise<ReadAnswer> {
  const result = await broker.read({ topic, partition, from: { offset }, maxBytes, waitMs });
  const records: ReadRecord[] = [];
  for await (const batch of result.batches) {
    await pause?.();
    records.push(...readRecords(batch, offset));
  }
  const { highWatermark, logStartOffset, nextOffset } = result;
  return { highWatermark, logStartOffset, nextOffset, records };
}

/** All records of a partition from an offset on, by as many reads as it takes. */
export async function readToEnd(broker: Broker, topic: string, partition: number, start = 0): Promise<ReadRecord[]> {
  const records: ReadRecord[] = [];
  for (let from = start; ; ) {
    const answer = await readOnce(broker, topic, partition, from, {});
    records.push(...answer.records);
    if (answer.nextOffset >= answer.highWatermark) return records;
    if (answer.nextOffset === from) throw new Error(`A read of partition ${partition} at ${from} got nowhere.`);
    from = answer.nextOffset;
  }
}
