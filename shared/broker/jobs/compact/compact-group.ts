import { readBatchHeader } from '../../../log/batch/record-batch.ts';
import type { StoredBatch } from '../../../log/batch/stored-batch.ts';
import { EventLogError, invariant } from '../../../log/errors.ts';
import { AbortedBatches, type AbortedRange, abortedWithin, joinAborted } from '../../../log/segment/aborted.ts';
import type { CompactedBatch, CompactOptions } from '../../../log/segment/compact/compact-batch.ts';
import type { CompactedTransactions } from '../../../log/segment/compact/compact-transactions.ts';
import {
  announce,
  dropDeadAnnouncements,
  giveUp,
  hasRun,
  type PageContent,
  replaceRun,
  replaceSegments,
  scheduleBy,
} from '../../../log/segment/list-changes.ts';
import type { Segment } from '../../../log/segment/segment.ts';
import { type BuiltSegment, SegmentBuilder } from '../../../log/segment/segment-builder.ts';
import { type SegmentIndex, unpackIndex } from '../../../log/segment/segment-index.ts';
import type { Announcement, SegmentList } from '../../../log/segment/segment-list.ts';
import { addHashes, batchHash } from '../../../log/segment/set-hash.ts';
import type { Topic } from '../../../log/topic/topic.ts';
import { segmentObjectKey } from '../../../storage/keys.ts';
import type { Stores } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import type { HeadName } from '../../heads/items.ts';
import { readSegmentList, updateSegmentList } from '../../heads/segment-list-store.ts';
import { retrying } from '../../retry.ts';
import { CHUNK_BYTES_DEFAULT, corrupt, readBatches, readSegmentIndex } from '../../segments/read-batches.ts';
import { checkIndexOf, type SegmentPlace } from '../../segments/segment-blocks.ts';
import type { SlotPart, SlotParts } from '../../segments/slot-parts.ts';
import { ANNOUNCED_MS, GRACE_MS } from '../grace.ts';
import type { SettingsWatch } from '../settings-watch.ts';

/** The compaction of one slot of a head. */
export interface SlotJob {
  readonly context: BrokerContext;
  readonly stores: Stores;
  readonly topic: Topic;
  readonly name: HeadName;
  readonly slot: number;
  readonly partition: number;
  readonly parts: SlotParts;
  readonly tally: Tally;
  readonly signal: AbortSignal | undefined;
  /** Of the settings by which records are dropped. */
  readonly settings: SettingsWatch;
}

/** What was compacted may not be dropped any more: the topic has other settings, or is gone. */
export class SettingsChangedError extends Error {}

/** What a run has read and written. */
export interface Tally {
  segmentsRead: number;
  bytesRead: number;
  segmentsWritten: number;
  bytesWritten: number;
  recordsKept: number;
  recordsDropped: number;
}

/** Segments that are rewritten together, all of one part of the slot. */
export interface Group {
  readonly part: SlotPart;
  readonly sources: readonly Segment[];
}

export type GroupOutcome =
  /** All records of the group are compacted, in the list from now on. */
  | {
      readonly type: 'unchanged' | 'replaced';
      /** When the first of its tombstones may go; absent if it has none whose time is set. */
      readonly deleteHorizonMs?: number | undefined;
      /** The transactions after the group. */
      readonly transactions: CompactedTransactions;
    }
  /** Another job has changed the group. */
  | { readonly type: 'too_late' };

/** How a pass compacts: `transactions` as of the group's first batch. */
export interface PassRules extends CompactOptions {
  readonly transactions: CompactedTransactions;
}

interface Piece {
  readonly startOffset: number;
  readonly endOffset: number;
}

/** What compaction makes of some batches. */
interface Counts {
  kept: number;
  dropped: number;
  isChanged: boolean;
  deleteHorizonMs: number | undefined;
}

