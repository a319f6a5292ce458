import { EventLogError } from '../../log/errors.ts';
import type { Segment } from '../../log/segment/segment.ts';
import { type SegmentPage, unpackSegmentPage } from '../../log/segment/segment-list.ts';
import { SEGMENT_PAGE, segmentPageKey } from '../../storage/keys.ts';
import type { ItemStore } from '../../storage/ports.ts';
import type { Ask, HeadName } from '../heads/items.ts';

/** The pages of a head that a run has read. A page never changes, so each is read once. */
export class PagesRead {
  readonly #items: ItemStore;
  readonly #name: HeadName;
  readonly #ask: Ask;
  readonly #segments = new Map<string, readonly Segment[]>();

  constructor(items: ItemStore, name: HeadName, ask: Ask) {
    this.#items = items;
    this.#name = name;
    this.#ask = ask;
  }

  known(slot: number, page: SegmentPage): readonly Segment[] | undefined {
    return this.#segments.get(this.#keyOf(slot, page).sk);
  }

  /** 1 GetItem for the first time. @throws EventLogError `corrupt_data` if the page is missing or damaged */
  async read(slot: number, page: SegmentPage): Promise<readonly Segment[]> {
    const known = this.known(slot, page);
    if (known !== undefined) return known;
    const key = this.#keyOf(slot, page);
    const packed = (await this.#ask(() => this.#items.get(key))).attributes?.[SEGMENT_PAGE.segments];
    if (!(packed instanceof Uint8Array))
      throw new EventLogError('corrupt_data', `The page '${key.pk}/${key.sk}' of a segment list is missing.`);
    const segments = unpackSegmentPage(packed);
    this.#segments.set(key.sk, segments);
    return segments;
  }

  #keyOf(slot: number, { startOffset, version }: SegmentPage): ReturnType<typeof segmentPageKey> {
    return segmentPageKey(this.#name.topicId, this.#name.headNumber, { slot, startOffset, version });
  }
}
