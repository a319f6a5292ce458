import {
  type Head,
  type PlacedPart,
  partitionBytes,
  partitionState,
  placeNode,
  placeTail,
} from '../../../log/head/head.ts';
import { lastStableOffsetOf, type OpenTransactions } from '../../../log/head/open-transactions.ts';
import {
  type ExpiringSegment,
  expiredBelow,
  expiresAtMs,
  partExpiresAtMs,
  type Retention,
} from '../../../log/segment/expire.ts';
import type { SegmentList, SegmentPage } from '../../../log/segment/segment-list.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import { type Ask, type HeadName, nodesBetween } from '../../heads/items.ts';
import { HELD_UP_MS } from '../grace.ts';
import type { PagesRead } from './pages-read.ts';

/** So many pages of a slot are looked through at once; the others in the next run, which follows at once. */
const PAGES_PER_RUN = 16;
/** A partition without records is looked at again after its retention time, but within these limits: its appends schedule nothing. */
const EMPTY_LOOK_MS_MIN = 3_600_000;
const EMPTY_LOOK_MS_MAX = 24 * 3_600_000;

export interface ExpirySearch {
  readonly items: ItemStore;
  readonly name: HeadName;
  readonly list: SegmentList;
  /** Read after the list. */
  readonly head: Head;
  readonly slots: number;
  /** The open transactions as of the head. */
  readonly open: OpenTransactions;
  readonly retention: Retention;
  readonly pages: PagesRead;
  readonly ask: Ask;
}

export interface Expired {
  /** Slot -> the offset that its log start offset is to be raised to. */
  readonly starts: ReadonlyMap<number, number>;
  /** All unmerged entries below this number are below the log start. */
  readonly goneBelow: number;
  /** When something expires next; infinite if nothing does. */
  readonly nextAtMs: number;
}

/**
 * Finds what has expired in a head. Nothing does from the first offset of an open transaction on; segments end before that. Costs 1 GetItem for each page with something expired and the page after it, and 1 Query
 * for 64 unmerged nodes up to the first part that is kept, for the partitions whose segments have all expired.
 */
export async function findExpired(search: ExpirySearch): Promise<Expired> {
  const { head, slots, retention } = search;
  const { retentionMs, nowMs } = retention;
  const starts = new Map<number, number>();
  /** The slots whose oldest record may be unmerged and expired. */
  const open = new Set<number>();
  let nextAtMs = Number.POSITIVE_INFINITY;
  const lookAt = (timeMs: number | undefined): void => {
    nextAtMs = Math.min(nextAtMs, timeMs ?? nextAtMs);
  };
  for (let slot = 0; slot < slots; slot++) {
    const { startOffset, isLeft, lookAtMs } = await searchSegments(search, slot);
    if (startOffset > partitionState(head, slot).logStartOffset) starts.set(slot, startOffset);
    lookAt(lookAtMs);
    if (isLeft || retentionMs < 0) continue;
    if (startOffset < partitionState(head, slot).nextOffset) open.add(slot);
    else lookAt(emptyLookAtMs(retention));
  }
  const startOf = (slot: number): number => starts.get(slot) ?? partitionState(head, slot).logStartOffset;
  const isGone = ({ part, baseOffset }: PlacedPart): boolean => baseOffset + part.records <= startOf(part.slot);
  const expire = (placed: PlacedPart): void => {
    const { slot, records } = placed.part;
    if (!open.has(slot) || isGone(placed)) return;
    const expiresMs = partExpiresAtMs(placed, retentionMs);
    if (expiresMs > nowMs) {
      lookAt(expiresMs);
      open.delete(slot);
      return;
    }
    const endOffset = placed.baseOffset + records;
    if (endOffset > lastStableOffsetOf(search.open, slot, endOffset)) {
      lookAt(nowMs + HELD_UP_MS);
      open.delete(slot);
      return;
    }
    starts.set(slot, endOffset);
    if (startOf(slot) < partitionState(head, slot).nextOffset) return;
    lookAt(emptyLookAtMs(retention));
    open.delete(slot);
  };
  const { mergedEntry, totals, dropBelow } = search.list;
  let goneBelow = Math.max(mergedEntry, dropBelow);
  const isUnmergedGone = head.partitions.some((_, slot) => startOf(slot) > (totals[slot]?.nextOffset ?? 0));
  if (open.size === 0 && !isUnmergedGone) return { starts, goneBelow, nextAtMs };
  for await (const { entryNumber, parts } of entriesFrom(search, goneBelow)) {
    parts.forEach(expire);
    if (entryNumber === goneBelow && parts.every(isGone)) goneBelow++;
    else if (open.size === 0) break;
  }
  return { starts, goneBelow, nextAtMs };
}

