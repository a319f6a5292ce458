import type { PlantedBug } from '../planted-bug.ts';
import { ofJobs } from './of-jobs.ts';

const BATCH = 'shared/log/segment/compact/compact-batch.ts';
const CLEANABLE = 'shared/log/segment/compact/cleanable.ts';
const MAP = 'shared/log/segment/compact/offset-map.ts';
const CHANGES = 'shared/log/segment/list-changes.ts';
const PASS = 'shared/broker/jobs/compact/compaction-pass.ts';
const GROUP = 'shared/broker/jobs/compact/compact-group.ts';

/** Of compaction. */
export const COMPACT_BUGS: readonly PlantedBug[] = ofJobs(
  {
    name: 'newest-value-dropped',
    why: 'A record goes although nothing later has its key.',
    edits: [{ file: BATCH, from: 'latest > record.offset', to: 'latest >= record.offset' }],
  },
  {
    name: 'map-keeps-the-first',
    why: 'The map remembers the first offset of a key, so that what is superseded stays.',
    edits: [{ file: MAP, from: 'if (offset > known)', to: 'if (known === EMPTY)' }],
  },
  {
    name: 'full-map-passed-over',
    why: 'A pass counts as complete although its map had no room for some keys.',
    edits: [{ file: PASS, from: 'if (!map.put(key, offset)) return offset;', to: 'map.put(key, offset);' }],
  },
  {
    name: 'map-not-cleared',
    why: 'A pass goes by the offsets of another partition that its map still has.',
    edits: [{ file: PASS, from: '  map.clear();\n', to: '' }],
  },
  {
    name: 'only-the-dirty-part-compacted',
    why: 'A pass leaves what was compacted before as it is.',
    edits: [{ file: PASS, from: 'let fromOffset = 0;', to: 'let fromOffset = compactedOffset;' }],
  },
  {
    name: 'pass-ends-after-one-group',
    why: 'A partition counts as compacted once the first group of its segments is.',
    edits: [
      {
        file: PASS,
        from: 'fromOffset = (group.sources.at(-1) as Segment).endOffset;',
        to: 'fromOffset = belowOffset;',
      },
    ],
  },
  {
    name: 'lost-group-passed-over',
    // A merge must join segments of the group between two requests of the pass, and must have added to them before.
    isUnmet: true,
    why: 'A group that another job was faster to change counts as compacted.',
    edits: [
      {
        file: PASS,
        from: 'if (++lost === LOST_MAX) return false;',
        to: 'if (++lost === LOST_MAX) return false; fromOffset = (group.sources.at(-1) as Segment).endOffset;',
      },
    ],
  },
  {
    name: 'tombstone-dropped-at-once',
    why: 'A tombstone goes in the pass that first meets it.',
    edits: [
      {
        file: BATCH,
        from: 'return record.value !== null || header.deleteHorizonMs === undefined || options.nowMs < header.deleteHorizonMs;',
        to: 'return record.value !== null;',
      },
    ],
  },
  {
    name: 'tombstone-not-kept-for-its-delay',
    why: 'The time of a tombstone comes as soon as it is set.',
    edits: [{ file: BATCH, from: 'laterMs(options.nowMs, options.deleteRetentionMs)', to: 'options.nowMs' }],
  },
  {
    name: 'tombstone-kept-for-longer-each-time',
    why: 'Each pass sets the time of a tombstone again.',
    edits: [
      {
        file: BATCH,
        from: 'const horizon = header.deleteHorizonMs ?? (hasTombstones ? deleteHorizon(header, options) : undefined);',
        to: 'const horizon = hasTombstones ? deleteHorizon(header, options) : undefined;',
      },
    ],
  },
  {
    name: 'due-tombstones-forgotten',
    why: 'A pass does not say when its tombstones are due.',
    edits: [
      {
        file: CHANGES,
        from: 'const due = reached.tombstonesDueAtMs === undefined ?',
        to: 'const due = reached !== undefined ?',
      },
    ],
  },
  {
    name: 'lag-passed-over',
    why: 'Segments are compacted whose records are younger than `min.compaction.lag.ms`.',
    edits: [
      {
        file: CLEANABLE,
        from: 'const cleanable = firstYoung === -1 ? dirty : dirty.slice(0, firstYoung);',
        to: 'const cleanable = firstYoung === -1 ? dirty : dirty.slice(0);',
      },
    ],
  },
  {
    name: 'lag-of-the-oldest',
    why: 'The lag counts from when the oldest data of a segment was appended.',
    edits: [
      {
        file: CLEANABLE,
        from: 'return maxTimestampMs === NO_TIMESTAMP ? writtenAtMs : maxTimestampMs;',
        to: 'return maxTimestampMs > 0 ? writtenAtMs : maxTimestampMs;',
      },
    ],
  },
  {
    name: 'compaction-looks-once',
    why: 'A compaction that is not due yet is never looked at again.',
    edits: [
      {
        file: 'shared/broker/jobs/compact/compact-head.ts',
        from: 'nextAtMs: nextAtMs ?? context.clock.nowMs() + LOOK_AGAIN_MS_MAX };',
        to: 'nextAtMs: undefined };',
      },
    ],
  },
  {
    name: 'compacted-before-it-is-written',
    why: 'A compaction is committed while its segment is still being written.',
    edits: [
      {
        file: GROUP,
        from: "await retrying(context, 'not_applied', () => stores.objects.put(key, chunks));",
        to: "void retrying(context, 'not_applied', () => stores.objects.put(key, chunks)).catch(() => {});",
      },
    ],
  },
  {
    name: 'batch-that-shrinks-left-out',
    why: 'A batch of which some records go is left out as a whole.',
    edits: [
      { file: GROUP, from: 'if (result.bytes === undefined) continue;', to: 'if (result.dropped > 0) continue;' },
    ],
  },
  {
    name: 'late-compaction-gives-nothing-up',
    // It must stand still just after its announcement until two sweeps have visited the head.
    isUnmet: true,
    why: 'A compaction that comes too late leaves what it has written.',
    edits: [
      {
        file: GROUP,
        from: "  await giveUpNames(job, announcement);\n  return { type: 'too_late' };",
        to: "  return { type: 'too_late' };",
      },
    ],
  },
  {
    name: 'compacted-offset-goes-by-the-data',
    why: 'A pass counts as complete up to the end of all that is merged.',
    edits: [
      {
        file: PASS,
        from: 'const reached = { compactedOffset: belowOffset, tombstonesDueAtMs: horizonMs };',
        to: 'const reached = { compactedOffset: view.list.totals[slot]?.nextOffset ?? 0, tombstonesDueAtMs: horizonMs };',
      },
    ],
  },
);
