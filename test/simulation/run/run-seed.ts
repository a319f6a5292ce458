import type { Broker } from '../../../shared/broker/broker.ts';
import type { PartitionDescription } from '../../../shared/broker/topics/describe.ts';
import { EventLogError } from '../../../shared/log/errors.ts';
import { TOPICS } from '../../../shared/storage/keys.ts';
import { checkHistory } from '../../history/check-history.ts';
import type { FinalLog, ReadRecord, Violation } from '../../history/history.ts';
import { judgeRemovals } from '../clients/among-jobs/judge-removals.ts';
import { BRIEF_TOPIC, LATEST_TOPIC } from '../clients/among-jobs/removing-topics.ts';
import { HOLD_PLANS, RUN_JOBS } from '../clients/among-jobs/run-jobs.ts';
import { fillBriefTopic, USE_BRIEF_TOPIC } from '../clients/among-jobs/use-brief-topic.ts';
import { fillLatestTopic, USE_LATEST_TOPIC } from '../clients/among-jobs/use-latest-topic.ts';
import { ageTail, Client, LASTING_TOPIC, LONG_AGO_MS } from '../clients/client.ts';
import { FIRST_SUCCESSES } from '../clients/first-successes.ts';
import { READERS } from '../clients/read-along.ts';
import { readToEnd } from '../clients/read-records.ts';
import { ADMINISTER, PASSING_TOPIC } from '../clients/use-topics.ts';
import type { Workload } from '../clients/workload.ts';
import { WORKLOADS, WORKLOADS_AMONG_JOBS } from '../clients/workloads.ts';
import { Chance } from '../world/chance.ts';
import { STREAM } from '../world/simulated-process.ts';
import { drawConditions, hasJobs, jobThemeOf, PARTITION_COUNT, type World } from '../world/world.ts';
import { findGarbage } from './among-jobs/find-garbage.ts';
import { flipBits } from './among-jobs/flip-bits.ts';
import { mergeBefore, runJobsOut } from './among-jobs/run-jobs-out.ts';
import {
  nameOfClient,
  type PlannedClient,
  type RunResult,
  runInWorld,
  type Selection,
  type WorldRun,
} from './run-in-world.ts';

/** Faults are over after so many requests at the latest: where nearly all fail, more of them show nothing new. */
const FAULTY_REQUESTS_MAX = 150;
const FAULTY_REQUESTS_AMONG_JOBS_MAX = 1_000;
/** Once they are over, each kind of operation succeeds within this; */
const FIRST_SUCCESS_MS = 10_000;
/** everything that was begun has ended after this: what a client waits for, some times over; */
const SETTLED_MS = 10 * 60_000;
/** and after this also what was late or stood still. */
const OVER_MS = 20 * 60_000;
/** Processes stand still for hours then. */
const OVER_AMONG_JOBS_MS = 50 * 3_600_000;
/** A run that sends more than this goes round in circles. */
const REQUESTS_MAX = 20_000;

/** Those that run jobs included. */
export const CLIENTS_MAX = 8;
const WORKING_CLIENTS_MAX = 3;

const THEMES_OF_JOBS: Readonly<Record<ReturnType<typeof jobThemeOf>, Workload | undefined>> = {
  all: undefined,
  brief: USE_BRIEF_TOPIC,
  latest: USE_LATEST_TOPIC,
};

