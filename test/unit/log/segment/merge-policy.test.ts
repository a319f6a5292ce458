import { describe, expect, it } from 'vitest';
import { batchIdRandomBytes, makeBatchId } from '../../../../shared/log/head/batch-id.ts';
import type { TailNode } from '../../../../shared/log/head/head.ts';
import { expiredBelow } from '../../../../shared/log/segment/expire.ts';
import {
  isMergeDue,
  planCoalesce,
  SegmentCount,
  sizeClassOf,
  unmergedNodes,
} from '../../../../shared/log/segment/merge-policy.ts';
import type { Segment } from '../../../../shared/log/segment/segment.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const NOW = 10_000_000;

describe('a merge is due', () => {
  it.each([
    ['never without a node', { nodes: 0, bytes: 100 * MIB, oldestMs: 0 }, false],
    ['when 16 nodes are a minute old', { nodes: 16, oldestMs: NOW - 60_000 }, true],
    ['not before they are', { nodes: 16, oldestMs: NOW - 59_999 }, false],
    ['not with 15', { nodes: 15, oldestMs: NOW - 3_599_999 }, false],
    ['when one node is an hour old', { nodes: 1, oldestMs: NOW - 3_600_000 }, true],
    ['with 1,024 nodes at once', { nodes: 1_024, oldestMs: NOW }, true],
    ['not with 1,023', { nodes: 1_023, oldestMs: NOW }, false],
    ['with 64 MiB at once', { nodes: 1, bytes: 64 * MIB, oldestMs: NOW }, true],
    ['not with less', { nodes: 1, bytes: 64 * MIB - 1, oldestMs: NOW }, false],
  ])('%s', (_, unmerged, due) => {
    expect(isMergeDue(unmerged, NOW)).toBe(due);
  });

  it('counts whole nodes', () => {
    expect([unmergedNodes(8, 8), unmergedNodes(8, 24), unmergedNodes(8, 31), unmergedNodes(24, 16)]).toEqual([
      0, 2, 2, 0,
    ]);
  });
});

describe('the segments of nodes', () => {
  /** A node of these entries: when each was written, and its slots. */
  const nodeOf = (entries: readonly (readonly [atMs: number, slots: readonly number[]])[]): TailNode => ({
    firstEntry: 0,
    entries: entries.map(([atMs, slots]) => ({
      batchId: makeBatchId(new Uint8Array(batchIdRandomBytes()), atMs),
      location: 'inline',
      onceKeys: 0,
      parts: slots.map((slot) => ({ slot, records: 1, position: 0, bytes: 70, maxTimestampMs: atMs })),
    })),
    once: [],
    before: [],
    openBefore: [],
  });

  it('are one for each slot, and one more whenever `segment.ms` has passed', () => {
    const segments = new SegmentCount({ segmentBytes: MIB, segmentMs: 50 });
    const counts = [
      nodeOf([
        [NOW, [0, 1]],
        [NOW + 49, [0]],
        [NOW + 50, [0, 0, 2]],
      ]),
      nodeOf([
        [NOW + 99, [0, 1]],
        [NOW + 100, [0, 1, 2]],
      ]),
    ].map((node) => {
      segments.add(node);
      return segments.count;
    });
    expect(counts).toEqual([4, 7]);
  });

  it('are at most 128 for one node', () => {
    const segments = new SegmentCount({ segmentBytes: MIB, segmentMs: 1 });
    const slots = [...Array(16).keys()];
    segments.add(nodeOf(Array.from({ length: 8 }, (_, i) => [NOW + i, slots])));
    expect(segments.count).toBe(128);
  });
});

/** Segments of these bytes, each appended a second after the one before. */
function segmentsOf(sizes: readonly number[]): Segment[] {
  return sizes.map((bytes, i) => ({
    startOffset: i * 10,
    endOffset: i * 10 + 10,
    version: i,
    bytes,
    indexBytes: 40,
    maxTimestampMs: i * 1_000,
    writtenAtMs: i * 1_000,
    aborted: 0,
    setHash: 1n,
  }));
}

