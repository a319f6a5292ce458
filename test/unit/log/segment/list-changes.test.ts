import { describe, expect, it } from 'vitest';
import {
  announce,
  commitMerge,
  dropBelow,
  dropDeadAnnouncements,
  dueGarbage,
  endCompaction,
  giveUp,
  isAnnounced,
  planSpill,
  removeGarbage,
  replaceRun,
  replaceSegments,
  scheduleCleaning,
  spill,
} from '../../../../shared/log/segment/list-changes.ts';
import type { Segment } from '../../../../shared/log/segment/segment.ts';
import {
  EMPTY_SEGMENT_LIST,
  packSegmentList,
  type SegmentList,
  type SegmentPage,
  unpackSegmentList,
} from '../../../../shared/log/segment/segment-list.ts';

const NOW = 1_000_000;
const GRACE = 1_800_000;
const clock = { nowMs: NOW, graceMs: GRACE };

function segment(startOffset: number, endOffset: number, version: number): Segment {
  const rest = { bytes: 10, indexBytes: 30, aborted: 0, maxTimestampMs: endOffset, writtenAtMs: 5, setHash: 7n };
  return { startOffset, endOffset, version, ...rest };
}

const totals = (nextOffset: number) => [{ nextOffset, maxTimestampMs: nextOffset, bytes: nextOffset }];

/** Slot 0 has a segment for each ten offsets up to `end`; the list is as its update would write it. */
function listOf(end: number, version = 50): SegmentList {
  return {
    ...EMPTY_SEGMENT_LIST,
    version,
    writer: new Uint8Array(8),
    mergedEntry: 80,
    cleanedEntry: 80,
    cleanBelow: 80,
    totals: totals(end),
    slots: [
      {
        pages: [],
        segments: Array.from({ length: end / 10 }, (_, i) => segment(i * 10, i * 10 + 10, 1 + i)),
        droppedOffset: 0,
        compactedOffset: 0,
      },
    ],
  };
}

/** What the store does with a change: it must be there, count the version, and come back from its bytes. */
function applied(list: SegmentList | undefined): SegmentList {
  if (list === undefined) throw new Error('the change does not apply');
  const next = { ...list, version: list.version + 1, writer: new Uint8Array(8) };
  expect(unpackSegmentList(packSegmentList(next))).toEqual(next);
  return next;
}

function announced(
  list: SegmentList,
  names: readonly { what: 'segment' | 'page'; startOffset: number; slot?: number }[],
): { list: SegmentList; id: number } {
  const result = announce(
    list,
    'coalesce',
    names.map((name) => ({ slot: 0, ...name })),
    NOW + 60_000,
  );
  return { list: applied(result?.list), id: result?.announcement.id as number };
}

describe('announcements', () => {
  it('have the version of their update as id, and in their names', () => {
    const { list, id } = announced(listOf(20), [{ what: 'segment', startOffset: 20 }]);
    expect(id).toBe(list.version);
    expect(list.announcements[0]?.names).toEqual([{ what: 'segment', slot: 0, startOffset: 20, version: id }]);
    expect(isAnnounced(list, id)).toBe(true);
    expect(isAnnounced(list, id + 1)).toBe(false);
  });

  it('are one per update', () => {
    const first = announce(listOf(20), 'merge', [], NOW);
    expect(announce(first?.list as SegmentList, 'merge', [], NOW)).toBeUndefined();
  });

  it('become garbage when their time has passed, and not before', () => {
    const { list, id } = announced(listOf(20), [{ what: 'segment', startOffset: 20 }]);
    expect(dropDeadAnnouncements(list, NOW + 59_999, GRACE)).toBeUndefined();
    const dropped = applied(dropDeadAnnouncements(list, NOW + 60_000, GRACE));
    expect(dropped.announcements).toEqual([]);
    expect(dropped.garbage).toEqual([
      { what: 'segment', slot: 0, startOffset: 20, version: id, dueAtMs: NOW + 60_000 + GRACE },
    ]);
  });
});