/**
 * Compacts a group of segments. If nothing changes, the segments stay as they are. Otherwise what remains is written to one
 * segment, or to several if the group is a single segment of more than `compactionOutputBytes`, and takes the place of the
 * group in the list. The segments are built one at a time, and all their names are announced before the first is written.
 *
 * A stopped or failed call leaves the group in the list as it was. What it wrote becomes garbage at once if it can still say
 * so, and otherwise when its announcement has run out.
 *
 * Costs the reading of the segments (`readBatches`). If anything changes: 2 GetItem and 2 PutItem for the list, 1 GetItem
 * for the topic at most once a minute, 1 PutObject for each new segment, and 1 PutItem if the group is in a page. A segment
 * that becomes several costs 1 GetObject more for its index, and is read twice up to the first batch that changes.
 * @throws SettingsChangedError if the group was to be replaced, and the topic has other settings by now or is gone
 * @throws EventLogError `corrupt_data` with the key of what is damaged as `storedAs`; `storage_unavailable`. Throws the
 * reason of the job's signal once that is aborted, unless all is read already.
 */
export async function compactGroup(job: SlotJob, group: Group, passed: PassRules): Promise<GroupOutcome> {
  const { pieces, index } = await planPieces(job, group.sources);
  const isSingle = pieces.length === 1;
  if (!isSingle) {
    const rules = { ...passed, transactions: passed.transactions.copy() };
    const probe = await probeChange(job, group.sources, rules, index);
    if (!probe.isChanged) return ended(job, 'unchanged', probe, rules);
  }
  const rules = { ...passed, transactions: passed.transactions.copy() };
  const total = noCounts();
  const by: Segment[] = [];
  let announcement: Announcement | undefined;
  try {
    for await (const { piece, built, counts } of buildPieces(job, group.sources, pieces, rules, index)) {
      addCounts(total, counts);
      if (isSingle && !counts.isChanged) return ended(job, 'unchanged', total, rules);
      const isEmpty = isSingle && built === undefined;
      announcement ??= await announceGroup(job, group, isEmpty ? [] : pieces);
      if (announcement === undefined) return { type: 'too_late' };
      if (built !== undefined) by.push(await writePiece(job, group, piece, built, announcement.id));
    }
    return await commitGroup(job, group, by, announcement as Announcement, total, rules);
  } catch (error) {
    // If this fails too, then the announcement runs out, and whoever finds it does the same.
    if (announcement !== undefined) await giveUpNames(job, announcement).catch(() => {});
    throw error;
  }
}

async function commitGroup(
  job: SlotJob,
  group: Group,
  by: readonly Segment[],
  announcement: Announcement,
  total: Counts,
  rules: PassRules,
): Promise<GroupOutcome> {
  const { context, stores, name, slot } = job;
  const { sources } = group;
  const page = contentOf(group);
  if (page !== undefined) {
    const content = replaceRun(page.segments, sources, by);
    invariant(content !== undefined, 'a group is a run of its part');
    const [first] = content;
    if (first !== undefined)
      await job.parts.write({ startOffset: first.startOffset, version: announcement.id }, content);
  }
  const replacement = { id: announcement.id, slot, sources, by, page, graceMs: GRACE_MS };
  for (;;) {
    if (!(await job.settings.hold())) throw new SettingsChangedError();
    const { result } = await updateSegmentList(context, stores.items, name, (list) => {
      if (!job.settings.isFresh) return { list: undefined, result: 'stood_still' };
      const nowMs = context.clock.nowMs();
      const replaced = replaceSegments(list, { ...replacement, nowMs });
      if (replaced === undefined) return { list: undefined, result: 'too_late' };
      return { list: scheduleBy(replaced, 'sweep', nowMs + GRACE_MS), result: 'replaced' };
    });
    if (result === 'replaced') return ended(job, 'replaced', total, rules);
    if (result === 'too_late') break;
  }
  await giveUpNames(job, announcement);
  return { type: 'too_late' };
}

function contentOf({ part: { page, segments } }: Group): PageContent | undefined {
  return page && { page, segments };
}

function ended(
  { tally }: SlotJob,
  type: 'unchanged' | 'replaced',
  counts: Counts,
  { transactions }: PassRules,
): GroupOutcome {
  tally.recordsKept += counts.kept;
  tally.recordsDropped += counts.dropped;
  return { type, deleteHorizonMs: counts.deleteHorizonMs, transactions };
}

