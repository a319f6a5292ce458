import { invariant } from '../errors.ts';
import type { SlotTotals } from '../head/head.ts';
import type { Segment, SegmentName } from './segment.ts';
import {
  type AnnouncedName,
  type Announcement,
  checkSegmentList,
  type Garbage,
  type JobName,
  nameText,
  type SegmentList,
  type SegmentPage,
  type SlotSegments,
} from './segment-list.ts';

/**
 * The changes of a segment list. Each takes the list as it is now and returns the new one, or `undefined` if the change no
 * longer applies, because another job was faster. The version is counted by the update that writes the list.
 */

const EMPTY_SLOT: SlotSegments = { pages: [], segments: [], droppedOffset: 0, compactedOffset: 0 };

/** A slot with more segments than this moves the oldest half of them to a page, unless a broker is set otherwise. */
export const SLOT_SEGMENTS_MAX = 128;

/**
 * Announces objects or pages that a job is about to write. The announcement's id and the version of its names is the
 * version that the list gets by this update. So there is one announcement per update: `undefined` if there is one already.
 */
export function announce(
  list: SegmentList,
  job: Announcement['job'],
  names: readonly Omit<AnnouncedName, 'version'>[],
  untilMs: number,
): { readonly list: SegmentList; readonly announcement: Announcement } | undefined {
  const id = list.version + 1;
  if (isAnnounced(list, id)) return undefined;
  const announcement = {
    id,
    job,
    untilMs,
    names: names.map(({ what, slot, startOffset }) => ({ what, slot, startOffset, version: id })),
  };
  return { list: { ...list, announcements: [...list.announcements, announcement] }, announcement };
}

export function isAnnounced(list: SegmentList, id: number): boolean {
  return list.announcements.some((announcement) => announcement.id === id);
}

/** The names of announcements whose time has passed become garbage, due after `graceMs`. `undefined` if there are none. */
export function dropDeadAnnouncements(list: SegmentList, nowMs: number, graceMs: number): SegmentList | undefined {
  const dead = list.announcements.filter(({ untilMs }) => untilMs <= nowMs);
  if (dead.length === 0) return undefined;
  return {
    ...list,
    announcements: list.announcements.filter((announcement) => !dead.includes(announcement)),
    garbage: [
      ...list.garbage,
      ...madeGarbage(
        dead.flatMap(({ names }) => names),
        nowMs + graceMs,
      ),
    ],
  };
}

/**
 * For a job whose commit no longer applies, or that stops before it: what it wrote becomes garbage of now. The announcement
 * goes, if it is still there. If it was given up already, the job may have written after its names were deleted, or while
 * they were. What is in use stays. `pageSegments` returns the segments of a page: names within a page whose segments are not
 * known stay too, since the page may list them. `undefined` if there is nothing to change.
 */
export function giveUp(
  list: SegmentList,
  { id, names }: Announcement,
  nowMs: number,
  graceMs: number,
  pageSegments: (page: SegmentPage) => readonly Segment[] | undefined = () => undefined,
): SegmentList | undefined {
  const isListed = ({ what, slot, startOffset, version }: AnnouncedName): boolean => {
    const isNamed = (one: SegmentPage | Segment): boolean => one.version === version && one.startOffset === startOffset;
    const { pages, segments } = slotOf(list, slot);
    if (what === 'page') return pages.some(isNamed);
    return (
      segments.some(isNamed) ||
      pages.some(
        (page) =>
          page.startOffset <= startOffset &&
          startOffset < page.endOffset &&
          (pageSegments(page)?.some(isNamed) ?? true),
      )
    );
  };
  // The list was deleted with its topic, and is not made again. The sweep of the topic finds what was written.
  if (list.version === 0) return undefined;
  const lost = isAnnounced(list, id) ? names : names.filter((name) => !isListed(name));
  if (lost.length === 0 && !isAnnounced(list, id)) return undefined;
  const texts = new Set(lost.map(nameText));
  const garbage = list.garbage.filter((name) => !texts.has(nameText(name)));
  const announcements = list.announcements.filter((announcement) => announcement.id !== id);
  return withGarbage({ ...list, announcements, garbage }, lost, nowMs + graceMs);
}

