import { announce, giveUp } from '../../log/segment/list-changes.ts';
import type { SegmentName } from '../../log/segment/segment.ts';
import type { AnnouncedName, Announcement, SegmentList } from '../../log/segment/segment-list.ts';
import type { ItemStore } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import type { HeadName } from '../heads/items.ts';
import { updateSegmentList } from '../heads/segment-list-store.ts';
import { ANNOUNCED_MS, GRACE_MS } from './grace.ts';

/**
 * How a job makes objects: it announces their names in the segment list, writes them, and commits. See
 * docs/design/0007-segments-and-jobs.md, "Announce, write, commit".
 */

export interface Announced {
  readonly announcement: Announcement;
  /** The list as of the announcement. */
  readonly list: SegmentList;
}

export interface ToAnnounce {
  readonly job: Announcement['job'];
  /** What is to be written, decided from the list as it is; `undefined`: nothing any more. */
  readonly names: (list: SegmentList) => readonly Omit<AnnouncedName, 'version'>[] | undefined;
  readonly known: SegmentList;
}

/** 1 PutItem; `undefined` if there is nothing to announce any more. @throws EventLogError the errors of `updateSegmentList` */
export async function announceNames(
  context: BrokerContext,
  items: ItemStore,
  name: HeadName,
  { job, names, known }: ToAnnounce,
): Promise<Announced | undefined> {
  const untilMs = context.clock.nowMs() + ANNOUNCED_MS;
  const { list, result } = await updateSegmentList<Announcement | undefined>(
    context,
    items,
    name,
    (now) => {
      const wanted = names(now);
      const announced = wanted === undefined ? undefined : announce(now, job, wanted, untilMs);
      return { list: announced?.list, result: announced?.announcement };
    },
    known,
  );
  return result === undefined ? undefined : { announcement: result, list };
}

/**
 * Whether the job that made an announcement may still be at work. This only saves work: a wrong answer leads to work that is
 * done twice, of which the list takes one.
 */
export function isUnderWay(
  { clock, announcedFromMs }: Pick<BrokerContext, 'clock' | 'announcedFromMs'>,
  { untilMs }: Announcement,
): boolean {
  return untilMs > clock.nowMs() && untilMs - ANNOUNCED_MS >= announcedFromMs;
}

/**
 * Commits what was announced and has been written. Returns whether the commit applied, with the list afterwards. If it came
 * too late, what was written becomes garbage. 1 PutItem, and 1 more if it came too late.
 */
export async function commitAnnounced(
  context: BrokerContext,
  items: ItemStore,
  name: HeadName,
  { announcement, list: known }: Announced,
  change: (list: SegmentList) => SegmentList | undefined,
): Promise<{ readonly applied: boolean; readonly list: SegmentList }> {
  const committed = await updateSegmentList(
    context,
    items,
    name,
    (now) => {
      const list = change(now);
      return { list, result: list !== undefined };
    },
    known,
  );
  if (committed.result) return { applied: true, list: committed.list };
  const { list } = await updateSegmentList(
    context,
    items,
    name,
    (now) => ({ list: giveUp(now, announcement, context.clock.nowMs(), GRACE_MS), result: undefined }),
    committed.list,
  );
  return { applied: false, list };
}

/** The name of a segment as it is announced. */
export function segmentName(
  slot: number,
  { startOffset }: Pick<SegmentName, 'startOffset'>,
): Omit<AnnouncedName, 'version'> {
  return { what: 'segment', slot, startOffset };
}
