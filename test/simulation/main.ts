import { parseArgs } from 'node:util';
import { plantBug } from './bugs/plant-bug.ts';
import { PLANTED_BUGS } from './bugs/planted-bugs.ts';
import type { SeedKind } from './run/run-seeds.ts';

/**
 * `npm run simulate`: runs seeds and tells what they met. Ends with 1 where a promise was broken, having told the seed and
 * the smallest part of it that still breaks the promise.
 */

const HELP = `npm run simulate -- [options]
  --seeds N       how many seeds to run (2,000)
  --first N       the first of them (0)
  --operations N  what each client does at most (no bound)
  --jobs          only seeds with jobs that look after segments; with --transactions its seeds over days, with jobs
  --groups        seeds of a consumer group instead of the log's
  --classic       seeds of a group of Kafka's classic protocol instead
  --kafka         seeds of producers that speak Kafka's protocol instead
  --transactions  seeds of producers with transactional ids instead
  --bug NAME      plant a bug first
  --finds N       find that bug so often, and print only how many seeds it took, as JSON
  --measure       find every bug nine times, and print how many seeds each took; keeps the first seeds for the tests
  --replay RUN    run a seed, or a part of one as it was printed, and print everything that happens in it
  --bugs          list the bugs that can be planted
`;

const { values: options } = parseArgs({
  options: {
    seeds: { type: 'string', default: '2000' },
    first: { type: 'string', default: '0' },
    operations: { type: 'string' },
    jobs: { type: 'boolean', default: false },
    groups: { type: 'boolean', default: false },
    classic: { type: 'boolean', default: false },
    kafka: { type: 'boolean', default: false },
    transactions: { type: 'boolean', default: false },
    bug: { type: 'string' },
    finds: { type: 'string' },
    measure: { type: 'boolean', default: false },
    replay: { type: 'string' },
    bugs: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

function kindOf({ groups, classic, kafka, transactions, jobs }: Readonly<Record<string, unknown>>): SeedKind {
  if (groups) return 'groups';
  if (classic) return 'classic';
  if (transactions) return jobs ? 'transactions_among_jobs' : 'transactions';
  return kafka ? 'kafka' : 'log';
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function refuse(message: string): never {
  process.stderr.write(`${message}\n${HELP}`);
  process.exit(2);
}

function wholeNumber(name: 'seeds' | 'first' | 'operations' | 'finds'): number {
  const value = Number(options[name]);
  if (!Number.isSafeInteger(value) || value < 0) refuse(`--${name} takes a whole number.`);
  return value;
}

if (options.help) {
  print(HELP);
} else if (options.bugs) {
  for (const { name, why } of PLANTED_BUGS) print(`${name}: ${why}`);
} else if (options.measure) {
  const { measureBugs } = await import('./run/measure-bugs.ts');
  await measureBugs(wholeNumber('seeds'), print);
} else {
  const bug = PLANTED_BUGS.find(({ name }) => name === options.bug);
  if (options.bug !== undefined && bug === undefined) refuse(`There is no bug '${options.bug}'; see --bugs.`);
  // Before anything of the product is loaded.
  if (bug !== undefined) plantBug(bug);
  const { findBug, replay, runSeeds } = await import('./run/run-seeds.ts');
  const kind = bug?.of ?? kindOf(options);
  if (options.replay !== undefined) process.exitCode = await replay(options.replay, print, kind);
  else if (bug !== undefined && options.finds !== undefined)
    print(
      JSON.stringify(
        await findBug(bug.name, wholeNumber('first'), wholeNumber('seeds'), wholeNumber('finds'), {
          onlyJobs: options.jobs || bug.isOfJobs,
          kind,
        }),
      ),
    );
  else {
    const operationsMax = options.operations === undefined ? undefined : wholeNumber('operations');
    process.exitCode = await runSeeds(wholeNumber('first'), wholeNumber('seeds'), print, {
      operationsMax,
      onlyJobs: options.jobs,
      kind,
    });
  }
}
