import { describe, expect, it } from 'vitest';
import {
  type CleanableSegment,
  compactionDue,
  LOOK_AGAIN_MS_MAX,
  LOOK_AGAIN_MS_MIN,
  nextGroup,
  nextLookMs,
  type PartitionFacts,
} from '../../../../shared/log/segment/compact/cleanable.ts';
import type { TopicConfig } from '../../../../shared/log/topic/topic-config.ts';

const NOW = 1_700_000_000_000;
const segment = (startOffset: number, bytes: number, ageMs: number, recordAgeMs = ageMs): CleanableSegment => ({
  startOffset,
  endOffset: startOffset + 10,
  bytes,
  writtenAtMs: NOW - ageMs,
  maxTimestampMs: NOW - recordAgeMs,
});
const three = [segment(0, 100, 3_000), segment(10, 50, 2_000), segment(20, 50, 1_000)];

interface Case {
  readonly name: string;
  readonly facts: PartitionFacts;
  readonly config?: TopicConfig;
  readonly due: ReturnType<typeof compactionDue>;
}

const cases: Case[] = [
  { name: 'nothing is there', facts: { segments: [], compactedOffset: 0 }, due: undefined },
  {
    name: 'all is dirty',
    facts: { segments: three, compactedOffset: 0 },
    due: { upToOffset: 30, reason: 'dirty_ratio' },
  },
  { name: 'all is clean', facts: { segments: three, compactedOffset: 30 }, due: undefined },
  { name: 'just half of it is dirty', facts: { segments: three, compactedOffset: 10 }, due: undefined },
  {
    name: 'just more than the ratio is dirty',
    facts: { segments: three, compactedOffset: 10 },
    config: { 'min.cleanable.dirty.ratio': 0.49 },
    due: { upToOffset: 30, reason: 'dirty_ratio' },
  },
  {
    name: 'a segment that is compacted in part is dirty',
    facts: { segments: three, compactedOffset: 9 },
    due: { upToOffset: 30, reason: 'dirty_ratio' },
  },
  {
    name: 'a ratio of 0 still needs something dirty',
    facts: { segments: three, compactedOffset: 30 },
    config: { 'min.cleanable.dirty.ratio': 0 },
    due: undefined,
  },
  {
    name: 'a ratio of 1 is never exceeded',
    facts: { segments: three, compactedOffset: 0 },
    config: { 'min.cleanable.dirty.ratio': 1 },
    due: undefined,
  },
  {
    name: 'the minimum lag holds back the young segment',
    facts: { segments: three, compactedOffset: 0 },
    config: { 'min.compaction.lag.ms': 1_001 },
    due: { upToOffset: 20, reason: 'dirty_ratio' },
  },
  {
    name: 'a record of exactly the minimum lag is old enough',
    facts: { segments: three, compactedOffset: 0 },
    config: { 'min.compaction.lag.ms': 1_000 },
    due: { upToOffset: 30, reason: 'dirty_ratio' },
  },
  {
    name: 'what is held back counts in no ratio',
    facts: { segments: three, compactedOffset: 10 },
    config: { 'min.compaction.lag.ms': 1_001, 'min.cleanable.dirty.ratio': 0.4 },
    due: undefined,
  },
  {
    name: 'a young segment holds back the older ones behind it',
    facts: { segments: [segment(0, 9, 5_000), segment(10, 9, 5_000, 0), segment(20, 9, 5_000)], compactedOffset: 0 },
    config: { 'min.compaction.lag.ms': 1_000 },
    due: { upToOffset: 10, reason: 'dirty_ratio' },
  },
  {
    name: 'all is held back, although the maximum lag is over',
    facts: { segments: three, compactedOffset: 0 },
    config: { 'min.compaction.lag.ms': 10_000, 'max.compaction.lag.ms': 1 },
    due: undefined,
  },
  {
    name: 'records in the future are not held back without a minimum lag',
    facts: { segments: [segment(0, 9, 0, -5_000)], compactedOffset: 0 },
    due: { upToOffset: 10, reason: 'dirty_ratio' },
  },
  {
    name: 'without a timestamp the time of the append counts',
    facts: { segments: [{ ...segment(0, 9, 500), maxTimestampMs: -1 }], compactedOffset: 0 },
    config: { 'min.compaction.lag.ms': 1_000 },
    due: undefined,
  },
  {
    name: 'the maximum lag is over',
    facts: { segments: three, compactedOffset: 10 },
    config: { 'max.compaction.lag.ms': 1_999 },
    due: { upToOffset: 30, reason: 'max_lag' },
  },
  {
    name: 'the maximum lag is just not over',
    facts: { segments: three, compactedOffset: 10 },
    config: { 'max.compaction.lag.ms': 2_000 },
    due: undefined,
  },
  {
    name: 'tombstones are due',
    facts: { segments: three, compactedOffset: 30, tombstonesDueAtMs: NOW },
    due: { upToOffset: 30, reason: 'tombstones' },
  },
  {
    name: 'tombstones are not due yet',
    facts: { segments: three, compactedOffset: 30, tombstonesDueAtMs: NOW + 1 },
    due: undefined,
  },
  {
    name: 'tombstones are due, and new records are taken along',
    facts: { segments: three, compactedOffset: 20, tombstonesDueAtMs: NOW - 1 },
    due: { upToOffset: 30, reason: 'tombstones' },
  },
  {
    name: 'the topic deletes and does not compact',
    facts: { segments: three, compactedOffset: 0, tombstonesDueAtMs: 0 },
    config: { 'cleanup.policy': 'delete' },
    due: undefined,
  },
  {
    name: 'the topic does both',
    facts: { segments: three, compactedOffset: 0 },
    config: { 'cleanup.policy': 'delete,compact' },
    due: { upToOffset: 30, reason: 'dirty_ratio' },
  },
];