/** Sets when a job looks at the head again; `undefined`: not until something else schedules it. */
export function schedule(list: SegmentList, job: JobName, atMs: number | undefined): SegmentList {
  if (list.due[job]?.atMs === atMs) return list;
  const { [job]: _, ...others } = list.due;
  if (atMs === undefined) return { ...list, due: others };
  return { ...list, due: { ...others, [job]: { atMs, version: list.version + 1 } } };
}

/** Schedules a job for `atMs`, unless it comes earlier anyway; `undefined` changes nothing. */
export function scheduleBy(list: SegmentList, job: JobName, atMs: number | undefined): SegmentList {
  if (atMs === undefined || (list.due[job]?.atMs ?? Number.POSITIVE_INFINITY) <= atMs) return list;
  return schedule(list, job, atMs);
}

export interface MergeCommit {
  readonly id: number;
  /** The entries `[fromEntry, toEntry)` were merged. */
  readonly fromEntry: number;
  readonly toEntry: number;
  /** The totals by slot as of `toEntry`. */
  readonly totals: readonly SlotTotals[];
  /** The new segments of each slot that has records, in order of offsets. */
  readonly segments: ReadonlyMap<number, readonly Segment[]>;
  readonly nowMs: number;
  readonly graceMs: number;
}

/**
 * Adds the segments of a merge. What was announced and is not used becomes garbage. The merged nodes may be cleaned after
 * `graceMs`; if older nodes still wait for that, these wait for a later call of `scheduleCleaning`.
 */
export function commitMerge(list: SegmentList, commit: MergeCommit): SegmentList | undefined {
  const { id, fromEntry, toEntry, totals, nowMs, graceMs } = commit;
  if (list.mergedEntry !== fromEntry || toEntry <= fromEntry) return undefined;
  const used = [...commit.segments].flatMap(([slot, segments]) =>
    segments.map((segment) => nameOf('segment', slot, segment)),
  );
  const taken = takeAnnouncement(list, id, used, nowMs + graceMs);
  if (taken === undefined) return undefined;
  let merged: SegmentList = { ...taken, mergedEntry: toEntry, totals };
  for (const [slot, segments] of commit.segments) {
    const was = slotOf(list, slot);
    // Retention was faster: nothing may be added below what it dropped.
    const isKept = ({ endOffset }: Segment): boolean => endOffset > was.droppedOffset;
    const dropped = segments.filter((segment) => !isKept(segment)).map((segment) => nameOf('segment', slot, segment));
    const kept = withSlot(merged, slot, { ...was, segments: [...was.segments, ...segments.filter(isKept)] });
    merged = withGarbage(kept, dropped, nowMs + graceMs);
  }
  return checked(scheduleCleaning(merged, nowMs, graceMs) ?? merged);
}

/** If no nodes wait to be cleaned, all merged nodes do from now on; `undefined` if some wait, or none are left. */
export function scheduleCleaning(list: SegmentList, nowMs: number, graceMs: number): SegmentList | undefined {
  if (list.cleanedEntry !== list.cleanBelow || list.mergedEntry === list.cleanBelow) return undefined;
  return { ...list, cleanBelow: list.mergedEntry, cleanAtMs: nowMs + graceMs };
}

export interface Replacement {
  readonly id: number;
  readonly slot: number;
  /** A run of segments, exactly as in the list or in the page. */
  readonly sources: readonly Segment[];
  /** What takes their place: it covers offsets of theirs only. Nothing, if no record of theirs is left. */
  readonly by: readonly Segment[];
  /** The page that has the sources; absent if they are in the list itself. */
  readonly page?: PageContent | undefined;
  readonly nowMs: number;
  readonly graceMs: number;
}