describe('a merge', () => {
  const before = announced(listOf(20), [
    { what: 'segment', startOffset: 20 },
    { what: 'segment', startOffset: 0, slot: 2 },
  ]);
  const commit = {
    id: before.id,
    fromEntry: 80,
    toEntry: 96,
    totals: totals(30),
    segments: new Map([[0, [segment(20, 30, before.id)]]]),
    ...clock,
  };

  it('adds its segments, and what it announced and did not write is garbage', () => {
    const list = applied(commitMerge(before.list, commit));
    expect(list.slots[0]?.segments.map(({ startOffset }) => startOffset)).toEqual([0, 10, 20]);
    expect(list).toMatchObject({ mergedEntry: 96, totals: totals(30), announcements: [] });
    expect(list.garbage).toEqual([
      { what: 'segment', slot: 2, startOffset: 0, version: before.id, dueAtMs: NOW + GRACE },
    ]);
    expect(list).toMatchObject({ cleanedEntry: 80, cleanBelow: 96, cleanAtMs: NOW + GRACE });
  });

  it('adds slots that the list did not have', () => {
    const segments = new Map([[2, [segment(0, 5, before.id)]]]);
    const [first] = totals(20);
    const all = [first, first, { nextOffset: 5, maxTimestampMs: 5, bytes: 5 }] as SegmentList['totals'];
    const list = applied(commitMerge(before.list, { ...commit, segments, totals: all }));
    expect(list.slots.map(({ segments: some }) => some.length)).toEqual([2, 0, 1]);
  });

  it('leaves nodes that wait to be cleaned as they are', () => {
    const list = applied(commitMerge({ ...before.list, cleanedEntry: 72, cleanAtMs: 5 }, commit));
    expect(list).toMatchObject({ cleanedEntry: 72, cleanBelow: 80, cleanAtMs: 5 });
    expect(scheduleCleaning(list, NOW, GRACE)).toBeUndefined();
    const cleaned = { ...list, cleanedEntry: 80 };
    expect(scheduleCleaning(cleaned, NOW, GRACE)).toMatchObject({ cleanBelow: 96, cleanAtMs: NOW + GRACE });
    expect(scheduleCleaning({ ...cleaned, cleanedEntry: 96, cleanBelow: 96 }, NOW, GRACE)).toBeUndefined();
  });

  it.each([
    ['another merged the entries', before.list, { fromEntry: 72 }],
    ['it merged nothing', before.list, { toEntry: 80 }],
    ['its announcement is gone', { ...before.list, announcements: [] }, {}],
    ['its segment was not announced', before.list, { segments: new Map([[0, [segment(20, 30, 7)]]]) }],
  ])('does not apply if %s', (_, list, change) => {
    expect(commitMerge(list, { ...commit, ...change })).toBeUndefined();
  });

  it('adds nothing below what retention dropped', () => {
    const slot = { pages: [], segments: [], droppedOffset: 30, compactedOffset: 0 };
    const list = applied(commitMerge({ ...before.list, slots: [slot] }, commit));
    expect(list.slots[0]?.segments).toEqual([]);
    expect(list.garbage.map(({ slot: of, startOffset }) => [of, startOffset])).toEqual([
      [2, 0],
      [0, 20],
    ]);
  });

  it('that contradicts the list is a bug', () => {
    expect(() => commitMerge(before.list, { ...commit, totals: totals(29) })).toThrow('merged up to 29');
  });
});

