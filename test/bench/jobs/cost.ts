import { Broker } from '../../../shared/broker/broker.ts';
import { PRICES } from '../../../shared/broker/usage/prices.ts';
import { addCounts, dollars, noRequests, type RequestCounts } from '../../../shared/broker/usage/request-counts.ts';
import { S3ObjectStore } from '../../../shared/storage/s3/object-store.ts';
import { memoryStores, SeededRandom } from '../../support/memory-broker.ts';
import { S3Bucket } from '../../support/s3-bucket.ts';
import { stubS3Client } from '../../support/stub-client.ts';
import { S3_GB_MONTH } from '../list-prices.ts';

/**
 * `npm run bench:jobs-cost`: what it costs on AWS to merge what was appended, and to delete half an hour later what was
 * merged. The broker and its jobs run in simulated time over the adapter for S3 and a bucket in memory, and every request is
 * counted as AWS bills it. Function time is not included.
 */

const GIB = 2 ** 30;
const SECOND_MS = 1_000;
/** How long a stream gathers changes before it starts the merge function. */
const STREAM_MS = 30 * SECOND_MS;
const SWEEP_EVERY_MS = 15 * 60 * SECOND_MS;
/** Sweeps after the last append: what was merged last is deleted after its grace, and what had to wait for that a grace later. */
const LAST_SWEEPS = 6;

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
    seconds: 600,
  },
  {
    name: '100 appends/s of 1 KiB, 16 partitions',
    partitions: 16,
    recordBytes: 1_024,
    recordsPerAppend: 1,
    appendsPerSecond: 100,
    seconds: 600,
  },
  {
    name: '1 append/s of 1 KiB, 1 partition',
    partitions: 1,
    recordBytes: 1_024,
    recordsPerAppend: 1,
    appendsPerSecond: 1,
    seconds: 21_600,
  },
  {
    name: '1 append/s of 100 KiB, 1 partition',
    partitions: 1,
    recordBytes: 1_024,
    recordsPerAppend: 100,
    appendsPerSecond: 1,
    seconds: 3_600,
  },
  {
    name: '4 appends/s of 1 MiB, 1 partition',
    partitions: 1,
    recordBytes: 1_024,
    recordsPerAppend: 1_000,
    appendsPerSecond: 4,
    seconds: 120,
  },
];

interface Measured {
  readonly appended: RequestCounts;
  readonly merged: RequestCounts;
  readonly swept: RequestCounts;
  readonly merges: number;
  readonly segmentsWritten: number;
  /** The longest time that a node waited to be merged. */
  readonly oldestMs: number;
  readonly segments: number;
  /** Nodes and objects that the sweeps deleted. */
  readonly deleted: number;
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
  let deleted = 0;
  const swept = noRequests();
  let lastMergeMs = clock.nowMs();
  let nextRunMs = clock.nowMs() + STREAM_MS;
  let nextSweepMs = clock.nowMs() + SWEEP_EVERY_MS;
  const merge = async (force = false): Promise<void> => {
    const result = await clock.run(broker.mergeHead(topic.topicId, 0, { force }));
    if (result === undefined || result.nodesMerged === 0) return;
    merges++;
    segmentsWritten += result.segmentsWritten;
    oldestMs = Math.max(oldestMs, clock.nowMs() - lastMergeMs);
    lastMergeMs = clock.nowMs();
    // The bucket notes each request; that would be all of the memory.
    bucket.sent.length = 0;
  };
  const sweep = async (): Promise<void> => {
    const before = countsOf(broker, ['maintain']);
    const { results, blocked, error } = await clock.run(broker.runSweeps());
    if (blocked > 0) throw error;
    for (const { nodesDeleted, garbageDeleted } of results) deleted += nodesDeleted + garbageDeleted;
    addCounts(swept, countsOf(broker, ['maintain']));
    addCounts(swept, before, -1);
  };
  for (let i = 0; i < load.seconds * load.appendsPerSecond; i++) {
    const partition = i % load.partitions;
    const records = Array.from({ length: load.recordsPerAppend }, () => ({ key: null, value, headers: [], partition }));
    await clock.run(broker.appendRecords({ topic: 'bench', records }));
    await clock.advance(SECOND_MS / load.appendsPerSecond);
    if (clock.nowMs() >= nextRunMs) {
      nextRunMs += STREAM_MS;
      await merge();
    }
    if (clock.nowMs() >= nextSweepMs) {
      nextSweepMs += SWEEP_EVERY_MS;
      await sweep();
    }
  }
  // All that was appended is merged, so that the costs are those of these bytes.
  await merge(true);
  for (let left = LAST_SWEEPS; left > 0; left--) {
    await clock.advance(SWEEP_EVERY_MS);
    await sweep();
  }
  const { items: map } = await broker.listSegments('bench', { limit: 1_000 });
  const segments = map.filter(({ storage }) => storage === 'segment').length;
  const merged = countsOf(broker, ['maintain']);
  addCounts(merged, swept, -1);
  return {
    appended: countsOf(broker, ['append', 'move_tail']),
    merged,
    swept,
    merges,
    segmentsWritten,
    oldestMs,
    segments,
    deleted,
  };
}

/** Requests of any kind. */
function requestsOf(counts: RequestCounts): number {
  const { putObject, getObject, deleteObject, listObjects, getItem, putItem, updateItem, deleteItem, query } = counts;
  return putObject + getObject + deleteObject + listObjects + getItem + putItem + updateItem + deleteItem + query;
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
    const { appended, merged, swept, ...measured } = await measureLoad(load);
    const appends = load.appendsPerSecond * load.seconds;
    const bytes = load.recordBytes * load.recordsPerAppend * appends;
    const gib = bytes / GIB;
    const jobs = dollars(merged) + dollars(swept);
    process.stdout.write(`\n${load.name}, ${(load.seconds / 60).toFixed(0)} min, ${gib.toFixed(2)} GiB\n`);
    line('merges', `${measured.merges}`);
    line('longest time from merge to merge, s', (measured.oldestMs / SECOND_MS).toFixed(0));
    line('segments written; left after joins', `${measured.segmentsWritten}; ${measured.segments}`);
    line('nodes and objects deleted by the sweeps', `${measured.deleted}`);
    line('bytes read by the jobs / bytes appended', (merged.bytesRead / bytes).toFixed(2));
    line('bytes written, append and jobs / bytes appended', (1 + merged.bytesWritten / bytes).toFixed(2));
    line('requests for each append: append', (requestsOf(appended) / appends).toFixed(2));
    line('  merge and join', (requestsOf(merged) / appends).toFixed(2));
    line('  sweep', (requestsOf(swept) / appends).toFixed(2));
    line('append, per GiB', usd(dollars(appended) / gib));
    line('merge and join, per GiB', usd(dollars(merged) / gib));
    line('sweep, per GiB', usd(dollars(swept) / gib));
    line('all jobs / append', (jobs / dollars(appended)).toFixed(3));
    line('a GiB kept for a month, with all jobs', usd((S3_GB_MONTH * GIB) / 1e9 + jobs / gib));
  }
}

await main();
