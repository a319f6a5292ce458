import { setImmediate as turn } from 'node:timers/promises';
import type { FaultKind, FaultPlace } from '../world/faults.ts';
import { hasJobs } from '../world/world.ts';
import { runTransactionsAmongJobs } from './in-transactions/run-among-jobs.ts';
import { runTransactionSeed } from './in-transactions/run-transaction-seed.ts';
import { runClassicSeed, runGroupSeed } from './run-group-seed.ts';
import type { Selection } from './run-in-world.ts';
import { runKafkaSeed } from './run-kafka-seed.ts';
import { CLIENTS_MAX, runSeed } from './run-seed.ts';
import { shrink } from './shrink.ts';

/** What many seeds met together. */
export interface Tally {
  readonly first: number;
  seeds: number;
  seconds: number;
  requests: number;
  commits: number;
  garbage: number;
  acknowledged: number;
  events: number;
  virtualMs: number;
  readonly faults: Map<FaultKind, number>;
  readonly marks: Map<string, number>;
  readonly failed: { readonly seed: number; readonly message: string }[];
}

export interface TallyOptions {
  readonly operationsMax?: number | undefined;
  readonly onlyJobs?: boolean | undefined;
  /** What the seeds are about. */
  readonly kind?: SeedKind | undefined;
}

/** Seeds of consumer groups, of Kafka's protocol and of transactions are others than those of the log. */
export type SeedKind = 'log' | 'groups' | 'classic' | 'kafka' | 'transactions' | 'transactions_among_jobs';

const RUNS: Readonly<Record<SeedKind, typeof runSeed>> = {
  log: runSeed,
  groups: runGroupSeed,
  classic: runClassicSeed,
  kafka: runKafkaSeed,
  transactions: runTransactionSeed,
  transactions_among_jobs: runTransactionsAmongJobs,
};

/** Seeds after each of which others may have their turn. */
const SEEDS_PER_TURN = 20;

/**
 * Runs the seeds `[first, first + seeds)`; stops early once `failuresMax` of them failed. No client does more than
 * `operationsMax` operations. With `onlyJobs`, the other seeds are passed over.
 */
export async function tallySeeds(
  first: number,
  seeds: number,
  failuresMax: number,
  { operationsMax = Number.POSITIVE_INFINITY, onlyJobs = false, kind = 'log' }: TallyOptions = {},
): Promise<Tally> {
  const run = RUNS[kind];
  const operations = new Map(Array.from({ length: CLIENTS_MAX }, (_, client) => [client, operationsMax]));
  const startedNs = process.hrtime.bigint();
  const tally: Tally = {
    first,
    seeds: 0,
    seconds: 0,
    requests: 0,
    commits: 0,
    garbage: 0,
    acknowledged: 0,
    events: 0,
    virtualMs: 0,
    faults: new Map(),
    marks: new Map(),
    failed: [],
  };
  for (let seed = first; seed < first + seeds && tally.failed.length < failuresMax; seed++) {
    if (onlyJobs && kind === 'log' && !hasJobs(seed)) continue;
    const result = await run(seed, { operations });
    tally.seeds++;
    tally.requests += result.requests;
    tally.commits += result.commits;
    tally.garbage += result.garbage;
    tally.events += result.history.length;
    tally.virtualMs += result.virtualMs;
    for (const event of result.history) if (event.f === 'append' && event.type === 'ok') tally.acknowledged++;
    for (const { kind } of result.struck) tally.faults.set(kind, (tally.faults.get(kind) ?? 0) + 1);
    for (const [mark, count] of result.marks) tally.marks.set(mark, (tally.marks.get(mark) ?? 0) + count);
    const [violation] = result.violations;
    if (violation !== undefined) tally.failed.push({ seed, message: `${violation.promise}: ${violation.message}` });
    if (seed % SEEDS_PER_TURN === 0) await turn();
  }
  tally.seconds = Number(process.hrtime.bigint() - startedNs) / 1e9;
  return tally;
}

/** Runs seeds, prints what they met, and answers the exit code. */
export async function runSeeds(
  first: number,
  seeds: number,
  print: (line: string) => void,
  options: TallyOptions = {},
): Promise<number> {
  const tally = await tallySeeds(first, seeds, FAILURES_SHOWN_MAX, options);
  for (const line of summaryOf(tally)) print(line);
  print('faults:');
  for (const [kind, count] of sorted(tally.faults)) print(`${figure(count).padStart(12)}  ${kind}`);
  print('rare states:');
  for (const [mark, count] of sorted(tally.marks)) print(`${figure(count).padStart(12)}  ${mark}`);
  for (const { seed, message } of tally.failed) {
    print(`seed ${seed}: ${message}`);
    await printSmallest(seed, print, options.kind ?? 'log');
  }
  print(tally.failed.length === 0 ? 'clean: no promise was broken' : `${tally.failed.length} seeds broke a promise`);
  return tally.failed.length === 0 ? 0 : 1;
}

