import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { startTailrace } from '../../shared/local/start.ts';
import { encodeBatch } from '../../shared/log/batch/record-batch.ts';
import { systemClock } from '../../shared/storage/system/clock.ts';
import { count, measure, row } from './measure.ts';

/** Each round appends for a while without merges, and then for a while during merges of what the round has left. */
const ROUNDS = 6;
const APPENDS = 2_000;
/** Far more often than the timers merge a head. */
const MERGE_EVERY_MS = 1_000;
const VALUE_BYTES = 1_024;

/**
 * Appends of 1 KiB without and during merges, in turns, so that both meet the machine in the same mood.
 */
export async function duringMerges(folder: string, callers: number): Promise<void> {
  const dataFolder = mkdtempSync(join(folder, 'tailrace-bench-'));
  const { broker, close } = await startTailrace({ dataFolder, jobs: false });
  const value = new Uint8Array(VALUE_BYTES).fill(97);
  const append = (): Promise<unknown> =>
    broker.appendRecords({ topic: 'busy', records: [{ key: null, value, headers: [] }] });
  await broker.putTopic({ name: 'busy', partitions: 1 });
  const { topicId } = await broker.describeTopic('busy');
  await measure(callers, APPENDS, append);
  const without: number[] = [];
  const during: number[] = [];
  let nodes = 0;
  let merges = 0;
  for (let round = 0; round < ROUNDS; round++) {
    without.push((await measure(callers, APPENDS, append)).p99Ms);
    let isOver = false;
    const merging = (async () => {
      while (!isOver) {
        await systemClock.sleep(MERGE_EVERY_MS);
        const merged = await broker.mergeHead(topicId, 0, { force: true });
        nodes += merged?.nodesMerged ?? 0;
        merges++;
      }
    })();
    during.push((await measure(callers, APPENDS, append)).p99Ms);
    isOver = true;
    await merging;
  }
  const [p99Without, p99During] = [median(without), median(during)];
  row(
    `in-process append, 1 KiB, ${callers} callers, during merges`,
    `${(p99During / p99Without).toFixed(2)} x p99`,
    '<= 1.5',
    `p99 ${p99Without.toFixed(2)} ms without, ${p99During.toFixed(2)} ms during ${count(merges)} merges of ${count(nodes)} nodes`,
  );
  await close();
  rmSync(dataFolder, { recursive: true });
}

/** About what one merge takes at most, in batches that hold one record, as small appends make them. */
const LARGE_BYTES = 70_000_000;
const LARGE_ROUNDS = 5;
const LARGE_WITHOUT_MS = 1_500;

/** Appends of 1 KiB without and during merges of 70 MB of another topic, which was filled with batches of `recordsPerBatch`. */
export async function duringLargeMerges(folder: string, callers: number, recordsPerBatch: number): Promise<void> {
  const dataFolder = mkdtempSync(join(folder, 'tailrace-bench-'));
  const { broker, close } = await startTailrace({ dataFolder, jobs: false });
  const value = new Uint8Array(VALUE_BYTES).fill(97);
  const append = (): Promise<unknown> =>
    broker.appendRecords({ topic: 'busy', records: [{ key: null, value, headers: [] }] });
  await broker.putTopic({ name: 'busy', partitions: 1 });
  await broker.putTopic({ name: 'large', partitions: 1 });
  const { topicId } = await broker.describeTopic('large');
  const records = Array.from({ length: recordsPerBatch }, () => ({ key: null, value, headers: [], timestampMs: 1 }));
  const batch = encodeBatch(records);
  const fill = (): Promise<unknown> => broker.append({ batches: [{ topic: 'large', partition: 0, batch }] });
  const without: number[] = [];
  const during: number[] = [];
  const rates: number[] = [];
  for (let round = 0; round < LARGE_ROUNDS; round++) {
    await measure(64, Math.ceil(LARGE_BYTES / batch.length), fill);
    await broker.idle();
    without.push(await p99While(systemClock.sleep(LARGE_WITHOUT_MS), callers, append));
    const startedMs = performance.now();
    const merge = broker.mergeHead(topicId, 0, { force: true });
    during.push(await p99While(merge, callers, append));
    rates.push(((await merge)?.bytesMerged ?? 0) / 1_000 / (performance.now() - startedMs));
  }
  const [p99Without, p99During] = [median(without), median(during)];
  row(
    `  during merges of ${recordsPerBatch} KiB batches, ${callers} callers`,
    `${(p99During / p99Without).toFixed(2)} x p99`,
    '<= 1.5',
    `p99 ${p99Without.toFixed(2)} ms without, ${p99During.toFixed(2)} ms during merges of 70 MB at ${median(rates).toFixed(0)} MB/s`,
  );
  await close();
  rmSync(dataFolder, { recursive: true });
}

/** The p99 of the calls that are made until `other` has ended. */
async function p99While(other: Promise<unknown>, callers: number, run: () => Promise<unknown>): Promise<number> {
  const latencies: number[] = [];
  let isOver = false;
  const ended = other.finally(() => {
    isOver = true;
  });
  const call = async (): Promise<void> => {
    while (!isOver) {
      const beganMs = performance.now();
      await run();
      latencies.push(performance.now() - beganMs);
    }
  };
  await Promise.all([ended, ...Array.from({ length: callers }, call)]);
  latencies.sort((a, b) => a - b);
  return latencies[Math.floor(latencies.length * 0.99)] ?? 0;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
