import { readBatchHeader } from '../../log/batch/record-batch.ts';
import type { StoredBatch } from '../../log/batch/stored-batch.ts';
import { EventLogError } from '../../log/errors.ts';
import type { Segment } from '../../log/segment/segment.ts';
import type { SegmentIndex } from '../../log/segment/segment-index.ts';
import { batchBlockHash, blockHash } from '../../log/segment/set-hash.ts';
import { segmentObjectKey } from '../../storage/keys.ts';

/** One segment of one partition. */
export interface SegmentPlace {
  readonly topicId: string;
  readonly partition: number;
  readonly segment: Segment;
}

/** The blocks `[from, to)` of a segment, by their numbers in its index. */
export interface BlockRange {
  readonly from: number;
  readonly to: number;
}

export function segmentKey({ topicId, partition, segment }: SegmentPlace): string {
  return segmentObjectKey(topicId, partition, segment.startOffset, segment.version);
}

/** The number of the block that begins at `position`. */
export function blockAt(index: SegmentIndex, position: number): number {
  return Math.max(
    0,
    index.entries.findIndex((entry) => entry.position === position),
  );
}

/** The position of a block's first byte, or of the end if there is no such block. */
export function blockPosition(index: SegmentIndex, block: number): number {
  return index.entries[block]?.position ?? index.bytes;
}

/** The offset where a block begins, or where the segment ends if there is no such block. */
export function blockOffset({ segment }: SegmentPlace, index: SegmentIndex, block: number): number {
  return index.entries[block]?.offset ?? segment.endOffset;
}

/**
 * Checks that the index describes the segment that the list names.
 * @throws EventLogError `corrupt_data`
 */
export function checkIndexOf(place: SegmentPlace, index: SegmentIndex): void {
  const { startOffset, endOffset, bytes, setHash, aborted } = place.segment;
  const hash = index.entries.reduce((sum, entry) => (sum + entry.hash) >>> 0, 0);
  const isSame =
    index.bytes === bytes &&
    hash === blockHash(setHash) &&
    index.aborted.length === aborted &&
    (index.entries[0]?.offset ?? startOffset) >= startOffset &&
    (index.entries.at(-1)?.offset ?? startOffset) < endOffset;
  if (!isSame) throw damagedSegment(place, bytes, 'has an index that does not belong to it.');
}

/**
 * Returns the batches of a block, as views on `bytes`. Each batch matches its CRC; what the CRC does not cover is checked by
 * the block's hash (the base offset) and is a constant (the leader epoch). So any flipped bit is found.
 * @throws EventLogError `corrupt_data`, with the name and the position of what is damaged
 */
export function readBlock(place: SegmentPlace, index: SegmentIndex, block: number, bytes: Uint8Array): StoredBatch[] {
  const start = blockPosition(index, block);
  const length = blockPosition(index, block + 1) - start;
  if (bytes.length !== length) throw damagedSegment(place, start + bytes.length, 'ends too early.');
  const endOffset = blockOffset(place, index, block + 1);
  const batches: StoredBatch[] = [];
  let nextOffset = blockOffset(place, index, block);
  let hash = 0;
  for (let position = 0; position < length; ) {
    const at = start + position;
    const header = readHeader(place, at, bytes, position);
    const { baseOffset } = header;
    const end = baseOffset + header.lastOffsetDelta + 1;
    if (header.partitionLeaderEpoch !== 0) throw damagedSegment(place, at, 'has a batch with a leader epoch.');
    if (baseOffset < nextOffset || end > endOffset)
      throw damagedSegment(place, at, `has a batch of the offsets ${baseOffset} to ${end - 1} in a wrong place.`);
    hash = (hash + batchBlockHash(header, baseOffset)) >>> 0;
    batches.push({ bytes: bytes.subarray(position, position + header.bytes), header, baseOffset, endOffset: end });
    position += header.bytes;
    nextOffset = end;
  }
  if (hash !== index.entries[block]?.hash)
    throw damagedSegment(place, start, 'has a block whose batches are not those of its index.');
  return batches;
}

function readHeader(place: SegmentPlace, at: number, bytes: Uint8Array, position: number) {
  try {
    return readBatchHeader(bytes, position);
  } catch (cause) {
    throw damagedSegment(place, at, cause instanceof Error ? `is damaged: ${cause.message}` : 'is damaged.', cause);
  }
}

export function damagedSegment(place: SegmentPlace, position: number, what: string, cause?: unknown): EventLogError {
  const storedAs = segmentKey(place);
  return new EventLogError('corrupt_data', `The segment '${storedAs}' ${what}`, {
    details: { storedAs, position },
    cause,
  });
}
