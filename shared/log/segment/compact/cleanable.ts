import { NO_TIMESTAMP } from '../../batch/record-batch.ts';
import { isCompacted, numberSetting, type TopicConfig } from '../../topic/topic-config.ts';
import type { Segment } from '../segment.ts';

export type CleanableSegment = Pick<Segment, 'startOffset' | 'endOffset' | 'bytes' | 'maxTimestampMs' | 'writtenAtMs'>;

export interface PartitionFacts {
  /** All segments of the partition, in order of offsets. What is not in a segment yet is Kafka's active segment. */
  readonly segments: readonly CleanableSegment[];
  /** Records below this offset are compacted. A segment that reaches beyond it is dirty. */
  readonly compactedOffset: number;
  /** When the next tombstone of the compacted part may go; absent if there is none. */
  readonly tombstonesDueAtMs?: number | undefined;
}

export interface Compaction {
  /** Compact all records below this offset. It is never below `compactedOffset`. */
  readonly upToOffset: number;
  readonly reason: 'dirty_ratio' | 'max_lag' | 'tombstones';
}

/**
 * Decides whether a partition is to be compacted now, by Kafka's rules (`LogCleanerManager.cleanableOffsets` and
 * `grabFilthiestCompactedLog`). Dirty segments may be compacted up to the first one with a record younger than
 * `min.compaction.lag.ms`. They are compacted if they are more than `min.cleanable.dirty.ratio` of all bytes up to there,
 * or if a dirty segment is older than `max.compaction.lag.ms`. In addition to Kafka's rules a partition is compacted when
 * tombstones are due, because a partition without new records would keep them forever.
 */
export function compactionDue(facts: PartitionFacts, config: TopicConfig, nowMs: number): Compaction | undefined {
  if (!isCompacted(config)) return undefined;
  const { segments, compactedOffset, tombstonesDueAtMs } = facts;
  const dirty = dirtyOf(facts);
  const firstYoung = dirty.findIndex((segment) => isYoung(segment, config, nowMs));
  const cleanable = firstYoung === -1 ? dirty : dirty.slice(0, firstYoung);
  const cleanableBytes = sumOfBytes(cleanable);
  const cleanBytes = sumOfBytes(segments) - sumOfBytes(dirty);
  const upToOffset = cleanable.at(-1)?.endOffset ?? compactedOffset;
  if (cleanableBytes > 0) {
    if (cleanableBytes / (cleanBytes + cleanableBytes) > numberSetting(config, 'min.cleanable.dirty.ratio'))
      return { upToOffset, reason: 'dirty_ratio' };
    // Kafka takes the time of the first batch, which producers choose. The time of the append cannot be wrong.
    if (oldestMs(dirty) < nowMs - numberSetting(config, 'max.compaction.lag.ms'))
      return { upToOffset, reason: 'max_lag' };
  }
  if (tombstonesDueAtMs !== undefined && tombstonesDueAtMs <= nowMs) return { upToOffset, reason: 'tombstones' };
  return undefined;
}

/** A partition is looked at again after this time at the latest, since its topic's settings can change. */
export const LOOK_AGAIN_MS_MAX = 24 * 60 * 60_000;
export const LOOK_AGAIN_MS_MIN = 60_000;

/**
 * When a partition that is not to be compacted now must be looked at again: at the first time at which the records that it
 * has can make a compaction due, but not within a minute. Whoever adds records schedules a look of its own.
 */
export function nextLookMs(facts: PartitionFacts, config: TopicConfig, nowMs: number): number {
  const dirty = dirtyOf(facts);
  const firstYoung = dirty.find((segment) => isYoung(segment, config, nowMs));
  const times = [nowMs + LOOK_AGAIN_MS_MAX, facts.tombstonesDueAtMs ?? Number.POSITIVE_INFINITY];
  if (firstYoung !== undefined) times.push(timeOf(firstYoung) + numberSetting(config, 'min.compaction.lag.ms'));
  // A maximum lag that is over says nothing if the minimum lag holds the segments back.
  const lagEndsMs = oldestMs(dirty) + numberSetting(config, 'max.compaction.lag.ms') + 1;
  if (lagEndsMs > nowMs) times.push(lagEndsMs);
  return Math.max(nowMs + LOOK_AGAIN_MS_MIN, Math.min(...times));
}

export interface GroupLimits {
  /** All that is below this offset was rewritten by the pass. */
  readonly fromOffset: number;
  readonly belowOffset: number;
  readonly bytesMax: number;
}

/**
 * The next segments that a pass rewrites together: adjacent small ones become one, as in Kafka
 * (`Cleaner.groupSegmentsBySize`). A segment that reaches beyond `belowOffset` stays alone: it remains dirty, and its lag
 * must count from its own records. Empty if the pass has rewritten all.
 */
export function nextGroup<Part extends CleanableSegment>(
  segments: readonly Part[],
  { fromOffset, belowOffset, bytesMax }: GroupLimits,
): readonly Part[] {
  const first = segments.findIndex(({ endOffset }) => endOffset > fromOffset);
  if (first === -1 || (segments[first] as Part).startOffset >= belowOffset) return [];
  let bytes = 0;
  let end = first;
  for (; end < segments.length; end++) {
    const segment = segments[end] as Part;
    bytes += segment.bytes;
    if (end > first && (bytes > bytesMax || segment.endOffset > belowOffset)) break;
  }
  return segments.slice(first, end);
}

/** The bytes of all dirty segments. */
export function dirtyBytes(facts: PartitionFacts): number {
  return sumOfBytes(dirtyOf(facts));
}

function dirtyOf({ segments, compactedOffset }: PartitionFacts): readonly CleanableSegment[] {
  return segments.filter(({ endOffset }) => endOffset > compactedOffset);
}

function isYoung(segment: CleanableSegment, config: TopicConfig, nowMs: number): boolean {
  const lagMs = numberSetting(config, 'min.compaction.lag.ms');
  // As in Kafka, no lag at all means that not even a time in the future holds a segment back.
  return lagMs > 0 && timeOf(segment) > nowMs - lagMs;
}

function timeOf({ maxTimestampMs, writtenAtMs }: CleanableSegment): number {
  return maxTimestampMs === NO_TIMESTAMP ? writtenAtMs : maxTimestampMs;
}

function oldestMs(segments: readonly CleanableSegment[]): number {
  return Math.min(...segments.map(({ writtenAtMs }) => writtenAtMs));
}

function sumOfBytes(segments: readonly CleanableSegment[]): number {
  return segments.reduce((sum, { bytes }) => sum + bytes, 0);
}