function drawClients(seed: number): PlannedClient[] {
  const chance = new Chance(seed, STREAM.plan);
  const count = 2 + chance.below(WORKING_CLIENTS_MAX - 1);
  const operations = chance.pick([1, 1, 2, 2, 3, 4]);
  // The fewer workloads a run has, the more its clients meet each other.
  const workloads = hasJobs(seed) ? WORKLOADS_AMONG_JOBS : WORKLOADS;
  const themes = Array.from({ length: chance.pick([1, 1, 2]) }, () => drawWeighted(chance, workloads));
  const jobTheme = hasJobs(seed) ? THEMES_OF_JOBS[jobThemeOf(seed)] : undefined;
  if (jobTheme !== undefined) themes[0] = jobTheme;
  const clients = Array.from({ length: count }, (_, i) => {
    const theme = themes[i % themes.length] as Workload;
    const others = theme.company === undefined ? READERS : [theme.company];
    return { workload: i > 0 && chance.chance(0.3) ? drawWeighted(chance, others) : theme, operations };
  });
  if (!hasJobs(seed)) return clients;
  const jobs = Array.from({ length: chance.pick([1, 2]) }, () => ({ workload: RUN_JOBS, operations: operations + 1 }));
  const beside = [HOLD_PLANS, USE_BRIEF_TOPIC, ...READERS.slice(0, 1)].filter(() => chance.chance(0.3));
  return [...clients, ...jobs, ...beside.map((workload) => ({ workload, operations }))];
}

function drawWeighted<T extends { readonly weight: number }>(chance: Chance, from: readonly T[]): T {
  return chance.pick(from.flatMap((one) => new Array<T>(one.weight).fill(one)));
}

interface RunOptions {
  readonly faultyRequestsMax?: number;
  readonly mayHaveJobs?: boolean;
  /** What else the log must keep to in the end. */
  readonly judge?: (final: ReadonlyMap<string, FinalLog>, world: World) => readonly Violation[];
}

function judgeNothingMore(): readonly Violation[] {
  return [];
}

/**
 * One run from one seed: faults strike while clients work; then they are over, and everything must get going again and
 * be settled; then everything is read, and the whole history is judged.
 */
export async function runSeed(
  seed: number,
  selection: Selection = {},
  log?: (line: string) => void,
): Promise<RunResult> {
  return runClients(seed, drawClients(seed), selection, log);
}

/** The same for other clients. */
export async function runClients(
  seed: number,
  clients: readonly PlannedClient[],
  selection: Selection,
  log: ((line: string) => void) | undefined,
  { faultyRequestsMax = FAULTY_REQUESTS_MAX, mayHaveJobs = true, judge = judgeNothingMore }: RunOptions = {},
): Promise<RunResult> {
  const conditions = drawConditions(
    seed,
    clients.flatMap(({ workload }) => workload.keys),
    mayHaveJobs,
  );
  const { jobs } = conditions;
  const final = new Map<string, FinalLog>();
  const live = async (run: WorldRun): Promise<void> => {
    const { world } = run;
    const before = world.plainBroker({ stuckTail: true });
    const config = jobs === undefined ? {} : { config: { 'retention.ms': -1 } };
    await before.putTopic({ name: LASTING_TOPIC, partitions: PARTITION_COUNT, ...config });
    await prepare(world, clients);
    if (jobs !== undefined) await mergeBefore(world, jobs.mergesBefore);
    if (jobs?.theme === 'latest') await fillLatestTopic(world, jobs.mergesBefore);
    if (jobs?.theme === 'brief') await fillBriefTopic(world, jobs.mergesBefore);
    await ageTail(world, before, 0, conditions.tailBefore - (jobs === undefined ? world.watch.commits : 0));
    await run.workUnderFaults(jobs === undefined ? faultyRequestsMax : FAULTY_REQUESTS_AMONG_JOBS_MAX);
    const failing = await tryAgain(world);
    if (failing !== undefined)
      run.broken('R18', `No ${failing} succeeded within ${FIRST_SUCCESS_MS} ms after all faults.`);
    const endMs = world.loop.nowMs + SETTLED_MS;
    await world.loop.run(() => run.working === 0 || world.loop.nowMs > endMs || run.isEndless);
    if (run.working > 0) run.broken('R18', `${run.working} clients are not done ${SETTLED_MS} ms after all faults.`);
    if (clients.some(({ workload }) => workload.keys.includes(TOPICS))) await lookAround(world);
    if (clients.some(({ workload }) => workload === ADMINISTER)) await describeAtLast(world);
    // What is late arrives now, and what clients no longer wait for comes to its end.
    const lastMs = world.loop.nowMs + (jobs === undefined ? OVER_MS : OVER_AMONG_JOBS_MS);
    const goesOn = await world.loop.run(() => world.loop.nowMs > lastMs || run.isEndless);
    if (goesOn) run.broken('R18', 'Something still goes on long after the last client was done.');
    if (jobs !== undefined && !run.isEndless) {
      for (const wrong of await runJobsOut(world)) run.broken('R18', wrong);
      for (const left of findGarbage(world)) run.broken('R16', left);
    }
    const after = world.plainBroker();
    if (jobs !== undefined) run.violations.push(...(await judgeRemovals(world, after)));
    for (const topic of [LASTING_TOPIC, PASSING_TOPIC]) final.set(topic, await readTopic(after, topic));
    if (jobs !== undefined) {
      const topics = [LASTING_TOPIC, BRIEF_TOPIC, LATEST_TOPIC].filter(
        (topic) => world.watch.topicId(topic) !== undefined,
      );
      for (const wrong of await flipBits(world, topics)) run.broken('R20', wrong);
    }
  };
  const judgeAll = (world: World): Violation[] => {
    const violations = [...judge(final, world)];
    try {
      violations.push(...checkHistory(world.history, final));
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      violations.push({ promise: 'R1', message: `Clients were told what makes no sense: ${message}` });
    }
    return violations;
  };
  return runInWorld({ seed, clients, conditions, requestsMax: REQUESTS_MAX }, selection, log, live, judgeAll);
}

