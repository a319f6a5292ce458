import { EventLogError } from '../../log/errors.ts';
import {
  type Due,
  EMPTY_SEGMENT_LIST,
  JOB_NAMES,
  type JobName,
  packSegmentList,
  type SegmentList,
  unpackSegmentList,
} from '../../log/segment/segment-list.ts';
import { dueKey, SEGMENT_LIST, segmentListKey } from '../../storage/keys.ts';
import type { Attributes, ItemKey, ItemStore } from '../../storage/ports.ts';
import { type RetryContext, retrying } from '../retry.ts';
import { type Ask, type HeadName, MissingNodeError } from './items.ts';

/** Returns the segment list of a head; an empty one if nothing was merged yet. 1 GetItem. */
export async function readSegmentList(items: ItemStore, { topicId, headNumber }: HeadName): Promise<SegmentList> {
  return listOf((await items.get(segmentListKey(topicId, headNumber))).attributes);
}

/**
 * A change that is not sent within this time is decided again: the process has stood still, and the graces in the change count
 * from when it was decided.
 */
const DECIDED_MS_MAX = 30_000;

export interface ListUpdate<Result> {
  /** The new content; its `version` and `writer` are set by `updateSegmentList`. `undefined`: nothing is to be changed. */
  readonly list: SegmentList | undefined;
  readonly result: Result;
}

/**
 * Changes a segment list by one conditional update, decided from the list as it is: `change` is called again with the newer
 * list if another process was faster. Returns the result of the call whose update was applied, with the list afterwards.
 * 1 GetItem unless `known` is given, then 1 PutItem; 1 PutItem more for each time that another process was faster. If the
 * process stands still before it sends the update, `change` is called again too: 1 GetItem more.
 *
 * For each job that the change schedules (`schedule`), the due item is put before the update, and the one that it replaces
 * is deleted afterwards: 1 PutItem + 1 DeleteItem more. An item that a crash leaves behind is deleted when its time comes.
 * @throws what `change` throws; `storage_unavailable` with the outcome `unknown` if the fate of an update stayed open
 */
export async function updateSegmentList<Result>(
  context: RetryContext,
  items: ItemStore,
  name: HeadName,
  change: (list: SegmentList) => ListUpdate<Result>,
  known?: SegmentList,
): Promise<{ readonly list: SegmentList; readonly result: Result }> {
  const key = segmentListKey(name.topicId, name.headNumber);
  let list = known ?? (await retrying(context, 'not_applied', () => readSegmentList(items, name)));
  for (;;) {
    const decidedMs = context.clock.nowMs();
    const isOld = (): boolean => context.clock.nowMs() - decidedMs > DECIDED_MS_MAX;
    const { list: changed, result } = change(list);
    if (changed === undefined) return { list, result };
    const writer = context.random.bytes(8);
    const next: SegmentList = { ...changed, version: list.version + 1, writer };
    const attributes = { [SEGMENT_LIST.version]: next.version, [SEGMENT_LIST.list]: packSegmentList(next) };
    const expected = list.version;
    const scheduled = JOB_NAMES.filter((job) => next.due[job]?.version === next.version);
    for (const job of scheduled)
      await retrying(context, 'from_error', () => items.put(dueItemKey(name, job, next.due[job] as Due), {}));
    const put = await retrying(context, 'from_error', async () =>
      isOld()
        ? undefined
        : items.put(key, attributes, [
            expected === 0 ? { if: 'item_absent' } : { if: 'equals', name: SEGMENT_LIST.version, value: expected },
          ]),
    );
    if (put?.ok) {
      for (const job of JOB_NAMES) {
        const was = list.due[job];
        if (was !== undefined && was.version !== next.due[job]?.version)
          await items.delete(dueItemKey(name, job, was)).catch(() => {});
      }
      return { list: next, result };
    }
    const met =
      put === undefined
        ? await retrying(context, 'from_error', () => readSegmentList(items, name))
        : listOf(put.attributes);
    // An earlier attempt of ours was applied, and its reply was lost.
    if (met.version === next.version && sameWriter(met, next)) return { list: met, result };
    // If a newer update hides whether ours was applied, `change` decides again from the list, where its effect would show.
    list = met;
  }
}

function dueItemKey(name: HeadName, job: JobName, { atMs, version }: Due): ItemKey {
  return dueKey(job, { ...name, dueAtMs: atMs, version });
}

function sameWriter(a: SegmentList, b: SegmentList): boolean {
  return a.writer !== undefined && b.writer !== undefined && a.writer.every((byte, i) => byte === b.writer?.[i]);
}

function listOf(attributes: Attributes | undefined): SegmentList {
  if (attributes === undefined) return EMPTY_SEGMENT_LIST;
  const packed = attributes[SEGMENT_LIST.list];
  if (packed instanceof Uint8Array) return unpackSegmentList(packed);
  throw new EventLogError('corrupt_data', 'A segment list has no content.');
}

/**
 * For a search through tail nodes from the entry `from` on that failed with `error`: returns the first entry whose node has
 * not been deleted, if the search failed because older nodes were. 1 GetItem. @throws `error` in every other case
 */
export async function firstEntryKept(
  items: ItemStore,
  name: HeadName,
  from: number,
  error: unknown,
  ask: Ask,
): Promise<number> {
  if (!(error instanceof MissingNodeError)) throw error;
  const { cleanedEntry } = await ask(() => readSegmentList(items, name));
  if (cleanedEntry <= from) throw error;
  return cleanedEntry;
}
