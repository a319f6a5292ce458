import { toHex } from '../../../../shared/log/bytes.ts';
import { addTotals } from '../../../../shared/log/head/head.ts';
import { useOfOnceKey } from '../../../../shared/log/head/once-key.ts';
import type { Segment } from '../../../../shared/log/segment/segment.ts';
import {
  type AnnouncedName,
  EMPTY_SEGMENT_LIST,
  JOB_NAMES,
  nameText,
  type SegmentList,
  type SlotSegments,
  unpackSegmentList,
  unpackSegmentPage,
} from '../../../../shared/log/segment/segment-list.ts';
import {
  CHECKPOINT,
  checkpointKey,
  dueKey,
  parseDueSortKey,
  SEGMENT_LIST,
  SEGMENT_PAGE,
  segmentObjectKey,
  segmentPageKey,
  useKey,
} from '../../../../shared/storage/keys.ts';
import type { Attributes } from '../../../../shared/storage/ports.ts';
import type { CompactionWatch } from './compaction-watch.ts';
import { type HeadFacts, itemName, type StoredFacts } from './stored-facts.ts';

type Broken = (promise: string, message: string) => void;

/** Partitions of a head of the topics of a run: all topics have as many partitions to a head. */
const PARTITIONS_PER_HEAD = 16;

/**
 * What must hold for a segment list whenever it is written (`docs/design/0007-segments-and-jobs.md`): it follows from the
 * version before; what it newly names has been written; its segments have all offsets that were merged and are not below
 * the log start; what nodes are needed for besides their records was stored before they count as merged; garbage leaves the
 * list once it is gone; and the due items that it names are there.
 */
export function checkList(
  facts: StoredFacts,
  head: HeadFacts,
  attributes: Attributes,
  nowMs: number,
  broken: Broken,
  mark: (name: string) => void,
  compaction: CompactionWatch,
): void {
  const before = head.list ?? EMPTY_SEGMENT_LIST;
  const packed = attributes[SEGMENT_LIST.list];
  const list = unpackSegmentList(packed as Uint8Array);
  head.list = list;
  const about = `The segment list of head ${head.topicId}#${head.headNumber}`;
  if (list.version !== before.version + 1)
    broken('R17', `${about} went from version ${before.version} to ${list.version}.`);
  if (list.mergedEntry < before.mergedEntry || list.cleanedEntry < before.cleanedEntry)
    broken('R17', `${about} went back from ${before.mergedEntry}, ${before.cleanedEntry} to older entries.`);
  for (const state of statesOf(before, list)) mark(state);
  if (list.mergedEntry > before.mergedEntry) checkMerged(facts, head, before, list, nowMs, broken);
  const namedBefore = head.named;
  const named = namesOf(facts, head, list);
  head.named = named;
  for (const [name, bytes] of named) {
    if (namedBefore.has(name)) continue;
    if (head.unlisted.has(name)) broken('R17', `${about} names ${name} again, which it had given up.`);
    const stored = facts.data.get(name);
    const isThere = bytes === undefined ? facts.items.has(name) : stored?.isThere === true && stored.bytes === bytes;
    if (!isThere) broken('R16', `${about} names ${name}, which was not written.`);
  }
  for (const name of namedBefore.keys()) if (!named.has(name)) head.unlisted.set(name, nowMs);
  compaction.wroteList(head, before, list, nowMs);
  list.slots.forEach((slot, number) => {
    const isGone = (offset: number): boolean => compaction.isGone(head, number, offset);
    checkOffsets(facts, head, list, slot, number, isGone, (message) => broken('R1', `${about} ${message}`));
  });
  checkAnnounced(facts, head, before, list, (message) => broken('R16', `${about} ${message}`));
  // The due items of a deleted topic are dropped, and a job that stood still may write its list after that.
  for (const job of facts.deleting.has(head.topicId) ? [] : JOB_NAMES) {
    const due = list.due[job];
    if (due !== undefined && !facts.has(dueKey(job, { ...head, dueAtMs: due.atMs, version: due.version })))
      broken('R16', `${about} names a due item of the job ${job} that is not there.`);
  }
  if (head.entries.length > 0 && head.closedAtMs === undefined && !isMergeDue(facts, head))
    broken('R16', `${about} does not say when the head is merged next.`);
}