async function prepare(world: World, clients: readonly PlannedClient[]): Promise<void> {
  if (!clients.some(({ workload }) => workload.prepare !== undefined)) return;
  const broker = world.plainBroker({ agoMs: LONG_AGO_MS });
  for (const [i, { workload }] of clients.entries()) await workload.prepare?.(world, broker, nameOfClient(workload, i));
}

/** Tries one kind of operation, another in each run, until it has succeeded; answers its name if it did not in time. */
async function tryAgain(world: World): Promise<string | undefined> {
  const { name, attempt } = drawWeighted(new Chance(world.seed, STREAM.heal), FIRST_SUCCESSES);
  const client = new Client(world, HEALED_CLIENT, 'healed');
  const endMs = world.loop.nowMs + FIRST_SUCCESS_MS;
  let succeeded = false;
  const trying = async (): Promise<void> => {
    while (!succeeded && world.loop.nowMs <= endMs) {
      succeeded = await attempt(client);
      if (!succeeded) await client.rest();
    }
  };
  void trying();
  await world.loop.run(() => succeeded || world.loop.nowMs > endMs);
  return succeeded ? undefined : name;
}

/** Clients beside those that were drawn. */
const HEALED_CLIENT = 1_000;
const LOOKING_CLIENT = 1_001;
/** Asks every process for the ends of the topic that came and went: none may tell what it remembers. */
async function lookAround(world: World): Promise<void> {
  const client = new Client(world, LOOKING_CLIENT, 'looking');
  let looking = world.slotCount;
  for (let slot = 0; slot < world.slotCount; slot++) {
    void client.end(PASSING_TOPIC, world.conditions.partitions[0] as number, slot).finally(() => {
      looking--;
    });
  }
  await world.loop.run(() => looking === 0);
}

/** What every change has come to. */
async function describeAtLast(world: World): Promise<void> {
  let isDone = false;
  void new Client(world, LOOKING_CLIENT, 'looking').describe(LASTING_TOPIC).finally(() => {
    isDone = true;
  });
  await world.loop.run(() => isDone);
}

/** Nothing where there is no such topic. */
async function readTopic(broker: Broker, topic: string): Promise<FinalLog> {
  const log = new Map<number, ReadRecord[]>();
  let partitions: readonly PartitionDescription[];
  try {
    partitions = await broker.describePartitions(topic);
  } catch (error) {
    if (error instanceof EventLogError && error.code === 'unknown_topic') return log;
    throw error;
  }
  for (const { partition, highWatermark } of partitions) {
    if (highWatermark > 0) log.set(partition, await readToEnd(broker, topic, partition));
  }
  return log;
}
