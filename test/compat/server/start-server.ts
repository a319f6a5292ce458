import type { CompatServer } from './server.ts';
import { startKafka } from './start-kafka.ts';
import { startTailrace } from './start-tailrace.ts';

/** `kafka` and `tailrace` are started here; anything else is the `host:port` of a server that runs. */
export async function startServer(name: string): Promise<CompatServer> {
  if (name === 'kafka') return startKafka();
  if (name === 'tailrace') return startTailrace();
  if (!/^[^\s:]+:\d+$/.test(name)) throw new Error(`--server is ${name}: give kafka, tailrace or host:port`);
  return { bootstrap: name, stop: () => Promise.resolve() };
}
