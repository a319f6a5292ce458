import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startTailrace } from '../../shared/local/start.ts';
import { readFlights, readInputs } from './flights.ts';
import { flightsOverHttp, TOPIC } from './flights-over-http.ts';
import { lifeOfSegments } from './life-of-segments.ts';
import { print } from './terminal.ts';
import { groupOfConsumers } from './workers/group-of-consumers.ts';
import { sumExactlyOnce } from './workers/sum-exactly-once.ts';

/**
 * `npm run demo`: real flights through a real log. The first part goes over HTTP. In the second, three consumers
 * share the flights as a group. In the third, workers sum delays in transactions. The fourth shows what the jobs do with the
 * same flights in three months.
 */

const { values: options } = parseArgs({
  options: {
    /** Adds the 200,000 flights of the larger file, which tell neither airport nor date. */
    all: { type: 'boolean', default: false },
    /** A running Tailrace, and only the first part; by default the demo starts one of its own, on a free port, in a temporary folder. */
    url: { type: 'string' },
  },
});

async function main(): Promise<void> {
  // Ends in order, and removes its folder, when `head` has read enough of the output.
  process.stdout.on('error', () => {});
  const inputs = await readInputs(options.all);
  if (options.url !== undefined) {
    print(`Tailrace at ${options.url}`);
    await flightsOverHttp(options.url, inputs);
    print(`\nThe topic '${TOPIC}' is left there to look at.`);
    return;
  }
  const folder = await mkdtemp(join(tmpdir(), 'tailrace-demo-'));
  try {
    const { url, close } = await startTailrace({ dataFolder: join(folder, 'server') });
    try {
      print(`Tailrace at ${url}, started for this demo, synced to disk`);
      await flightsOverHttp(url, inputs);
      print('');
      const all = [...inputs, ...(await groupOfConsumers(url, inputs))];
      await sumExactlyOnce(
        url,
        all.filter(({ key }) => key !== null),
      );
    } finally {
      await close();
    }
    await lifeOfSegments(join(folder, 'jobs'), await readFlights());
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