/** What has become of a list that few runs come to. */
function* statesOf(before: SegmentList, list: SegmentList): Generator<string> {
  const isAny = (has: (slot: SlotSegments, was: SlotSegments | undefined) => boolean): boolean =>
    list.slots.some((slot, i) => has(slot, before.slots[i]));
  if (isAny((slot, was) => slot.compactedOffset > (was?.compactedOffset ?? 0))) yield 'compacted';
  if (isAny(({ pages }, was) => pages.length > (was?.pages.length ?? 0))) yield 'segments moved to a page';
  if (isAny(({ pages }, was) => pages.some(({ version }) => isNewIn(was, version)) && pages.length <= pagesIn(was)))
    yield 'page replaced';
  if (isAny((slot, was) => slot.droppedOffset > (was?.droppedOffset ?? 0))) {
    yield 'segments dropped';
    if (list.announcements.some(({ job }) => job === 'compact')) yield 'segments dropped beside a compaction';
  }
  if (list.droppedEntry > before.droppedEntry) yield 'data of unmerged entries dropped';
  if (list.announcements.length > Math.max(1, before.announcements.length)) yield 'two jobs of a head at once';
  const garbage = new Set(list.garbage.map(nameText));
  const ended = before.announcements.filter(({ id }) => !list.announcements.some((one) => one.id === id));
  if (ended.some(({ names }) => names.length > 0 && names.every((name) => garbage.has(nameText(name)))))
    yield 'announcement given up';
}

function pagesIn(slot: SlotSegments | undefined): number {
  return slot?.pages.length ?? 0;
}

function isNewIn(slot: SlotSegments | undefined, version: number): boolean {
  return slot?.pages.every((page) => page.version !== version) ?? true;
}

/** Whether a due item that counts says when the head is merged, other than the one with this sort key. */
export function isMergeDue(facts: StoredFacts, { topicId, headNumber, list }: HeadFacts, except = ''): boolean {
  if (list?.due.merge !== undefined) return true;
  for (const { key } of facts.items.values()) {
    if (!key.pk.startsWith('due#merge#') || key.sk === except) continue;
    const due = parseDueSortKey(key.sk);
    if (due?.topicId === topicId && due.headNumber === headNumber && due.version === 0) return true;
  }
  return false;
}

function checkMerged(
  facts: StoredFacts,
  head: HeadFacts,
  before: SegmentList,
  list: SegmentList,
  nowMs: number,
  broken: Broken,
): void {
  const { mergedEntry } = list;
  head.merged.push({ toEntry: mergedEntry, atMs: nowMs });
  if (mergedEntry > head.firstEntry)
    broken('R1', `Entries up to ${mergedEntry} were merged, and the tail begins at ${head.firstEntry}.`);
  const checkpoint = facts.items.get(itemName(checkpointKey(head.topicId, head.headNumber)))?.attributes;
  if (Number(checkpoint?.[CHECKPOINT.belowEntry] ?? 0) < mergedEntry)
    broken('R5', `Entries up to ${mergedEntry} were merged before the states of their producers were stored.`);
  const totals = addTotals(
    [],
    head.entries.slice(0, mergedEntry).map(({ entry }) => entry),
  );
  totals.forEach((total, slot) => {
    if ((total?.nextOffset ?? 0) !== (list.totals[slot]?.nextOffset ?? 0))
      broken(
        'R3',
        `Slot ${slot} is merged up to ${list.totals[slot]?.nextOffset}, its entries end at ${total?.nextOffset}.`,
      );
  });
  for (const taken of head.entries.slice(0, mergedEntry)) taken.releasedAtMs ??= nowMs;
  for (const { once } of head.entries.slice(before.mergedEntry, mergedEntry)) {
    for (const key of once) {
      const use = useOfOnceKey(key);
      if (use !== undefined && !facts.has(useKey(head.topicId, head.headNumber, toHex(use))))
        broken('R5', 'An entry was merged before the use of its idempotency key was stored.');
    }
  }
}

