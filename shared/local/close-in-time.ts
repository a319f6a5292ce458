import { EventLogError } from '../log/errors.ts';
import type { Clock } from '../storage/ports.ts';

/**
 * Closing has one budget for all its steps, counted from its start: a step that is late takes its time from the steps
 * after it, and never adds to the whole.
 */

/** A closed log has let go of its port and folder after this long at most, or says that it has not. */
export const CLOSE_MS = 5_000;
/** From the start of closing. What is left after the last one is for the process to end. */
const REQUESTS_UNTIL_MS = 3_500;
const APPENDS_UNTIL_MS = 4_300;
const STORAGE_UNTIL_MS = 4_800;

/** The steps, in their order. Each is awaited until its time is up. */
export interface ClosingSteps {
  /** Answers the requests under way and refuses new ones. */
  finishRequests(): Promise<void>;
  /** Ends what `finishRequests` still waits for. */
  cutRequests(): void;
  /** Settles the appends that were accepted. */
  finishAppends(): Promise<void>;
  closeStorage(): Promise<void>;
}

/**
 * Runs the steps within `CLOSE_MS`. No timer outlives it: one that does keeps the process from ending.
 * @throws EventLogError `storage_unavailable` if the storage is not closed by then; or as a step does
 */
export async function closeInTime(clock: Clock, steps: ClosingSteps): Promise<void> {
  const over = new AbortController();
  const lateAfter = (ms: number): Promise<'late'> => clock.sleep(ms, over.signal).then(() => 'late');
  const requestsLate = lateAfter(REQUESTS_UNTIL_MS);
  const appendsLate = lateAfter(APPENDS_UNTIL_MS);
  const storageLate = lateAfter(STORAGE_UNTIL_MS);
  try {
    if ((await Promise.race([steps.finishRequests(), requestsLate])) === 'late') steps.cutRequests();
    await Promise.race([steps.finishAppends(), appendsLate]);
    if ((await Promise.race([steps.closeStorage(), storageLate])) === 'late') {
      throw new EventLogError(
        'storage_unavailable',
        `The storage did not close within ${CLOSE_MS / 1_000} seconds. It is let go of when the process ends; acknowledged records are kept.`,
      );
    }
  } finally {
    over.abort();
  }
}
