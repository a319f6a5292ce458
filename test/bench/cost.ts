import { Broker } from '../../shared/broker/broker.ts';
import { PRICES } from '../../shared/broker/usage/prices.ts';
import { addCounts, dollars, noRequests, type RequestCounts } from '../../shared/broker/usage/request-counts.ts';
import { systemClock } from '../../shared/storage/system/clock.ts';
import { systemRandom } from '../../shared/storage/system/random.ts';
import { memoryStores } from '../support/memory-broker.ts';
import { KINESIS, LAMBDA, LATENCIES, MSK_SERVERLESS } from './list-prices.ts';

/**
 * `npm run bench:cost`: what appends and reads cost on AWS. Requests, write units and bytes are counted, as the broker
 * makes them with its settings for Lambda; Lambda's time is taken from the medians of `list-prices.ts`, so it is modelled.
 * The same work on Kinesis and MSK Serverless is computed from their list prices.
 */

const GIB = 2 ** 30;
const GB = 1e9;
const RUNS = 400;
const MEMORY_GB = 0.5;

interface Work {
  readonly name: string;
  readonly records: number;
  readonly recordBytes: number;
}

const WORKS: readonly Work[] = [
  { name: '1 x 200 B', records: 1, recordBytes: 200 },
  { name: '1 x 1 KiB', records: 1, recordBytes: 1_024 },
  { name: '10 x 1 KiB', records: 10, recordBytes: 1_024 },
  { name: '100 x 1 KiB', records: 100, recordBytes: 1_024 },
  { name: '1 MiB (1,000 x 1 KiB)', records: 1_000, recordBytes: 1_024 },
];

/** What one append, or one read of as much, takes. */
interface Measured {
  readonly counts: RequestCounts;
  readonly lambdaSeconds: number;
}

async function measureWork(work: Work): Promise<{ append: Measured; read: Measured }> {
  const broker = new Broker({
    ...memoryStores(),
    clock: systemClock,
    random: systemRandom,
    settings: { cacheBytesMax: 1, headCacheMs: 1_000 },
  });
  await broker.putTopic({ name: 'cost', partitions: 1 });
  const value = new Uint8Array(work.recordBytes).fill(97);
  const records = Array.from({ length: work.records }, () => ({ key: null, value, headers: [] }));
  for (let i = 0; i < RUNS; i++) await broker.appendRecords({ topic: 'cost', records });
  await broker.idle();
  const appended = countsOf(broker, ['append', 'move_tail'], RUNS);
  let reads = 0;
  for (let offset = 0; offset < RUNS * work.records; ) {
    const result = await broker.read({
      topic: 'cost',
      partition: 0,
      from: { offset },
      maxBytes: work.records * work.recordBytes,
    });
    for await (const batch of result.batches) offset = batch.endOffset;
    reads++;
  }
  const read = countsOf(broker, ['read'], reads);
  const write = appended.putObject >= 0.5 ? LATENCIES.objectPut.p50 : LATENCIES.itemWrite.p50;
  return {
    append: { counts: appended, lambdaSeconds: (write + LATENCIES.itemWrite.p50) / 1_000 },
    read: {
      counts: read,
      lambdaSeconds:
        (LATENCIES.itemRead.p50 + (read.getObject >= 0.5 ? LATENCIES.objectGet.p50 : LATENCIES.itemRead.p50)) / 1_000,
    },
  };
}

function countsOf(broker: Broker, purposes: readonly string[], share: number): RequestCounts {
  const total = noRequests();
  for (const { purpose, counts } of broker.usage()) if (purposes.includes(purpose)) addCounts(total, counts, 1 / share);
  return total;
}

function lambdaDollars({ lambdaSeconds }: Measured): number {
  return LAMBDA.request + lambdaSeconds * MEMORY_GB * LAMBDA.gbSecond;
}