function namesOf(facts: StoredFacts, head: HeadFacts, list: SegmentList): Map<string, number | undefined> {
  const names = new Map<string, number | undefined>();
  list.slots.forEach((slot, number) => {
    for (const page of slot.pages) names.set(storedName(head, { what: 'page', slot: number, ...page }), undefined);
    for (const segment of segmentsOf(facts, head, slot, number))
      names.set(storedName(head, { what: 'segment', slot: number, ...segment }), segment.bytes + segment.indexBytes);
  });
  return names;
}

/** All segments of a slot, also those in pages, without those that are gone. */
export function segmentsOf(facts: StoredFacts, head: HeadFacts, slot: SlotSegments, number: number): Segment[] {
  const paged = slot.pages.flatMap((page) => {
    const key = segmentPageKey(head.topicId, head.headNumber, { slot: number, ...page });
    const packed = facts.items.get(itemName(key))?.attributes[SEGMENT_PAGE.segments];
    return packed instanceof Uint8Array ? unpackedPage(packed) : [];
  });
  return [...paged, ...slot.segments].filter(({ endOffset }) => endOffset > slot.droppedOffset);
}

/** Pages never change, and are looked at with each list. */
const unpackedPages = new WeakMap<Uint8Array, readonly Segment[]>();

function unpackedPage(packed: Uint8Array): readonly Segment[] {
  const known = unpackedPages.get(packed) ?? unpackSegmentPage(packed);
  unpackedPages.set(packed, known);
  return known;
}

/** Where a segment or page is stored. */
export function storedName(
  { topicId, headNumber }: HeadFacts,
  { what, slot, startOffset, version }: AnnouncedName,
): string {
  return what === 'page'
    ? itemName(segmentPageKey(topicId, headNumber, { slot, startOffset, version }))
    : segmentObjectKey(topicId, headNumber * PARTITIONS_PER_HEAD + slot, startOffset, version);
}

/** Every offset that was merged, is not below the log start and was not compacted away is in one segment. */
function checkOffsets(
  facts: StoredFacts,
  head: HeadFacts,
  list: SegmentList,
  slot: SlotSegments,
  number: number,
  isGone: (offset: number) => boolean,
  broken: (message: string) => void,
): void {
  const isGap = (from: number, to: number): boolean => {
    for (let offset = from; offset < to; offset++) if (!isGone(offset)) return true;
    return false;
  };
  const start = head.start[number] ?? 0;
  if (slot.droppedOffset > start)
    broken(`dropped offsets of slot ${number} below ${slot.droppedOffset}, and it starts at ${start}.`);
  let end = 0;
  for (const { startOffset, endOffset } of segmentsOf(facts, head, slot, number)) {
    if (isGap(Math.max(end, start), startOffset))
      broken(`has no segment of the offsets ${end} to ${startOffset} of slot ${number}.`);
    if (startOffset < end) broken(`has the offset ${startOffset} of slot ${number} in two segments.`);
    end = endOffset;
  }
  const merged = list.totals[number]?.nextOffset ?? 0;
  if (isGap(Math.max(end, start), merged))
    broken(`has no segment of the offsets ${end} to ${merged} of slot ${number}.`);
}

/** What was announced is in the list afterwards or is garbage, and garbage is gone before it leaves the list. */
function checkAnnounced(
  facts: StoredFacts,
  head: HeadFacts,
  before: SegmentList,
  list: SegmentList,
  broken: (message: string) => void,
): void {
  const still = new Set([...list.announcements.flatMap(({ names }) => names), ...list.garbage].map(nameText));
  for (const name of [...before.announcements.flatMap(({ names }) => names), ...before.garbage]) {
    if (still.has(nameText(name))) continue;
    const stored = storedName(head, name);
    if (head.named.has(stored) || facts.writtenInVain.has(stored)) continue;
    if (facts.hasData(stored) || facts.items.has(stored)) broken(`forgets ${stored}, which is still there.`);
  }
}
