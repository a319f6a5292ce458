import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Segment } from '../../../../shared/log/segment/segment.ts';
import {
  type AnnouncedName,
  EMPTY_SEGMENT_LIST,
  packSegmentList,
  packSegmentPage,
  type SegmentList,
  unpackSegmentList,
  unpackSegmentPage,
} from '../../../../shared/log/segment/segment-list.ts';
import { itIsPacked } from '../../../support/packed-format.ts';

const small = fc.nat(2 ** 40);
const count = fc.oneof(fc.nat(300), fc.maxSafeNat());
const timestamp = fc.oneof(fc.constantFrom(-2, -1), fc.maxSafeNat());

function runOf<Part extends object>(of: fc.Arbitrary<Part>, maxLength: number) {
  return fc.array(fc.tuple(fc.constantFrom(0, 0, 7), fc.integer({ min: 1, max: 2 ** 40 }), of), { maxLength });
}
function place<Part extends object>(run: readonly (readonly [number, number, Part])[], from: number) {
  let end = from;
  return run.map(([gap, length, part]) => {
    const startOffset = end + gap;
    end = startOffset + length;
    return { startOffset, endOffset: end, ...part };
  });
}

const segmentRun = runOf(
  fc.record({
    // Names of garbage and announcements have higher versions, so that they name no segment of the list.
    version: fc.nat(999),
    bytes: count,
    indexBytes: count,
    aborted: count,
    maxTimestampMs: timestamp,
    writtenAtMs: count,
    setHash: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  }),
  8,
);
const pageRun = runOf(fc.record({ version: fc.nat(999), segments: count, bytes: count, maxTimestampMs: timestamp }), 3);

const due = fc.record({ atMs: count, version: count });

const listArbitrary: fc.Arbitrary<SegmentList> = fc
  .record({
    version: count,
    writer: fc.option(fc.uint8Array({ minLength: 8, maxLength: 8 }), { nil: undefined }),
    nodes: fc.nat(1_000),
    slots: fc.array(
      fc.record({
        pages: pageRun,
        segments: segmentRun,
        compactedOffset: count,
        due: fc.option(fc.nat(), { nil: undefined }),
      }),
      { maxLength: 16 },
    ),
    names: fc.uniqueArray(
      fc.record({
        what: fc.constantFrom('segment', 'page'),
        slot: fc.nat(15),
        startOffset: small,
        version: fc.integer({ min: 1_000, max: 1e6 }),
      }),
      { selector: (name) => JSON.stringify(name), maxLength: 12 },
    ),
    jobs: fc.array(fc.constantFrom('merge', 'coalesce', 'compact'), { maxLength: 4 }),
    times: fc.tuple(small, small, count, count),
    due: fc.record({ merge: due, expire: due, sweep: due, compact: due }, { requiredKeys: [] }),
  })
  .map(({ version, writer, nodes, slots, names, jobs, times, due }) => {
    const placed = slots.map(({ pages, segments, compactedOffset, due: tombstones }) => {
      const pagesHere = place(pages, 0);
      return {
        pages: pagesHere,
        segments: place(segments, pagesHere.at(-1)?.endOffset ?? 0),
        droppedOffset: 0,
        compactedOffset,
        ...(tombstones === undefined ? {} : { tombstonesDueAtMs: tombstones }),
      };
    });
    const typed = names as AnnouncedName[];
    return {
      version,
      ...(writer === undefined ? {} : { writer }),
      mergedEntry: nodes * 8,
      totals: Array.from({ length: placed.length }, () => ({ nextOffset: 2 ** 50, maxTimestampMs: 5, bytes: 6 })),
      slots: placed,
      announcements: jobs.map((job, i) => ({
        id: i + 5,
        job: job as 'merge',
        untilMs: times[0],
        names: typed.filter((_, at) => at % 5 === i),
      })),
      garbage: typed.filter((_, at) => at % 5 === 4).map((name) => ({ ...name, dueAtMs: times[1] })),
      cleanedEntry: 0,
      cleanBelow: nodes * 8,
      cleanAtMs: times[2],
      dropBelow: times[3],
      dropAtMs: times[3],
      droppedEntry: times[3],
      orphansCheckedAtMs: times[3],
      due: due as SegmentList['due'],
    };
  });

