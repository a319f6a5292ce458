/**
 * One segment: an object with consecutive record batches of one partition, then their index and a footer. A segment never
 * changes. It covers the offsets `[startOffset, endOffset)`; after compaction there need not be a batch for each of them.
 */
export interface Segment {
  readonly startOffset: number;
  readonly endOffset: number;
  /** The version of the segment list that announced the object: it makes the object's key unique. */
  readonly version: number;
  /** The bytes of the batches, which begin at position 0. */
  readonly bytes: number;
  /** The bytes of index and footer, which follow. */
  readonly indexBytes: number;
  /** The number of aborted transactions that the index lists: a reader needs the list only if there are any. */
  readonly aborted: number;
  readonly maxTimestampMs: number;
  /** When the oldest of its data was appended: `segment.ms` counts from here. */
  readonly writtenAtMs: number;
  /** The set hash of its batches (`set-hash.ts`). */
  readonly setHash: bigint;
}

/** Names an object or a page of one head without its content. */
export interface SegmentName {
  readonly slot: number;
  readonly startOffset: number;
  readonly version: number;
}
