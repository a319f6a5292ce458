import { EventLogError } from '../../log/errors.ts';
import { JOB, jobKey } from '../../storage/keys.ts';
import type { Attributes } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import { NO_TOPIC } from '../usage/usage-meter.ts';

/** A job that goes through all items under one partition key. */
export interface Job {
  /** Names the item that keeps the position. Persisted. */
  readonly name: string;
  readonly pk: string;
  /** Does what there is to do for one item; safe to run twice at once, and to be stopped anywhere. */
  readonly visit: (sk: string, attributes: Attributes) => Promise<void>;
}

export interface JobRequest {
  /** No further page of items, and no further item, is begun once this is aborted. */
  readonly signal?: AbortSignal | undefined;
}

export interface JobRun {
  /** Items whose visit failed; the next run visits them again. */
  readonly blocked: number;
  /** The first error of a blocked item. */
  readonly error: EventLogError | undefined;
  /** The last item was reached; otherwise the next run continues where this one stopped. */
  readonly complete: boolean;
}

const ITEMS_PER_QUERY = 500;

/**
 * One run of a job. An item that is blocked does not keep those after it from being reached, and a run that is stopped
 * notes its position, so that items late in the order are reached too. Any number of runs may go on at once.
 * Costs 1 GetItem, 1 Query for each 500 items, what the visits cost, and 1 write if a run was stopped, or continues one
 * that was.
 * @throws what is not an `EventLogError`: a bug
 */
export async function runJob(context: BrokerContext, job: Job, { signal }: JobRequest): Promise<JobRun> {
  const { items } = context.usage.of(NO_TOPIC, 'admin');
  const key = jobKey(job.name);
  const noted = (await items.get(key)).attributes?.[JOB.position];
  let from = typeof noted === 'string' ? noted : undefined;
  let blocked = 0;
  let error: EventLogError | undefined;
  while (!signal?.aborted) {
    const page = await items.query({ pk: job.pk, ...(from === undefined ? {} : { from }), limit: ITEMS_PER_QUERY });
    for (const { sk, attributes } of page.items) {
      if (signal?.aborted) break;
      try {
        await job.visit(sk, attributes);
      } catch (cause) {
        if (!(cause instanceof EventLogError)) throw cause;
        error ??= cause;
        blocked++;
      }
      from = `${sk}\0`;
    }
    if (!page.more && !signal?.aborted) {
      if (noted !== undefined) await items.delete(key);
      return { blocked, error, complete: true };
    }
  }
  if (from !== undefined && from !== noted) await items.put(key, { [JOB.position]: from });
  return { blocked, error, complete: false };
}
