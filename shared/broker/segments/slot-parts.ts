import type { Segment } from '../../log/segment/segment.ts';
import { packSegmentPage, type SegmentList, type SegmentPage } from '../../log/segment/segment-list.ts';
import { SEGMENT_PAGE, segmentPageKey } from '../../storage/keys.ts';
import type { ItemStore } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import type { HeadName } from '../heads/items.ts';
import { retrying } from '../retry.ts';
import { readPage } from './known-lists.ts';

/** The segments of a slot that are stored together: in a page, or in the list itself. */
export interface SlotPart {
  /** Absent for the segments that are in the list itself. */
  readonly page?: SegmentPage | undefined;
  /** All segments of the part, in order. Those that end at or below the slot's `droppedOffset` are gone. */
  readonly segments: readonly Segment[];
}

/** Reads the segments of one slot, and keeps its pages in memory: a page never changes. */
export class SlotParts {
  readonly #context: BrokerContext;
  readonly #items: ItemStore;
  readonly #name: HeadName;
  readonly #slot: number;
  readonly #pages = new Map<string, readonly Segment[]>();

  constructor(context: BrokerContext, items: ItemStore, name: HeadName, slot: number) {
    this.#context = context;
    this.#items = items;
    this.#name = name;
    this.#slot = slot;
  }

  /**
   * The parts of the slot, in order. Costs 1 GetItem for each page that was not read before.
   * @throws EventLogError `corrupt_data` with the key of a missing or damaged page as `storedAs`, `storage_unavailable`
   */
  async of(list: SegmentList): Promise<readonly SlotPart[]> {
    const { pages = [], segments = [] } = list.slots[this.#slot] ?? {};
    const parts: SlotPart[] = [];
    for (const page of pages) parts.push({ page, segments: this.known(page) ?? (await this.#read(page)) });
    // Pages that were replaced are not needed again.
    const listed = new Set(pages.map((page) => this.storedAs(page)));
    for (const key of this.#pages.keys()) if (!listed.has(key)) this.#pages.delete(key);
    return [...parts, { segments }];
  }

  /** The segments of a page that was read before. */
  known(page: SegmentPage): readonly Segment[] | undefined {
    return this.#pages.get(this.storedAs(page));
  }

  /** Writes a page that was announced, and remembers it. Costs 1 PutItem. */
  async write(page: Pick<SegmentPage, 'startOffset' | 'version'>, segments: readonly Segment[]): Promise<void> {
    const attributes = { [SEGMENT_PAGE.segments]: packSegmentPage(segments) };
    await retrying(this.#context, 'not_applied', () => this.#items.put(this.#key(page), attributes));
    this.#pages.set(this.storedAs(page), segments);
  }

  storedAs(page: Pick<SegmentPage, 'startOffset' | 'version'>): string {
    const { pk, sk } = this.#key(page);
    return `${pk}/${sk}`;
  }

  async #read(page: SegmentPage): Promise<readonly Segment[]> {
    const segments = await retrying(this.#context, 'not_applied', () =>
      readPage(this.#context, this.#items, this.#name, this.#slot, page),
    );
    this.#pages.set(this.storedAs(page), segments);
    return segments;
  }

  #key({ startOffset, version }: Pick<SegmentPage, 'startOffset' | 'version'>): ReturnType<typeof segmentPageKey> {
    return segmentPageKey(this.#name.topicId, this.#name.headNumber, { slot: this.#slot, startOffset, version });
  }
}