describe('compaction is due or not', () => {
  it.each(cases)('$name', ({ facts, config, due }) => {
    expect(compactionDue(facts, { 'cleanup.policy': 'compact', ...config }, NOW)).toEqual(due);
  });
});

describe('a partition that is not due is looked at again', () => {
  const MINUTE = 60_000;
  const old = [segment(0, 100, 10 * MINUTE), segment(10, 100, 8 * MINUTE)];
  const looks: {
    readonly name: string;
    readonly facts: PartitionFacts;
    readonly config?: TopicConfig;
    readonly afterMs: number;
  }[] = [
    { name: 'if nothing is there', facts: { segments: [], compactedOffset: 0 }, afterMs: LOOK_AGAIN_MS_MAX },
    { name: 'if all is clean', facts: { segments: old, compactedOffset: 20 }, afterMs: LOOK_AGAIN_MS_MAX },
    {
      name: 'when tombstones are due',
      facts: { segments: old, compactedOffset: 20, tombstonesDueAtMs: NOW + 2 * MINUTE },
      afterMs: 2 * MINUTE,
    },
    {
      name: 'when tombstones are due long after',
      facts: { segments: old, compactedOffset: 20, tombstonesDueAtMs: NOW + 2 * LOOK_AGAIN_MS_MAX },
      afterMs: LOOK_AGAIN_MS_MAX,
    },
    {
      name: 'not within a minute',
      facts: { segments: old, compactedOffset: 20, tombstonesDueAtMs: NOW + 1 },
      afterMs: LOOK_AGAIN_MS_MIN,
    },
    {
      name: 'when the first dirty segment is no longer young',
      facts: { segments: old, compactedOffset: 0 },
      config: { 'min.compaction.lag.ms': 12 * MINUTE },
      afterMs: 2 * MINUTE,
    },
    {
      name: 'just after the maximum lag of the oldest dirty segment',
      facts: { segments: old, compactedOffset: 10 },
      config: { 'max.compaction.lag.ms': 11 * MINUTE },
      afterMs: 3 * MINUTE + 1,
    },
    {
      name: 'whatever the maximum lag, if that is over',
      facts: { segments: old, compactedOffset: 10 },
      config: { 'max.compaction.lag.ms': 7 * MINUTE, 'min.compaction.lag.ms': 10 * MINUTE },
      afterMs: 2 * MINUTE,
    },
  ];
  it.each(looks)('$name', ({ facts, config, afterMs }) => {
    expect(nextLookMs(facts, { 'cleanup.policy': 'compact', ...config }, NOW) - NOW).toBe(afterMs);
  });
});

describe('the next segments that are rewritten together', () => {
  const starts = (limits: Parameters<typeof nextGroup>[1], segments = three): number[] =>
    nextGroup(segments, limits).map(({ startOffset }) => startOffset);
  const all = { fromOffset: 0, belowOffset: 30, bytesMax: 1_000 };

  it('are adjacent, from the first that was not rewritten', () => {
    expect(starts(all)).toEqual([0, 10, 20]);
    expect(starts({ ...all, fromOffset: 10 })).toEqual([10, 20]);
    expect(starts({ ...all, fromOffset: 11 })).toEqual([10, 20]);
    expect(starts({ ...all, fromOffset: 30 })).toEqual([]);
  });

  it('have as many bytes as an object may have', () => {
    expect(starts({ ...all, bytesMax: 150 })).toEqual([0, 10]);
    expect(starts({ ...all, bytesMax: 149 })).toEqual([0]);
    expect(starts({ ...all, bytesMax: 1 })).toEqual([0]);
  });

  it('end below the offset of the pass, and a segment that reaches beyond it stays alone', () => {
    expect(starts({ ...all, belowOffset: 20 })).toEqual([0, 10]);
    expect(starts({ ...all, belowOffset: 19 })).toEqual([0]);
    expect(starts({ ...all, belowOffset: 19, fromOffset: 10 })).toEqual([10]);
    expect(starts({ ...all, belowOffset: 10, fromOffset: 10 })).toEqual([]);
    expect(starts({ ...all, belowOffset: 5 })).toEqual([0]);
  });
});
