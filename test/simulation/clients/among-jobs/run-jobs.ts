import { EventLogError } from '../../../../shared/log/errors.ts';
import { TAIL_NODE_ENTRIES } from '../../../../shared/log/head/head.ts';
import type { JobTheme } from '../../world/world.ts';
import { type Client, LASTING_TOPIC } from '../client.ts';
import { writePlainTo } from '../in-transactions/beside-transactions.ts';
import { STAYING } from '../in-transactions/transaction-topics.ts';
import type { Workload } from '../workload.ts';
import { jobsOf, type NamedJob, SWEEP } from './jobs.ts';
import { BRIEF_TOPIC, HOUR_MS, LATEST_TOPIC } from './removing-topics.ts';
import { appendAged } from './use-brief-topic.ts';
import { appendUnderKeys } from './use-latest-topic.ts';

/** Runs jobs now and then, some of them twice at once, by processes that serve nothing else. */
async function runJobs(client: Client, operations: number): Promise<void> {
  const { chance } = client;
  const theme = client.world.conditions.jobs?.theme ?? 'all';
  const jobs = jobsOf(theme).flatMap((one) => new Array<NamedJob>(one.weights[theme] ?? 0).fill(one));
  for (let i = 0; i < operations * 3; i++) {
    if (chance.chance(0.4)) await client.rest();
    else await client.pause();
    if (chance.chance(0.3)) await fillNode(client, theme);
    const job = chance.pick(jobs);
    const isForced = job.name === 'merge' && chance.chance(0.5);
    const run = isForced ? await forcedMerge(client) : job.run;
    if (chance.chance(0.1)) await outrun(client, job.name, run, jobs);
    const runs = [runJob(client, job.name, run)];
    if (chance.chance(0.3)) runs.push(runJob(client, job.name, run));
    if (chance.chance(0.7)) await Promise.all(runs);
    else client.tracks(Promise.all(runs).then(() => {}));
  }
  await client.tracked();
}

/** A job stands still in the middle. Meanwhile another one runs, and sweeps take for dead what the first has announced. */
async function outrun(client: Client, name: string, run: NamedJob['run'], jobs: readonly NamedJob[]): Promise<void> {
  const { chance, world } = client;
  const afterMs = world.conditions.latency.usualMs * chance.below(STEPS_MAX);
  world.freezeLater(STUCK_SLOT, afterMs, chance.pick([1, 3, 3, 6]) * HOUR_MS);
  client.tracks(runJob(client, name, run, STUCK_SLOT));
  for (const other of [chance.pick(jobs), SWEEP, SWEEP]) {
    // What a sweep finds to be dead is deleted half an hour later.
    await world.pause((0.52 + chance.next() * 0.2) * HOUR_MS);
    await runJob(client, other.name, other.run);
  }
}

/** A job sends up to about as many requests. */
const STEPS_MAX = 40;

/** Appends so much that the tail of the first head is moved. */
async function fillNode(client: Client, theme: JobTheme): Promise<void> {
  for (let i = 0; i < TAIL_NODE_ENTRIES; i++) {
    if (theme === 'latest') await appendUnderKeys(client, 0, 3);
    else if (theme === 'brief') await appendAged(client, 0);
    else if (theme === 'transactions') await writePlainTo(client, { topic: 'a', partition: 0 });
    else await client.append({ topic: LASTING_TOPIC, records: [{ value: client.value(false), partition: 0 }] });
  }
}

/** Processes that run jobs: behind all that serve clients. */
const JOB_SLOTS = 100;
const JOB_PROCESSES = 3;
const STUCK_SLOT = JOB_SLOTS + JOB_PROCESSES;
/** A function ends after this. */
const JOB_MS_MAX = 5 * 60_000;

async function runJob(
  client: Client,
  name: string,
  run: NamedJob['run'],
  slot = JOB_SLOTS + client.chance.below(JOB_PROCESSES),
): Promise<void> {
  const reply = await client.send(run, slot, JOB_MS_MAX);
  const error = reply.type === 'error' ? reply.error : reply.type === 'answer' ? reply.value.error : undefined;
  const isFine = error instanceof EventLogError && (error.code === 'throttled' || error.code === 'storage_unavailable');
  if (error !== undefined && !isFine) client.surprise(`job ${name}: ${error.message}`);
}

const MERGED_TOPICS: Readonly<Record<JobTheme, readonly string[]>> = {
  all: [LASTING_TOPIC, LASTING_TOPIC, BRIEF_TOPIC, LATEST_TOPIC],
  brief: [BRIEF_TOPIC],
  latest: [LATEST_TOPIC],
  transactions: STAYING.map(({ name }) => name),
};

/** Merges a head of a topic whether that is due or not. */
async function forcedMerge(client: Client): Promise<NamedJob['run']> {
  const { conditions, watch } = client.world;
  const topics = MERGED_TOPICS[conditions.jobs?.theme ?? 'all'];
  const topicId = watch.topicId(client.chance.pick(topics));
  if (topicId === undefined) return async () => ({});
  const headNumber = topics.length === 1 || client.chance.chance(0.8) ? 0 : 1;
  // Nothing points a job to a head that has never taken an entry.
  if (watch.jobs?.facts.head(topicId, headNumber).entries.length === 0) return async () => ({});
  return async (broker) => {
    await broker.mergeHead(topicId, headNumber, { force: true });
    return {};
  };
}

export const RUN_JOBS: Workload = {
  name: 'run-jobs',
  weight: 1,
  keys: ['segments#', 'segments/', 'head#', 'node#', 'checkpoint#', 'use#', 'due#', 'batch#'],
  run: runJobs,
};

/** Takes fetch plans, whose URLs may be used for minutes. */
async function holdPlans(client: Client, operations: number): Promise<void> {
  for (let i = 0; i < operations * 2; i++) {
    await client.pause();
    const partition = client.chance.pick(client.partitions);
    const end = (await client.end(LASTING_TOPIC, partition)) ?? 0;
    const offset = client.chance.chance(0.7) ? 0 : client.chance.below(end + 1);
    await client.ask((broker) => broker.planFetch({ topic: LASTING_TOPIC, partitions: [{ partition, offset }] }), '');
  }
}

export const HOLD_PLANS: Workload = { name: 'hold-plans', weight: 1, keys: ['segments#'], run: holdPlans };
