import { expect, it } from 'vitest';
import { runSeed } from './compaction-model.ts';

const SEEDS = 100;

it(`compaction keeps the latest of each key and leaves nothing over, in ${SEEDS} random runs`, async () => {
  const met = new Set<string>();
  for (let seed = 0; seed < SEEDS; seed++) {
    const { problems, marks } = await runSeed(seed);
    expect(problems, `seed ${seed}`).toEqual([]);
    for (const mark of marks) met.add(mark);
  }
  expect([...met].sort()).toEqual([
    'a join came too late',
    'a marker stays with its transaction',
    'dropped',
    'joined',
    'killed',
    'left to the next run',
    'pages rewritten',
    'rewritten',
    'several passes',
    'stopped',
  ]);
});