describe('segments are joined', () => {
  const limits = { segmentBytes: 1024 * MIB, segmentMs: 7 * 86_400_000 };
  const eight = (bytes: number): number[] => Array(8).fill(bytes);
  it.each([
    ['not when there are seven', eight(KIB).slice(1), limits, undefined],
    ['when there are eight', eight(KIB), limits, 0],
    ['the oldest first', [...eight(KIB), ...eight(KIB)], limits, 0],
    ['not across a larger one', [...eight(KIB).slice(1), 70 * KIB, ...eight(KIB).slice(1)], limits, undefined],
    ['after a larger one', [70 * KIB, ...eight(KIB)], limits, 1],
    ['of a larger class', [MIB * 5, ...eight(MIB)], limits, 1],
    ['not over segment.bytes', eight(MIB), { ...limits, segmentBytes: 8 * MIB - 1 }, undefined],
    ['up to segment.bytes', eight(MIB), { ...limits, segmentBytes: 8 * MIB }, 0],
    [
      'a later run, if the first is too large',
      [...eight(4 * MIB), ...eight(KIB)],
      { ...limits, segmentBytes: 8 * MIB },
      8,
    ],
    ['not over segment.ms', eight(KIB), { ...limits, segmentMs: 7_000 }, undefined],
    ['within segment.ms', eight(KIB), { ...limits, segmentMs: 7_001 }, 0],
  ])('%s', (_, sizes, bounds, at) => {
    const segments = segmentsOf(sizes);
    expect(planCoalesce(segments, bounds)).toEqual(at === undefined ? undefined : segments.slice(at, at + 8));
  });

  it('by classes that are eight times as large each', () => {
    expect([0, 64 * KIB, 64 * KIB + 1, 512 * KIB, 512 * KIB + 1, 4 * MIB, 4 * MIB + 1].map(sizeClassOf)).toEqual([
      0, 0, 1, 1, 2, 2, 3,
    ]);
  });
});

describe('segments expire', () => {
  const none = { retentionMs: -1, retentionBytes: -1, nowMs: NOW };
  const parts = (...maxTimestamps: number[]) =>
    maxTimestamps.map((maxTimestampMs, i) => ({
      endOffset: (i + 1) * 10,
      bytes: 100,
      maxTimestampMs,
      writtenAtMs: 1_000 * i,
    }));
  it.each([
    ['not without limits', parts(0, 0, 0), none, undefined],
    ['not when there are none', [], { ...none, retentionMs: 0, retentionBytes: 0 }, undefined],
    ['by their largest timestamp', parts(1, 2, NOW), { ...none, retentionMs: 1_000 }, 20],
    ['when it is older, not as old', parts(NOW - 1_000), { ...none, retentionMs: 1_000 }, undefined],
    ['all of them', parts(1, 2, 3), { ...none, retentionMs: 1_000 }, 30],
    ['without gaps', parts(NOW, 1, 1), { ...none, retentionMs: 1_000 }, undefined],
    ['never, if they are of the future', parts(NOW * 2), { ...none, retentionMs: 0 }, undefined],
    ['while the rest has the bytes', parts(NOW, NOW, NOW), { ...none, retentionBytes: 200 }, 10],
    ['not when the rest has fewer', parts(NOW, NOW, NOW), { ...none, retentionBytes: 201 }, undefined],
    ['all, if no bytes are kept', parts(NOW, NOW), { ...none, retentionBytes: 0 }, 20],
    ['with what is not merged', parts(NOW, NOW), { ...none, retentionBytes: 200, unmergedBytes: 101 }, 10],
    ['by either limit, in turn', parts(1, NOW, NOW), { retentionMs: 1_000, retentionBytes: 100, nowMs: NOW }, 20],
    ['without a timestamp, by when the next began', parts(-1, -1, NOW), { ...none, retentionMs: NOW - 1_500 }, 10],
    ['without a timestamp, not the last', parts(-1), { ...none, retentionMs: 0 }, undefined],
  ])('%s', (_, segments, retention, below) => {
    expect(expiredBelow(segments, retention)).toBe(below);
  });
});
