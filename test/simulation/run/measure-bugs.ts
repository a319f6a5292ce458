import { writeFileSync } from 'node:fs';
import { PLANTED_BUGS } from '../bugs/planted-bugs.ts';
import { findBugs, KNOWN_SEEDS } from './find-bugs.ts';
import type { Found } from './run-seeds.ts';

/** So many finds are enough for a median. */
const FINDS = 9;

/** Finds every bug, prints the table of `docs/reliability.md`, and keeps the first seeds for the tests. */
export async function measureBugs(seeds: number, print: (line: string) => void): Promise<void> {
  const bugs = PLANTED_BUGS.filter(({ isRare, isUnmet }) => !isRare && !isUnmet);
  const results = await findBugs(bugs, { seeds, finds: FINDS }, ({ bug, first, median }) => {
    print(`${bug}: ${first ?? 'not found'}, ${median ?? ''}`);
  });
  print('| bug | what it does | first found after | median | promises that it broke |');
  print('| --- | --- | --- | --- | --- |');
  for (const [i, { first, median, promises, found }] of results.entries()) {
    const { name, why } = bugs[i] as (typeof bugs)[number];
    const times = found < FINDS ? ` (${found} times)` : '';
    print(`| \`${name}\` | ${why} | ${first ?? 'not found'} | ${median ?? ''}${times} | ${promises.join(', ')} |`);
  }
  const medians = results.map(({ median = Number.POSITIVE_INFINITY }) => median).sort((a, b) => a - b);
  print(`the median bug takes ${medians[Math.floor(medians.length / 2)]} seeds`);
  writeFileSync(KNOWN_SEEDS, `${JSON.stringify(Object.fromEntries(results.flatMap(knownSeed)), undefined, 2)}\n`);
}

function knownSeed({ bug, first }: Found): [string, number][] {
  return first === undefined ? [] : [[bug, first - 1]];
}
