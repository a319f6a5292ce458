import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 100;

/** Waits until the condition is fulfilled. Rejects if it is not within the time, and says what it waited for. */
export async function until(what: string, timeoutMs: number, isThere: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await isThere())) {
    if (performance.now() > deadline) throw new Error(`No ${what} in ${timeoutMs} ms`);
    await sleep(POLL_MS);
  }
}
