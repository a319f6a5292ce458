import { describe, expect, it } from 'vitest';
import { FLAWS } from './flaws.ts';
import { runSeed } from './run.ts';

const SEEDS = 300;
/** Every flaw is found within this many seeds. */
const FLAW_SEEDS = 300;

describe('the segment list of a head, changed by several jobs at once', () => {
  it(`loses no offset and deletes nothing that a reader needs, in ${SEEDS} random runs`, async () => {
    const met = new Set<string>();
    for (let seed = 0; seed < SEEDS; seed++) {
      const { problems, marks } = await runSeed(seed);
      expect(problems, `seed ${seed}`).toEqual([]);
      for (const mark of marks) met.add(mark);
    }
    expect([...met].sort()).toEqual([
      'announcement died',
      'coalesce came too late',
      'coalesce committed',
      'compact came too late',
      'compact committed',
      'dropped',
      'merge came too late',
      'merge committed',
      'object deleted',
      'written after it was given up',
    ]);
  });

  it.each(FLAWS)('finds the flaw: $name', async ({ options, fromSeed = 0 }) => {
    for (let seed = fromSeed; seed < fromSeed + FLAW_SEEDS; seed++) {
      if ((await runSeed(seed, options)).problems.length > 0) return;
    }
    expect.fail(`No problem in ${FLAW_SEEDS} runs.`);
  });
});
