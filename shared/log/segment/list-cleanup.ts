import { scheduleBy } from './list-changes.ts';
import type { SegmentList } from './segment-list.ts';

/**
 * The changes of a segment list that say which nodes and entries no longer have their data, and when the next of them are to
 * lose it. As in `list-changes.ts`, `undefined` stands for a change that no longer applies.
 */

/** Data without an entry is searched for this often in each head, among what is older than this. */
export const ORPHAN_AGE_MS = 24 * 3_600_000;

/** The data of the entries below `belowEntry` was deleted, and their nodes may be deleted now. */
export function cleanedUpTo(list: SegmentList, belowEntry: number): SegmentList | undefined {
  const cleanedEntry = Math.min(belowEntry, list.cleanBelow);
  return cleanedEntry <= list.cleanedEntry ? undefined : { ...list, cleanedEntry };
}

/**
 * All unmerged entries below `belowEntry` are below the log start: their data may be deleted after `graceMs`. `undefined` if
 * this is known, if they were merged, so that they are cleaned, or if older ones still wait for the end of their grace.
 */
export function dropEntries(
  list: SegmentList,
  belowEntry: number,
  nowMs: number,
  graceMs: number,
): SegmentList | undefined {
  if (belowEntry <= Math.max(list.dropBelow, list.mergedEntry) || list.droppedEntry !== list.dropBelow)
    return undefined;
  return { ...list, dropBelow: belowEntry, dropAtMs: nowMs + graceMs };
}

/** The entries whose data retention has dropped and that may be deleted now. Those that were merged meanwhile are cleaned. */
export function entriesToDrop(
  list: SegmentList,
  nowMs: number,
): { readonly from: number; readonly to: number } | undefined {
  if (list.droppedEntry === list.dropBelow || list.dropAtMs > nowMs) return undefined;
  return { from: Math.max(list.droppedEntry, list.mergedEntry), to: list.dropBelow };
}

/** The data of the dropped entries below `belowEntry` was deleted. */
export function droppedUpTo(list: SegmentList, belowEntry: number): SegmentList | undefined {
  const droppedEntry = Math.min(belowEntry, list.dropBelow);
  return droppedEntry <= list.droppedEntry ? undefined : { ...list, droppedEntry };
}

/** When the sweep of the head has something to do; `undefined` if nothing is known, before the first sweep. */
export function sweepDueAtMs(list: SegmentList): number | undefined {
  const times = list.orphansCheckedAtMs > 0 ? [list.orphansCheckedAtMs + ORPHAN_AGE_MS] : [];
  for (const { dueAtMs } of list.garbage) times.push(dueAtMs);
  for (const { untilMs } of list.announcements) times.push(untilMs);
  if (list.cleanedEntry < list.cleanBelow) times.push(list.cleanAtMs);
  if (list.droppedEntry < list.dropBelow) times.push(list.dropAtMs);
  return times.length === 0 ? undefined : times.reduce((a, b) => Math.min(a, b));
}

/** For every job that adds to what is swept: the sweep comes in time for it. */
export function scheduleSweep(list: SegmentList): SegmentList {
  return scheduleBy(list, 'sweep', sweepDueAtMs(list));
}