describe('a replacement', () => {
  const { list: before, id } = announced(listOf(50), [
    { what: 'segment', startOffset: 10 },
    { what: 'segment', startOffset: 9 },
  ]);
  const sources = before.slots[0]?.segments.slice(1, 3) as Segment[];
  const replacement = { id, slot: 0, sources, by: [segment(10, 30, id)], ...clock };

  it('takes the place of its sources, which are garbage', () => {
    const list = applied(replaceSegments(before, replacement));
    expect(list.slots[0]?.segments.map(({ startOffset, endOffset }) => [startOffset, endOffset])).toEqual([
      [0, 10],
      [10, 30],
      [30, 40],
      [40, 50],
    ]);
    expect(list.announcements).toEqual([]);
    expect(list.garbage[0]).toMatchObject({ startOffset: 9, version: id });
    expect(list.garbage.slice(1)).toEqual(
      sources.map(({ startOffset, version }) => ({
        what: 'segment',
        slot: 0,
        startOffset,
        version,
        dueAtMs: NOW + GRACE,
      })),
    );
  });

  it('can be by nothing', () => {
    const list = applied(replaceSegments(before, { ...replacement, by: [] }));
    expect(list.slots[0]?.segments.length).toBe(3);
    expect(list.garbage.length).toBe(4);
  });

  const [first, second] = sources as [Segment, Segment];
  it.each([
    ['it replaces nothing', { sources: [] }],
    ['a source is gone', { sources: [{ ...first, version: 99 }, second] }],
    ['a source was replaced', { sources: [first, { ...second, version: 99 }] }],
    ['its sources are no run', { sources: [first, segment(30, 40, 4)] }],
    ['its sources are out of order', { sources: [second, first] }],
    ['it covers more than they do', { by: [segment(10, 31, id)] }],
    ['it begins before they do', { by: [segment(9, 30, id)] }],
    ['its announcement is gone', { id: id + 1 }],
    ['it was not announced', { by: [segment(11, 30, id)] }],
    ['it is of another slot', { slot: 1 }],
  ])('does not apply if %s', (_, change) => {
    expect(replaceSegments(before, { ...replacement, ...change })).toBeUndefined();
  });
});

describe('retention', () => {
  const pageSegments = () => undefined;
  const drop = { slot: 0, startOffset: 25, pageSegments, ...clock };

  it('drops what ends at or below the log start offset', () => {
    const list = applied(dropBelow(listOf(50), drop));
    expect(list.slots[0]?.segments.map(({ startOffset }) => startOffset)).toEqual([20, 30, 40]);
    expect(list.slots[0]?.droppedOffset).toBe(25);
    expect(list.garbage.map(({ startOffset, dueAtMs }) => [startOffset, dueAtMs])).toEqual([
      [0, NOW + GRACE],
      [10, NOW + GRACE],
    ]);
    expect(dropBelow(list, drop)).toBeUndefined();
    expect(dropBelow(list, { ...drop, startOffset: 24 })).toBeUndefined();
    expect(applied(dropBelow(list, { ...drop, startOffset: 50 })).slots[0]?.segments).toEqual([]);
  });

  it('keeps away what a merge adds later', () => {
    const early = applied(dropBelow(listOf(50), { ...drop, slot: 1, startOffset: 10 }));
    expect(early.garbage).toEqual([]);
    expect(early.slots[1]?.droppedOffset).toBe(10);
  });

  it('drops segments of pages once each, and a page with its last', () => {
    const spilled = spilledList();
    const inPage = listOf(1_300).slots[0]?.segments.slice(0, 64) as Segment[];
    const known = { ...drop, pageSegments: () => inPage };
    expect(dropBelow(spilled, { ...drop, startOffset: 650 })).toBeUndefined();
    const list = applied(dropBelow(spilled, known));
    expect(list.garbage.map(({ what, startOffset }) => [what, startOffset])).toEqual([
      ['segment', 0],
      ['segment', 10],
    ]);
    expect(list.slots[0]?.pages.length).toBe(1);
    const more = applied(dropBelow(list, { ...known, startOffset: 650 }));
    expect(more.garbage.length).toBe(64 + 1 + 1);
    expect(more.garbage.filter(({ what }) => what === 'page').length).toBe(1);
    expect(more.slots[0]?.pages).toEqual([]);
  });
});

function spilledList(): SegmentList {
  const { list, id } = announced(listOf(1_300), [{ what: 'page', startOffset: 0 }]);
  return applied(spill(list, { id, slot: 0, segments: planSpill(list)?.segments ?? [], ...clock }));
}

