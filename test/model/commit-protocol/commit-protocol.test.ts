import { describe, expect, it } from 'vitest';
import { type SearchResult, search } from '../search/search.ts';
import { PLANTED_FLAWS } from './flaws.ts';
import { OCCASIONS } from './occasions.ts';
import { CommitProtocol } from './protocol.ts';
import { SCENARIOS, type Scenario } from './scenarios.ts';

/**
 * The commit protocol, in every state that it can get into within the bounds of `scenarios.ts`: two writers, two movers of
 * the tail, producers that retry through both writers and stale epochs of them, processes that die, and a network that
 * delays, repeats and loses. What is decided is decided by `planCommit` itself. `main.ts` shows the flaws' traces.
 */

const STATES_MAX = 4_000_000;
/** That every run ends is looked for in these; `main.ts` does in all. */
const SMALL: readonly Scenario[] = [SCENARIOS.pipelined, SCENARIOS.grouped];

function run(model: CommitProtocol, name: string, endlessRuns: boolean): SearchResult {
  const startMs = performance.now();
  const result = search(model, { statesMax: STATES_MAX, endlessRuns });
  const seconds = ((performance.now() - startMs) / 1_000).toFixed(1);
  const { states, steps, violation } = result;
  const found = violation === undefined ? '' : `, then in ${violation.trace.length} steps: ${violation.what}`;
  process.stdout.write(`${name}: ${states} states, ${steps} steps, ${seconds} s${found}\n`);
  return result;
}

describe('the commit protocol', () => {
  it('keeps every promise in over a million states', () => {
    const occasions = new Set<string>();
    let states = 0;
    for (const scenario of Object.values(SCENARIOS)) {
      const model = new CommitProtocol(scenario);
      const result = run(model, scenario.name, SMALL.includes(scenario));
      expect(result.violation, scenario.name).toBeUndefined();
      if (scenario === SCENARIOS.staleEpoch) expect(result.states).toBeGreaterThan(1_000_000);
      for (const occasion of model.occasions.keys()) occasions.add(occasion);
      states += result.states;
    }
    process.stdout.write(`${states} states in all\n`);
    expect([...occasions].sort()).toEqual([...OCCASIONS].sort());
  });

  it.each(PLANTED_FLAWS)('is found out where $flaw', ({ flaw, scenario, violation }) => {
    const result = run(new CommitProtocol(scenario, flaw), flaw, true);
    expect(result.violation?.what).toMatch(violation);
  });

  it('shows the same where what has no effect is left out', () => {
    const inFull: Scenario = { ...SCENARIOS.grouped, reduced: false };
    const all = everythingVisible(inFull);
    const reduced = everythingVisible({ ...inFull, reduced: true });
    expect(reduced.visible).toEqual(all.visible);
    expect(reduced.states).toBeLessThan(all.states);
  });
});

function everythingVisible(scenario: Scenario): { visible: Set<string>; states: number } {
  const visible = new Set<string>();
  const model = new CommitProtocol(scenario);
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
