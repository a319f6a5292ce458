import { parseArgs } from 'node:util';
import { type SearchResult, search } from '../search/search.ts';
import { PLANTED_FLAWS } from './flaws.ts';
import { CommitProtocol } from './protocol.ts';
import { LARGE_SCENARIOS, SCENARIOS, type Scenario } from './scenarios.ts';

/** Goes through every state of the commit protocol, and shows how each planted flaw is found. `--large` takes minutes. */

const { values: options } = parseArgs({ options: { large: { type: 'boolean', default: false } } });
const STATES_MAX = 16_000_000;

const scenarios: readonly Scenario[] = [...Object.values(SCENARIOS), ...(options.large ? LARGE_SCENARIOS : [])];
for (const scenario of scenarios) {
  const startMs = performance.now();
  const result = search(new CommitProtocol(scenario), { statesMax: STATES_MAX, endlessRuns: true });
  const seconds = ((performance.now() - startMs) / 1_000).toFixed(1);
  const { states, steps, depth, ends } = result;
  write(
    `${scenario.name.padEnd(30)}${states} states, ${steps} steps, ${depth} deep, ${ends} ends, ${seconds} s: ${verdict(result)}`,
  );
}
for (const { flaw, scenario } of PLANTED_FLAWS) {
  const result = search(new CommitProtocol(scenario, flaw), { statesMax: STATES_MAX, endlessRuns: true });
  write(`\n${flaw} (${scenario.name}): ${verdict(result)}`);
  for (const [i, step] of (result.violation?.trace ?? []).entries()) write(`${String(i + 1).padStart(4)}  ${step}`);
}

function verdict({ violation }: SearchResult): string {
  return violation === undefined ? 'no violation' : violation.what;
}

function write(line: string): void {
  process.stdout.write(`${line}\n`);
}
