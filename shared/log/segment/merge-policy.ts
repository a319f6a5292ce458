import { type Head, TAIL_NODE_ENTRIES, type TailNode, writtenAtMs } from '../head/head.ts';
import type { Segment } from './segment.ts';

/** When the unmerged nodes of a head are merged, and which of its segments are joined: see docs/design/0007-segments-and-jobs.md. */

const MINUTE_MS = 60_000;
/** A busy head: the oldest node has waited this long, and at least this many wait. */
export const MERGE_AGE_MS = MINUTE_MS;
export const MERGE_NODES = 16;
/** These wait for nothing else. */
export const MERGE_NODES_MAX = 1_024;
export const MERGE_BYTES_MAX = 64 * 1024 * 1024;
export const MERGE_AGE_MS_MAX = 60 * MINUTE_MS;
/** One merge makes no more segments than about this: the list, which names them all, is one item of at most 400 KB. */
export const MERGE_SEGMENTS_MAX = 500;

export interface Unmerged {
  /** Whole tail nodes that may be merged; entries in the head's tail do not count. */
  readonly nodes: number;
  /** The bytes of their records, if known. */
  readonly bytes?: number | undefined;
  /** When the oldest of their data was written. */
  readonly oldestMs: number;
}

export function isMergeDue({ nodes, bytes = 0, oldestMs }: Unmerged, nowMs: number): boolean {
  if (nodes === 0) return false;
  const ageMs = nowMs - oldestMs;
  return (
    (nodes >= MERGE_NODES && ageMs >= MERGE_AGE_MS) ||
    nodes >= MERGE_NODES_MAX ||
    bytes >= MERGE_BYTES_MAX ||
    ageMs >= MERGE_AGE_MS_MAX
  );
}

/**
 * The first entry that a merge must leave. Usually it is the first of the tail. A head with too many open transactions refers
 * to its newest node for them, also when all of them have ended in the tail: that node must stay until a newer one takes its
 * place. So an idle head can keep one node unmerged.
 */
export function mergeableEnd({ firstEntry, openBeforeTail }: Pick<Head, 'firstEntry' | 'openBeforeTail'>): number {
  return openBeforeTail === 'in_node' ? firstEntry - TAIL_NODE_ENTRIES : firstEntry;
}

/** Whole tail nodes from `mergedEntry` up to `endEntry`. */
export function unmergedNodes(mergedEntry: number, endEntry: number): number {
  return Math.max(0, Math.floor((endEntry - mergedEntry) / TAIL_NODE_ENTRIES));
}

export interface SegmentLimits {
  /** `segment.bytes` and `segment.ms` of the topic. */
  readonly segmentBytes: number;
  readonly segmentMs: number;
}

/**
 * Counts the segments that consecutive nodes become where `segment.ms` ends them. A node becomes at most 128, one for each of
 * 8 entries in 16 slots. Not counted are those that `segment.bytes` ends, which are few: two neighbours have at least 1 MiB.
 */
export class SegmentCount {
  count = 0;
  readonly #segmentMs: number;
  readonly #sinceMs = new Map<number, number>();

  constructor({ segmentMs }: SegmentLimits) {
    this.#segmentMs = segmentMs;
  }

  add({ entries }: TailNode): void {
    for (const entry of entries) {
      const atMs = writtenAtMs(entry);
      for (const { slot } of entry.parts) {
        const sinceMs = this.#sinceMs.get(slot);
        if (sinceMs !== undefined && atMs - sinceMs < this.#segmentMs) continue;
        this.#sinceMs.set(slot, atMs);
        this.count++;
      }
    }
  }
}

/** So many segments of one size class are joined at once. */
export const COALESCE_SEGMENTS = 8;
/** Segments up to this size are of class 0; the limit of each next class is eight times as high. */
export const SMALLEST_CLASS_BYTES = 64 * 1024;
const CLASS_FACTOR = 8;

/**
 * Returns the oldest eight adjacent segments of one size class that may be joined, or `undefined`. So a record is copied
 * about once for each class. Together they have at most `segmentBytes`, and the records of the last were appended less
 * than `segmentMs` after those of the first.
 */
export function planCoalesce(
  segments: readonly Segment[],
  { segmentBytes, segmentMs }: SegmentLimits,
): readonly Segment[] | undefined {
  for (let at = 0; at + COALESCE_SEGMENTS <= segments.length; at++) {
    const run = segments.slice(at, at + COALESCE_SEGMENTS);
    const sizeClass = sizeClassOf((run[0] as Segment).bytes);
    if (!run.every(({ bytes }) => sizeClassOf(bytes) === sizeClass)) continue;
    if (run.reduce((sum, { bytes }) => sum + bytes, 0) > segmentBytes) continue;
    const times = run.map(({ writtenAtMs }) => writtenAtMs);
    if (Math.max(...times) - Math.min(...times) >= segmentMs) continue;
    return run;
  }
  return undefined;
}

/** 0 up to 64 KiB, 1 up to 512 KiB, 2 up to 4 MiB and so on. */
export function sizeClassOf(bytes: number): number {
  let sizeClass = 0;
  for (let limit = SMALLEST_CLASS_BYTES; bytes > limit; limit *= CLASS_FACTOR) sizeClass++;
  return sizeClass;
}
