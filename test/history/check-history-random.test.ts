import { describe, expect, it } from 'vitest';
import { Chance } from '../simulation/world/chance.ts';
import { checkHistory } from './check-history.ts';
import { MUTATIONS } from './made/history-mutations.ts';
import { MutableHistory } from './made/mutable-history.ts';
import { randomHistory } from './made/random-history.ts';

const SEEDS = 2_000;
/** How many seeds each mutation is tried with, and how many of those histories must have a place for it. */
const SEEDS_PER_MUTATION = 60;
const MUTATED_MIN = 20;

describe('the history of a correct log', () => {
  it(`breaks no promise, seeds 0 to ${SEEDS - 1}`, () => {
    for (let seed = 0; seed < SEEDS; seed++) {
      const { events, final } = randomHistory(seed, 10 + (seed % 50));
      expect(checkHistory(events, final), `seed ${seed}`).toEqual([]);
    }
  });

  it('breaks none either when it is long', () => {
    const { events, final } = randomHistory(1, 5_000, 40);
    expect(checkHistory(events, final)).toEqual([]);
  });
});

describe('a history that', () => {
  it.each(MUTATIONS)('$name is found', ({ breaks, apply }) => {
    let mutated = 0;
    for (let seed = 0; seed < SEEDS_PER_MUTATION; seed++) {
      const history = new MutableHistory(randomHistory(seed, 40 + (seed % 30)));
      if (!apply(history, new Chance(seed, MUTATIONS.length))) continue;
      mutated++;
      const promises = checkHistory(history.events, history.final).map(({ promise }) => promise);
      expect(
        promises.some((promise) => breaks.includes(promise)),
        `seed ${seed} breaks ${promises.join()}`,
      ).toBe(true);
    }
    expect(mutated).toBeGreaterThanOrEqual(MUTATED_MIN);
  });
});
