import { connect, json, text, topic } from '../../../shared/client/index.ts';
import type { Flight } from '../flights.ts';
import type { Sum } from './sum-exactly-once.ts';

/**
 * A worker in a process of its own: it reads flights, adds their delays to the sums of their airports, and writes the sums, in
 * one transaction with its place in the flights. It tells the parent of each flight that is counted.
 */

const [url = '', group = '', from = '', to = '', name = ''] = process.argv.slice(2);
const FLIGHTS_PER_BATCH = 250;
const WORK_MS = 100;

const flights = topic(from, { key: text, value: json<Flight>() });
const sums = topic(to, { key: text, value: json<Sum>() });
const log = connect({ url });

/** The sums of a partition, as of the flights before an offset. */
interface Summed {
  readonly nextOffset: number;
  readonly byAirport: ReadonlyMap<string, Sum>;
}

async function readSums(partition: number): Promise<Map<string, Sum>> {
  const byAirport = new Map<string, Sum>();
  for (let offset = 0; ; ) {
    const page = await log.read(sums, { partition, from: { offset }, maxRecords: 10_000 });
    for (const { key, value } of page.records) if (key !== null && value !== null) byAirport.set(key, value);
    if (page.nextOffset === offset) return byAirport;
    offset = page.nextOffset;
  }
}

/** By partition. Whoever had the partition in between has changed its sums, and has moved on in its flights. */
const known = new Map<number, Summed>();

const TRANSACTION = { transactionalId: name, timeoutMs: 10_000 };
// Started again, it aborts what it has left open before it reads anything.
await log.transaction(async () => {}, TRANSACTION);

for await (const batch of log.consume({
  group,
  topics: [flights],
  memberId: name,
  maxRecords: FLIGHTS_PER_BATCH,
  leaseMs: 3_000,
})) {
  await new Promise((resolve) => setTimeout(resolve, WORK_MS));
  const summed = await log.transaction(async (tx) => {
    const next = new Map<number, Summed>();
    for (const { partition, records, nextOffset } of batch.partitions) {
      const before = known.get(partition);
      const isCurrent = before !== undefined && before.nextOffset === records[0]?.offset;
      const byAirport = new Map(isCurrent ? before.byAirport : await readSums(partition));
      const changed = new Set<string>();
      for (const { key, value } of records) {
        if (key === null || value === null) continue;
        const sum = byAirport.get(key) ?? { flights: 0, delay: 0 };
        byAirport.set(key, { flights: sum.flights + 1, delay: sum.delay + value.delay });
        changed.add(key);
      }
      for (const key of changed) tx.produce(sums, { key, value: byAirport.get(key) as Sum, partition });
      next.set(partition, { nextOffset, byAirport });
    }
    await tx.commitOffsets(batch);
    return next;
  }, TRANSACTION);
  for (const [partition, each] of summed) known.set(partition, each);
  process.stdout.write(`${batch.records.length}\n`);
}
