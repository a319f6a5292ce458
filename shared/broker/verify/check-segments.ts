import type { StoredBatch } from '../../log/batch/stored-batch.ts';
import { EventLogError, MissingDataError } from '../../log/errors.ts';
import { NO_RECORDS_TIMESTAMP, partitionState } from '../../log/head/head.ts';
import type { Segment } from '../../log/segment/segment.ts';
import { chunkAt, type SegmentIndex, unpackIndex } from '../../log/segment/segment-index.ts';
import { type SegmentPage, unpackSegmentPage } from '../../log/segment/segment-list.ts';
import { addHashes, batchHash } from '../../log/segment/set-hash.ts';
import { SEGMENT_PAGE, segmentPageKey } from '../../storage/keys.ts';
import {
  blockOffset,
  blockPosition,
  checkIndexOf,
  readBlock,
  type SegmentPlace,
  segmentKey,
} from '../segments/segment-blocks.ts';
import { crossing, wrongInBlock } from './check-transactions.ts';
import type { SegmentPosition } from './position.ts';
import type { Problem } from './report.ts';
import { isDamage, storedAs, type Verification, type View } from './verification.ts';

/** Larger than the largest block, and small enough that a call can stop soon. */
const CHUNK_BYTES = 8 * 1024 * 1024;
/** What a read of an item counts towards the limit of a call. */
const ITEM_BYTES = 1_024;

/** A segment, and the page that names it; no page if the list itself does. */
interface Listed {
  readonly segment: Segment;
  readonly page: SegmentPage | undefined;
}

export type Progress = 'advanced' | 'look_again';

/**
 * Checks segments one after another, from `position.offset` on. Object by object: the size, the index, each batch, and the sums
 * over all batches. 1 GetObject for each index, and 1 for each 8 MiB of batches.
 */
export class SegmentCheck {
  readonly #run: Verification;
  #index: { readonly key: string; readonly index: SegmentIndex } | undefined;
  #page: { readonly key: string; readonly segments: readonly Segment[] } | undefined;

  constructor(run: Verification) {
    this.#run = run;
  }

  /** Checks the next chunk, below `mergedOffset`. `look_again`: what the view names has been replaced. */
  async advance(view: View, mergedOffset: number): Promise<Progress> {
    const { position } = this.#run;
    const next = await this.#next(view);
    if (next === 'look_again') return next;
    if (next === undefined) {
      await this.#run.reachOffset(view, mergedOffset, true);
      return 'advanced';
    }
    const { segment } = next;
    if (position.offset < segment.startOffset) await this.#run.reachOffset(view, segment.startOffset, true);
    const isNew = !isAt(position.segment, segment);
    if (isNew)
      position.segment = {
        startOffset: segment.startOffset,
        version: segment.version,
        block: 0,
        hash: 0n,
        maxTimestampMs: NO_RECORDS_TIMESTAMP,
        isWhole: true,
      };
    return this.#advanceIn(view, next, position.segment as SegmentPosition, isNew);
  }

