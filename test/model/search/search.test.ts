import { describe, expect, it } from 'vitest';
import { type Model, type Reach, search } from './search.ts';

/** A model of few bytes, by the moves that each state allows. */
function model(
  moves: (state: readonly number[]) => readonly (readonly number[])[],
  wrong: (state: readonly number[]) => boolean,
  isEnd = true,
): Model {
  return {
    stateBytes: 4,
    initial: new Uint8Array(4),
    steps: (state: Uint8Array, reach: Reach) => {
      for (const next of moves([...state])) reach(Uint8Array.from(next), 0);
    },
    violation: (state) => (wrong([...state]) ? 'found' : undefined),
    unfinished: () => (isEnd ? undefined : 'unfinished'),
    describe: (before, _, after) => `${before.subarray(0, 2)} -> ${after.subarray(0, 2)}`,
  };
}

/** A jug of three litres and one of five, as in the riddle: the states reachable are 16, and four litres are six steps away. */
function pour([small = 0, large = 0]: readonly number[]): number[][] {
  const toLarge = Math.min(small, 5 - large);
  const toSmall = Math.min(large, 3 - small);
  return [
    [3, large],
    [small, 5],
    [0, large],
    [small, 0],
    [small - toLarge, large + toLarge],
    [small + toSmall, large - toSmall],
  ].map(([a = 0, b = 0]) => [a, b, 0, 0]);
}

function count([state = 0]: readonly number[]): number[][] {
  return state < 3 ? [[state + 1, 0, 0, 0]] : [];
}

const STATES_MAX = 1_000;

describe('the search', () => {
  it('goes through all states once', () => {
    const result = search(
      model(pour, () => false),
      { statesMax: STATES_MAX },
    );
    expect(result).toMatchObject({ states: 16, ends: 0, depth: 7, violation: undefined });
  });

  it('finds the shortest way to a violation', () => {
    const { violation } = search(
      model(pour, ([, large]) => large === 4),
      { statesMax: STATES_MAX },
    );
    expect(violation).toEqual({
      what: 'found',
      trace: ['0,0 -> 0,5', '0,5 -> 3,2', '3,2 -> 0,2', '0,2 -> 2,0', '2,0 -> 2,5', '2,5 -> 3,4'],
    });
    expect(
      search(
        model(pour, () => true),
        { statesMax: STATES_MAX },
      ).violation?.trace,
    ).toEqual([]);
  });

  it('tells states without a step that should have one', () => {
    const finished = model(count, () => false);
    expect(search(finished, { statesMax: STATES_MAX })).toMatchObject({ states: 4, ends: 1, violation: undefined });
    const { violation } = search(
      model(count, () => false, false),
      { statesMax: STATES_MAX },
    );
    expect(violation).toEqual({ what: 'unfinished', trace: ['0,0 -> 1,0', '1,0 -> 2,0', '2,0 -> 3,0'] });
  });

  it('tells runs without an end', () => {
    const options = { statesMax: STATES_MAX, endlessRuns: true };
    expect(
      search(
        model(count, () => false),
        options,
      ).violation,
    ).toBeUndefined();
    const back = ([state = 0]: readonly number[]): number[][] => [
      ...count([state]),
      ...(state === 3 ? [[2, 0, 0, 0]] : []),
    ];
    expect(
      search(
        model(back, () => false),
        options,
      ).violation?.trace,
    ).toEqual(['0,0 -> 1,0', '1,0 -> 2,0']);
    expect(
      search(
        model(pour, () => false),
        options,
      ).violation?.trace,
    ).toEqual([]);
  });

  it('does not end before all states were seen', () => {
    expect(() =>
      search(
        model(pour, () => false),
        { statesMax: 15 },
      ),
    ).toThrow('There are more than 15 states.');
  });
});
