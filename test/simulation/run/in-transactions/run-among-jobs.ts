import type { Broker } from '../../../../shared/broker/broker.ts';
import { judgeRemovals } from '../../clients/among-jobs/judge-removals.ts';
import { drawRetention } from '../../clients/among-jobs/use-brief-topic.ts';
import { drawCompaction } from '../../clients/among-jobs/use-latest-topic.ts';
import { STAYING } from '../../clients/in-transactions/transaction-topics.ts';
import { Chance } from '../../world/chance.ts';
import { STREAM } from '../../world/simulated-process.ts';
import { findGarbage } from '../among-jobs/find-garbage.ts';
import { flipBits } from '../among-jobs/flip-bits.ts';
import { pass, runJobsOut } from '../among-jobs/run-jobs-out.ts';
import type { RunResult, Selection, WorldRun } from '../run-in-world.ts';
import { drawClientsAmongJobs, drawConditionsAmongJobs } from './draw-transaction-run.ts';
import { getAllThrough, runTransactions } from './run-transaction-seed.ts';

const FAULTY_REQUESTS_MAX = 3_000;
const REQUESTS_MAX = 40_000;
/** Processes stand still for hours. */
const OVER_MS = 50 * 3_600_000;
/** Transactional ids that nobody uses for a week are given up. */
const UNUSED_MS = 7.5 * 24 * 3_600_000;
const TOPICS: readonly string[] = STAYING.map(({ name }) => name);

/**
 * As a run of transactions, but over hours and days, in which jobs merge, expire, compact, sweep and verify. In the end they run
 * for some days, and what is left is what the settings of the topics say.
 */
export function runTransactionsAmongJobs(
  seed: number,
  selection: Selection = {},
  log?: (line: string) => void,
): Promise<RunResult> {
  const chance = new Chance(seed, STREAM.topics);
  const configs = new Map(TOPICS.map((topic) => [topic, drawConfig(chance)]));
  return runTransactions(
    {
      seed,
      conditions: drawConditionsAmongJobs(seed),
      clients: drawClientsAmongJobs(seed),
      requestsMax: REQUESTS_MAX,
    },
    {
      selection,
      log,
      faultyRequestsMax: FAULTY_REQUESTS_MAX,
      configOf: (topic) => configs.get(topic),
      afterwards: (run, plain) => runOut(run, plain, chance.chance(0.3)),
    },
  );
}

function drawConfig(chance: Chance) {
  const kind = chance.below(10);
  if (kind < 6) return drawCompaction(chance);
  return kind < 9 ? drawRetention(chance) : { 'retention.ms': -1 };
}

async function runOut(run: WorldRun, plain: Broker, isUnused: boolean): Promise<void> {
  const { world } = run;
  if (isUnused) await leaveUnused(run, plain);
  await pass(world, OVER_MS);
  for (const wrong of await runJobsOut(world)) run.broken('R18', wrong);
  for (const left of findGarbage(world)) run.broken('R16', left);
  run.violations.push(...(await judgeRemovals(world, plain, TOPICS)));
  for (const wrong of await flipBits(world, TOPICS)) run.broken('R20', wrong);
}

/** A sweep gives up the transactional ids; then producers begin again. */
async function leaveUnused(run: WorldRun, plain: Broker): Promise<void> {
  const { transactions } = run.world.watch;
  await pass(run.world, UNUSED_MS);
  await plain.sweepTransactions();
  for (const id of transactions?.usedIds ?? [])
    run.broken('R19', `Nobody used ${id} for a week, and a sweep has left it.`);
  await getAllThrough(run);
}