  async #advanceIn(view: View, listed: Listed, at: SegmentPosition, isNew: boolean): Promise<Progress> {
    const { segment } = listed;
    const place = this.#placeOf(segment);
    const index = await this.#indexOf(place, listed);
    if (index === 'look_again') return index;
    if (index === undefined) {
      this.#run.position.offset = Math.max(this.#run.position.offset, segment.endOffset);
      this.#finish(undefined);
      return 'advanced';
    }
    if (isNew) await this.#checkCrossing(view, place, index);
    const chunk = chunkAt(index, blockPosition(index, at.block), CHUNK_BYTES);
    if (chunk !== undefined) {
      const bytes = await this.#fetch(place, chunk.start, chunk.end);
      while (blockPosition(index, at.block) < chunk.end) {
        const read = await this.#readBlock(
          view,
          listed,
          index,
          at,
          bytes?.subarray(blockPosition(index, at.block) - chunk.start),
        );
        if (read === 'look_again') return read;
      }
      if (chunk.end < index.bytes) return 'advanced';
    }
    await this.#run.reachOffset(view, segment.endOffset, true);
    this.#checkSums(place, at);
    this.#finish(isDirty(view, segment, this.#run.slot) ? crossing(index.aborted, segment.endOffset) : undefined);
    return 'advanced';
  }

  /** Whether the lists of two adjacent segments have the same transactions across the offset between them. */
  async #checkCrossing(view: View, place: SegmentPlace, index: SegmentIndex): Promise<void> {
    const { segment } = place;
    const { position, slot } = this.#run;
    const before = position.offset === segment.startOffset ? position.crossing : undefined;
    position.crossing = undefined;
    if (before === undefined || !isDirty(view, segment, slot)) return;
    if (before === crossing(index.aborted, segment.startOffset) || (await this.#run.mayBeCompacted(view))) return;
    this.#run.report({
      kind: 'wrong_transactions',
      storedAs: segmentKey(place),
      offset: segment.startOffset,
      message: 'The segment and the one before list different aborted transactions across the offset between them.',
    });
  }

  #finish(crossing: number | undefined): void {
    this.#run.position.crossing = crossing;
    this.#run.position.segment = undefined;
    this.#run.position.counts.segments++;
    this.#index = undefined;
  }

  /** Reads the block at `at.block`, a second time from the store if it is damaged, and goes on behind it. */
  async #readBlock(
    view: View,
    listed: Listed,
    index: SegmentIndex,
    at: SegmentPosition,
    fetched: Uint8Array | undefined,
  ): Promise<Progress> {
    const place = this.#placeOf(listed.segment);
    const start = blockPosition(index, at.block);
    const end = blockPosition(index, at.block + 1);
    const read = (bytes: Uint8Array | undefined) => {
      if (bytes === undefined) throw missing(place);
      return readBlock(place, index, at.block, bytes.subarray(0, end - start));
    };
    const batches = await twice(
      () => read(fetched),
      async () => read(await this.#fetch(place, start, end)),
    );
    if (batches instanceof EventLogError) {
      const offset = blockOffset(place, index, at.block);
      if (!(await this.#reportIfListed(listed, batches, start, offset))) return 'look_again';
      at.isWhole = false;
      this.#run.position.offset = Math.max(this.#run.position.offset, blockOffset(place, index, at.block + 1));
    } else {
      for (const batch of batches) {
        at.hash = addHashes(at.hash, batchHash(batch.header, batch.baseOffset));
        at.maxTimestampMs = Math.max(at.maxTimestampMs, batch.header.maxTimestamp);
        await this.#run.count(view, batch, { storedAs: segmentKey(place), isMerged: true });
      }
      const block = {
        startOffset: blockOffset(place, index, at.block),
        endOffset: blockOffset(place, index, at.block + 1),
      };
      if (index.aborted.length > 0 || batches.some(({ header }) => header.control))
        await this.#checkTransactions(view, place, index, block, batches);
      const named = index.entries[at.block]?.maxTimestampMs;
      if (at.isWhole && named !== at.maxTimestampMs)
        this.#run.report({
          kind: 'wrong_timestamp',
          storedAs: segmentKey(place),
          position: start,
          message: `The segment's index says that the largest timestamp up to here is ${named}, and it is ${at.maxTimestampMs}.`,
        });
    }
    at.block++;
    return 'advanced';
  }

  async #checkTransactions(
    view: View,
    place: SegmentPlace,
    { aborted }: SegmentIndex,
    block: { readonly startOffset: number; readonly endOffset: number },
    batches: readonly StoredBatch[],
  ): Promise<void> {
    const compactedOffset = view.list.slots[this.#run.slot]?.compactedOffset ?? 0;
    let wrong = wrongInBlock(batches, aborted, block, block.startOffset < compactedOffset);
    if (wrong !== undefined && block.startOffset >= compactedOffset && (await this.#run.mayBeCompacted(view)))
      wrong = wrongInBlock(batches, aborted, block, true);
    if (wrong === undefined) return;
    const about = { storedAs: segmentKey(place), offset: block.startOffset };
    this.#run.report({ ...about, kind: 'wrong_transactions', message: wrong });
  }

  #checkSums(place: SegmentPlace, { hash, maxTimestampMs, isWhole }: SegmentPosition): void {
    const { segment } = place;
    if (!isWhole) return;
    const about = { storedAs: segmentKey(place), offset: segment.startOffset };
    if (hash !== segment.setHash)
      this.#run.report({
        ...about,
        kind: 'wrong_set_hash',
        message: 'The batches of the segment are whole, but their set hash is not the one in the segment list.',
      });
    if (maxTimestampMs !== segment.maxTimestampMs)
      this.#run.report({
        ...about,
        kind: 'wrong_timestamp',
        message: `The list says that the largest timestamp is ${segment.maxTimestampMs}, and it is ${maxTimestampMs}.`,
      });
  }

  /** `undefined` if the index cannot be read, which was reported. */
  async #indexOf(place: SegmentPlace, listed: Listed): Promise<SegmentIndex | 'look_again' | undefined> {
    const key = segmentKey(place);
    if (this.#index?.key === key) return this.#index.index;
    const { bytes, indexBytes } = place.segment;
    const read = async (): Promise<SegmentIndex> => {
      // One byte more than there must be, which shows an object that is too long.
      const packed = await this.#fetch(place, bytes, bytes + indexBytes + 1);
      if (packed === undefined) throw missing(place);
      if (packed.length !== indexBytes)
        throw new EventLogError(
          'corrupt_data',
          packed.length > indexBytes
            ? `The segment '${key}' is longer than the ${bytes + indexBytes} bytes that its list names.`
            : `The segment '${key}' ends before the ${bytes + indexBytes} bytes that its list names.`,
        );
      const index = unpackIndex(packed);
      checkIndexOf(place, index);
      return index;
    };
    const index = await twice(read, read);
    if (!(index instanceof EventLogError)) {
      this.#index = { key, index };
      return index;
    }
    return (await this.#reportIfListed(listed, index, bytes, place.segment.startOffset)) ? undefined : 'look_again';
  }

  /** Whether the segment is still one that readers need. If so, its damage is reported. */
  async #reportIfListed(listed: Listed, error: EventLogError, position: number, offset: number): Promise<boolean> {
    const { segment, page } = listed;
    const { slot } = this.#run;
    const { list, head } = await this.#run.look();
    const now = list.slots[slot];
    const isSame = (one: Segment | SegmentPage, two: Segment | SegmentPage): boolean =>
      one.startOffset === two.startOffset && one.version === two.version;
    const isNamed =
      page === undefined
        ? now?.segments.some((one) => isSame(one, segment))
        : now?.pages.some((one) => isSame(one, page)) && segment.endOffset > now.droppedOffset;
    if (!isNamed || segment.endOffset <= partitionState(head, slot).logStartOffset) return false;
    const at = error.details.position;
    this.#run.report({
      kind: error instanceof MissingDataError ? 'missing_segment' : 'damaged_segment',
      storedAs: segmentKey(this.#placeOf(segment)),
      ...(error instanceof MissingDataError ? {} : { position: typeof at === 'number' ? at : position }),
      offset,
      message: error.message,
    });
    return true;
  }

  async #fetch(place: SegmentPlace, start: number, end: number): Promise<Uint8Array | undefined> {
    this.#run.spend(end - start);
    return this.#run.ask(() => this.#run.stores.objects.get(segmentKey(place), { start, end }));
  }

  #placeOf(segment: Segment): SegmentPlace {
    return { topicId: this.#run.topic.topicId, partition: this.#run.position.partition, segment };
  }

  /** The first segment that has offsets from the position on; `undefined` if there is none. */
  async #next({ list }: View): Promise<Listed | 'look_again' | undefined> {
    const { position, slot } = this.#run;
    const { pages, segments, droppedOffset } = list.slots[slot] ?? { pages: [], segments: [], droppedOffset: 0 };
    const from = (): number => Math.max(position.offset, droppedOffset);
    for (const page of pages) {
      if (page.endOffset <= from()) continue;
      const inPage = await this.#readPage(page);
      if (inPage === 'look_again') return inPage;
      if (inPage === undefined) {
        Object.assign(position, { offset: page.endOffset, crossing: undefined });
        continue;
      }
      const segment = inPage.find(({ endOffset }) => endOffset > from());
      if (segment !== undefined) return { segment, page };
    }
    const segment = segments.find(({ endOffset }) => endOffset > from());
    return segment && { segment, page: undefined };
  }

  /** `undefined` if the page cannot be read, which was reported. */
  async #readPage(page: SegmentPage): Promise<readonly Segment[] | 'look_again' | undefined> {
    const { position, name, slot, stores } = this.#run;
    const itemKey = segmentPageKey(name.topicId, name.headNumber, { slot, ...page });
    const key = storedAs(itemKey);
    if (this.#page?.key === key) return this.#page.segments;
    this.#run.spend(ITEM_BYTES);
    const { attributes } = await this.#run.ask(() => stores.items.get(itemKey));
    let segments: readonly Segment[] | undefined;
    let problem: Omit<Problem, 'headNumber' | 'partition'> | undefined;
    const about = { storedAs: key, offset: page.startOffset };
    if (attributes === undefined)
      problem = { ...about, kind: 'missing_page', message: `The page of segments '${key}' is missing.` };
    else {
      const packed = attributes[SEGMENT_PAGE.segments];
      try {
        segments = unpackSegmentPage(packed instanceof Uint8Array ? packed : new Uint8Array(0));
        if (!isAsListed(page, segments))
          problem = {
            ...about,
            kind: 'damaged_page',
            message: 'The page of segments is not the one that the list names.',
          };
      } catch (error) {
        if (!isDamage(error)) throw error;
        problem = { ...about, kind: 'damaged_page', message: error.message };
      }
    }
    if (problem !== undefined && position.pagesBelow < page.endOffset) {
      const now = (await this.#run.look()).list.slots[slot];
      if (!now?.pages.some((one) => one.startOffset === page.startOffset && one.version === page.version))
        return 'look_again';
      this.#run.report(problem);
    }
    position.pagesBelow = Math.max(position.pagesBelow, page.endOffset);
    if (segments !== undefined) this.#page = { key, segments };
    return segments;
  }
}

