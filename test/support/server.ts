import { startTailrace } from '../../shared/local/start.ts';

/**
 * A server in a process of its own, for tests to kill and benchmarks to load. Prints its URL on the first line, and ends
 * when its standard input does: so also with whoever started it, however that one ends.
 */
const tailrace = await startTailrace({ dataFolder: process.argv[2] as string, ownProcess: true });
process.stdout.write(`${tailrace.url}\n`);
const stop = (): void => {
  tailrace.close().finally(() => process.exit());
};
process.once('SIGTERM', stop);
process.stdin.resume().once('end', stop);