/** The offsets of the segments to be made: those of a large segment are divided where its index has blocks. */
async function planPieces(
  job: SlotJob,
  sources: readonly Segment[],
): Promise<{ readonly pieces: readonly Piece[]; readonly index?: SegmentIndex }> {
  const first = sources[0] as Segment;
  const covers = { startOffset: first.startOffset, endOffset: (sources.at(-1) as Segment).endOffset };
  const bytesMax = job.context.settings.compactionOutputBytes;
  if (sources.length > 1 || first.bytes <= bytesMax) return { pieces: [covers] };
  const index = await readSegmentIndex(job.context, job.stores.objects, placeOf(job, first));
  const pieces: Piece[] = [];
  let { startOffset } = covers;
  let from = 0;
  for (const [i, { offset, position }] of index.entries.entries()) {
    const end = index.entries[i + 1]?.position ?? index.bytes;
    if (position === from || end - from <= bytesMax) continue;
    pieces.push({ startOffset, endOffset: offset });
    startOffset = offset;
    from = position;
  }
  return { pieces: [...pieces, { startOffset, endOffset: covers.endOffset }], index };
}

/** Whether compaction changes a large segment; the counts are those of the whole segment if it does not. */
async function probeChange(
  job: SlotJob,
  sources: readonly Segment[],
  rules: PassRules,
  index: SegmentIndex | undefined,
): Promise<Counts> {
  const counts = noCounts();
  const lists = await abortedOf(job, sources, index);
  counts.isChanged = isListShorter(lists, rules);
  if (counts.isChanged) return counts;
  for await (const { batch, result } of compactedBatches(job, sources, lists, rules, index)) {
    count(counts, batch, result, rules);
    if (counts.isChanged) break;
  }
  return counts;
}

interface BuiltPiece {
  readonly piece: Piece;
  /** Absent if no record is left. */
  readonly built: BuiltSegment | undefined;
  readonly counts: Counts;
}

/** Yields the segments of the pieces one by one. The last comes after all sources were checked against their set hashes. */
async function* buildPieces(
  job: SlotJob,
  sources: readonly Segment[],
  pieces: readonly Piece[],
  rules: PassRules,
  index: SegmentIndex | undefined,
): AsyncGenerator<BuiltPiece> {
  const lists = await abortedOf(job, sources, index);
  const listed = stillListed(joinAborted(lists), rules);
  let builder = new SegmentBuilder();
  let counts = { ...noCounts(), isChanged: isListShorter(lists, rules) };
  let at = 0;
  const next = (): BuiltPiece => {
    const piece = pieces[at++] as Piece;
    const made = { piece, built: builder.bytes === 0 ? undefined : builder.finish(piece, listed), counts };
    if (made.built !== undefined) checkCompacted(made.built, counts.kept);
    builder = new SegmentBuilder();
    counts = noCounts();
    return made;
  };
  for await (const { batch, result } of compactedBatches(job, sources, lists, rules, index)) {
    while (batch.baseOffset >= (pieces[at] as Piece).endOffset) yield next();
    count(counts, batch, result, rules);
    if (result.bytes === undefined) continue;
    // A copy: a view would keep the whole chunk in memory for a few batches of it.
    if (result.bytes === batch.bytes) builder.add(batch.bytes.slice(), batch.header, batch.baseOffset);
    else builder.add(result.bytes, readBatchHeader(result.bytes), batch.baseOffset);
  }
  while (at < pieces.length) yield next();
}

async function* compactedBatches(
  job: SlotJob,
  sources: readonly Segment[],
  lists: readonly (readonly AbortedRange[])[],
  rules: PassRules,
  index: SegmentIndex | undefined,
): AsyncGenerator<{ readonly batch: StoredBatch; readonly result: CompactedBatch }> {
  for (const [i, segment] of sources.entries()) {
    const place = placeOf(job, segment);
    const aborted = new AbortedBatches(lists[i] ?? []);
    for await (const batch of countedBatches(job, place, index))
      yield { batch, result: compactOne(batch, aborted, rules, place) };
  }
}

