import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { startTailrace } from '../../shared/local/start.ts';
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

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
