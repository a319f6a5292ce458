import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import * as nodeFileSystem from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Broker } from '../../../shared/broker/broker.ts';
import { GRACE_MS } from '../../../shared/broker/jobs/grace.ts';
import { addCounts, dollars, noRequests, type RequestCounts } from '../../../shared/broker/usage/request-counts.ts';
import { type DataFolder, openDataFolderOn } from '../../../shared/storage/file/data-folder.ts';
import type { FileSystem, OpenFile } from '../../../shared/storage/file/file-system.ts';
import { SqliteItemStore } from '../../../shared/storage/file/item-store.ts';
import type { Clock } from '../../../shared/storage/ports.ts';
import { systemClock } from '../../../shared/storage/system/clock.ts';
import { systemRandom } from '../../../shared/storage/system/random.ts';
import { count, row } from '../measure.ts';

/**
 * `npm run bench:retention`: drops 100,000 expired segments of 10,000 partitions in the embedded log, and deletes their
 * files half an hour later. Each step runs in a process of its own, over the real files and SQLite, synced as in production.
 * Only the segments are made without syncs, as nobody waits for that in production.
 */

const TOPIC = 'bench';
const PARTITIONS = 10_000;
const PARTITIONS_PER_HEAD = 16;
const HEADS = PARTITIONS / PARTITIONS_PER_HEAD;
const SEGMENTS_PER_PARTITION = 10;
const SEGMENTS = PARTITIONS * SEGMENTS_PER_PARTITION;
/** So many appends to each head: a partition has a record in ten of them, and `segment.ms` makes each a segment. */
const ROUNDS = 16;
const VALUE_BYTES = 200;
/** For the making: appends and merges of many heads at once share the syncs of SQLite. */
const HEADS_AT_ONCE = 625;

const DAY_MS = 24 * 3_600_000;
const RETENTION_MS = DAY_MS;
/** The segments are made so long ago. */
const AGE_MS = 10 * DAY_MS;

const SECONDS_MAX = 60;
const MEGABYTES_MAX = 200;

