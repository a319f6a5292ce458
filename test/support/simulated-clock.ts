import type { Clock } from '../../shared/storage/ports.ts';

interface Sleeper {
  readonly dueMs: number;
  readonly order: number;
  wake(): void;
}

/**
 * Time that stands still until it is moved. `run` moves the time to the next sleeper whenever no other work is left. So a
 * test of minutes takes no time, and the same steps happen in the same order.
 */
export class SimulatedClock implements Clock {
  private timeMs: number;
  private sleepers: Sleeper[] = [];
  private slept = 0;

  constructor(startMs = 1_700_000_000_000) {
    this.timeMs = startMs;
  }

  nowMs(): number {
    return this.timeMs;
  }

  get sleeping(): number {
    return this.sleepers.length;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const wake = (): void => {
        this.sleepers = this.sleepers.filter((other) => other !== sleeper);
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      const sleeper: Sleeper = { dueMs: this.timeMs + Math.max(0, Math.ceil(ms)), order: this.slept++, wake };
      this.sleepers.push(sleeper);
      signal?.addEventListener('abort', wake);
    });
  }

  /** Advances the time, and wakes the sleepers that are due in their order. */
  async advance(ms: number): Promise<void> {
    const endMs = this.timeMs + ms;
    for (;;) {
      await turn();
      const next = this.next();
      if (next === undefined || next.dueMs > endMs) break;
      this.wake(next);
    }
    this.timeMs = endMs;
    await turn();
  }

  /** Returns the result of `work`. Until then the time moves from sleeper to sleeper. */
  async run<T>(work: Promise<T> | (() => Promise<T>)): Promise<T> {
    const running = typeof work === 'function' ? work() : work;
    let settled = false;
    const done = (): void => {
      settled = true;
    };
    running.then(done, done);
    for (let idle = 0; ; ) {
      await turn();
      if (settled) return running;
      const next = this.next();
      if (next !== undefined) {
        idle = 0;
        this.wake(next);
      } else if (++idle > TURNS_IDLE_MAX + WAITS_IDLE_MAX)
        throw new Error('Simulated time stands still: nothing sleeps, but the work is not finished.');
      else if (idle > TURNS_IDLE_MAX) await threads();
    }
  }

  private next(): Sleeper | undefined {
    let first: Sleeper | undefined;
    for (const sleeper of this.sleepers) {
      if (
        first === undefined ||
        sleeper.dueMs < first.dueMs ||
        (sleeper.dueMs === first.dueMs && sleeper.order < first.order)
      )
        first = sleeper;
    }
    return first;
  }

  private wake(sleeper: Sleeper): void {
    this.timeMs = Math.max(this.timeMs, sleeper.dueMs);
    sleeper.wake();
  }
}

const TURNS_IDLE_MAX = 1_000;
const WAITS_IDLE_MAX = 1_000;

/** Runs everything that can happen without time passing. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Some work is done by other threads, such as the derivation of keys, and takes real time on a busy machine. */
function threads(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 10));
}