/** The aborted transactions of each of the segments. 1 GetObject for each that has some, unless its index is given. */
async function abortedOf(
  job: SlotJob,
  sources: readonly Segment[],
  index: SegmentIndex | undefined,
): Promise<readonly (readonly AbortedRange[])[]> {
  const lists: (readonly AbortedRange[])[] = [];
  for (const segment of sources) lists.push(await listedAborted(job, segment, index));
  return lists;
}

/** The aborted transactions that a segment lists. */
export async function listedAborted(
  job: SlotJob,
  segment: Segment,
  index?: SegmentIndex,
): Promise<readonly AbortedRange[]> {
  if (segment.aborted === 0) return [];
  const place = placeOf(job, segment);
  const known = index ?? (await readSegmentIndex(job.context, job.stores.objects, place));
  checkIndexOf(place, known);
  return known.aborted;
}

/** Below `belowOffset` no batch of an aborted transaction is left, so only what is above needs to be listed. */
function stillListed(aborted: readonly AbortedRange[], { belowOffset }: CompactOptions): readonly AbortedRange[] {
  return abortedWithin(aborted, { startOffset: belowOffset, endOffset: Number.POSITIVE_INFINITY });
}

/**
 * Whether a segment lists a transaction that it need not list any more. It must then be rewritten even if all of its batches
 * stay: the transaction's marker may go, and a reader that sees the list and not the marker would leave out what the producer
 * wrote later.
 */
function isListShorter(lists: readonly (readonly AbortedRange[])[], rules: CompactOptions): boolean {
  return lists.some((list) => stillListed(list, rules).length < list.length);
}

/** The batches of a segment, counted as read. */
export async function* countedBatches(
  { context, stores, tally, signal }: SlotJob,
  place: SegmentPlace,
  index?: SegmentIndex,
): AsyncGenerator<StoredBatch> {
  tally.segmentsRead++;
  // Few chunks in memory, beside what is built.
  const chunkBytes = Math.min(CHUNK_BYTES_DEFAULT, Math.ceil(context.settings.compactionOutputBytes / 8));
  for await (const batch of readBatches(context, stores.objects, place, { index, chunkBytes, signal })) {
    tally.bytesRead += batch.bytes.length;
    yield batch;
  }
}

export function placeOf({ topic, partition }: SlotJob, segment: Segment): SegmentPlace {
  return { topicId: topic.topicId, partition, segment };
}

function compactOne(
  batch: StoredBatch,
  aborted: AbortedBatches,
  rules: PassRules,
  place: SegmentPlace,
): CompactedBatch {
  const { baseOffset } = batch;
  try {
    return rules.transactions.compact(batch, aborted, rules);
  } catch (cause) {
    if (!(cause instanceof EventLogError) || cause.code !== 'invalid_batch') throw cause;
    throw corrupt(place, `has records that cannot be read, at offset ${baseOffset}: ${cause.message}`, cause);
  }
}

function noCounts(): Counts {
  return { kept: 0, dropped: 0, isChanged: false, deleteHorizonMs: undefined };
}

function count(counts: Counts, batch: StoredBatch, result: CompactedBatch, rules: CompactOptions): void {
  addCounts(counts, {
    kept: result.kept,
    dropped: result.dropped,
    isChanged: result.bytes !== batch.bytes,
    // Tombstones from `belowOffset` on belong to the next pass: this one could not drop them when they are due.
    deleteHorizonMs: batch.endOffset <= rules.belowOffset ? result.deleteHorizonMs : undefined,
  });
}

function addCounts(counts: Counts, more: Counts): void {
  counts.kept += more.kept;
  counts.dropped += more.dropped;
  counts.isChanged ||= more.isChanged;
  counts.deleteHorizonMs = earlier(counts.deleteHorizonMs, more.deleteHorizonMs);
}

/** The earlier of two times, of which either may be absent. */
export function earlier(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return Math.min(a, b);
}

