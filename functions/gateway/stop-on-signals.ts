import type { logLine } from '../lambda/log-line.ts';
import type { RunningGateway } from './start-gateway.ts';

/**
 * Drains the gateway at the first SIGTERM or SIGINT, then ends the process. A signal during the start takes effect after
 * it. A second one cuts what is left. A gateway that could not start ends the process with the code 1.
 */
export function stopOnSignals(starting: Promise<RunningGateway>, log: typeof logLine): void {
  const cut = new AbortController();
  let isStopping = false;
  const stop = async (signal: string): Promise<void> => {
    if (isStopping) {
      cut.abort();
      return;
    }
    isStopping = true;
    log('INFO', 'The gateway stops.', { signal });
    // What a failed start says is said below.
    const gateway = await Promise.race([starting.catch(() => undefined), aborted(cut.signal)]);
    const isClean = gateway === undefined ? !cut.signal.aborted : await gateway.drain(cut.signal);
    process.exit(isClean ? 0 : 1);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  starting.catch((error: unknown) => {
    log('ERROR', 'The gateway cannot start.', { why: error instanceof Error ? error.message : String(error) });
    process.exit(1);
  });
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(undefined), { once: true }));
}
