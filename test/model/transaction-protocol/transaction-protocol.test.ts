import { describe, expect, it } from 'vitest';
import { type SearchResult, search } from '../search/search.ts';
import { PLANTED_FLAWS, REDUNDANT_GUARDS } from './flaws.ts';
import { OCCASIONS } from './occasions.ts';
import { TransactionProtocol } from './protocol.ts';
import { SCENARIOS, type Scenario } from './scenarios.ts';

/**
 * Transactions, in every state that they can get into within the bounds of `scenarios.ts`: a producer and a zombie, three heads,
 * whoever is held up, processes that die, and a network that delays, repeats and loses. `npm run model -- --transactions` shows
 * the flaws' traces.
 */

const STATES_MAX = 2_000_000;

/** That every run ends is looked for in these; `main.ts` does in all. */
const SMALL: readonly Scenario[] = [SCENARIOS.alone, SCENARIOS.oneHead, SCENARIOS.moves, SCENARIOS.two];

function run(model: TransactionProtocol, name: string, endlessRuns: boolean): SearchResult {
  const startMs = performance.now();
  const result = search(model, { statesMax: STATES_MAX, endlessRuns });
  const seconds = ((performance.now() - startMs) / 1_000).toFixed(1);
  const { states, steps, violation } = result;
  const found = violation === undefined ? '' : `, then in ${violation.trace.length} steps: ${violation.what}`;
  process.stdout.write(`${name}: ${states} states, ${steps} steps, ${seconds} s${found}\n`);
  return result;
}

describe('transactions', () => {
  it('keep every promise in a million states', () => {
    const occasions = new Set<string>();
    let states = 0;
    for (const scenario of Object.values(SCENARIOS)) {
      const model = new TransactionProtocol(scenario);
      const result = run(model, scenario.name, SMALL.includes(scenario));
      expect(result.violation, scenario.name).toBeUndefined();
      for (const occasion of model.occasions) occasions.add(occasion);
      states += result.states;
    }
    process.stdout.write(`${states} states in all\n`);
    expect(states).toBeGreaterThan(1_000_000);
    expect([...occasions].sort()).toEqual([...OCCASIONS].sort());
  }, 120_000);

  it.each(PLANTED_FLAWS)('are found out where $flaw', ({ flaw, scenario, violation }) => {
    const result = run(new TransactionProtocol(scenario, flaw), flaw, true);
    expect(result.violation?.what).toMatch(violation);
  });

  it.each(REDUNDANT_GUARDS)('are not where $flaw, because of $beside', ({ flaw }) => {
    expect(run(new TransactionProtocol(SCENARIOS.two, flaw), flaw, true).violation).toBeUndefined();
  });

  it('show the same where what has no effect is left out', () => {
    const clients = [
      { ...SCENARIOS.alone.clients[0], transactions: [{ places: ['a', 'b'], ends: ['committed'] }] },
    ] as const;
    const inFull: Scenario = { ...SCENARIOS.alone, clients, reduced: false, moves: true, remembers: true };
    const all = everythingVisible(inFull);
    const reduced = everythingVisible({ ...inFull, reduced: true, moves: false, remembers: false });
    expect(reduced.visible).toEqual(all.visible);
    process.stdout.write(`${reduced.states} of ${all.states} states\n`);
    expect(reduced.states).toBeLessThan(all.states);
  });
});

function everythingVisible(scenario: Scenario): { visible: Set<string>; states: number } {
  const visible = new Set<string>();
  const model = new TransactionProtocol(scenario);
  const { states } = search(
    {
      stateBytes: model.stateBytes,
      initial: model.initial,
      steps: (state, reach) => model.steps(state, reach),
      violation: (state) => {
        visible.add(model.visible(state));
        return undefined;
      },
      unfinished: () => undefined,
      describe: () => '',
    },
    { statesMax: STATES_MAX },
  );
  return { visible, states };
}
