import { CLOSE_MS } from './close-in-time.ts';
import type { Tailrace } from './start.ts';

/**
 * Closes the log at the first SIGINT or SIGTERM and then ends the process, after `CLOSE_MS` whatever happens. A signal that
 * comes during the start takes effect after it. Later signals change nothing: `npm start` passes on the one that the
 * terminal has already sent to the process, and the end is near anyway.
 * @param fail reports why the log could not be closed
 */
export function stopOnSignal(starting: Promise<Tailrace>, fail: (error: unknown) => void): void {
  let stopping = false;
  const stop = async (): Promise<void> => {
    if (stopping) return;
    stopping = true;
    setTimeout(() => {
      process.stderr.write(
        `Some work could not be finished within ${CLOSE_MS / 1_000} seconds. Acknowledged records are kept.\n`,
      );
      process.exit(1);
    }, CLOSE_MS).unref();
    process.stdout.write('Stopping: finishing the requests under way.\n');
    // What a failed start says is said by whoever started it.
    const tailrace = await starting.catch(() => undefined);
    try {
      await tailrace?.close();
      process.stdout.write('Stopped.\n');
    } catch (error) {
      fail(error);
    }
    process.exit();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
}
