import { EventLogError } from '../../log/errors.ts';
import { JOB, jobKey } from '../../storage/keys.ts';
import type { Attributes } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import { NO_TOPIC } from '../usage/usage-meter.ts';

/** A job that goes through all items under one partition key. */
export interface Job {
  /** The name of the item that stores the position. The name is persisted. */
  readonly name: string;
  readonly pk: string;
  /** Does the job's work for one item. It must be safe to run twice at once and to stop anywhere. */
  readonly visit: (sk: string, attributes: Attributes) => Promise<void>;
}

export interface JobRequest {
  /** Once this signal is aborted, the run begins no further page of items and no further item. */
  readonly signal?: AbortSignal | undefined;
}

export interface JobRun {
  /** The number of items whose visit failed. The next run visits them again. */
  readonly blocked: number;
  /** The first error of a blocked item. */
  readonly error: EventLogError | undefined;
  /** Whether the last item was reached; otherwise the next run continues where this run stopped. */
  readonly complete: boolean;
}

const ITEMS_PER_QUERY = 500;

/**
 * Runs a job once. A blocked item does not prevent the items after it from being visited. A run that is stopped stores its
 * position, so that items late in the order are also reached. Any number of runs can be active at once.
 * Costs 1 GetItem, 1 Query for each 500 items, the cost of the visits, and 1 write if the run is stopped or continues a
 * stopped run.
 * @throws any error that is not an `EventLogError`: such an error is a bug
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
