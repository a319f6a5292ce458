import type { RecordBatchHeader } from '../batch/record-batch.ts';
import { invariant } from '../errors.ts';
import { NO_RECORDS_TIMESTAMP } from '../head/head.ts';
import { type AbortedRange, abortedWithin } from './aborted.ts';
import type { Segment } from './segment.ts';
import { addBlock, type IndexEntry, packIndex, type SegmentIndex } from './segment-index.ts';
import { addHashes, batchHash, blockHash } from './set-hash.ts';

/** What the content of a segment says about it. Version and time of writing are the job's. */
export type SegmentFacts = Omit<Segment, 'version' | 'writtenAtMs'>;

export interface BuiltSegment {
  /** The object's bytes: the batches as they were added, then index and footer. */
  readonly chunks: readonly Uint8Array[];
  readonly index: SegmentIndex;
  readonly facts: SegmentFacts;
}

/** Builds a segment from batches, which are added in the order of their offsets. */
export class SegmentBuilder {
  private readonly chunks: Uint8Array[] = [];
  private readonly entries: IndexEntry[] = [];
  private startOffset: number | undefined;
  private endOffset = 0;
  private maxTimestampMs = NO_RECORDS_TIMESTAMP;
  private setHash = 0n;
  /** The bytes of the batches so far. */
  bytes = 0;

  /** Adds one batch. Its bytes have their absolute base offset (`placeBatch`); the builder keeps them and copies nothing. */
  add(batch: Uint8Array, header: RecordBatchHeader, baseOffset: number): void {
    invariant(batch.length === header.bytes, () => `a batch of ${header.bytes} bytes has ${batch.length}`);
    invariant(
      this.startOffset === undefined || baseOffset >= this.endOffset,
      () => `a batch at ${baseOffset} follows the offset ${this.endOffset - 1}`,
    );
    const hash = batchHash(header, baseOffset);
    addBlock(this.entries, {
      offset: baseOffset,
      position: this.bytes,
      maxTimestampMs: header.maxTimestamp,
      hash: blockHash(hash),
    });
    this.chunks.push(batch);
    this.startOffset ??= baseOffset;
    this.endOffset = baseOffset + header.lastOffsetDelta + 1;
    this.maxTimestampMs = Math.max(this.maxTimestampMs, header.maxTimestamp);
    this.setHash = addHashes(this.setHash, hash);
    this.bytes += batch.length;
  }

  /**
   * Returns the segment. `covers`: the offsets that it stands for, if these are more than those of its batches, because
   * compaction or retention dropped some. `aborted`: aborted transactions of the partition, in the order of their markers;
   * those that the segment does not concern are left out.
   */
  finish(
    covers?: { readonly startOffset: number; readonly endOffset: number },
    aborted: readonly AbortedRange[] = [],
  ): BuiltSegment {
    const startOffset = covers?.startOffset ?? this.startOffset;
    const endOffset = covers?.endOffset ?? this.endOffset;
    invariant(startOffset !== undefined && startOffset < endOffset, 'a segment covers an offset');
    invariant(
      this.startOffset === undefined || (startOffset <= this.startOffset && this.endOffset <= endOffset),
      'a segment covers its batches',
    );
    const own = abortedWithin(aborted, { startOffset, endOffset });
    const listed = own.map(({ producerId, firstOffset, lastOffset }) => ({ producerId, firstOffset, lastOffset }));
    const index = { entries: this.entries, bytes: this.bytes, aborted: listed };
    const packed = packIndex(index);
    const { bytes, maxTimestampMs, setHash } = this;
    return {
      chunks: [...this.chunks, packed],
      index,
      facts: {
        startOffset,
        endOffset,
        bytes,
        indexBytes: packed.length,
        aborted: listed.length,
        maxTimestampMs,
        setHash,
      },
    };
  }
}
