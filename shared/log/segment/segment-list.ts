import type { SlotTotals } from '../head/head.ts';
import type { Segment, SegmentName } from './segment.ts';

/** The segment list of one head: see docs/design/0007-segments-and-jobs.md. */
export interface SegmentList {
  readonly version: number;
  /** Random bytes of the last update, so that its writer recognizes it; absent only in the empty list. */
  readonly writer?: Uint8Array | undefined;
  readonly mergedEntry: number;
  readonly totals: readonly SlotTotals[];
  readonly slots: readonly SlotSegments[];
  readonly announcements: readonly Announcement[];
  readonly garbage: readonly Garbage[];
  readonly cleanedEntry: number;
  readonly cleanBelow: number;
  readonly cleanAtMs: number;
  readonly dataGoneBelow: number;
  readonly due: Readonly<Partial<Record<JobName, number>>>;
}

export interface SlotSegments {
  /** Pages of older segments, in order of offsets. They come before `segments`. */
  readonly pages: readonly SegmentPage[];
  readonly segments: readonly Segment[];
  /** Segments that end at or below this offset are gone, although a page may still name them. */
  readonly droppedOffset: number;
  /** Records below this offset are compacted. */
  readonly compactedOffset: number;
  /** When the next tombstone of the compacted part may go; absent if there is none. */
  readonly tombstonesDueAtMs?: number | undefined;
}

/** A page has the segments of `[startOffset, endOffset)`. */
export interface SegmentPage {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly version: number;
  readonly segments: number;
  readonly bytes: number;
  readonly maxTimestampMs: number;
}

/** The jobs that have due items. The names are persisted. */
export type JobName = 'merge' | 'expire' | 'sweep' | 'compact';

/** What a job is about to write. The id is the version of the update that announced it. */
export interface Announcement {
  readonly id: number;
  readonly job: 'merge' | 'coalesce' | 'compact';
  readonly untilMs: number;
  readonly names: readonly AnnouncedName[];
}

export interface AnnouncedName extends SegmentName {
  readonly what: 'segment' | 'page';
}

export interface Garbage extends AnnouncedName {
  readonly dueAtMs: number;
}

export const EMPTY_SEGMENT_LIST: SegmentList = {
  version: 0,
  mergedEntry: 0,
  totals: [],
  slots: [],
  announcements: [],
  garbage: [],
  cleanedEntry: 0,
  cleanBelow: 0,
  cleanAtMs: 0,
  dataGoneBelow: 0,
  due: {},
};

// Format and codec: see docs/format.md.
export function packSegmentList(_list: SegmentList): Uint8Array {
  throw new Error('not written yet');
}
export function unpackSegmentList(_packed: Uint8Array): SegmentList {
  throw new Error('not written yet');
}