/** A page of the list, and the segments that are in it. */
export interface PageContent {
  readonly page: SegmentPage;
  readonly segments: readonly Segment[];
}

/**
 * Replaces a run of segments by others of the same records. The replaced segments become garbage. What retention has dropped
 * meanwhile is not added.
 *
 * A page never changes, so a run in a page is replaced together with the page. The new page has what `replaceRun` returns. It
 * is announced under the start offset of its first segment, and written before this change. If it would have no segment that
 * is still needed, the page goes.
 */
export function replaceSegments(list: SegmentList, replacement: Replacement): SegmentList | undefined {
  const { id, slot, sources, by, page, nowMs, graceMs } = replacement;
  const was = slotOf(list, slot);
  const content = replaceRun(page?.segments ?? was.segments, sources, by);
  if (content === undefined || !hasRun(list, replacement)) return undefined;
  const isKept = ({ endOffset }: Segment): boolean => endOffset > was.droppedOffset;
  const kept = content.filter(isKept);
  const newPage = page && kept.length > 0 ? { ...pageOf(content), version: id } : undefined;
  const used = by.filter(isKept).map((segment) => nameOf('segment', slot, segment));
  if (newPage !== undefined) used.push(nameOf('page', slot, newPage));
  const dueAtMs = nowMs + graceMs;
  const taken = takeAnnouncement(list, id, used, dueAtMs);
  if (taken === undefined) return undefined;
  const replaced = withSlot(
    taken,
    slot,
    page === undefined
      ? { ...was, segments: kept }
      : {
          ...was,
          pages: was.pages.flatMap((one) => {
            if (!sameObject(one, page.page)) return [one];
            return newPage === undefined ? [] : [newPage];
          }),
        },
  );
  const names = sources.map((segment) => nameOf('segment', slot, segment));
  if (page !== undefined) names.push(nameOf('page', slot, page.page));
  return checked(withGarbage(replaced, names, dueAtMs));
}

/** Whether the list still has a run of segments, in itself or in a page, so that it can be replaced. */
export function hasRun(
  list: SegmentList,
  { slot, sources, page }: Pick<Replacement, 'slot' | 'sources' | 'page'>,
): boolean {
  const { pages, segments, droppedOffset } = slotOf(list, slot);
  if (page === undefined) return runAt(segments, sources) !== undefined;
  // What retention has dropped is garbage already.
  return pages.some((one) => sameObject(one, page.page)) && sources.every(({ endOffset }) => endOffset > droppedOffset);
}

/** `segments` with `by` in the place of the run `sources`; `undefined` if the run is not there, or `by` covers other offsets. */
export function replaceRun(
  segments: readonly Segment[],
  sources: readonly Segment[],
  by: readonly Segment[],
): Segment[] | undefined {
  const at = runAt(segments, sources);
  if (at === undefined) return undefined;
  let end = (sources[0] as Segment).startOffset;
  for (const { startOffset, endOffset } of by) {
    if (startOffset < end) return undefined;
    end = endOffset;
  }
  if (end > (sources.at(-1) as Segment).endOffset) return undefined;
  return [...segments.slice(0, at), ...by, ...segments.slice(at + sources.length)];
}

export interface CompactionEnd {
  readonly slot: number;
  /** The state of the slot when the pass began. */
  readonly began: Pick<SlotSegments, 'compactedOffset' | 'tombstonesDueAtMs'>;
  /** The state that the pass has reached: no segment below `compactedOffset` has a record that the pass would drop. */
  readonly reached: Pick<SlotSegments, 'compactedOffset' | 'tombstonesDueAtMs'>;
}

/**
 * Ends a pass of compaction. What replaces a compacted segment later is made from it, and merges add segments only above all
 * others. So segments that were compacted once need no condition. `undefined` if another pass of the slot has ended since
 * this one began: it may have set the time of tombstones that this one did not see.
 */