/** Reads what was built again, as a reader would, before it takes the place of anything. Throws an invariant's error. */
export function checkCompacted({ chunks, facts }: BuiltSegment, kept: number): void {
  let records = 0;
  let setHash = 0n;
  for (const chunk of chunks.slice(0, -1)) {
    const header = readBatchHeader(chunk);
    records += header.recordCount;
    setHash = addHashes(setHash, batchHash(header, header.baseOffset));
  }
  const { bytes } = unpackIndex(chunks.at(-1) as Uint8Array);
  invariant(
    records === kept && setHash === facts.setHash && bytes === facts.bytes,
    () => `a compacted segment has ${records} records in ${bytes} bytes; expected ${kept} in ${facts.bytes}`,
  );
}

/** `undefined` if another job has changed the group, or if the topic was deleted with its list. */
async function announceGroup(job: SlotJob, group: Group, pieces: readonly Piece[]): Promise<Announcement | undefined> {
  const { context, stores, name, slot } = job;
  const names = [
    ...pieces.map(({ startOffset }) => ({ what: 'segment' as const, slot, startOffset })),
    ...pageStarts(group, pieces).map((startOffset) => ({ what: 'page' as const, slot, startOffset })),
  ];
  const { result } = await updateSegmentList(context, stores.items, name, (list) => {
    if (!hasRun(list, { slot, sources: group.sources, page: contentOf(group) }))
      return { list: undefined, result: undefined };
    const nowMs = context.clock.nowMs();
    const alive = dropDeadAnnouncements(list, nowMs, GRACE_MS) ?? list;
    const announced = announce(alive, 'compact', names, nowMs + ANNOUNCED_MS);
    return { list: announced?.list, result: announced?.announcement };
  });
  return result;
}

/** The offsets at which the page that replaces the group's page can begin: pieces of which nothing is left are left out. */
function pageStarts({ part, sources }: Group, pieces: readonly Piece[]): readonly number[] {
  if (part.page === undefined) return [];
  const [first] = part.segments;
  if (first?.startOffset !== sources[0]?.startOffset) return [part.page.startOffset];
  const next = part.segments[sources.length];
  // A single piece that is announced is also written.
  return [...pieces, ...(next === undefined || pieces.length === 1 ? [] : [next])].map(
    ({ startOffset }) => startOffset,
  );
}

async function writePiece(
  job: SlotJob,
  { sources }: Group,
  piece: Piece,
  { chunks, facts }: BuiltSegment,
  version: number,
): Promise<Segment> {
  const { context, stores, topic, partition, tally } = job;
  const key = segmentObjectKey(topic.topicId, partition, piece.startOffset, version);
  // Nobody else writes under this name, so an object that exists comes from an attempt whose reply was lost.
  await retrying(context, 'not_applied', () => stores.objects.put(key, chunks));
  tally.segmentsWritten++;
  tally.bytesWritten += facts.bytes + facts.indexBytes;
  return { ...facts, version, writtenAtMs: Math.min(...sources.map(({ writtenAtMs }) => writtenAtMs)) };
}

/** Tells the list that what was announced is not going to be used. Reads the pages that may use it after all. */
async function giveUpNames(job: SlotJob, announcement: Announcement): Promise<void> {
  const { context, stores, name, slot, parts } = job;
  const isKnown = ({ slots }: SegmentList): boolean =>
    (slots[slot]?.pages ?? []).every((page) => parts.known(page) !== undefined);
  for (;;) {
    const { list, result: isDone } = await updateSegmentList(context, stores.items, name, (now) => {
      if (!isKnown(now)) return { list: undefined, result: false };
      const given = giveUp(now, announcement, context.clock.nowMs(), GRACE_MS, (page) => parts.known(page));
      return { list: given, result: true };
    });
    if (isDone) return;
    await parts.of(list);
  }
}

/** Reads the list as it is now. Costs 1 GetItem. */
export function currentList({ context, stores, name }: SlotJob): Promise<SegmentList> {
  return retrying(context, 'not_applied', () => readSegmentList(stores.items, name));
}
