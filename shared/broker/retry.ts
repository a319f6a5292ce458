import { EventLogError, type Outcome } from '../log/errors.ts';
import type { BrokerContext } from './context.ts';

const RETRY_WAIT_MS = 10;
const RETRY_WAIT_MS_MAX = 1_000;

/**
 * Repeats a request that may be repeated, until time is up. The error then tells what became of the append: `outcome`,
 * or, as the errors themselves say, `unknown` if any try may have been applied.
 */
export async function retrying<T>(
  context: BrokerContext,
  outcome: Outcome | 'as_it_says',
  request: () => Promise<T>,
  deadlineMs?: number,
): Promise<T> {
  const endMs = deadlineMs ?? context.clock.nowMs() + context.settings.commitTimeoutMs;
  let known = outcome === 'as_it_says' ? 'not_applied' : outcome;
  for (let tries = 1; ; tries++) {
    try {
      return await request();
    } catch (cause) {
      const error =
        cause instanceof EventLogError
          ? cause
          : new EventLogError('internal', 'A request to the storage failed unexpectedly.', { cause });
      if (outcome === 'as_it_says' && error.outcome === 'unknown') known = 'unknown';
      const waitMs = Math.min(RETRY_WAIT_MS_MAX, RETRY_WAIT_MS * 2 ** tries) * jitter(context.random.bytes(1));
      const transient = error.retry === 'as_is' && (error.code === 'throttled' || error.code === 'storage_unavailable');
      if (!transient || context.clock.nowMs() + waitMs > endMs) {
        throw new EventLogError(error.code, error.message, { cause: error, details: error.details, outcome: known });
      }
      await context.clock.sleep(waitMs);
    }
  }
}

/** Between a half and one. */
function jitter(random: Uint8Array): number {
  return 0.5 + (random[0] as number) / 512;
}