export function endCompaction(list: SegmentList, { slot, began, reached }: CompactionEnd): SegmentList | undefined {
  const { tombstonesDueAtMs, ...was } = slotOf(list, slot);
  if (was.compactedOffset !== began.compactedOffset || tombstonesDueAtMs !== began.tombstonesDueAtMs) return undefined;
  // The list was deleted with its topic, and is not made again.
  if (reached.compactedOffset > (list.totals[slot]?.nextOffset ?? 0)) return undefined;
  invariant(reached.compactedOffset >= was.compactedOffset, 'what is compacted stays so');
  const due = reached.tombstonesDueAtMs === undefined ? {} : { tombstonesDueAtMs: reached.tombstonesDueAtMs };
  return checked(withSlot(list, slot, { ...was, compactedOffset: reached.compactedOffset, ...due }));
}

export interface Drop {
  readonly slot: number;
  /** Segments that end at or below this offset go. */
  readonly startOffset: number;
  /** The segments of a page, for each page that begins below `startOffset`. */
  readonly pageSegments: (page: SegmentPage) => readonly Segment[] | undefined;
  readonly nowMs: number;
  readonly graceMs: number;
}

/**
 * Drops the segments that end at or below the log start offset, and from then on every segment that a merge adds there. A
 * page goes when its last segment does. `undefined` if that was done before, or if a page's segments are not known.
 */
export function dropBelow(list: SegmentList, drop: Drop): SegmentList | undefined {
  const { slot, startOffset, pageSegments, nowMs, graceMs } = drop;
  const was = slotOf(list, slot);
  const names: AnnouncedName[] = [];
  for (const page of was.pages) {
    if (page.startOffset >= startOffset) continue;
    const inPage = pageSegments(page);
    if (inPage === undefined) return undefined;
    for (const segment of inPage)
      if (segment.endOffset > was.droppedOffset && segment.endOffset <= startOffset)
        names.push(nameOf('segment', slot, segment));
    if (page.endOffset <= startOffset) names.push(nameOf('page', slot, page));
  }
  for (const segment of was.segments)
    if (segment.endOffset <= startOffset) names.push(nameOf('segment', slot, segment));
  if (startOffset <= was.droppedOffset) return undefined;
  const dropped = withSlot(list, slot, {
    ...was,
    pages: was.pages.filter((page) => page.endOffset > startOffset),
    segments: was.segments.filter((segment) => segment.endOffset > startOffset),
    droppedOffset: startOffset,
  });
  return checked(withGarbage(dropped, names, nowMs + graceMs));
}

/** The garbage that may be deleted. It is deleted first and removed from the list afterwards, so that none is forgotten. */
export function dueGarbage(list: SegmentList, nowMs: number): readonly Garbage[] {
  return list.garbage.filter(({ dueAtMs }) => dueAtMs <= nowMs);
}

/**
 * Removes garbage that has been deleted; `undefined` if none of it is in the list any more. Garbage with another due time
 * stays: it was written again (`giveUp`) after it had been deleted.
 */
export function removeGarbage(list: SegmentList, deleted: readonly Garbage[]): SegmentList | undefined {
  const dueAtMs = new Map(deleted.map((name) => [nameText(name), name.dueAtMs]));
  const garbage = list.garbage.filter((name) => dueAtMs.get(nameText(name)) !== name.dueAtMs);
  return garbage.length === list.garbage.length ? undefined : { ...list, garbage };
}

/** The segments that must go to a page: the oldest of the first slot that has too many. The page is announced first. */
export function planSpill(
  list: SegmentList,
  segmentsMax = SLOT_SEGMENTS_MAX,
): { readonly slot: number; readonly segments: Segment[] } | undefined {
  const slot = list.slots.findIndex(({ segments }) => segments.length > segmentsMax);
  return slot < 0 ? undefined : { slot, segments: slotOf(list, slot).segments.slice(0, Math.ceil(segmentsMax / 2)) };
}