describe('pages', () => {
  it('are needed when a slot has more than 128 segments', () => {
    expect(planSpill(listOf(1_280))).toBeUndefined();
    const plan = planSpill(listOf(1_290));
    expect(plan?.slot).toBe(0);
    expect(plan?.segments.map(({ startOffset }) => startOffset)).toEqual(Array.from({ length: 64 }, (_, i) => i * 10));
  });

  it('take the oldest 64', () => {
    const list = spilledList();
    const { pages, segments } = list.slots[0] as SegmentList['slots'][number];
    expect(pages).toEqual([
      { startOffset: 0, endOffset: 640, version: 51, segments: 64, bytes: 640, maxTimestampMs: 640 },
    ]);
    expect(segments[0]?.startOffset).toBe(640);
    expect(segments.length).toBe(66);
    expect(list).toMatchObject({ announcements: [], garbage: [] });
  });

  it('are not added if the segments are no longer the oldest, or the page is not announced', () => {
    const { list, id } = announced(listOf(1_300), [{ what: 'page', startOffset: 0 }]);
    const segments = planSpill(list)?.segments as Segment[];
    expect(spill(list, { id, slot: 0, segments: segments.slice(1), ...clock })).toBeUndefined();
    expect(spill(list, { id: id + 1, slot: 0, segments, ...clock })).toBeUndefined();
    expect(spill(list, { id, slot: 0, segments: [], ...clock })).toBeUndefined();
  });
});

describe('garbage', () => {
  const first = applied(dropBelow(listOf(50), { slot: 0, startOffset: 10, pageSegments: () => undefined, ...clock }));
  const list = applied(
    dropBelow(first, { slot: 0, startOffset: 20, pageSegments: () => undefined, nowMs: NOW + 1, graceMs: GRACE }),
  );

  it('may be deleted when its time has come', () => {
    expect(dueGarbage(list, NOW + GRACE - 1)).toEqual([]);
    expect(dueGarbage(list, NOW + GRACE).map(({ startOffset }) => startOffset)).toEqual([0]);
  });

  it('leaves the list once it was deleted', () => {
    const deleted = dueGarbage(list, NOW + GRACE);
    const without = applied(removeGarbage(list, deleted));
    expect(without.garbage.map(({ startOffset }) => startOffset)).toEqual([10]);
    expect(removeGarbage(without, deleted)).toBeUndefined();
  });
});

describe('a job that came too late', () => {
  const { list, id } = announced(listOf(50), [{ what: 'segment', startOffset: 50 }]);
  const announcement = list.announcements.find((one) => one.id === id) as SegmentList['announcements'][number];
  const dead = applied(dropDeadAnnouncements(list, announcement.untilMs, GRACE));

  it('makes what it wrote garbage again, which a sweep under way does not remove', () => {
    const again = applied(giveUp(dead, announcement, announcement.untilMs + 5, GRACE));
    expect(again.garbage).toEqual([{ ...announcement.names[0], dueAtMs: announcement.untilMs + 5 + GRACE }]);
    expect(removeGarbage(again, dead.garbage)).toBeUndefined();
  });

  it('takes back its announcement if that is still there', () => {
    const given = applied(giveUp(list, announcement, NOW, GRACE));
    expect(given.announcements).toEqual([]);
    expect(given.garbage).toEqual([{ ...announcement.names[0], dueAtMs: NOW + GRACE }]);
    const empty = announced(listOf(50), []);
    const nothing = empty.list.announcements[0] as SegmentList['announcements'][number];
    expect(applied(giveUp(empty.list, nothing, NOW, GRACE))).toMatchObject({ announcements: [], garbage: [] });
  });

  it('does not make a list again that was deleted', () => {
    expect(giveUp(EMPTY_SEGMENT_LIST, announcement, NOW, GRACE)).toBeUndefined();
  });

  it('gives up nothing once it was committed', () => {
    const segments = new Map([[0, [segment(50, 60, id)]]]);
    const merged = commitMerge(list, { id, fromEntry: 80, toEntry: 88, totals: totals(60), segments, ...clock });
    expect(giveUp(applied(merged), announcement, NOW, GRACE)).toBeUndefined();
  });

  it('gives up nothing that a page may list', () => {
    const page = { startOffset: 0, endOffset: 60, version: 3, segments: 2, bytes: 20, maxTimestampMs: 60 };
    const paged = { ...dead, slots: [{ pages: [page], segments: [], droppedOffset: 0, compactedOffset: 0 }] };
    const give = (inPage: readonly Segment[] | undefined) => giveUp(paged, announcement, NOW, GRACE, () => inPage);
    expect(give(undefined)).toBeUndefined();
    expect(give([segment(50, 60, id)])).toBeUndefined();
    expect(give([segment(50, 60, id + 1)])?.garbage).toEqual([{ ...announcement.names[0], dueAtMs: NOW + GRACE }]);
  });

  it('knows pages by their names', () => {
    const { list: before, id: version } = announced(listOf(1_300), [{ what: 'page', startOffset: 0 }]);
    const spilling = before.announcements[0] as SegmentList['announcements'][number];
    const spilled = spill(before, { id: version, slot: 0, segments: planSpill(before)?.segments ?? [], ...clock });
    expect(giveUp(applied(spilled), spilling, NOW, GRACE)).toBeUndefined();
    const other = applied(dropDeadAnnouncements(before, NOW + 60_000, GRACE));
    const slots = (spilled as SegmentList).slots.map((slot) => ({
      ...slot,
      pages: slot.pages.map((page) => ({ ...page, version: 49 })),
    }));
    expect(giveUp({ ...other, slots }, spilling, NOW + 60_001, GRACE)?.garbage).toEqual([
      { what: 'page', slot: 0, startOffset: 0, version, dueAtMs: NOW + 60_001 + GRACE },
    ]);
  });
});

