import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, EventLog, type ProducerOptions } from '../../shared/client/index.ts';
import { startTailrace } from '../../shared/local/start.ts';
import { count, row } from './measure.ts';

/**
 * Records per second through the client's producer, embedded and over HTTP on this machine, on files that are synced, beside
 * the same records as one `appendRecords` each and as one for each thousand.
 */
const RECORDS = 50_000;
const PARTITIONS = 4;
const value = 'x'.repeat(100);
const encoded = new TextEncoder().encode(value);

const folder = await mkdtemp(join(tmpdir(), 'tailrace-client-'));
const tailrace = await startTailrace({ dataFolder: folder });
const { broker } = tailrace;
await broker.putTopic({ name: 'records', partitions: PARTITIONS });

async function rateOf(records: number, run: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await run();
  return (records * 1_000) / (performance.now() - startedMs);
}

async function produceAll(log: EventLog, settings: ProducerOptions): Promise<number> {
  const producer = log.producer(settings);
  await producer.produce('records', { value });
  const rate = await rateOf(RECORDS, async () => {
    const produced: Promise<unknown>[] = [];
    for (let i = 0; i < RECORDS; i++) {
      await producer.ready();
      produced.push(producer.produce('records', { key: `k${i % 1_000}`, value }));
    }
    await Promise.all(produced);
  });
  await producer.close();
  return rate;
}

const records = Array.from({ length: 1_000 }, () => ({ key: encoded, value: encoded, headers: [] }));
const append = (size: number) => broker.appendRecords({ topic: 'records', records: records.slice(0, size) });
await append(1_000);
const alone = await rateOf(2_000, async () => {
  for (let i = 0; i < 2_000; i++) await append(1);
});
const thousands = await rateOf(RECORDS, async () => {
  for (let i = 0; i < RECORDS; i += 1_000) await append(1_000);
});
const embedded = new EventLog(broker);
const http = connect({ url: tailrace.url });
row('appendRecords, one record each', `${count(alone)}/s`, '');
row('appendRecords, 1,000 records each', `${count(thousands)}/s`, '');
for (const [name, log] of [
  ['embedded', embedded],
  ['over HTTP', http],
] as const) {
  for (const lingerMs of [0, 5, 50]) {
    await produceAll(log, { lingerMs });
    const rate = await produceAll(log, { lingerMs });
    row(
      `client ${name}, linger ${lingerMs} ms`,
      `${count(rate)}/s`,
      '',
      `${(rate / alone).toFixed(1)} x one each, ${(rate / thousands).toFixed(2)} x 1,000 each`,
    );
  }
}

/** Members of one group read all that is there, with commits. Returns records/s. */
async function consumeAll(log: EventLog, group: string, members: number, total: number): Promise<number> {
  let left = total;
  const stop = new AbortController();
  let firstMs: number | undefined;
  const consume = async (): Promise<void> => {
    for await (const batch of log.consume({
      group,
      topics: ['read'],
      maxRecords: 10_000,
      maxBytes: 4 * 1024 * 1024,
      signal: stop.signal,
    })) {
      firstMs ??= performance.now();
      left -= batch.records.length;
      if (left <= 0) stop.abort();
    }
  };
  await Promise.all(Array.from({ length: members }, consume));
  // From the first batch on: joining waits for heartbeats, not for work.
  return (total * 1_000) / (performance.now() - (firstMs as number));
}

const READ = 400_000;
await broker.putTopic({ name: 'read', partitions: 16 });
for (let i = 0; i < READ / 1_000; i++)
  await broker.appendRecords({
    topic: 'read',
    records: records.map((record) => ({ ...record, partition: i % 16 })),
  });
for (const [name, log] of [
  ['embedded', embedded],
  ['over HTTP', http],
] as const) {
  for (const members of [1, 4]) {
    const rate = await consumeAll(log, `${name} ${members}`, members, READ);
    row(`consumers ${name}, ${members} in the group`, `${count(rate)}/s`, '', 'with commits');
  }
}
await tailrace.close();
await rm(folder, { recursive: true });
