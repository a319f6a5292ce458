import { EventLogError } from '../../../log/errors.ts';
import type { BrokerContext } from '../../context.ts';
import type { BusyHead } from '../../memory/busy-heads.ts';
import type { HeadJobOptions } from '../head-job.ts';
import { type DueRun, runOnHead } from '../run-due.ts';
import { type MergeResult, mergeHead } from './merge-head.ts';

/** Heads that are merged at once: a few, since appends go on meanwhile. */
const HEADS_AT_ONCE = 2;
/** A head that could not be merged, or that another process is merging, is tried again after this long. */
const RETRY_MS = 60_000;

/**
 * Merges the heads whose tail nodes this process has moved, if they are due (`memory/busy-heads.ts`). A head that fails does
 * not keep the job from the others. A head that waits for long gets a due item, so that a job finds it even if this process
 * ends. Costs nothing if no head is due, otherwise what `mergeHead` does, and up to 3 writes a head and hour.
 * @throws any error that is not an `EventLogError`: such an error is a bug
 */
export async function mergeBusy(context: BrokerContext, { signal }: HeadJobOptions = {}): Promise<DueRun<MergeResult>> {
  const { busyHeads, clock } = context;
  const results: DueRun<MergeResult>['results'][number][] = [];
  let blocked = 0;
  let first: EventLogError | undefined;
  const putBack = (head: BusyHead, more: Partial<BusyHead> = {}): void => busyHeads.putBack({ ...head, ...more });
  const merge = async (head: BusyHead): Promise<void> => {
    try {
      const topic = await context.topics.byId(head.topicId, context.topics.listings);
      if (topic === undefined) return;
      const result = await runOnHead(context, 'merge', mergeHead, topic, head.headNumber, { signal });
      const { list: _, ...done } = result;
      results.push(done);
      const isLeft = result.nodesMerged === 0 || result.heldUpBy !== undefined;
      if (isLeft && result.waitedMs !== undefined)
        putBack(head, { isScheduled: true, notBeforeMs: clock.nowMs() + RETRY_MS });
    } catch (error) {
      putBack(head, { notBeforeMs: clock.nowMs() + RETRY_MS });
      if (!(error instanceof EventLogError)) throw error;
      first ??= error;
      blocked++;
    }
  };
  const due = busyHeads.takeDue(clock.nowMs());
  let taken = 0;
  const takeNext = async (): Promise<void> => {
    for (let head = due[taken]; head !== undefined && !signal?.aborted; head = due[taken]) {
      taken++;
      await merge(head);
    }
  };
  try {
    await Promise.all(Array.from({ length: HEADS_AT_ONCE }, takeNext));
  } finally {
    for (const head of due.slice(taken)) putBack(head);
  }
  return { results, blocked, error: first, complete: taken === due.length };
}
