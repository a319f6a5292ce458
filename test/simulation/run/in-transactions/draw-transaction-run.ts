import { DEFAULT_SETTINGS } from '../../../../shared/broker/settings.ts';
import { RUN_JOBS } from '../../clients/among-jobs/run-jobs.ts';
import { JOBS_BESIDE, READ_ISOLATED, WRITE_PLAIN } from '../../clients/in-transactions/beside-transactions.ts';
import { DELETE_RECORDS } from '../../clients/in-transactions/delete-records.ts';
import { HOLD_ISOLATED_PLANS } from '../../clients/in-transactions/hold-plans.ts';
import { TRANSACT, TRANSACTION_KEYS } from '../../clients/in-transactions/transact.ts';
import { Chance } from '../../world/chance.ts';
import { drawFaultMix } from '../../world/faults.ts';
import { STREAM } from '../../world/simulated-process.ts';
import { type Conditions, drawJobSettings, type TransactionConditions } from '../../world/world.ts';
import { drawLatency } from '../draw-group-run.ts';
import type { PlannedClient } from '../run-in-world.ts';

const CLIENTS_MAX = 4;
const SKEW_MS_MAX = 120_000;
const LAST_EPOCH = 32_766;
const HOUR_MS = 3_600_000;
/** Longer than an unused transactional id is kept. */
const LONG_UNUSED_MS = 8 * 24 * HOUR_MS;
const KEYS_AMONG_JOBS = [...TRANSACTION_KEYS, 'segments#', 'segments/', 'node#', 'aborted#', 'checkpoint#', 'due#'];

export function drawTransactionConditions(seed: number): Conditions & { readonly transactions: TransactionConditions } {
  const chance = new Chance(seed, STREAM.settings);
  return {
    faults: drawFaultMix(new Chance(seed, STREAM.faults), TRANSACTION_KEYS),
    latency: drawLatency(chance),
    putsBeside: chance.chance(0.25),
    settings: {
      inlineBytesMax: chance.pick([0, 250, DEFAULT_SETTINGS.inlineBytesMax]),
      headCacheMs: chance.pick([0, 1_000, 600_000]),
      topicCacheMs: chance.pick([0, 1_000, 600_000]),
      cacheBytesMax: chance.pick([1, 2_000, 1_000_000]),
      commitTimeoutMs: chance.pick([300, 2_000, DEFAULT_SETTINGS.commitTimeoutMs]),
      checkpointEntries: chance.pick([8, 16, DEFAULT_SETTINGS.checkpointEntries]),
    },
    partitions: [0],
    processes: chance.pick([1, 2, 3]),
    coldRate: chance.pick([0, 0, 0.02, 0.1]),
    skewMs: chance.pick([0, 0, 1_500, SKEW_MS_MAX]),
    healAfterMs: chance.pick([20_000, 40_000, 60_000]),
    tailBefore: 0,
    passingPartitions: 1,
    transactions: {
      freezeMs: chance.pick([5_000, 20_000, 120_000]),
      skewMsMax: SKEW_MS_MAX,
      timeoutMs: chance.pick([100, 2_000, 10_000, 60_000]),
      transactionalIds: chance.pick([1, 1, 2]),
      hasMembers: chance.chance(0.5),
      ...drawIds(new Chance(seed, STREAM.transactionalIds)),
    },
  };
}

/** In some runs the transactional ids are there before: their producers near their last epoch, or not used for long. */
function drawIds(chance: Chance): Pick<TransactionConditions, 'firstEpoch' | 'unusedMs'> {
  const firstEpoch = chance.chance(0.25) ? LAST_EPOCH - chance.below(4) : 0;
  return { firstEpoch, unusedMs: chance.chance(0.1) ? LONG_UNUSED_MS : 0 };
}

export function drawTransactionClients(seed: number): PlannedClient[] {
  const chance = new Chance(seed, STREAM.plan);
  const operations = chance.pick([2, 4, 8]);
  const producers = Array.from({ length: 1 + chance.below(CLIENTS_MAX - 1) }, () => TRANSACT);
  const beside = [READ_ISOLATED, WRITE_PLAIN, JOBS_BESIDE].filter(() => chance.chance(0.6));
  return [...producers, ...beside].map((workload) => ({ workload, operations }));
}

/** Hours for what takes seconds otherwise, and small segments, lists and maps. */
export function drawConditionsAmongJobs(seed: number): ReturnType<typeof drawTransactionConditions> {
  const conditions = drawTransactionConditions(seed);
  const chance = new Chance(seed, STREAM.jobs);
  return {
    ...conditions,
    faults: drawFaultMix(new Chance(seed, STREAM.faults), KEYS_AMONG_JOBS),
    coldRate: chance.pick([0, 0.05, 0.3]),
    skewMs: chance.pick([0, 5_000, SKEW_MS_MAX]),
    healAfterMs: chance.pick([3, 12, 48]) * HOUR_MS,
    jobs: {
      pauseMs: chance.pick([0.2, 1, 4]) * HOUR_MS,
      freezeMs: chance.pick([0.2, 3, 3, 40]) * HOUR_MS,
      mergesBefore: 0,
      theme: 'transactions',
    },
    transactions: { ...conditions.transactions, timeoutMs: chance.pick([2_000, 60_000, 900_000]) },
    settings: { ...conditions.settings, ...drawJobSettings(chance) },
  };
}

export function drawClientsAmongJobs(seed: number): PlannedClient[] {
  const chance = new Chance(seed, STREAM.plan);
  const operations = chance.pick([4, 8, 12]);
  const producers = Array.from({ length: 1 + chance.below(CLIENTS_MAX - 1) }, () => TRANSACT);
  const jobs = Array.from({ length: chance.pick([1, 2]) }, () => RUN_JOBS);
  const beside = [WRITE_PLAIN, READ_ISOLATED, HOLD_ISOLATED_PLANS, DELETE_RECORDS, JOBS_BESIDE].filter(() =>
    chance.chance(0.4),
  );
  return [...producers, ...jobs, ...beside].map((workload) => ({ workload, operations }));
}
