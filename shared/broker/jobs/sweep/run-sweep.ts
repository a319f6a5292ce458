import { EventLogError } from '../../../log/errors.ts';
import type { BrokerContext } from '../../context.ts';
import type { HeadJobOptions } from '../head-job.ts';
import { type ResumedDeletions, resumeDeletions } from '../resume-deletions.ts';
import { type DueRun, runDue } from '../run-due.ts';
import { type SweptTopics, sweepDeletedTopics } from './deleted-topics.ts';
import { type SweptHotOrphans, sweepHotOrphans } from './hot-orphans.ts';
import { type SweptHead, sweepHead } from './sweep-head.ts';

type Counts<Of> = Partial<Omit<Of, 'error' | 'complete' | 'topicsFailed'>>;

/** What the parts of a sweep did; `orphansDeleted` is that of hot objects. A part that failed has no counts. */
export interface SweepRun
  extends DueRun<SweptHead>,
    Counts<ResumedDeletions>,
    Counts<SweptTopics>,
    Counts<SweptHotOrphans> {}

/**
 * Everything that deletes: finishes deletions of topics, sweeps the heads that are due, what is left of deleted topics, and
 * hot objects without an entry. A part that fails does not keep the sweep from the others. Costs what the parts do.
 * @throws any error that is not an `EventLogError`: such an error is a bug
 */
export async function runSweep(context: BrokerContext, options: HeadJobOptions = {}): Promise<SweepRun> {
  let blocked = 0;
  let complete = true;
  let error: EventLogError | undefined;
  const part = async <Done extends { readonly complete: boolean }>(
    run: (context: BrokerContext, options: HeadJobOptions) => Promise<Done>,
  ): Promise<Done | undefined> => {
    try {
      const done = await run(context, options);
      complete &&= done.complete;
      return done;
    } catch (cause) {
      if (!(cause instanceof EventLogError)) throw cause;
      error ??= cause;
      blocked++;
      return undefined;
    }
  };
  const resumed = await part(resumeDeletions);
  const heads = await part(() => runDue(context, 'sweep', sweepHead, options));
  const topics = await part(sweepDeletedTopics);
  const hot = await part(sweepHotOrphans);
  const { topicsFailed: notDeleted = 0, error: ofDeletions, ...deletions } = resumed ?? {};
  const { topicsFailed: notSwept = 0, error: ofTopics, ...swept } = topics ?? {};
  return {
    ...deletions,
    ...swept,
    ...hot,
    results: heads?.results ?? [],
    blocked: blocked + notDeleted + (heads?.blocked ?? 0) + notSwept,
    error: ofDeletions ?? heads?.error ?? ofTopics ?? error,
    complete,
  };
}
