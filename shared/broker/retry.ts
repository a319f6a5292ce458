import { EventLogError, type Outcome } from '../log/errors.ts';
import type { BrokerContext } from './context.ts';

/** The part of the context that retries need. */
export type RetryContext = Pick<BrokerContext, 'clock' | 'random' | 'settings'>;

const RETRY_WAIT_MS = 10;
const RETRY_WAIT_MS_MAX = 1_000;

/**
 * Retries a request that is safe to repeat, until `deadlineMs` (default: `commitTimeoutMs` from now). The final error has
 * the outcome `outcomeIfFailed`; with `from_error` the outcome is `unknown` if any attempt may have been applied.
 *
 * The adapters for AWS also retry a request, up to four times within half a second. `docs/architecture.md`, "Retries",
 * describes both layers together.
 */
export async function retrying<T>(
  context: RetryContext,
  outcomeIfFailed: Outcome | 'from_error',
  request: () => Promise<T>,
  deadlineMs?: number,
): Promise<T> {
  const endMs = deadlineMs ?? context.clock.nowMs() + context.settings.commitTimeoutMs;
  let outcome = outcomeIfFailed === 'from_error' ? 'not_applied' : outcomeIfFailed;
  for (let tries = 1; ; tries++) {
    try {
      return await request();
    } catch (cause) {
      const error =
        cause instanceof EventLogError
          ? cause
          : new EventLogError('internal', 'A request to the storage failed unexpectedly.', { cause });
      if (outcomeIfFailed === 'from_error' && error.outcome === 'unknown') outcome = 'unknown';
      const waitMs = Math.min(RETRY_WAIT_MS_MAX, RETRY_WAIT_MS * 2 ** tries) * jitter(context.random.bytes(1));
      const transient = error.retry === 'as_is' && (error.code === 'throttled' || error.code === 'storage_unavailable');
      if (!transient || context.clock.nowMs() + waitMs > endMs) {
        const { code, message, details, retry } = error;
        throw new EventLogError(code, message, { cause: error, details, retry, outcome });
      }
      await context.clock.sleep(waitMs);
    }
  }
}

/** A factor between a half and one. */
function jitter(random: Uint8Array): number {
  return 0.5 + (random[0] as number) / 512;
}
