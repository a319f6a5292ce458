import type { Segment } from '../../log/segment/segment.ts';
import { unpackSegmentPage } from '../../log/segment/segment-list.ts';
import { SEGMENT_PAGE, segmentObjectKey, segmentObjectPrefix, segmentPageKey } from '../../storage/keys.ts';
import { isDamage, type Verification } from './verification.ts';

const KEYS_PER_LIST = 1_000;
/** What a key counts towards the limit of a call. */
const KEY_BYTES = 64;

/**
 * Reports the objects of a partition's segments that nothing names: neither its list, nor a page, nor an announcement, nor
 * garbage. A job announces an object before it writes it, so an object that was listed before the list was read has a name.
 * Returns false if the call must end first. 1 ListObjectsV2 and 2 GetItems for each 1,000 objects, and 1 GetItem for each page.
 * @throws UnreadableHead
 */
export async function checkObjects(run: Verification): Promise<boolean> {
  const { position, stores, topic } = run;
  const prefix = segmentObjectPrefix(topic.topicId, position.partition);
  for (;;) {
    const after = position.after === '' ? {} : { after: position.after };
    const { keys, more } = await run.ask(() => stores.objects.list(prefix, { ...after, limit: KEYS_PER_LIST }));
    run.spend((keys.length + 1) * KEY_BYTES);
    for (const key of await withoutName(run, keys)) {
      // It may have been garbage, and is deleted by now.
      if ((await run.ask(() => stores.objects.get(key, { start: 0, end: 1 }))) === undefined) continue;
      if ((await withoutName(run, [key])).length === 0) continue;
      run.report({ kind: 'orphan', storedAs: key, message: 'Nothing names this segment.' });
      position.after = key;
      if (run.isOver()) return false;
    }
    if (!more) return true;
    position.after = keys.at(-1) ?? '';
    if (run.isOver()) return false;
  }
}

async function withoutName(run: Verification, keys: readonly string[]): Promise<readonly string[]> {
  if (keys.length === 0) return [];
  const { slot, topic, position, name, stores } = run;
  const { list } = await run.look();
  const keyOf = ({ startOffset, version }: Pick<Segment, 'startOffset' | 'version'>): string =>
    segmentObjectKey(topic.topicId, position.partition, startOffset, version);
  const { pages = [], segments = [], droppedOffset = 0 } = list.slots[slot] ?? {};
  const known = new Set(segments.map(keyOf));
  for (const one of [...list.garbage, ...list.announcements.flatMap(({ names }) => names)])
    if (one.what === 'segment' && one.slot === slot) known.add(keyOf(one));
  let left = keys.filter((key) => !known.has(key));
  for (const page of pages) {
    const [from, to] = [keyOf({ ...page, version: 0 }), keyOf({ startOffset: page.endOffset, version: 0 })];
    const isInPage = (key: string): boolean => key >= from && key < to;
    if (!left.some(isInPage)) continue;
    const key = segmentPageKey(name.topicId, name.headNumber, { slot, ...page });
    const packed = (await run.ask(() => stores.items.get(key))).attributes?.[SEGMENT_PAGE.segments];
    const inPage = packed instanceof Uint8Array ? segmentsOf(packed) : undefined;
    // What an unreadable page names is not known; the page itself was reported.
    if (inPage === undefined) left = left.filter((one) => !isInPage(one));
    else {
      const named = new Set(inPage.filter(({ endOffset }) => endOffset > droppedOffset).map(keyOf));
      left = left.filter((one) => !named.has(one));
    }
  }
  return left;
}

function segmentsOf(packed: Uint8Array): readonly Segment[] | undefined {
  try {
    return unpackSegmentPage(packed);
  } catch (error) {
    if (!isDamage(error)) throw error;
    return undefined;
  }
}
