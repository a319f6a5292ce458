import { Broker } from '../../shared/broker/broker.ts';
import { PRICES } from '../../shared/broker/usage/prices.ts';
import { addCounts, dollars, noRequests, type RequestCounts } from '../../shared/broker/usage/request-counts.ts';
import { S3ObjectStore } from '../../shared/storage/s3/object-store.ts';
import { memoryStores, SeededRandom } from '../support/memory-broker.ts';
import { S3Bucket } from '../support/s3-bucket.ts';
import { stubS3Client } from '../support/stub-client.ts';
import { S3_GB_MONTH } from './list-prices.ts';

/**
 * `npm run bench:jobs-cost`: what it costs on AWS to merge what was appended. The broker and its jobs run in simulated time
 * over the adapter for S3 and a bucket in memory, and every request is counted as AWS bills it. Function time is not
 * included.
 */

const GIB = 2 ** 30;
const SECOND_MS = 1_000;
/** How long a stream gathers changes before it starts the merge function. */
const STREAM_MS = 30 * SECOND_MS;

interface Load {
  readonly name: string;
  readonly partitions: number;
  readonly recordBytes: number;
  readonly recordsPerAppend: number;
  readonly appendsPerSecond: number;
  readonly seconds: number;
}

const LOADS: readonly Load[] = [
  {
    name: '100 appends/s of 1 KiB, 1 partition',
    partitions: 1,
    recordBytes: 1_024,
    recordsPerAppend: 1,
    appendsPerSecond: 100,
    seconds: 1_800,
  },
  {
    name: '100 appends/s of 1 KiB, 16 partitions',
    partitions: 16,
    recordBytes: 1_024,
    recordsPerAppend: 1,
    appendsPerSecond: 100,
    seconds: 1_800,
  },
  {
    name: '1 append/s of 1 KiB, 1 partition',
    partitions: 1,
    recordBytes: 1_024,
    recordsPerAppend: 1,
    appendsPerSecond: 1,
    seconds: 86_400,
  },
  {
    name: '1 append/s of 100 KiB, 1 partition',
    partitions: 1,
    recordBytes: 1_024,
    recordsPerAppend: 100,
    appendsPerSecond: 1,
    seconds: 7_200,
  },
  {
    name: '4 appends/s of 1 MiB, 1 partition',
    partitions: 1,
    recordBytes: 1_024,
    recordsPerAppend: 1_000,
    appendsPerSecond: 4,
    seconds: 270,
  },
];

interface Measured {
  readonly appended: RequestCounts;
  readonly maintained: RequestCounts;
  readonly merges: number;
  readonly segmentsWritten: number;
  /** The longest time that a node waited to be merged. */
  readonly oldestMs: number;
  readonly segments: number;
}

async function measureLoad(load: Load): Promise<Measured> {
  const { items, clock } = memoryStores();
  const bucket = new S3Bucket();
  const random = new SeededRandom(1);
  const objects = new S3ObjectStore({
    client: stubS3Client(bucket.answer),
    bucketName: 'bench',
    clock,
    random,
  });
  const broker = new Broker({ objects, items, clock, random, settings: { cacheBytesMax: 1, topicCacheMs: 60_000 } });
  const { topic } = await broker.putTopic({ name: 'bench', partitions: load.partitions });
  const value = new Uint8Array(load.recordBytes).fill(97);
  let merges = 0;
  let segmentsWritten = 0;
  let oldestMs = 0;
  let lastMergeMs = clock.nowMs();
  let nextRunMs = clock.nowMs() + STREAM_MS;
  for (let i = 0; i < load.seconds * load.appendsPerSecond; i++) {
    const partition = i % load.partitions;
    const records = Array.from({ length: load.recordsPerAppend }, () => ({ key: null, value, headers: [], partition }));
    await clock.run(broker.appendRecords({ topic: 'bench', records }));
    await clock.advance(SECOND_MS / load.appendsPerSecond);
    if (clock.nowMs() < nextRunMs) continue;
    nextRunMs += STREAM_MS;
    const result = await clock.run(broker.mergeHead(topic.topicId, 0));
    if (result === undefined || result.nodesMerged === 0) continue;
    merges++;
    segmentsWritten += result.segmentsWritten;
    oldestMs = Math.max(oldestMs, clock.nowMs() - lastMergeMs);
    lastMergeMs = clock.nowMs();
    // The bucket notes each request; that would be all of the memory.
    bucket.sent.length = 0;
  }
  const { items: map } = await broker.listSegments('bench', { limit: 1_000 });
  const segments = map.filter(({ storage }) => storage === 'segment').length;
  return {
    appended: countsOf(broker, ['append', 'move_tail']),
    maintained: countsOf(broker, ['maintain']),
    merges,
    segmentsWritten,
    oldestMs,
    segments,
  };
}

function countsOf(broker: Broker, purposes: readonly string[]): RequestCounts {
  const total = noRequests();
  for (const { purpose, counts } of broker.usage()) if (purposes.includes(purpose)) addCounts(total, counts);
  return total;
}

function line(name: string, value: string): void {
  process.stdout.write(`  ${name.padEnd(58)}${value.padStart(14)}\n`);
}

function usd(value: number): string {
  return value >= 0.1 ? `$${value.toFixed(2)}` : `$${value.toPrecision(2)}`;
}

async function main(): Promise<void> {
  process.stdout.write(`Prices of ${PRICES.region}, ${PRICES.asOf}; requests counted, time simulated.\n`);
  for (const load of LOADS) {
    const { appended, maintained, merges, segmentsWritten, oldestMs, segments } = await measureLoad(load);
    const bytes = load.recordBytes * load.recordsPerAppend * load.appendsPerSecond * load.seconds;
    const gib = bytes / GIB;
    process.stdout.write(`\n${load.name}, ${(load.seconds / 60).toFixed(0)} min, ${gib.toFixed(2)} GiB\n`);
    line('merges', `${merges}`);
    line('longest time from merge to merge, s', (oldestMs / SECOND_MS).toFixed(0));
    line('segments written; left after joins', `${segmentsWritten}; ${segments}`);
    line('bytes read by the function / bytes appended', (maintained.bytesRead / bytes).toFixed(2));
    line('bytes written by the function / bytes appended', (maintained.bytesWritten / bytes).toFixed(2));
    const objectRequests = maintained.putObject + maintained.getObject;
    const itemRequests = maintained.getItem + maintained.putItem + maintained.updateItem + maintained.query;
    line(
      'requests for objects, for items, per GiB',
      `${(objectRequests / gib).toFixed(0)}, ${(itemRequests / gib).toFixed(0)}`,
    );
    line('append, per GiB', usd(dollars(appended) / gib));
    line('merge and join, per GiB', usd(dollars(maintained) / gib));
    line('merge and join / append', (dollars(maintained) / dollars(appended)).toFixed(3));
    line('a GiB kept for a month, with its merge', usd((S3_GB_MONTH * GIB) / 1e9 + dollars(maintained) / gib));
  }
}

await main();