export interface Spill {
  readonly id: number;
  readonly slot: number;
  /** The oldest segments of the slot, exactly as in the list: the content of the page. */
  readonly segments: readonly Segment[];
  readonly nowMs: number;
  readonly graceMs: number;
}

/** Moves the oldest segments of a slot to the page that was announced under `id`, and written. */
export function spill(list: SegmentList, { id, slot, segments, nowMs, graceMs }: Spill): SegmentList | undefined {
  const was = slotOf(list, slot);
  if (runAt(was.segments, segments) !== 0) return undefined;
  const page = { ...pageOf(segments), version: id };
  const taken = takeAnnouncement(list, id, [nameOf('page', slot, page)], nowMs + graceMs);
  if (taken === undefined) return undefined;
  const left = was.segments.slice(segments.length);
  return checked(withSlot(taken, slot, { ...was, pages: [...was.pages, page], segments: left }));
}

function pageOf(segments: readonly Segment[]): Omit<SegmentPage, 'version'> {
  return {
    startOffset: (segments[0] as Segment).startOffset,
    endOffset: (segments.at(-1) as Segment).endOffset,
    segments: segments.length,
    bytes: segments.reduce((sum, segment) => sum + segment.bytes, 0),
    maxTimestampMs: Math.max(...segments.map((segment) => segment.maxTimestampMs)),
  };
}

function slotOf(list: SegmentList, slot: number): SlotSegments {
  return list.slots[slot] ?? EMPTY_SLOT;
}

function withSlot(list: SegmentList, slot: number, content: SlotSegments): SegmentList {
  const length = Math.max(list.slots.length, slot + 1);
  return { ...list, slots: Array.from({ length }, (_, i) => (i === slot ? content : slotOf(list, i))) };
}

function nameOf(what: AnnouncedName['what'], slot: number, of: Omit<SegmentName, 'slot'>): AnnouncedName {
  return { what, slot, startOffset: of.startOffset, version: of.version };
}

function madeGarbage(names: readonly AnnouncedName[], dueAtMs: number): Garbage[] {
  return names.map((name) => ({ ...name, dueAtMs }));
}

function withGarbage(list: SegmentList, names: readonly AnnouncedName[], dueAtMs: number): SegmentList {
  return { ...list, garbage: [...list.garbage, ...madeGarbage(names, dueAtMs)] };
}

/** Removes the announcement. Names of it that are not used become garbage; `undefined` if it is gone or lacks a used name. */
function takeAnnouncement(
  list: SegmentList,
  id: number,
  used: readonly AnnouncedName[],
  dueAtMs: number,
): SegmentList | undefined {
  const announcement = list.announcements.find((one) => one.id === id);
  if (announcement === undefined) return undefined;
  const usedNames = new Set(used.map(nameText));
  const announced = new Set(announcement.names.map(nameText));
  for (const name of usedNames) if (!announced.has(name)) return undefined;
  const unused = announcement.names.filter((name) => !usedNames.has(nameText(name)));
  const announcements = list.announcements.filter((one) => one !== announcement);
  return withGarbage({ ...list, announcements }, unused, dueAtMs);
}

/** Where in `segments` the run is, or `undefined`. A name never stands for other content, so names are compared. */
function runAt(segments: readonly Segment[], run: readonly Segment[]): number | undefined {
  const first = run[0];
  if (first === undefined) return undefined;
  const at = segments.findIndex((segment) => sameObject(segment, first));
  if (at < 0 || !run.every((source, i) => sameObject(segments[at + i], source))) return undefined;
  return at;
}

function sameObject<Part extends Segment | SegmentPage>(a: Part | undefined, b: Part): boolean {
  return a !== undefined && a.version === b.version && a.startOffset === b.startOffset && a.endOffset === b.endOffset;
}

function checked(list: SegmentList): SegmentList {
  checkSegmentList(list);
  return list;
}
