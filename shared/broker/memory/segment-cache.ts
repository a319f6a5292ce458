import { LRUCache } from 'lru-cache';
import type { Segment } from '../../log/segment/segment.ts';
import type { SegmentIndex } from '../../log/segment/segment-index.ts';
import type { SegmentList } from '../../log/segment/segment-list.ts';

/**
 * A reader goes on with the segment list that it knows for this long. Whatever a list names stays for half an hour after it
 * was replaced (docs/design/0007), so an older list would do as well; a newer one saves reads of nodes.
 */
const LIST_MS_MAX = 60_000;
/** The approximate memory of one segment, page or name in a list, and of one block or aborted transaction in an index. */
const ENTRY_BYTES = 120;
/** So many places are remembered where reads ended. */
const ENDS_MAX = 4_096;

interface KnownList {
  readonly list: SegmentList;
  /** When the request was sent that found it. */
  readonly readAtMs: number;
}

/** What a process remembers of where segments are: lists, pages and indexes, and where its reads ended. */
export class SegmentCache {
  readonly #lists: LRUCache<string, KnownList>;
  /** Pages and indexes never change. */
  readonly #pages: LRUCache<string, readonly Segment[]>;
  readonly #indexes: LRUCache<string, SegmentIndex>;
  /** Bounded by size, because a bound by number takes up memory for all entries at once. */
  readonly #ends = new LRUCache<string, true>({ maxSize: ENDS_MAX, sizeCalculation: () => 1 });

  constructor(bytesMax: number) {
    const share = (parts: number): number => Math.max(1, Math.floor((bytesMax * parts) / 64));
    this.#lists = new LRUCache({ maxSize: share(2), sizeCalculation: ({ list }) => listBytes(list) });
    this.#pages = new LRUCache({ maxSize: share(1), sizeCalculation: (segments) => entryBytes(segments.length) });
    this.#indexes = new LRUCache({
      maxSize: share(5),
      sizeCalculation: ({ entries, aborted }) => entryBytes(entries.length + aborted.length),
    });
  }

  getList(key: string, nowMs: number): SegmentList | undefined {
    const known = this.#lists.get(key);
    if (known === undefined) return undefined;
    const ageMs = nowMs - known.readAtMs;
    // If the clock was set back, it says nothing about the age.
    return ageMs >= 0 && ageMs < LIST_MS_MAX ? known.list : undefined;
  }

  /** Keeps a list unless a newer version is known, and returns the newest known one. */
  putList(key: string, list: SegmentList, readAtMs: number): SegmentList {
    const known = this.#lists.get(key);
    if (known !== undefined && known.list.version > list.version) return known.list;
    this.#lists.set(key, { list, readAtMs });
    return list;
  }

  getPage(key: string): readonly Segment[] | undefined {
    return this.#pages.get(key);
  }

  putPage(key: string, segments: readonly Segment[]): void {
    this.#pages.set(key, segments);
  }

  getIndex(key: string): SegmentIndex | undefined {
    return this.#indexes.get(key);
  }

  putIndex(key: string, index: SegmentIndex): void {
    this.#indexes.set(key, index);
  }

  /** Notes that a read ended in or before the block `key`. A read that begins there goes on where that one ended. */
  noteEnd(key: string): void {
    this.#ends.set(key, true);
  }

  endedAt(key: string): boolean {
    return this.#ends.has(key);
  }
}

function entryBytes(entries: number): number {
  return 200 + entries * ENTRY_BYTES;
}

function listBytes(list: SegmentList): number {
  const names = list.announcements.reduce((sum, announcement) => sum + announcement.names.length, list.garbage.length);
  return entryBytes(list.slots.reduce((sum, { pages, segments }) => sum + pages.length + segments.length, names + 16));
}
