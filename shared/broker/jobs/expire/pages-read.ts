import type { Segment } from '../../../log/segment/segment.ts';
import type { SegmentPage } from '../../../log/segment/segment-list.ts';
import { segmentPageKey } from '../../../storage/keys.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import type { HeadName } from '../../heads/items.ts';
import { retrying } from '../../retry.ts';
import { readPage } from '../../segments/known-lists.ts';

/** The pages of a head that a run has read: a change of the list cannot wait for one. A page never changes. */
export class PagesRead {
  readonly #context: BrokerContext;
  readonly #items: ItemStore;
  readonly #name: HeadName;
  readonly #segments = new Map<string, readonly Segment[]>();

  constructor(context: BrokerContext, items: ItemStore, name: HeadName) {
    this.#context = context;
    this.#items = items;
    this.#name = name;
  }

  known(slot: number, page: SegmentPage): readonly Segment[] | undefined {
    return this.#segments.get(this.#keyOf(slot, page));
  }

  /** From memory, or 1 GetItem. @throws EventLogError the errors of `readPage` */
  async read(slot: number, page: SegmentPage): Promise<readonly Segment[]> {
    const segments =
      this.known(slot, page) ??
      (await retrying(this.#context, 'not_applied', () =>
        readPage(this.#context, this.#items, this.#name, slot, page),
      ));
    this.#segments.set(this.#keyOf(slot, page), segments);
    return segments;
  }

  #keyOf(slot: number, page: SegmentPage): string {
    return segmentPageKey(this.#name.topicId, this.#name.headNumber, { slot, ...page }).sk;
  }
}
