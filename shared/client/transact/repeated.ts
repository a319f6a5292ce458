import { asEventLogError, inTime } from '../in-time.ts';
import { backOff } from '../produce/lane-context.ts';
import type { TransactContext } from './settings.ts';

export interface Repetition {
  readonly forMs: number;
  readonly stop?: AbortSignal | undefined;
  /** Called after an attempt that may have taken effect. */
  readonly onDoubt?: (() => void) | undefined;
}

const NEVER = new AbortController().signal;

/** Makes a request that can be repeated until it has a definite answer, for so long. @throws EventLogError the last error */
export async function repeated<T>(
  { clock, random, settings }: Pick<TransactContext, 'clock' | 'random' | 'settings'>,
  { forMs, stop, onDoubt }: Repetition,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const deadlineMs = clock.nowMs() + forMs;
  for (let failures = 1; ; failures++) {
    try {
      return await inTime(clock, settings.requestTimeoutMs, stop, run);
    } catch (thrown) {
      const error = asEventLogError(thrown);
      if (error.outcome !== 'not_applied') onDoubt?.();
      if (error.retry !== 'as_is' || stop?.aborted || clock.nowMs() >= deadlineMs) throw error;
      await backOff({ clock, random, settings, stop: stop ?? NEVER }, error, failures, deadlineMs);
    }
  }
}