function kinesis(work: Work): { onDemand: number; provisioned: number } {
  const { onDemand, provisioned } = KINESIS;
  const rounded = Math.ceil(work.recordBytes / onDemand.recordRoundsUpToBytes) * onDemand.recordRoundsUpToBytes;
  const units = Math.ceil(work.recordBytes / provisioned.putUnitBytes);
  const recordsPerSecond = Math.min(
    provisioned.shardRecordsPerSecond,
    provisioned.shardBytesPerSecond / work.recordBytes,
  );
  return {
    onDemand: (work.records * rounded * onDemand.inGb) / GB,
    provisioned: work.records * (units * provisioned.putUnit + provisioned.shardHour / 3_600 / recordsPerSecond),
  };
}

function line(cells: readonly string[]): void {
  process.stdout.write(`${cells.map((cell, i) => (i === 0 ? cell.padEnd(24) : cell.padStart(15))).join('')}\n`);
}

function usd(value: number): string {
  return value >= 0.1 ? `$${value.toFixed(2)}` : `$${value.toPrecision(2)}`;
}

async function main(): Promise<void> {
  process.stdout.write(
    `Prices of ${PRICES.region}, ${PRICES.asOf}. Lambda: ${MEMORY_GB} GB arm64, its time modelled. Function URL: free.\n\n`,
  );
  process.stdout.write('Appends: requests and units counted\n');
  line(['one append of', 'PutItem', 'PutObject', 'UpdateItem', 'write units', 'storage $/M', '+ Lambda $/M']);
  const measured = await Promise.all(WORKS.map(async (work) => ({ work, ...(await measureWork(work)) })));
  for (const { work, append } of measured) {
    const { counts } = append;
    const storage = dollars(counts);
    const requests = [counts.putItem, counts.putObject, counts.updateItem, counts.writeUnits].map((value) =>
      value.toFixed(3),
    );
    line([work.name, ...requests, usd(storage * 1e6), usd((storage + lambdaDollars(append)) * 1e6)]);
  }
  process.stdout.write('\nThe same per GiB of values, beside others (their hourly fees come on top: below)\n');
  line(['one append of', 'in the caller', 'with Lambda', 'Kinesis on dem.', 'Kinesis prov.', 'MSK Serverless']);
  for (const { work, append } of measured) {
    const bytes = work.records * work.recordBytes;
    const perGib = (value: number): string => usd((value / bytes) * GIB);
    const { onDemand, provisioned } = kinesis(work);
    line([
      work.name,
      perGib(dollars(append.counts)),
      perGib(dollars(append.counts) + lambdaDollars(append)),
      perGib(onDemand),
      perGib(provisioned),
      usd((MSK_SERVERLESS.inGb * GIB) / GB),
    ]);
  }
  process.stdout.write('\nReads of the same, per GiB of values, nothing in memory\n');
  line(['as appended by', 'GetItem', 'GetObject', 'in the caller', 'with Lambda', 'Kinesis on dem.', 'MSK Serverless']);
  for (const { work, read } of measured) {
    const bytes = work.records * work.recordBytes;
    const perGib = (value: number): string => usd((value / bytes) * GIB);
    line([
      work.name,
      read.counts.getItem.toFixed(2),
      read.counts.getObject.toFixed(2),
      perGib(dollars(read.counts)),
      perGib(dollars(read.counts) + lambdaDollars(read)),
      usd((KINESIS.onDemand.outGb * GIB) / GB),
      usd((MSK_SERVERLESS.outGb * GIB) / GB),
    ]);
  }
  process.stdout.write(
    `\nIdle, a month of 730 h: Tailrace $0 and stored bytes; Kinesis on demand ${usd(KINESIS.onDemand.streamHour * 730)} a stream; ` +
      `a provisioned shard ${usd(KINESIS.provisioned.shardHour * 730)} (in the figures above, as if fully used); ` +
      `MSK Serverless ${usd(MSK_SERVERLESS.clusterHour * 730)} and ${usd(MSK_SERVERLESS.partitionHour * 730)} a partition.\n`,
  );
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  process.exitCode = 1;
});
