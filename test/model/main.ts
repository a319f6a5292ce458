import { parseArgs } from 'node:util';
import { PLANTED_FLAWS as COMMIT_FLAWS } from './commit-protocol/flaws.ts';
import { CommitProtocol } from './commit-protocol/protocol.ts';
import { SCENARIOS as COMMITS, LARGE_SCENARIOS as LARGE_COMMITS } from './commit-protocol/scenarios.ts';
import { type Model, type SearchResult, search } from './search/search.ts';
import { PLANTED_FLAWS as TRANSACTION_FLAWS } from './transaction-protocol/flaws.ts';
import { TransactionProtocol } from './transaction-protocol/protocol.ts';
import { LARGE_SCENARIOS as LARGE_TRANSACTIONS, SCENARIOS as TRANSACTIONS } from './transaction-protocol/scenarios.ts';

/**
 * Goes through every state of the commit protocol, or with `--transactions` of transactions, and shows how each planted flaw is
 * found. `--large` takes minutes.
 */

const { values: options } = parseArgs({
  options: { large: { type: 'boolean', default: false }, transactions: { type: 'boolean', default: false } },
});
const STATES_MAX = 16_000_000;

if (options.transactions)
  explore(
    [...Object.values(TRANSACTIONS), ...(options.large ? LARGE_TRANSACTIONS : [])],
    TRANSACTION_FLAWS,
    (scenario, flaw) => new TransactionProtocol(scenario, flaw),
  );
else
  explore(
    [...Object.values(COMMITS), ...(options.large ? LARGE_COMMITS : [])],
    COMMIT_FLAWS,
    (scenario, flaw) => new CommitProtocol(scenario, flaw),
  );

function explore<Scenario extends { readonly name: string }, Flaw>(
  scenarios: readonly Scenario[],
  planted: readonly { readonly flaw: Flaw; readonly scenario: Scenario }[],
  modelOf: (scenario: Scenario, flaw?: Flaw) => Model,
): void {
  let all = 0;
  for (const scenario of scenarios) {
    const startMs = performance.now();
    const result = search(modelOf(scenario), { statesMax: STATES_MAX, endlessRuns: true });
    const seconds = ((performance.now() - startMs) / 1_000).toFixed(1);
    const { states, steps, depth, ends } = result;
    all += states;
    write(
      `${scenario.name.padEnd(30)}${states} states, ${steps} steps, ${depth} deep, ${ends} ends, ${seconds} s: ${verdict(result)}`,
    );
  }
  write(`${all} states in all`);
  for (const { flaw, scenario } of planted) {
    const result = search(modelOf(scenario, flaw), { statesMax: STATES_MAX, endlessRuns: true });
    write(`\n${flaw} (${scenario.name}): ${verdict(result)}`);
    for (const [i, step] of (result.violation?.trace ?? []).entries()) write(`${String(i + 1).padStart(4)}  ${step}`);
  }
}

function verdict({ violation }: SearchResult): string {
  return violation === undefined ? 'no violation' : violation.what;
}

function write(line: string): void {
  process.stdout.write(`${line}\n`);
}
