import type { Clock, ExpiringItems } from '../../storage/ports.ts';

/** A step of this size takes a few milliseconds of the storage. */
export const STEP_ITEMS_MAX = 500;
/** The wait after a step that found no more. */
export const INTERVAL_MS = 60_000;
/** Between two steps, the storage is left to others for at least this long, and for ten times as long as the step took. */
const PAUSE_MS_MIN = 100;
const PAUSE_FACTOR = 10;

export interface RemoveExpiredOptions {
  readonly items: ExpiringItems;
  readonly clock: Clock;
  /** Ends the removal. No step begins afterwards. */
  readonly stopping: AbortSignal;
  /** Called with the error of each step that failed. The next step is tried after `INTERVAL_MS`. */
  onError(error: unknown): void;
}

/**
 * Removes expired items in short steps until it is stopped, as DynamoDB does by itself. The first step begins at once, so a
 * process that never lives long removes items too. Never rejects.
 */
export async function removeExpired({ items, clock, stopping, onError }: RemoveExpiredOptions): Promise<void> {
  while (!stopping.aborted) {
    const startMs = clock.nowMs();
    let waitMs = INTERVAL_MS;
    try {
      const { more } = await items.removeExpired(startMs, STEP_ITEMS_MAX);
      // A clock that is set forward meanwhile must not stop the removal.
      if (more) waitMs = clamp((clock.nowMs() - startMs) * PAUSE_FACTOR, PAUSE_MS_MIN, INTERVAL_MS);
    } catch (error) {
      onError(error);
    }
    await clock.sleep(waitMs, stopping);
  }
}

function clamp(value: number, min: number, max: number): number {
  return Math.min(Math.max(value, min), max);
}
