import { mkdtempSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Broker } from '../../shared/broker/broker.ts';
import { addCounts, dollars, noRequests } from '../../shared/broker/usage/request-counts.ts';
import { startTailrace } from '../../shared/local/start.ts';
import { encodeBatch } from '../../shared/log/batch/record-batch.ts';
import { startServer } from '../support/server-process.ts';
import { duringLargeMerges, duringMerges } from './during-merges.ts';
import { HttpLoad } from './http/load.ts';
import { count, type Measurement, measure, megabytes, row } from './measure.ts';

/** `npm run bench`: what one local process does, durable, on this machine. Nothing here is asserted. */

const { values: options } = parseArgs({
  options: {
    /** Where the data goes; it must be on the disk that is to be measured. */
    folder: { type: 'string', default: tmpdir() },
    /** Appends this many GB at the end and watches the memory. */
    large: { type: 'string', default: '0' },
  },
});
const KIB = 1_024;
const folders: string[] = [];

async function main(): Promise<void> {
  process.stdout.write(`Node ${process.version}, ${availableParallelism()} cores, data in ${options.folder}\n\n`);
  row('', 'measured', 'target');
  await embedded();
  for (const callers of [1, 16, 64]) await duringMerges(options.folder, callers);
  for (const recordsPerBatch of [1, 980])
    for (const callers of [1, 16, 64]) await duringLargeMerges(options.folder, callers, recordsPerBatch);
  await overHttp();
  await manyPartitions();
  if (Number(options.large) > 0) await largeLog(Number(options.large) * 1e9);
}

function makeFolder(): string {
  const folder = mkdtempSync(join(options.folder, 'tailrace-bench-'));
  folders.push(folder);
  return folder;
}

function bytesOf(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => 97 + ((i * 31) % 26));
}

/** About 1 MiB in one batch of 1 KiB records. */
function largeBatch(): Uint8Array {
  const value = bytesOf(KIB);
  return encodeBatch(Array.from({ length: 980 }, () => ({ key: null, value, headers: [], timestampMs: Date.now() })));
}

async function embedded(): Promise<void> {
  const tailrace = await startTailrace({ dataFolder: makeFolder() });
  const { broker } = tailrace;
  const value = bytesOf(KIB);
  const one = (): Promise<unknown> =>
    broker.appendRecords({ topic: 'small', records: [{ key: null, value, headers: [] }] });
  await broker.putTopic({ name: 'small', partitions: 1 });
  await measure(64, 5_000, one);
  report('in-process append, 1 KiB, 1 caller', await measure(1, 2_000, one), '');
  const before = totals(broker);
  const appends = 40_000;
  report('in-process append, 1 KiB, 64 callers', await measure(64, appends, one), '>= 5,000/s, p99 < 20');
  await broker.idle();
  costs(broker, before, appends, appends * KIB);

  await broker.putTopic({ name: 'large', partitions: 1 });
  const batch = largeBatch();
  const raw = (): Promise<unknown> => broker.append({ batches: [{ topic: 'large', partition: 0, batch }] });
  await measure(8, 64, raw);
  // In turns, so that both meet the machine in the same mood.
  let rawSeconds = 0;
  let bareSeconds = 0;
  const rounds = 4;
  const perRound = 128;
  for (let round = 0; round < rounds; round++) {
    rawSeconds += (await measure(8, perRound, raw)).seconds;
    bareSeconds += await bareLoop(batch, perRound);
  }
  const bytes = rounds * perRound * batch.length;
  row(
    'in-process append, raw 1 MiB, 8 callers',
    megabytes(bytes, rawSeconds),
    '>= 0.5 x bare',
    `${(bareSeconds / rawSeconds).toFixed(2)} x a bare write-and-sync loop (${megabytes(bytes, bareSeconds)})`,
  );

  const startedMs = performance.now();
  const read = await readAll(broker, 'large');
  row('in-process read, raw', megabytes(read, (performance.now() - startedMs) / 1_000), '>= 200 MB/s');
  await tailrace.close();
}

async function readAll(broker: Broker, topic: string): Promise<number> {
  let bytes = 0;
  for (let offset = 0; ; ) {
    const result = await broker.read({ topic, partition: 0, from: { offset }, maxBytes: 8 * KIB * KIB });
    for await (const batch of result.batches) bytes += batch.bytes.length;
    offset = result.nextOffset;
    if (offset >= result.highWatermark) return bytes;
  }
}

async function bareLoop(batch: Uint8Array, times: number): Promise<number> {
  const file = await open(join(makeFolder(), 'bare'), 'w');
  const startedMs = performance.now();
  for (let i = 0; i < times; i++) {
    await file.write(batch);
    await file.datasync();
  }
  const seconds = (performance.now() - startedMs) / 1_000;
  await file.close();
  return seconds;
}

