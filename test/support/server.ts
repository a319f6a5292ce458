import { startTailrace } from '../../shared/local/start.ts';

/**
 * A server in a separate process, for tests that kill it and benchmarks that load it. It prints its URL on the first line,
 * and ends when its standard input ends, which also happens when its parent process ends in any way.
 */
const tailrace = await startTailrace({ dataFolder: process.argv[2] as string, ownProcess: true });
process.stdout.write(`${tailrace.url}\n`);
const stop = (): void => {
  tailrace.close().finally(() => process.exit());
};
process.once('SIGTERM', stop);
process.stdin.resume().once('end', stop);
