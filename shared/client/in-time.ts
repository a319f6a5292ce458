import { EventLogError } from '../log/errors.ts';
import type { Clock } from '../storage/ports.ts';

/**
 * The result of `run`, or an error if there is none within `ms` milliseconds or before `stop` is aborted. The signal that
 * `run` gets is then aborted. What it does after that is ignored, so its outcome is `unknown`.
 * @throws EventLogError `storage_unavailable`, `shutting_down`, or what `run` throws
 */
export async function inTime<T>(
  clock: Clock,
  ms: number,
  stop: AbortSignal | undefined,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const work = new AbortController();
  const timer = new AbortController();
  let giveUp = (_error: EventLogError): void => {};
  const late = new Promise<never>((_, reject) => {
    giveUp = reject;
  });
  const stopped = (): void => giveUp(stoppedError('unknown'));
  stop?.addEventListener('abort', stopped);
  void clock.sleep(ms, timer.signal).then(() => giveUp(noAnswer(ms)));
  try {
    if (stop?.aborted) throw stoppedError('not_applied');
    return await Promise.race([run(work.signal), late]);
  } finally {
    stop?.removeEventListener('abort', stopped);
    // Nobody waits for the promise any more, so that its rejection must not count as unhandled.
    late.catch(() => {});
    timer.abort();
    work.abort();
  }
}

function noAnswer(ms: number): EventLogError {
  return new EventLogError('storage_unavailable', `There was no answer within ${ms} ms.`, { outcome: 'unknown' });
}

export function stoppedError(outcome: 'not_applied' | 'unknown'): EventLogError {
  return new EventLogError('shutting_down', 'The producer was closed.', { outcome });
}

/** An error of the log as it is. Any other is a bug, of which nobody knows what it left behind. */
export function asEventLogError(error: unknown): EventLogError {
  if (error instanceof EventLogError) return error;
  return new EventLogError('internal', `An unexpected error: ${error instanceof Error ? error.message : error}.`, {
    cause: error,
  });
}

/** An error of a request that came before the append: whatever became of that request, nothing was appended. */
export function beforeAppend(error: EventLogError): EventLogError {
  const { code, message, retry, details } = error;
  return new EventLogError(code, message, { outcome: 'not_applied', retry, details, cause: error });
}