const pageArbitrary = segmentRun.map((run) => place(run, 0) as Segment[]);

describe.each([
  {
    name: 'a list',
    arbitrary: listArbitrary as fc.Arbitrary<unknown>,
    pack: packSegmentList as (value: unknown) => Uint8Array,
    unpack: unpackSegmentList as (packed: Uint8Array) => unknown,
  },
  {
    name: 'a page',
    arbitrary: pageArbitrary,
    pack: packSegmentPage as (value: unknown) => Uint8Array,
    unpack: unpackSegmentPage,
  },
])('$name', (format) => itIsPacked({ ...format, cutsMax: 64 }));

describe('a list that contradicts itself', () => {
  const segment = (startOffset: number, endOffset: number, version = 1): Segment => ({
    startOffset,
    endOffset,
    version,
    bytes: 10,
    indexBytes: 30,
    aborted: 0,
    maxTimestampMs: 5,
    writtenAtMs: 5,
    setHash: 7n,
  });
  const slot = { pages: [], segments: [segment(10, 20), segment(20, 30, 2)], droppedOffset: 10, compactedOffset: 0 };
  const list: SegmentList = {
    ...EMPTY_SEGMENT_LIST,
    version: 9,
    writer: new Uint8Array(8),
    mergedEntry: 16,
    totals: [{ nextOffset: 30, maxTimestampMs: 5, bytes: 20 }],
    slots: [slot],
  };
  const page = { startOffset: 0, endOffset: 15, version: 3, segments: 1, bytes: 1, maxTimestampMs: 1 };
  const named: AnnouncedName = { what: 'segment', slot: 0, startOffset: 20, version: 2 };
  const free: AnnouncedName = { what: 'page', slot: 0, startOffset: 20, version: 2 };
  const announcement = { id: 8, job: 'merge' as const, untilMs: 1, names: [free] };

  it('by an offset that is too large is refused', () => {
    const page = packSegmentPage([segment(2 ** 53 - 1, 2 ** 53 + 2)]);
    expect(() => unpackSegmentPage(page)).toThrow('the largest offset');
  });

  it('is the exception', () => {
    expect(unpackSegmentList(packSegmentList(list))).toEqual(list);
    const more = { ...list, announcements: [announcement] };
    expect(unpackSegmentList(packSegmentList(more))).toEqual(more);
  });

  it.each<[string, Partial<SegmentList>, string]>([
    ['more slots than a head has', { slots: Array(17).fill({ ...slot, segments: [] }) }, '17 slots'],
    ['a merge up to the middle of a node', { mergedEntry: 17 }, 'nodes do not end'],
    ['entries to clean that are not merged', { cleanBelow: 24 }, 'merged, then cleaned'],
    ['cleaned entries that were not to be', { cleanedEntry: 8 }, 'merged, then cleaned'],
    [
      'segments beyond what is merged',
      { totals: [{ nextOffset: 29, maxTimestampMs: 5, bytes: 20 }] },
      'merged up to 29',
    ],
    ['a segment that is dropped', { slots: [{ ...slot, droppedOffset: 20 }] }, 'so it is gone'],
    ['a page that is dropped', { slots: [{ ...slot, pages: [{ ...page, endOffset: 10 }] }] }, 'so it is gone'],
    ['garbage that is in use', { garbage: [{ ...named, dueAtMs: 1 }] }, 'is in use'],
    ['an announcement that is in use', { announcements: [{ ...announcement, names: [named] }] }, 'is in use'],
    ['a name twice', { announcements: [announcement], garbage: [{ ...free, dueAtMs: 1 }] }, 'twice'],
    ['an id twice', { announcements: [announcement, { ...announcement, names: [] }] }, 'its own id'],
  ])('by %s is refused', (_, change, message) => {
    expect(() => unpackSegmentList(packSegmentList({ ...list, ...change }))).toThrow(message);
  });
});
