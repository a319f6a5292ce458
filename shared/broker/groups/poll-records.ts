import type { StoredRecord } from '../../log/batch/record.ts';
import { recordsOf } from '../../log/batch/stored-batch.ts';
import type { BrokerContext } from '../context.ts';
import type { SettlePending } from './offsets/settle-page.ts';
import { type PolledPartition, type PollResult, pollGroup } from './poll.ts';
import type { PollRequest } from './poll-request.ts';

export interface PolledRecords extends Omit<PolledPartition, 'batches'> {
  readonly records: readonly StoredRecord[];
}

export interface PollRecordsResult extends Omit<PollResult, 'partitions'> {
  readonly partitions: readonly PolledRecords[];
}

/**
 * Polls for records instead of whole batches, all in memory at once. Otherwise as `pollGroup`, at the same cost.
 * @throws EventLogError as `pollGroup`
 */
export async function pollRecords(
  context: BrokerContext,
  settlePending: SettlePending,
  request: PollRequest,
): Promise<PollRecordsResult> {
  const { partitions, ...about } = await pollGroup(context, settlePending, request);
  return { ...about, partitions: partitions.map(unpacked) };
}

function unpacked({ batches, ...about }: PolledPartition): PolledRecords {
  const records: StoredRecord[] = [];
  for (const batch of batches) {
    if (batch.header.control) continue;
    for (const record of recordsOf(batch))
      if (record.offset >= about.offset && record.offset < about.nextOffset) records.push(record);
  }
  return { ...about, records };
}
