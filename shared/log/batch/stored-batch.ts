import type { StoredRecord } from './record.ts';
import { decodeRecords, type RecordBatchHeader } from './record-batch.ts';

/** A whole record batch with its absolute base offset, as it is served. */
export interface StoredBatch {
  readonly bytes: Uint8Array;
  readonly header: RecordBatchHeader;
  /** The batch takes up the offsets `[baseOffset, endOffset)`. */
  readonly baseOffset: number;
  readonly endOffset: number;
}

/** Returns the records of a batch with their offsets. @throws EventLogError `invalid_batch` if they do not decode */
export function recordsOf({ bytes, header, baseOffset }: StoredBatch): StoredRecord[] {
  return decodeRecords(bytes, 0, header, baseOffset);
}