/** What of a slot's segments has expired, whether one is left, and when to look again because of them. */
async function searchSegments(
  { list, head, retention, pages: read }: ExpirySearch,
  slot: number,
): Promise<{ readonly startOffset: number; readonly isLeft: boolean; readonly lookAtMs?: number | undefined }> {
  const { logStartOffset } = partitionState(head, slot);
  const isKept = ({ endOffset }: { readonly endOffset: number }): boolean => endOffset > logStartOffset;
  const pages = (list.slots[slot]?.pages ?? []).filter(isKept);
  const segments = (list.slots[slot]?.segments ?? []).filter(isKept);
  const { retentionMs, retentionBytes, nowMs } = retention;
  const unmergedBytes = partitionBytes(head, slot) - (list.totals[slot]?.bytes ?? 0);
  const bytes = [...pages, ...segments].reduce((sum, part) => sum + part.bytes, unmergedBytes);
  if (retentionMs < 0 && (retentionBytes < 0 || bytes < retentionBytes))
    return { startOffset: logStartOffset, isLeft: pages.length + segments.length > 0 };
  const known: ExpiringSegment[] = [];
  for (let pagesRead = 0; ; pagesRead++) {
    const all = [...known, ...pages.slice(pagesRead).map((page) => asOne(page, nowMs)), ...segments];
    const below = expiredBelow(all, { ...retention, unmergedBytes }) ?? logStartOffset;
    const kept = all.filter(({ endOffset }) => endOffset > below);
    // Only the segments within a page tell which of them have expired, and when the one before it was written.
    const page = known.length < all.length - kept.length + 2 ? pages[pagesRead] : undefined;
    if (page === undefined)
      return { startOffset: below, isLeft: kept.length > 0, lookAtMs: expiresAtMs(kept, retentionMs) };
    if (pagesRead === PAGES_PER_RUN) {
      const startOffset = Math.min(below, known.at(-1)?.endOffset ?? logStartOffset);
      return { startOffset, isLeft: true, lookAtMs: nowMs };
    }
    known.push(...(await read.read(slot, page)).filter(isKept));
  }
}

/** A page that was not read, in the place of its segments. */
function asOne({ endOffset, bytes, maxTimestampMs }: SegmentPage, nowMs: number): ExpiringSegment {
  return { endOffset, bytes, maxTimestampMs, writtenAtMs: nowMs };
}

function emptyLookAtMs({ retentionMs, nowMs }: Retention): number {
  return nowMs + Math.min(EMPTY_LOOK_MS_MAX, Math.max(EMPTY_LOOK_MS_MIN, retentionMs + 1));
}

/** The entries from one on with their parts, in nodes and tail. */
async function* entriesFrom(
  { items, name, head, ask }: ExpirySearch,
  from: number,
): AsyncGenerator<{ readonly entryNumber: number; readonly parts: readonly PlacedPart[] }> {
  const split = function* (placed: readonly PlacedPart[], firstEntry: number, entries: number) {
    for (let entryNumber = Math.max(from, firstEntry); entryNumber < firstEntry + entries; entryNumber++)
      yield { entryNumber, parts: placed.filter((part) => part.entryNumber === entryNumber) };
  };
  for await (const node of nodesBetween(items, name, from, head.firstEntry, ask))
    yield* split(placeNode(node), node.firstEntry, node.entries.length);
  yield* split(placeTail(head), head.firstEntry, head.tail.length);
}