export function summaryOf(tally: Tally): string[] {
  const { seeds, requests, seconds } = tally;
  return [
    `${figure(seeds)} seeds from ${tally.first}, ${figure(requests)} storage requests (${(requests / seeds).toFixed(1)} a seed), ` +
      `${figure(tally.virtualMs / 3_600_000)} hours of simulated time`,
    `${figure(tally.acknowledged)} appends acknowledged in ${figure(tally.commits)} commits, ${figure(tally.garbage)} writes left as garbage, ` +
      `${figure(tally.events)} lines of history`,
    `${seconds.toFixed(1)} s on one core: ${figure(seeds / seconds)} seeds/s, ${figure(requests / seconds)} requests/s`,
  ];
}

function figure(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

const FAILURES_SHOWN_MAX = 3;

function sorted<Name extends string>(counts: ReadonlyMap<Name, number>): [Name, number][] {
  return [...counts].sort((a, b) => b[1] - a[1]);
}

async function printSmallest(seed: number, print: (line: string) => void, kind: SeedKind): Promise<void> {
  const { result, selection, runs } = await shrink(seed, RUNS[kind]);
  const operations = [...(selection.operations ?? [])];
  print(`  the smallest part of it that fails, by ${runs} runs:`);
  for (const [client, count] of operations)
    if (count > 0) print(`    client ${client}, ${result.clients[client]?.workload.name}: ${count} operations`);
  for (const { place, kind } of result.struck) print(`    ${kind} at ${place}`);
  print(`    ${result.violations[0]?.promise}: ${result.violations[0]?.message}`);
  print(
    `    ${kind === 'log' ? '' : `--${kind} `}--replay '${JSON.stringify({ seed, operations, faults: [...(selection.faults ?? [])] })}'`,
  );
}

/** A run as it is given to `replay`: a seed, or the smallest failing part of one as it was printed. */
export function parseRun(text: string): { readonly seed: number; readonly selection: Selection } {
  const run = JSON.parse(text) as number | { seed: number; operations?: [number, number][]; faults?: FaultPlace[] };
  const { seed, operations, faults } =
    typeof run === 'number' ? { seed: run, operations: undefined, faults: undefined } : run;
  if (!Number.isSafeInteger(seed) || seed < 0) throw new Error('A seed is a whole number from 0 on.');
  return { seed, selection: { operations: operations && new Map(operations), faults: faults && new Set(faults) } };
}

/** Runs one seed, or a part of it, and prints all that happens in it. */
export async function replay(text: string, print: (line: string) => void, kind: SeedKind = 'log'): Promise<number> {
  const { seed, selection } = parseRun(text);
  const result = await RUNS[kind](seed, selection, print);
  print(JSON.stringify(result.conditions, undefined, 1));
  for (const { workload, operations } of result.clients) print(`client: ${workload.name}, ${operations} operations`);
  for (const event of result.history) print(JSON.stringify(event));
  for (const { promise, message } of result.violations) print(`${promise}: ${message}`);
  print(`trace ${result.traceHash.toString(16)}`);
  return result.violations.length === 0 ? 0 : 1;
}

export interface Found {
  readonly bug: string;
  readonly seeds: number;
  readonly found: number;
  /** Seeds until the bug was found first, and the median of how many it took each time. */
  readonly first: number | undefined;
  readonly median: number | undefined;
  readonly promises: readonly string[];
}

/** How soon seeds find a bug that has been planted, until it has been found `finds` times. */
export async function findBug(
  bug: string,
  first: number,
  seeds: number,
  finds: number,
  options: TallyOptions = {},
): Promise<Found> {
  const { failed, seeds: ran } = await tallySeeds(first, seeds, finds, options);
  const gaps = failed.map(({ seed }, i) => seed - (failed[i - 1]?.seed ?? first - 1)).sort((a, b) => a - b);
  return {
    bug,
    seeds: ran,
    found: failed.length,
    first: failed[0] === undefined ? undefined : failed[0].seed - first + 1,
    median: gaps[Math.floor(gaps.length / 2)],
    promises: [...new Set(failed.map(({ message }) => message.slice(0, message.indexOf(':'))))],
  };
}
