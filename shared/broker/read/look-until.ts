import type { BrokerContext } from '../context.ts';
import type { AppendListener } from '../memory/append-signals.ts';

export interface Looking<T> {
  /** Hears appends of this process to what is looked at; `undefined` for one look without a wait. */
  readonly listener: AppendListener | undefined;
  readonly look: () => Promise<T>;
  /** Whether the wait is over with what a look found. */
  readonly isEnough: (found: T) => boolean;
  readonly untilMs: number;
  /** When to look again after this look without having heard an append; `undefined` for never. */
  readonly lookMs: (found: T) => number | undefined;
  readonly signal: AbortSignal | undefined;
}

/**
 * When to look again for what no append of this process tells of: appends of other processes, if there are any, and the time at
 * which the transaction that holds a reader up is overdue, so that it can be ended.
 */
export function lookAgainMs({ settings }: BrokerContext, isHeldUp: boolean): number | undefined {
  return settings.pollIntervalMs ?? (isHeldUp ? HELD_UP_LOOK_MS : undefined);
}

const HELD_UP_LOOK_MS = 1_000;

/** Given as the reason: without one, an error with its stack is made each time. */
const WAIT_IS_OVER = 'the wait is over';

/**
 * Looks until a look finds enough, the time is over or `signal` is aborted, and returns what the last look found; at least
 * one look is made. Every wait for records goes through here. Between looks it waits for an append that the listener hears,
 * for `lookMs` at most. Listening begins before the look, so an append that the look came too early for is heard. Costs what
 * a look costs: once, again for each append that is heard, and otherwise once every `lookMs`.
 */
export async function lookUntil<T>(
  context: Pick<BrokerContext, 'clock'>,
  { listener, look, isEnough, untilMs, lookMs, signal }: Looking<T>,
): Promise<T> {
  for (;;) {
    listener?.reset();
    const found = await look();
    const leftMs = untilMs - context.clock.nowMs();
    if (listener === undefined || leftMs <= 0 || signal?.aborted || isEnough(found)) return found;
    const over = new AbortController();
    const end = (): void => over.abort(WAIT_IS_OVER);
    signal?.addEventListener('abort', end);
    await Promise.race([listener.heard, context.clock.sleep(Math.min(leftMs, lookMs(found) ?? leftMs), over.signal)]);
    signal?.removeEventListener('abort', end);
    end();
    // Nobody waits for a further look.
    if (signal?.aborted) return found;
  }
}
