import { type RecordBatchHeader, readBatchHeader } from '../../log/batch/record-batch.ts';
import type { StoredBatch } from '../../log/batch/stored-batch.ts';
import { EventLogError } from '../../log/errors.ts';
import { chunkAt, type SegmentIndex, unpackIndex } from '../../log/segment/segment-index.ts';
import { addHashes, batchHash } from '../../log/segment/set-hash.ts';
import type { ByteRange, ObjectStore } from '../../storage/ports.ts';
import { type RetryContext, retrying } from '../retry.ts';
import { type SegmentPlace, segmentKey } from './segment-blocks.ts';

export interface ReadBatchesOptions {
  /** The segment's index, if it was read already. */
  readonly index?: SegmentIndex | undefined;
  /** So many bytes are read at once, and up to one block or batch more; default 8 MiB. */
  readonly chunkBytes?: number | undefined;
  /** Once this signal is aborted, no further bytes are read: the reading throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

export const CHUNK_BYTES_DEFAULT = 8 * 1024 * 1024;

/**
 * Yields all batches of a segment, in order, for a job that reads the segment as a whole. At most one chunk is in
 * memory; the batches are views on it. Checks each batch against its CRC and the segment's offsets, and at the end all of
 * them against the segment's set hash. So what was made of the batches must not be used before the last was taken.
 * Costs 1 GetObject for each chunk, and 1 for the index if there are several chunks and the index is not given.
 * @throws EventLogError `corrupt_data` with the object's key as `storedAs`, `storage_unavailable`
 */
export async function* readBatches(
  context: RetryContext,
  objects: ObjectStore,
  place: SegmentPlace,
  { index, chunkBytes = CHUNK_BYTES_DEFAULT, signal }: ReadBatchesOptions = {},
): AsyncGenerator<StoredBatch> {
  const { segment } = place;
  let blocks = index;
  if (blocks === undefined && segment.bytes > chunkBytes) blocks = await readSegmentIndex(context, objects, place);
  let setHash = 0n;
  let nextOffset = segment.startOffset;
  for (let position = 0; position < segment.bytes; ) {
    signal?.throwIfAborted();
    const range = blocks === undefined ? undefined : chunkAt(blocks, position, chunkBytes);
    const chunk = await readRange(context, objects, place, range ?? { start: position, end: segment.bytes });
    for (let at = 0; at < chunk.length; ) {
      const batch = batchAt(chunk, at, position + at, place);
      if (batch.baseOffset < nextOffset || batch.endOffset > segment.endOffset)
        throw corrupt(place, `has a batch of the offsets ${batch.baseOffset} to ${batch.endOffset - 1} out of place.`);
      setHash = addHashes(setHash, batchHash(batch.header, batch.baseOffset));
      yield batch;
      nextOffset = batch.endOffset;
      at += batch.header.bytes;
    }
    position += chunk.length;
  }
  if (setHash !== segment.setHash) throw corrupt(place, 'does not have the batches that its set hash stands for.');
}

/**
 * Reads the index of a segment. Costs 1 GetObject.
 * @throws EventLogError `corrupt_data` with the object's key as `storedAs`, `storage_unavailable`
 */
export async function readSegmentIndex(
  context: RetryContext,
  objects: ObjectStore,
  place: SegmentPlace,
): Promise<SegmentIndex> {
  const { bytes, indexBytes } = place.segment;
  const packed = await readRange(context, objects, place, { start: bytes, end: bytes + indexBytes });
  let index: SegmentIndex;
  try {
    index = unpackIndex(packed);
  } catch (cause) {
    throw corrupt(place, 'has a damaged index.', cause);
  }
  if (index.bytes !== bytes) throw corrupt(place, `has an index of ${index.bytes} bytes; expected ${bytes}.`);
  return index;
}

async function readRange(
  context: RetryContext,
  objects: ObjectStore,
  place: SegmentPlace,
  range: ByteRange,
): Promise<Uint8Array> {
  const read = await retrying(context, 'not_applied', () => objects.get(segmentKey(place), range));
  if (read === undefined) throw corrupt(place, 'is missing.');
  if (read.length !== range.end - range.start) throw corrupt(place, `ends before position ${range.end}.`);
  return read;
}

function batchAt(chunk: Uint8Array, at: number, position: number, place: SegmentPlace): StoredBatch {
  let header: RecordBatchHeader;
  try {
    header = readBatchHeader(chunk, at);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw corrupt(place, `is damaged in the batch at position ${position}: ${why}`, cause);
  }
  const { baseOffset, lastOffsetDelta } = header;
  const bytes = chunk.subarray(at, at + header.bytes);
  return { bytes, header, baseOffset, endOffset: baseOffset + lastOffsetDelta + 1 };
}

/** An error about a segment's object. */
export function corrupt(place: SegmentPlace, what: string, cause?: unknown): EventLogError {
  const storedAs = segmentKey(place);
  return new EventLogError('corrupt_data', `The segment '${storedAs}' ${what}`, { details: { storedAs }, cause });
}
