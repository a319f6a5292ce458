import type { Entry } from '../../../../shared/log/head/entry.ts';
import type { SegmentList } from '../../../../shared/log/segment/segment-list.ts';
import { nodePartitionKey, segmentListKey } from '../../../../shared/storage/keys.ts';
import type { Attributes, ItemKey } from '../../../../shared/storage/ports.ts';

/** One entry that a head has taken, and what has become of it. */
export interface TakenEntry {
  readonly entry: Entry;
  /** The name of its data; `undefined` if it has none. */
  readonly dataName: string | undefined;
  readonly parts: readonly { readonly slot: number; readonly baseOffset: number; readonly endOffset: number }[];
  readonly once: readonly Uint8Array[];
  /** Since when no new reader needs its data: it was merged, or lies below the log start. */
  releasedAtMs: number | undefined;
}

/** What has become of one head, as its writes arrived. */
export interface HeadFacts {
  readonly topicId: string;
  readonly headNumber: number;
  readonly entries: TakenEntry[];
  /** By slot. */
  readonly next: number[];
  readonly start: number[];
  firstEntry: number;
  refusesBeforeMs: number;
  closedAtMs: number | undefined;
  list: SegmentList | undefined;
  /** What the list names: objects with their bytes, and pages without. */
  named: ReadonlyMap<string, number | undefined>;
  /** Object or page -> since when the list no longer names it. */
  readonly unlisted: Map<string, number>;
  /** When entries up to a number became merged, in order. */
  readonly merged: { readonly toEntry: number; readonly atMs: number }[];
}

/** An object, or the bytes of an inline batch. What was deleted stays here, to be judged by. */
export interface StoredData {
  readonly bytes: number;
  readonly content: Uint8Array;
  isThere: boolean;
}

/** All that is stored and what has become of all heads, for runs in which jobs remove things. */
export class StoredFacts {
  readonly items = new Map<string, { readonly key: ItemKey; readonly attributes: Attributes }>();
  /** Objects and inline batches, by key or name. */
  readonly data = new Map<string, StoredData>();
  readonly heads = new Map<string, HeadFacts>();
  /** Data -> the entries that have it. */
  readonly entriesOf = new Map<string, { readonly head: HeadFacts; readonly taken: TakenEntry }[]>();
  /** Object -> when a range of it was signed last. */
  readonly signedAtMs = new Map<string, number>();
  /** The ids of topics that are being deleted, which is never undone, or were. */
  readonly deleting = new Set<string>();
  /** Segments and pages that were written after their announcement was given up. */
  readonly writtenInVain = new Set<string>();

  head(topicId: string, headNumber: number): HeadFacts {
    const name = `${topicId}#${headNumber}`;
    let head = this.heads.get(name);
    if (head === undefined) {
      head = {
        topicId,
        headNumber,
        entries: [],
        next: [],
        start: [],
        firstEntry: 0,
        refusesBeforeMs: 0,
        closedAtMs: undefined,
        list: undefined,
        named: new Map(),
        unlisted: new Map(),
        merged: [],
      };
      this.heads.set(name, head);
    }
    return head;
  }

  has(key: ItemKey): boolean {
    return this.items.has(itemName(key));
  }

  hasData(name: string): boolean {
    return this.data.get(name)?.isThere === true;
  }

  listIsThere({ topicId, headNumber }: HeadFacts): boolean {
    return this.has(segmentListKey(topicId, headNumber));
  }
}

export function itemName({ pk, sk }: ItemKey): string {
  return `${pk}/${sk}`;
}

/** The head that the partition key of one of its items names: behind its kind. */
export function headOfKey(facts: StoredFacts, pk: string): HeadFacts {
  const [, topicId, headNumber] = pk.split('#') as [string, string, string];
  return facts.head(topicId, Number(headNumber));
}

export function nodePkOf({ topicId, headNumber }: HeadFacts): string {
  return nodePartitionKey(topicId, headNumber);
}