async function overHttp(): Promise<void> {
  const server = await startServer(makeFolder());
  const load = new HttpLoad(server.url, 64);
  const json = { 'content-type': 'application/json' };
  try {
    for (const topic of ['single', 'json', 'raw'])
      await load.send('PUT', `/v1/topics/${topic}`, json, Buffer.from('{"partitions":1}'));
    const value = Buffer.from(bytesOf(KIB)).toString();
    const single = Buffer.from(JSON.stringify({ records: [{ value }] }));
    const postSingle = (): Promise<unknown> => load.send('POST', '/v1/topics/single/records', json, single);
    await measure(64, 2_000, postSingle);
    report('HTTP append, 1 JSON record of 1 KiB, 64 clients', await measure(64, 12_000, postSingle), '>= 4,000/s');

    const thousand = Buffer.from(JSON.stringify({ records: Array.from({ length: 1_000 }, () => ({ value })) }));
    const postThousand = (): Promise<unknown> => load.send('POST', '/v1/topics/json/records', json, thousand);
    await measure(4, 20, postThousand);
    const thousands = await measure(4, 120, postThousand);
    row(
      'HTTP append, JSON, 1,000 of 1 KiB a request',
      `${count(thousands.perSecond * 1_000)} records/s`,
      '>= 40,000/s',
      megabytes(120 * thousand.length, thousands.seconds),
    );

    const batch = Buffer.from(largeBatch());
    const rawType = { 'content-type': 'application/vnd.apache.kafka.record-batches' };
    const raws = await measure(4, 300, () => load.send('POST', '/v1/topics/raw/records?partition=0', rawType, batch));
    row('HTTP append, raw 1 MiB', megabytes(300 * batch.length, raws.seconds), '');

    const records = 980;
    const rawBytes = { accept: 'application/vnd.apache.kafka.record-batches' };
    let bytes = 0;
    const readRaw = await measure(2, 75, async (i) => {
      bytes += await load.send(
        'GET',
        `/v1/topics/raw/partitions/0/records?offset=${(i * 4 * records) % (290 * records)}&maxBytes=4194304`,
        rawBytes,
      );
    });
    row('HTTP read, raw', megabytes(bytes, readRaw.seconds), '>= 150 MB/s');

    const readJson = await measure(2, 60, (i) =>
      load.send(
        'GET',
        `/v1/topics/json/partitions/0/records?offset=${(i % 20) * 5_000}&limit=5000&maxBytes=8388608`,
        {},
      ),
    );
    row('HTTP read, JSON', `${count(readJson.perSecond * 5_000)} records/s`, '>= 60,000/s');
  } finally {
    load.close();
    await server.end('SIGTERM');
  }
}

async function manyPartitions(): Promise<void> {
  const folder = makeFolder();
  const first = await startTailrace({ dataFolder: folder });
  const value = bytesOf(100);
  await measure(64, 1_000, (i) => first.broker.putTopic({ name: `topic-${i}`, partitions: 10 }));
  const perTopic = Array.from({ length: 10 }, (_, partition) => ({ key: null, value, headers: [], partition }));
  await measure(64, 1_000, (i) => first.broker.appendRecords({ topic: `topic-${i}`, records: perTopic }));
  await first.close();
  const startedMs = performance.now();
  const server = await startServer(folder);
  const startMs = performance.now() - startedMs;
  const load = new HttpLoad(server.url, 16);
  await measure(16, 1_000, (i) => load.send('GET', `/v1/topics/topic-${i}`, {}));
  const rss = await residentBytes(server.pid);
  row('start with 10,000 partitions in 1,000 topics', `${startMs.toFixed(0)} ms`, '< 2,000 ms');
  row('memory after describing all of them', `${(rss / 1e6).toFixed(0)} MB`, '< 250 MB');
  load.close();
  await server.end('SIGTERM');
}

/** Linux only; elsewhere it says nothing. */
async function residentBytes(pid: number): Promise<number> {
  const file = await open(`/proc/${pid}/status`).catch(() => undefined);
  const text = (await file?.readFile('utf8')) ?? '';
  await file?.close();
  return Number(/VmRSS:\s+(\d+) kB/.exec(text)?.[1] ?? Number.NaN) * KIB;
}

async function largeLog(bytesWanted: number): Promise<void> {
  const tailrace = await startTailrace({ dataFolder: makeFolder() });
  await tailrace.broker.putTopic({ name: 'large', partitions: 16 });
  const batch = largeBatch();
  const steps = 5;
  for (let step = 1; step <= steps; step++) {
    const appended = await measure(8, Math.ceil(bytesWanted / steps / batch.length), (i) =>
      tailrace.broker.append({ batches: [{ topic: 'large', partition: i % 16, batch }] }),
    );
    const { rss, heapUsed } = process.memoryUsage();
    row(
      `${((step * bytesWanted) / steps / 1e9).toFixed(0)} GB appended`,
      `${(rss / 1e6).toFixed(0)} MB resident`,
      'no growth',
      `heap ${(heapUsed / 1e6).toFixed(0)} MB, ${megabytes(bytesWanted / steps, appended.seconds)}`,
    );
  }
  await tailrace.close();
}

function report(what: string, measured: Measurement, target: string): void {
  row(
    what,
    `${count(measured.perSecond)}/s`,
    target,
    `p50 ${measured.p50Ms.toFixed(2)} ms, p99 ${measured.p99Ms.toFixed(2)} ms`,
  );
}

function totals(broker: Broker): ReturnType<typeof noRequests> {
  const total = noRequests();
  for (const { counts } of broker.usage()) addCounts(total, counts);
  return total;
}

/** Requests, bytes and dollars since `before`, as they would be on AWS. */
function costs(broker: Broker, before: ReturnType<typeof noRequests>, appends: number, bytes: number): void {
  const total = totals(broker);
  addCounts(total, before, -1);
  const requests = Object.entries(total).filter(
    ([name, value]) => value > 0 && !name.startsWith('bytes') && !name.endsWith('Units'),
  );
  const printed = requests.map(([name, value]) => `${name} ${count(value)}`).join(', ');
  row('  storage requests of these', printed, '');
  row(
    '  on AWS, storage requests alone',
    `$${((dollars(total) / appends) * 1e6).toFixed(3)} per million`,
    '',
    `$${((dollars(total) / bytes) * 2 ** 30).toFixed(3)} per GiB, grouped as here`,
  );
}

main()
  .catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    process.exitCode = 1;
  })
  .finally(() => {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  });
