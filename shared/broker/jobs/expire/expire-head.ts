import { type Head, partitionState } from '../../../log/head/head.ts';
import { retentionOf } from '../../../log/segment/expire.ts';
import { dropBelow, schedule, scheduleBy } from '../../../log/segment/list-changes.ts';
import { dropEntries, scheduleSweep } from '../../../log/segment/list-cleanup.ts';
import type { SegmentList, SegmentPage } from '../../../log/segment/segment-list.ts';
import type { Topic } from '../../../log/topic/topic.ts';
import type { BrokerContext } from '../../context.ts';
import { type Ask, readHead } from '../../heads/items.ts';
import { transactionsOf } from '../../heads/known-nodes.ts';
import { raiseStarts } from '../../heads/raise-starts.ts';
import { readSegmentList, updateSegmentList } from '../../heads/segment-list-store.ts';
import { retrying } from '../../retry.ts';
import { GRACE_MS } from '../grace.ts';
import type { HeadJobOptions, HeadJobResult } from '../head-job.ts';
import { SettingsWatch } from '../settings-watch.ts';
import { findExpired } from './find-expired.ts';
import { PagesRead } from './pages-read.ts';

export interface ExpiredHead extends HeadJobResult {
  /** The number of offsets that the log start offsets were raised by. */
  readonly offsetsExpired: number;
}

/** A list has about this much garbage at most. What is to be dropped beyond that waits until some of it was deleted. */
const GARBAGE_NAMES_MAX = 4_096;
/** The sweep that is due needs some time to delete it. */
const GARBAGE_WAIT_MS = 60_000;

/**
 * Retention of one head: raises the log start offsets, and then makes garbage of what is below them. The starts come first,
 * since from then on no reader is given the records; the data is kept for `GRACE_MS` after that.
 *
 * Segments expire as `expiredBelow` says. Where all segments of a partition have expired, its unmerged parts expire by time
 * too: Kafka also removes its active segment when the largest timestamp is too old. `retention.bytes` counts unmerged parts
 * but does not remove them. Neither passes the first offset of an open transaction. Starts that `deleteRecords` raised are treated alike, whatever the topic's retention.
 *
 * Costs 2 GetItems, the cost of `transactionsOf`, the cost of `findExpired` and of one `updateSegmentList`; 1 GetItem and 1
 * UpdateItem more if something expired.
 * @throws EventLogError `corrupt_data` if a node or page is missing, also because another job has just deleted it: the next
 * run finds the head without it
 */
export async function expireHead(
  context: BrokerContext,
  topic: Topic,
  headNumber: number,
  { signal }: HeadJobOptions = {},
): Promise<ExpiredHead> {
  const { items } = context.usage.of(topic.name, 'maintain');
  const name = { topicId: topic.topicId, headNumber };
  const ask: Ask = (request) => retrying(context, 'not_applied', request);
  const known = await ask(() => readSegmentList(items, name));
  // A head without a list is known to the first merge only.
  if (known.version === 0 || signal?.aborted)
    return { list: known, nextAtMs: known.due.expire?.atMs, offsetsExpired: 0 };
  const observed = await ask(() => readHead(items, name));
  if (observed.closed) return { list: known, nextAtMs: undefined, offsetsExpired: 0 };

  const nowMs = context.clock.nowMs();
  const pages = new PagesRead(context, items, name);
  const slots = Math.min(topic.partitionsPerHead, topic.partitions - headNumber * topic.partitionsPerHead);
  const retention = { ...retentionOf(topic.config), nowMs };
  const { open } = await ask(() => transactionsOf(context, items, name, observed));
  const found = await findExpired({ items, name, list: known, head: observed, open, slots, retention, pages, ask });
  if (found.starts.size > 0 && !(await hasSameRetention(context, topic)))
    return { list: known, nextAtMs: known.due.expire?.atMs, offsetsExpired: 0 };
  const head = await raiseStarts(context, items, name, observed, found.starts);
  // The grace begins now: until here readers were given what has expired.
  const raisedAtMs = context.clock.nowMs();

  for (let newest = known; ; ) {
    const { list, result } = await updateSegmentList<{ readonly nextAtMs: number | undefined } | Unread>(
      context,
      items,
      name,
      (now) => {
        const drop = dropBelowStarts(now, head, pages, raisedAtMs);
        if ('unread' in drop) return { list: undefined, result: drop };
        const dropped = dropEntries(drop.list, found.goneBelow, raisedAtMs, GRACE_MS) ?? drop.list;
        const atMs = Math.min(found.nextAtMs, drop.waitsUntilMs);
        const nextAtMs = Number.isFinite(atMs) ? atMs : undefined;
        // Whoever has scheduled this job meanwhile knew something that this run may not have seen.
        const isOurs = now.due.expire?.version === known.due.expire?.version;
        const scheduled = (isOurs ? schedule : scheduleBy)(dropped, 'expire', nextAtMs);
        return { list: scheduleSweep(scheduled), result: { nextAtMs: scheduled.due.expire?.atMs } };
      },
      newest,
    );
    if (!('unread' in result)) return { list, ...result, offsetsExpired: offsetsBetween(observed, head) };
    await pages.read(result.slot, result.unread);
    newest = list;
  }
}