/** Whether no compaction has been in the segment. */
function isDirty({ list }: View, { startOffset }: Segment, slot: number): boolean {
  return startOffset >= (list.slots[slot]?.compactedOffset ?? 0);
}

function isAt(at: SegmentPosition | undefined, { startOffset, version }: Segment): boolean {
  return at !== undefined && at.startOffset === startOffset && at.version === version;
}

function isAsListed(page: SegmentPage, segments: readonly Segment[]): boolean {
  return (
    segments.length === page.segments &&
    segments[0]?.startOffset === page.startOffset &&
    segments.at(-1)?.endOffset === page.endOffset &&
    segments.reduce((sum, { bytes }) => sum + bytes, 0) === page.bytes &&
    Math.max(...segments.map(({ maxTimestampMs }) => maxTimestampMs)) === page.maxTimestampMs
  );
}

function missing(place: SegmentPlace): MissingDataError {
  const storedAs = segmentKey(place);
  return new MissingDataError(`The segment '${storedAs}' is missing.`, { storedAs });
}

/** What arrived damaged may be whole in the store. Returns the error if both reads find damage. */
async function twice<T>(read: () => T | Promise<T>, readAgain: () => Promise<T>): Promise<T | EventLogError> {
  try {
    return await read();
  } catch (error) {
    if (!isDamage(error)) throw error;
  }
  try {
    return await readAgain();
  } catch (error) {
    if (!isDamage(error)) throw error;
    return error;
  }
}
