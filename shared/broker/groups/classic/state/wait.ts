import type { BrokerContext } from '../../../context.ts';
import { waitEnded } from './errors.ts';

/** A waiting request looks at its group this often, and at once when its own process has changed the group. */
export const LOOK_EVERY_MS = 200;

/** Waits for the next look. @throws EventLogError `shutting_down` if the signal is aborted */
export async function waitForLook(
  context: BrokerContext,
  group: string,
  change: { readonly happened: Promise<void> },
  signal: AbortSignal | undefined,
): Promise<void> {
  const ended = new AbortController();
  const end = (): void => ended.abort();
  signal?.addEventListener('abort', end);
  try {
    if (signal?.aborted) throw waitEnded(group);
    await Promise.race([context.clock.sleep(LOOK_EVERY_MS, ended.signal), change.happened]);
    if (signal?.aborted) throw waitEnded(group);
  } finally {
    signal?.removeEventListener('abort', end);
    end();
  }
}
