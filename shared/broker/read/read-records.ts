import type { StoredRecord } from '../../log/batch/record.ts';
import { recordsOf } from '../../log/batch/stored-batch.ts';
import { READ_BYTES_DEFAULT, READ_RECORDS_DEFAULT, READ_RECORDS_MAX } from '../../log/limits.ts';
import type { BrokerContext } from '../context.ts';
import { bounded, type ReadRequest, type ReadResult, read } from './read.ts';

export interface RecordLimits {
  readonly records: number;
  /** The maximum size of keys, values and headers. At least one record is always taken. */
  readonly bytes: number;
}

/**
 * Decodes the records of a read from its offset on, up to the limits. Yields some at a time, and returns the offset of the
 * next read.
 */
export async function* takeRecords(result: ReadResult, limits: RecordLimits): AsyncGenerator<StoredRecord[], number> {
  let count = 0;
  let bytes = 0;
  for await (const batch of result.batches) {
    if (batch.header.control) continue;
    const taken: StoredRecord[] = [];
    for (const record of recordsOf(batch)) {
      if (record.offset < result.offset) continue;
      if (count === limits.records || (count > 0 && bytes >= limits.bytes)) {
        yield taken;
        return record.offset;
      }
      taken.push(record);
      count++;
      bytes += sizeOf(record);
    }
    yield taken;
    // The limit is reached exactly at the end of a batch: the next offset is known without fetching the next batch.
    if (count > 0 && (count >= limits.records || bytes >= limits.bytes)) return batch.endOffset;
  }
  return result.nextOffset;
}

function sizeOf({ key, value, headers }: StoredRecord): number {
  let size = (key?.length ?? 0) + (value?.length ?? 0);
  for (const header of headers) size += header.key.length + (header.value?.length ?? 0);
  return size;
}

export interface ReadRecordsRequest extends ReadRequest {
  /** Default 500, at most 100,000. */
  readonly maxRecords?: number | undefined;
}

export interface RecordsRead {
  readonly records: readonly StoredRecord[];
  readonly nextOffset: number;
  readonly logStartOffset: number;
  readonly highWatermark: number;
}

/**
 * Reads records instead of whole batches, at most `maxRecords` and about `maxBytes`, all in memory at once. Otherwise as
 * `read`, at the same cost.
 * @throws EventLogError as `read` and its batches
 */
export async function readRecords(context: BrokerContext, request: ReadRecordsRequest): Promise<RecordsRead> {
  const limits = {
    records: bounded('maxRecords', request.maxRecords ?? READ_RECORDS_DEFAULT, 1, READ_RECORDS_MAX),
    bytes: request.maxBytes ?? READ_BYTES_DEFAULT,
  };
  const result = await read(context, request);
  const { logStartOffset, highWatermark } = result;
  const records: StoredRecord[] = [];
  const taken = takeRecords(result, limits);
  for (;;) {
    const next = await taken.next();
    if (next.done) return { records, nextOffset: next.value, logStartOffset, highWatermark };
    for (const record of next.value) records.push(record);
  }
}
