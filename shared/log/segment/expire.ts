import { type PlacedPart, writtenAtMs } from '../head/head.ts';
import { laterMs } from '../time.ts';
import { choiceSetting, numberSetting, type TopicConfig } from '../topic/topic-config.ts';
import type { Segment } from './segment.ts';
import type { SegmentList } from './segment-list.ts';

export type ExpiringSegment = Pick<Segment, 'endOffset' | 'bytes' | 'maxTimestampMs' | 'writtenAtMs'>;

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
  segments: readonly ExpiringSegment[],
  { retentionMs, retentionBytes, nowMs, unmergedBytes = 0 }: Retention,
): number | undefined {
  let rest = segments.reduce((sum, { bytes }) => sum + bytes, unmergedBytes);
  let below: number | undefined;
  for (const [i, { endOffset, bytes }] of segments.entries()) {
    rest -= bytes;
    const newestMs = newestMsOf(segments, i) ?? nowMs;
    const tooOld = retentionMs >= 0 && nowMs - newestMs > retentionMs;
    const tooMuch = retentionBytes >= 0 && rest >= retentionBytes;
    if (!tooOld && !tooMuch) break;
    below = endOffset;
  }
  return below;
}

/** When the first segment expires by time; `undefined` if it does not. */
export function expiresAtMs(segments: readonly ExpiringSegment[], retentionMs: number): number | undefined {
  const newestMs = segments.length === 0 ? undefined : newestMsOf(segments, 0);
  return retentionMs < 0 || newestMs === undefined ? undefined : laterMs(newestMs, retentionMs + 1);
}

/** When a part expires by time, once all before it did: its largest timestamp counts, or when it was written if it has none. */
export function partExpiresAtMs({ part, entry }: PlacedPart, retentionMs: number): number {
  return laterMs(part.maxTimestampMs >= 0 ? part.maxTimestampMs : writtenAtMs(entry), retentionMs + 1);
}

function newestMsOf(segments: readonly ExpiringSegment[], i: number): number | undefined {
  const { maxTimestampMs } = segments[i] as ExpiringSegment;
  return maxTimestampMs >= 0 ? maxTimestampMs : segments[i + 1]?.writtenAtMs;
}

/** The limits that a topic sets; both −1 without `delete` in `cleanup.policy`. */
export function retentionOf(config: TopicConfig): Pick<Retention, 'retentionMs' | 'retentionBytes'> {
  if (!choiceSetting(config, 'cleanup.policy').split(',').includes('delete'))
    return { retentionMs: -1, retentionBytes: -1 };
  return {
    retentionMs: numberSetting(config, 'retention.ms'),
    retentionBytes: numberSetting(config, 'retention.bytes'),
  };
}

/**
 * For a job that has added segments: when retention must look at the head because of what the list has now, `undefined` if
 * not because of that. It may look in vain where pages would have to be read to know.
 */
export function expireDueAfterMerge(
  list: SegmentList,
  { config }: { readonly config: TopicConfig },
  nowMs: number,
): number | undefined {
  const { retentionMs, retentionBytes } = retentionOf(config);
  const times: number[] = [];
  for (const { pages, segments } of list.slots) {
    const bytes = [...pages, ...segments].reduce((sum, part) => sum + part.bytes, 0);
    const oldestBytes = pages.length > 0 ? 1 : (segments[0]?.bytes ?? 0);
    if (retentionBytes >= 0 && segments.length > 0 && bytes - oldestBytes >= retentionBytes) times.push(nowMs);
    // Behind pages nothing is older than what retention has seen when it looked last.
    const atMs = pages.length > 0 ? undefined : expiresAtMs(segments, retentionMs);
    if (atMs !== undefined) times.push(Math.max(nowMs, atMs));
  }
  return times.length === 0 ? undefined : Math.min(...times);
}
