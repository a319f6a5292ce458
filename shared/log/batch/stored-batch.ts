import type { StoredRecord } from './record.ts';
import { decodeRecords, type RecordBatchHeader, readBatchHeader } from './record-batch.ts';
import { sealBatch, writeEmptyBatch } from './write-batch.ts';

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

/**
 * A batch without records that takes up the offsets from `baseOffset` on, up to `endOffset` or as many as one batch can. It is
 * served and never stored: Kafka's consumers learn from it that these offsets have no records any more.
 */
export function emptyBatch(baseOffset: number, endOffset: number): StoredBatch {
  const bytes = sealBatch(writeEmptyBatch(baseOffset, endOffset));
  const header = readBatchHeader(bytes);
  return { bytes, header, baseOffset, endOffset: baseOffset + header.lastOffsetDelta + 1 };
}