/** Whether the topic has still the retention that was gone by: a longer one may have been set since it was read. */
function hasSameRetention(context: BrokerContext, topic: Topic): Promise<boolean> {
  const watch = new SettingsWatch(context, topic, (wasConfig, nowConfig) => {
    const [was, now] = [retentionOf(wasConfig), retentionOf(nowConfig)];
    return now.retentionMs === was.retentionMs && now.retentionBytes === was.retentionBytes;
  });
  return watch.hold();
}

/** A page that must be read first. */
interface Unread {
  readonly slot: number;
  readonly unread: SegmentPage;
}
type Dropped = { readonly list: SegmentList; readonly waitsUntilMs: number } | Unread;

/** Drops the segments below the log start offsets of all slots, as far as there is room for their names. */
function dropBelowStarts(list: SegmentList, head: Head, pages: PagesRead, nowMs: number): Dropped {
  let changed = list;
  let waitsUntilMs = Number.POSITIVE_INFINITY;
  for (const slot of head.partitions.keys()) {
    const { logStartOffset } = partitionState(head, slot);
    const was = changed.slots[slot];
    if (logStartOffset <= (was?.droppedOffset ?? 0)) continue;
    const room = GARBAGE_NAMES_MAX - changed.garbage.length;
    const ends: number[] = [];
    for (const page of was?.pages ?? []) {
      if (page.startOffset >= logStartOffset || ends.length > room) break;
      const segments = pages.known(slot, page);
      if (segments === undefined) return { slot, unread: page };
      for (const { endOffset } of segments) if (endOffset > (was?.droppedOffset ?? 0)) ends.push(endOffset);
    }
    for (const { endOffset } of was?.segments ?? []) ends.push(endOffset);
    const expired = ends.filter((endOffset) => endOffset <= logStartOffset);
    const startOffset = expired.length <= room ? logStartOffset : (expired[room - 1] ?? 0);
    if (startOffset < logStartOffset)
      waitsUntilMs = changed.garbage.reduce((first, { dueAtMs }) => Math.min(first, dueAtMs), nowMs + GRACE_MS);
    const pageSegments = (page: SegmentPage) => pages.known(slot, page);
    changed = dropBelow(changed, { slot, startOffset, pageSegments, nowMs, graceMs: GRACE_MS }) ?? changed;
  }
  return { list: changed, waitsUntilMs: Math.max(nowMs, waitsUntilMs) + GARBAGE_WAIT_MS };
}

function offsetsBetween(before: Head, after: Head): number {
  const startOf = (head: Head, slot: number): number => partitionState(head, slot).logStartOffset;
  return after.partitions.reduce((sum, _, slot) => sum + startOf(after, slot) - startOf(before, slot), 0);
}
