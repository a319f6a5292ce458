import { describe, expect, it } from 'vitest';
import { runSeed } from './run.ts';

const SEEDS = 60;

describe('the members of a group, in several processes with faults', () => {
  it(`never share a partition, and settle, in ${SEEDS} random runs`, { timeout: 120_000 }, async () => {
    const met = new Set<string>();
    for (let seed = 0; seed < SEEDS; seed++) {
      const { problems, marks } = await runSeed(seed);
      expect(problems, `seed ${seed}`).toEqual([]);
      for (const mark of marks) met.add(mark);
    }
    expect([...met].sort()).toEqual([
      'left',
      'member stood still',
      'not settled',
      'process died',
      'sent twice',
      'settled',
      'unknown_member',
    ]);
  });
});