describe('a replacement in a page', () => {
  const spilled = spilledList();
  const page = spilled.slots[0]?.pages[0] as SegmentPage;
  const segments = listOf(640).slots[0]?.segments as Segment[];
  const { list: before, id } = announced(spilled, [
    { what: 'segment', startOffset: 10 },
    { what: 'segment', startOffset: 15 },
    { what: 'page', startOffset: 0 },
  ]);
  const sources = segments.slice(1, 3);
  const by = [segment(10, 15, id), segment(15, 30, id)];
  const replacement = { id, slot: 0, sources, by, page: { page, segments }, ...clock };
  const names = ({ garbage }: SegmentList) => garbage.map(({ what, startOffset }) => `${what} ${startOffset}`);

  it('replaces the page, which is garbage with its sources', () => {
    const list = applied(replaceSegments(before, replacement));
    const { pages, segments: inList } = list.slots[0] as SegmentList['slots'][number];
    expect(pages).toEqual([{ ...page, version: id, segments: 64, bytes: 640 }]);
    expect(inList).toEqual(before.slots[0]?.segments);
    expect(list.announcements).toEqual([]);
    expect(names(list)).toEqual(['segment 10', 'segment 20', 'page 0']);
    expect(replaceRun(segments, sources, by)?.slice(0, 4)).toEqual([segments[0], ...by, segments[3]]);
  });

  it('makes garbage of what it announced and did not write', () => {
    const list = applied(replaceSegments(before, { ...replacement, by: by.slice(1) }));
    expect(names(list)).toEqual(['segment 10', 'segment 10', 'segment 20', 'page 0']);
    expect(list.slots[0]?.pages).toMatchObject([{ startOffset: 0, endOffset: 640, segments: 63, bytes: 630 }]);
  });

  it('drops a page of which nothing is left', () => {
    const list = applied(replaceSegments(before, { ...replacement, sources: segments, by: [] }));
    expect(list.slots[0]?.pages).toEqual([]);
    expect(list.garbage.length).toBe(3 + 64 + 1);
  });

  const droppedTo = (droppedOffset: number): SegmentList => ({
    ...before,
    slots: before.slots.map((slot) => ({ ...slot, droppedOffset })),
  });

  it('adds nothing that retention has dropped meanwhile', () => {
    const list = applied(replaceSegments(droppedTo(16), replacement));
    expect(list.slots[0]?.pages.length).toBe(1);
    expect(names(list)).toEqual(['segment 10', 'segment 10', 'segment 20', 'page 0']);
    const all = { ...replacement, page: { page, segments: segments.slice(0, 3) }, by: by.slice(0, 1) };
    const without = applied(replaceSegments(droppedTo(16), all));
    expect(without.slots[0]?.pages).toEqual([]);
    expect(names(without)).toEqual(['segment 10', 'segment 15', 'page 0', 'segment 10', 'segment 20', 'page 0']);
  });

  it.each([
    ['the page was replaced', { page: { page: { ...page, version: 99 }, segments } }],
    ['the page has no such run', { page: { page, segments: segments.slice(2) } }],
    ['retention has dropped the first source', {}, droppedTo(20)],
    ['the page was not announced', { page: { page, segments: [segment(5, 10, 1), ...segments.slice(1)] } }],
    ['its segments overlap', { by: [segment(10, 16, id), segment(15, 30, id)] }],
  ])('does not apply if %s', (_, change, list = before) => {
    expect(replaceSegments(list, { ...replacement, ...change })).toBeUndefined();
  });
});

