import { startTailrace } from '../../shared/local/start.ts';

/** A server in a process of its own, for tests to kill and benchmarks to load. Prints its URL on the first line. */
const tailrace = await startTailrace({ dataFolder: process.argv[2] as string, ownProcess: true });
process.stdout.write(`${tailrace.url}\n`);
process.once('SIGTERM', () => {
  void tailrace.close();
});
