import { fileURLToPath } from 'node:url';
import { connect, json, text, topic } from '../../../shared/client/index.ts';
import { call } from '../call.ts';
import type { Input } from '../flights.ts';
import { TOPIC } from '../flights-over-http.ts';
import { count, print } from '../terminal.ts';
import { lagOf, unreadOf } from './lag.ts';
import { Worker } from './worker.ts';

/** Two workers sum the delays of each airport. One is killed and started again, and no flight is counted twice or missed. */

export interface Sum {
  readonly flights: number;
  readonly delay: number;
}

const GROUP = 'demo-sums';
const SUMS = 'delays';
const WORKERS = ['dan', 'eve'] as const;
const SCRIPT = fileURLToPath(new URL('./sum-process.ts', import.meta.url));
const LOOK_MS = 250;
const SHOWN = 3;
const WAIT_MS = 1_000;

/** `inputs`: all flights of the topic. @throws Error if a sum is not that of its flights */
export async function sumExactlyOnce(url: string, inputs: readonly Input[]): Promise<void> {
  const { partitions } = (await call(`${url}/v1/topics/${TOPIC}`)) as { partitions: number };
  // Each airport has its sums in the partition of its flights.
  await call(`${url}/v1/topics/${SUMS}`, { method: 'PUT', body: JSON.stringify({ partitions }) });
  print('Two workers read the flights and write the sum of the delays of each airport, in transactions:');
  const start = (name: string): Worker => new Worker(name, SCRIPT, [url, GROUP, TOPIC, SUMS, name]);
  const workers = WORKERS.map(start);
  try {
    let isKilled = false;
    for (let unread = inputs.length; unread > 0; ) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      const lag = await lagOf(url, GROUP);
      // Before the workers have joined, the group has no partitions.
      if (lag?.partitions.length !== partitions) continue;
      unread = unreadOf(lag);
      if (isKilled || unread > inputs.length / 2) continue;
      isKilled = true;
      await workers[0]?.kill();
      print(`${WORKERS[0]} is killed in the middle of its work, and started again.`);
      workers.push(start(WORKERS[0]));
    }
    const written = await readSums(url, partitions);
    checkSums(written, inputs);
    print(
      `${count(inputs.length)} flights of ${count(written.size)} airports: each sum is exactly that of its flights.`,
    );
    const busiest = [...written].sort(([, a], [, b]) => b.flights - a.flights).slice(0, SHOWN);
    for (const [airport, { flights, delay }] of busiest)
      print(`  ${airport}  ${count(flights).padStart(6)} flights  ${count(delay).padStart(7)} minutes`);
  } finally {
    await Promise.all(workers.map((worker) => worker.kill()));
  }
}

/** The last sums of each airport. @throws Error if a sum counts fewer flights than the one before it */
async function readSums(url: string, partitions: number): Promise<Map<string, Sum>> {
  const log = connect({ url });
  const sums = topic(SUMS, { key: text, value: json<Sum>() });
  const written = new Map<string, Sum>();
  for (let partition = 0; partition < partitions; partition++) {
    for (let offset = 0, isMore = true; isMore; ) {
      // The last transactions may still be about to end.
      const page = await log.read(sums, { partition, from: { offset }, maxRecords: 10_000, waitMs: WAIT_MS });
      for (const { key, value } of page.records) {
        if (key === null || value === null) throw new Error('A sum has no airport, or no value.');
        if (value.flights <= (written.get(key)?.flights ?? 0)) throw new Error(`The sums of ${key} go back.`);
        written.set(key, value);
      }
      isMore = page.nextOffset < page.highWatermark;
      offset = page.nextOffset;
    }
  }
  return written;
}

function checkSums(written: ReadonlyMap<string, Sum>, inputs: readonly Input[]): void {
  const expected = new Map<string, Sum>();
  for (const { key, value } of inputs) {
    const { flights, delay } = expected.get(String(key)) ?? { flights: 0, delay: 0 };
    expected.set(String(key), { flights: flights + 1, delay: delay + Number(value.delay) });
  }
  for (const [airport, { flights, delay }] of expected) {
    const sum = written.get(airport);
    if (sum?.flights !== flights || sum.delay !== delay)
      throw new Error(`${airport} has ${flights} flights and ${delay} minutes, but the sum is ${JSON.stringify(sum)}.`);
  }
  if (written.size !== expected.size) throw new Error('There are sums of airports without flights.');
}