describe('a replacement of segments that retention drops in part', () => {
  it('adds only what is still needed', () => {
    const { list, id } = announced(listOf(30), [
      { what: 'segment', startOffset: 0 },
      { what: 'segment', startOffset: 5 },
    ]);
    const slots = list.slots.map((slot) => ({ ...slot, droppedOffset: 5 }));
    const sources = list.slots[0]?.segments.slice(0, 1) as Segment[];
    const by = [segment(0, 5, id), segment(5, 10, id)];
    const replaced = applied(replaceSegments({ ...list, slots }, { id, slot: 0, sources, by, ...clock }));
    expect(replaced.slots[0]?.segments.map(({ startOffset }) => startOffset)).toEqual([5, 10, 20]);
    expect(replaced.garbage.map(({ startOffset, version }) => [startOffset, version])).toEqual([
      [0, id],
      [0, 1],
    ]);
  });
});

describe('the end of a pass of compaction', () => {
  const began = { compactedOffset: 0, tombstonesDueAtMs: undefined };

  it('raises the compacted offset, and sets when tombstones are due', () => {
    const reached = { compactedOffset: 20, tombstonesDueAtMs: 7 };
    const list = applied(endCompaction(listOf(30), { slot: 0, began, reached }));
    expect(list.slots[0]).toMatchObject(reached);
    const later = applied(
      endCompaction(list, { slot: 0, began: reached, reached: { compactedOffset: 20, tombstonesDueAtMs: undefined } }),
    );
    expect(later.slots[0]).toMatchObject({ compactedOffset: 20 });
    expect(later.slots[0]).not.toHaveProperty('tombstonesDueAtMs');
  });

  it('does not apply if another pass has ended meanwhile', () => {
    const list = applied(
      endCompaction(listOf(30), { slot: 0, began, reached: { compactedOffset: 10, tombstonesDueAtMs: 7 } }),
    );
    for (const state of [began, { compactedOffset: 10, tombstonesDueAtMs: 6 }, { ...began, tombstonesDueAtMs: 7 }])
      expect(
        endCompaction(list, { slot: 0, began: state, reached: { compactedOffset: 20, tombstonesDueAtMs: 9 } }),
      ).toBeUndefined();
  });

  it('does not apply if the list was deleted', () => {
    const reached = { compactedOffset: 20, tombstonesDueAtMs: undefined };
    expect(endCompaction(EMPTY_SEGMENT_LIST, { slot: 0, began, reached })).toBeUndefined();
    expect(endCompaction(listOf(10), { slot: 0, began, reached })).toBeUndefined();
  });

  it('that goes back is a bug', () => {
    const state = { compactedOffset: 20, tombstonesDueAtMs: undefined };
    const list = applied(endCompaction(listOf(30), { slot: 0, began, reached: state }));
    expect(() => endCompaction(list, { slot: 0, began: state, reached: { ...state, compactedOffset: 19 } })).toThrow(
      'what is compacted stays so',
    );
  });
});
