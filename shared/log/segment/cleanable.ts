import { NO_TIMESTAMP } from '../batch/record-batch.ts';
import { choiceSetting, numberSetting, type TopicConfig } from '../topic/topic-config.ts';
import type { Segment } from './segment.ts';

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
  if (!choiceSetting(config, 'cleanup.policy').split(',').includes('compact')) return undefined;
  const { segments, compactedOffset, tombstonesDueAtMs } = facts;
  const dirty = segments.filter(({ endOffset }) => endOffset > compactedOffset);
  const firstYoung = dirty.findIndex((segment) => isYoung(segment, config, nowMs));
  const cleanable = firstYoung === -1 ? dirty : dirty.slice(0, firstYoung);
  const cleanableBytes = sumOfBytes(cleanable);
  const cleanBytes = sumOfBytes(segments) - sumOfBytes(dirty);
  const upToOffset = cleanable.at(-1)?.endOffset ?? compactedOffset;
  if (cleanableBytes > 0) {
    if (cleanableBytes / (cleanBytes + cleanableBytes) > numberSetting(config, 'min.cleanable.dirty.ratio'))
      return { upToOffset, reason: 'dirty_ratio' };
    // Kafka takes the time of the first batch, which producers choose. The time of the append cannot be wrong.
    const oldest = Math.min(...dirty.map(({ writtenAtMs }) => writtenAtMs));
    if (oldest < nowMs - numberSetting(config, 'max.compaction.lag.ms')) return { upToOffset, reason: 'max_lag' };
  }
  if (tombstonesDueAtMs !== undefined && tombstonesDueAtMs <= nowMs) return { upToOffset, reason: 'tombstones' };
  return undefined;
}

function isYoung({ maxTimestampMs, writtenAtMs }: CleanableSegment, config: TopicConfig, nowMs: number): boolean {
  const lagMs = numberSetting(config, 'min.compaction.lag.ms');
  // As in Kafka, no lag at all means that not even a time in the future holds a segment back.
  if (lagMs === 0) return false;
  return (maxTimestampMs === NO_TIMESTAMP ? writtenAtMs : maxTimestampMs) > nowMs - lagMs;
}

function sumOfBytes(segments: readonly CleanableSegment[]): number {
  return segments.reduce((sum, { bytes }) => sum + bytes, 0);
}
