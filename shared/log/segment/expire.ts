import type { Segment } from './segment.ts';

export interface Retention {
  /** `retention.ms` of the topic; −1: no limit. */
  readonly retentionMs: number;
  /** `retention.bytes` of the topic, for one partition; −1: no limit. */
  readonly retentionBytes: number;
  readonly nowMs: number;
  /** The bytes of the partition's records that are not in segments yet: they count, but do not expire here. */
  readonly unmergedBytes?: number;
}

/**
 * Returns the offset that the log start offset may be raised to, or `undefined` if no segment is expired. As in Kafka
 * (`UnifiedLog.deleteOldSegments`), a segment expires when its largest timestamp is older than `retention.ms`, or while the
 * segments after it have at least `retention.bytes` without it. Segments expire from the oldest on, without gaps: one that
 * stays protects all that follow.
 *
 * Records without a timestamp count as appended when the next segment began, since a segment only knows when its oldest
 * record was appended. If there is no next one, they do not expire by time.
 */
export function expiredBelow(
  segments: readonly Pick<Segment, 'endOffset' | 'bytes' | 'maxTimestampMs' | 'writtenAtMs'>[],
  { retentionMs, retentionBytes, nowMs, unmergedBytes = 0 }: Retention,
): number | undefined {
  let rest = segments.reduce((sum, { bytes }) => sum + bytes, unmergedBytes);
  let below: number | undefined;
  for (const [i, { endOffset, bytes, maxTimestampMs }] of segments.entries()) {
    rest -= bytes;
    const newestMs = maxTimestampMs >= 0 ? maxTimestampMs : (segments[i + 1]?.writtenAtMs ?? nowMs);
    const tooOld = retentionMs >= 0 && nowMs - newestMs > retentionMs;
    const tooMuch = retentionBytes >= 0 && rest >= retentionBytes;
    if (!tooOld && !tooMuch) break;
    below = endOffset;
  }
  return below;
}
