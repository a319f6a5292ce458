import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { PlantedBug } from '../bugs/planted-bug.ts';
import type { Found, SeedKind } from './run-seeds.ts';

const MAIN = fileURLToPath(new URL('../main.ts', import.meta.url));
/** Written by `npm run simulate -- --measure`. */
export const KNOWN_SEEDS = new URL('../bugs/known-seeds.json', import.meta.url);

export interface FindOptions {
  /** How many seeds to look through, from 0 on. */
  readonly seeds: number;
  /** How often each bug is to be found. */
  readonly finds: number;
  /** Seeds that are tried before all others, by bug. */
  readonly known?: Readonly<Record<string, number>>;
}

/** One seed of a consumer group takes as long as dozens of the log's, and one of Kafka's protocol as long as a few. */
const SEEDS_MAX: Readonly<Record<SeedKind, number>> = {
  log: Number.POSITIVE_INFINITY,
  groups: 300,
  classic: 300,
  kafka: 1_000,
  transactions: 2_000,
  transactions_among_jobs: 2_000,
};

/** Bug -> the first seed that met it when the bugs were measured last. Another one meets it once runs are drawn otherwise. */
export function knownSeeds(): Record<string, number> {
  return JSON.parse(readFileSync(KNOWN_SEEDS, 'utf8')) as Record<string, number>;
}

/**
 * Looks for each bug in a process of its own, since it is the source that is changed; as many at once as there are
 * processors. What the processes compile they share. The results are in the order of the bugs.
 */
export async function findBugs(
  bugs: readonly PlantedBug[],
  options: FindOptions,
  tell: (found: Found) => void = () => {},
): Promise<Found[]> {
  const results: Found[] = [];
  const compiled = mkdtempSync(join(tmpdir(), 'tailrace-simulation-'));
  const left = [...bugs.entries()];
  const work = async (): Promise<void> => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const [place, bug] = next;
      const found = await findInProcess(bug, options, compiled);
      tell(found);
      results[place] = found;
    }
  };
  try {
    await Promise.all(Array.from({ length: availableParallelism() }, work));
  } finally {
    rmSync(compiled, { recursive: true, force: true });
  }
  return results;
}

async function findInProcess(
  { name, of }: PlantedBug,
  { seeds, finds, known }: FindOptions,
  compiled: string,
): Promise<Found> {
  const find = async (...range: readonly string[]): Promise<Found> => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [MAIN, '--bug', name, '--finds', String(finds), ...range],
      { env: { ...process.env, NODE_COMPILE_CACHE: compiled }, maxBuffer: 64 * 1024 * 1024 },
    );
    return JSON.parse(stdout) as Found;
  };
  const seed = known?.[name];
  if (seed !== undefined) {
    const again = await find('--first', String(seed), '--seeds', '1');
    if (again.found > 0) return { ...again, first: seed + 1 };
  }
  return find('--seeds', String(Math.min(seeds, SEEDS_MAX[of ?? 'log'])));
}