type Step = 'make' | 'expire' | 'sweep';

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tailrace-bench-retention-'));
  try {
    for (const step of ['make', 'expire', 'sweep'] as const satisfies readonly Step[]) {
      const child = fork(import.meta.filename, [step, folder]);
      const [code] = await once(child, 'exit');
      if (code !== 0) throw new Error(`The step ${step} failed.`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function runStep(step: Step, folder: string): Promise<void> {
  if (step === 'make') await make(folder);
  else if (step === 'expire') await measured(folder, step, 0, expire);
  else await measured(folder, step, GRACE_MS + 60_000, sweep);
}

async function make(folder: string): Promise<void> {
  const startedMs = performance.now();
  const { clock, advance } = shiftedClock(-AGE_MS);
  const { broker, close } = await open(folder, clock, withoutSyncs());
  const { topic } = await broker.putTopic({
    name: TOPIC,
    partitions: PARTITIONS,
    config: { 'retention.ms': RETENTION_MS, 'segment.ms': 1 },
  });
  const heads = Array.from({ length: HEADS }, (_, headNumber) => headNumber);
  const value = new Uint8Array(VALUE_BYTES).fill(97);
  for (let round = 0; round < ROUNDS; round++) {
    await eachAtOnce(heads, async (headNumber) => {
      const slots = Array.from({ length: PARTITIONS_PER_HEAD }, (_, slot) => slot).filter(
        (slot) => (slot + round) % PARTITIONS_PER_HEAD < SEGMENTS_PER_PARTITION,
      );
      const records = slots.map((slot) => ({
        key: null,
        value,
        headers: [],
        partition: headNumber * PARTITIONS_PER_HEAD + slot,
      }));
      const failed = (await broker.appendRecords({ topic: TOPIC, records })).find((outcome) => !outcome.ok);
      if (failed !== undefined) throw failed.error;
    });
    advance(10);
  }
  await broker.idle();
  let segments = 0;
  await eachAtOnce(heads, async (headNumber) => {
    const merged = await broker.mergeHead(topic.topicId, headNumber, { force: true });
    segments += merged?.segmentsWritten ?? 0;
  });
  if (segments !== SEGMENTS) throw new Error(`${segments} segments were made where ${SEGMENTS} were expected.`);
  // What was merged is deleted here, so that the step `sweep` is about segments.
  advance(2 * GRACE_MS);
  const { blocked, error } = await broker.runSweeps();
  if (blocked > 0) throw error;
  await close();
  const seconds = ((performance.now() - startedMs) / 1_000).toFixed(0);
  process.stdout.write(
    `${count(segments)} segments of ${count(PARTITIONS)} partitions (${HEADS} heads), made in ${seconds} s without syncs\n\n`,
  );
}

interface Done {
  readonly segments: number;
  readonly complete: boolean;
}

async function expire(broker: Broker): Promise<Done> {
  const { results, blocked, error, complete } = await broker.runRetention();
  if (blocked > 0) throw error;
  // Each segment has one record.
  return { segments: results.reduce((sum, { offsetsExpired }) => sum + offsetsExpired, 0), complete };
}

async function sweep(broker: Broker): Promise<Done> {
  const { results, blocked, error, complete } = await broker.runSweeps();
  if (blocked > 0) throw error;
  return { segments: results.reduce((sum, { garbageDeleted }) => sum + garbageDeleted, 0), complete };
}

async function measured(
  folder: string,
  step: Step,
  shiftMs: number,
  run: (broker: Broker) => Promise<Done>,
): Promise<void> {
  const { broker, close } = await open(folder, shiftedClock(shiftMs).clock, nodeFileSystem);
  const megabytesBefore = process.memoryUsage().rss / 1_000_000;
  const startedMs = performance.now();
  const cpuBefore = process.cpuUsage();
  const { segments, complete } = await run(broker);
  const { user, system } = process.cpuUsage(cpuBefore);
  const seconds = (performance.now() - startedMs) / 1_000;
  // The largest that the process ever had, by the kernel's own count in KiB.
  const megabytes = (process.resourceUsage().maxRSS * 1_024) / 1_000_000;
  await close();
  if (segments !== SEGMENTS || !complete) throw new Error(`${segments} of ${SEGMENTS} segments were done.`);
  const requests = noRequests();
  for (const { counts } of broker.usage()) addCounts(requests, counts);
  const what = step === 'expire' ? 'retention drops 100,000 segments' : 'sweep deletes them';
  const cpuSeconds = (user + system) / 1e6;
  row(what, `${seconds.toFixed(1)} s`, `< ${SECONDS_MAX} s`, `${cpuSeconds.toFixed(1)} s of CPU time`);
  row(
    '  largest resident memory',
    `${megabytes.toFixed(0)} MB`,
    `< ${MEGABYTES_MAX} MB`,
    `${megabytesBefore.toFixed(0)} MB before the run`,
  );
  row('  the same requests on AWS', `$${dollars(requests).toFixed(4)}`, '', requestsLine(requests));
}

function requestsLine(requests: RequestCounts): string {
  return Object.entries(requests)
    .filter(([name, value]) => value > 0 && !name.startsWith('bytes'))
    .map(([name, value]) => `${name} ${count(value)}`)
    .join(', ');
}

async function open(
  folder: string,
  clock: Clock,
  fileSystem: FileSystem,
): Promise<{ readonly broker: Broker; readonly close: () => Promise<void> }> {
  const data: DataFolder = await openDataFolderOn({ fileSystem, openItems: SqliteItemStore.open }, folder);
  const broker = new Broker({
    ...data,
    clock,
    random: systemRandom,
    settings: { topicCacheMs: 60_000, groupsWritingMax: HEADS_AT_ONCE },
  });
  return {
    broker,
    close: async () => {
      await broker.close();
      await data.close();
    },
  };
}

/** The machine's clock, some time away from now. */
function shiftedClock(shiftMs: number): { readonly clock: Clock; readonly advance: (ms: number) => void } {
  let ms = shiftMs;
  return {
    clock: { ...systemClock, nowMs: () => systemClock.nowMs() + ms },
    advance: (by) => {
      ms += by;
    },
  };
}

/** The machine's file system, where nothing waits for the disk. */
function withoutSyncs(): FileSystem {
  const open = async (path: string, flags: 'r' | 'wx', mode?: number): Promise<OpenFile> => {
    const file = await nodeFileSystem.open(path, flags, mode);
    file.sync = async () => {};
    file.datasync = async () => {};
    return file;
  };
  return { ...nodeFileSystem, open };
}

async function eachAtOnce<T>(all: readonly T[], run: (one: T) => Promise<void>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: HEADS_AT_ONCE }, async () => {
      while (next < all.length) await run(all[next++] as T);
    }),
  );
}

const [step, folder] = process.argv.slice(2);
if (step === undefined || folder === undefined) await main();
else await runStep(step as Step, folder);
