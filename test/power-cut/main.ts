import { parseArgs } from 'node:util';
import { plantBug } from '../simulation/bugs/plant-bug.ts';
import { PLANTED_POWER_CUT_BUGS } from './planted-bugs.ts';

/** `npm run power-cut`: cuts the power beneath the file stores. Ends with 1 where something acknowledged was lost. */

const HELP = `npm run power-cut -- [options]
  --seeds N   how many seeds to run (1,000)
  --first N   the first of them (0)
  --bug NAME  plant a bug first
  --until N   stop once so many seeds have failed (3)
  --bugs      list the bugs that can be planted
`;

const { values: options } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    first: { type: 'string', default: '0' },
    until: { type: 'string', default: '3' },
    bug: { type: 'string' },
    bugs: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

function refuse(message: string): never {
  process.stderr.write(`${message}\n${HELP}`);
  process.exit(2);
}

function wholeNumber(name: 'seeds' | 'first' | 'until'): number {
  const value = Number(options[name]);
  if (!Number.isSafeInteger(value) || value < 0) refuse(`--${name} takes a whole number.`);
  return value;
}

if (options.help) process.stdout.write(HELP);
else if (options.bugs) for (const { name, why } of PLANTED_POWER_CUT_BUGS) process.stdout.write(`${name}: ${why}\n`);
else {
  const bug = PLANTED_POWER_CUT_BUGS.find(({ name }) => name === options.bug);
  if (options.bug !== undefined && bug === undefined) refuse(`There is no bug '${options.bug}'; see --bugs.`);
  // Before anything of the product is loaded.
  if (bug !== undefined) plantBug(bug);
  const { tallyPowerCuts } = await import('./run-seeds.ts');
  const tally = await tallyPowerCuts(wholeNumber('first'), wholeNumber('seeds'), wholeNumber('until'));
  for (const { seed, message } of tally.failed) process.stdout.write(`seed ${seed}: ${message}\n`);
  const { failed, ...counts } = tally;
  process.stdout.write(`${JSON.stringify({ ...counts, failed: failed.length })}\n`);
  process.exitCode = failed.length === 0 ? 0 : 1;
}
