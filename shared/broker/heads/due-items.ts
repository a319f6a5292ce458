import { MERGE_AGE_MS_MAX } from '../../log/segment/merge-policy.ts';
import type { JobName, SegmentList } from '../../log/segment/segment-list.ts';
import { type DueName, dueKey } from '../../storage/keys.ts';
import type { ItemStore } from '../../storage/ports.ts';
import type { RetryContext } from '../retry.ts';
import type { HeadName } from './items.ts';

/**
 * Due items say when a job looks at a head again, so that no job scans heads. The segment list names the item of each job
 * that counts (`due`); every other item is a leftover of a crash or a race, and is only deleted.
 *
 * The key of an item contains the version of the list's update that is to name it. So it can be told from the item alone
 * whether the list can still come to name it: an item of a version that the list has reached, and that it does not name, is
 * never named later. Items of version 0 come from first appends, and count as long as the list names none.
 */

/** Before the first entry of a head: from then on a merge job finds the head. 1 PutItem. */
export async function putFirstDue(
  { clock }: Pick<RetryContext, 'clock'>,
  items: ItemStore,
  name: HeadName,
): Promise<void> {
  await items.put(dueKey('merge', { ...name, dueAtMs: clock.nowMs() + MERGE_AGE_MS_MAX, version: 0 }), {});
}

/** Whether the item is the one that counts, a leftover, or may still be named by an update that is under way. */
export function dueItemState(
  list: SegmentList,
  job: JobName,
  { dueAtMs, version }: DueName,
): 'counts' | 'leftover' | 'open' {
  const named = list.due[job];
  // The first visit may have died after it changed the list, and before it named the next item.
  if (version === 0 && named === undefined) return 'counts';
  if (named?.version === version && named.atMs === dueAtMs) return 'counts';
  return version > list.version ? 'open' : 'leftover';
}
