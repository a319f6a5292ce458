import { EventLogError, MissingDataError } from '../../log/errors.ts';
import type { Segment } from '../../log/segment/segment.ts';
import { type SegmentList, type SegmentPage, unpackSegmentPage } from '../../log/segment/segment-list.ts';
import { headKey, SEGMENT_PAGE, segmentPageKey } from '../../storage/keys.ts';
import type { AttributeValue, ItemStore } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import type { HeadName } from '../heads/items.ts';
import { readSegmentList } from '../heads/segment-list-store.ts';

/** Segment lists and their pages as a reader knows them. */

/** The segment list of a head as it was at most a minute ago. From memory, or 1 GetItem. */
export async function knownSegmentList(context: BrokerContext, items: ItemStore, name: HeadName): Promise<SegmentList> {
  return context.segments.getList(cacheKey(name), context.clock.nowMs()) ?? currentSegmentList(context, items, name);
}

/** The segment list of a head as of now, which is remembered. 1 GetItem. */
export async function currentSegmentList(
  context: BrokerContext,
  items: ItemStore,
  name: HeadName,
): Promise<SegmentList> {
  const readAtMs = context.clock.nowMs();
  return context.segments.putList(cacheKey(name), await readSegmentList(items, name), readAtMs);
}

/**
 * The segments of a page, in order of offsets; those below `droppedOffset` of the slot are gone. From memory, or 1 GetItem.
 * @throws MissingDataError; EventLogError `corrupt_data` if the page is not the one that the list describes
 */
export async function readPage(
  context: BrokerContext,
  items: ItemStore,
  { topicId, headNumber }: HeadName,
  slot: number,
  page: SegmentPage,
): Promise<readonly Segment[]> {
  const key = segmentPageKey(topicId, headNumber, { slot, ...page });
  const storedAs = `${key.pk}/${key.sk}`;
  const kept = context.segments.getPage(storedAs);
  if (kept !== undefined) return kept;
  const { attributes } = await items.get(key);
  if (attributes === undefined)
    throw new MissingDataError(`The page of segments '${storedAs}' is missing.`, { storedAs });
  const segments = unpackPage(attributes[SEGMENT_PAGE.segments], storedAs);
  if (segments[0]?.startOffset !== page.startOffset || segments.at(-1)?.endOffset !== page.endOffset)
    throw new EventLogError('corrupt_data', `The page of segments '${storedAs}' is not the one that the list names.`, {
      details: { storedAs },
    });
  context.segments.putPage(storedAs, segments);
  return segments;
}

function unpackPage(packed: AttributeValue | undefined, storedAs: string): readonly Segment[] {
  try {
    return packed instanceof Uint8Array ? unpackSegmentPage(packed) : [];
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new EventLogError('corrupt_data', `The page of segments '${storedAs}' is damaged. ${why}`, {
      details: { storedAs },
      cause,
    });
  }
}

function cacheKey({ topicId, headNumber }: HeadName): string {
  return headKey(topicId, headNumber).pk;
}
