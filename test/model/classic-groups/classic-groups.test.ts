import { describe, expect, it } from 'vitest';
import { runSeed } from './run.ts';

const SEEDS = 60;

describe('classic consumers, in several processes with faults', () => {
  it(`agree on generations, commit only for them, and settle, in ${SEEDS} random runs`, {
    timeout: 240_000,
  }, async () => {
    const met = new Set<string>();
    for (let seed = 0; seed < SEEDS; seed++) {
      const { problems, marks } = await runSeed(seed);
      expect(problems, `seed ${seed}`).toEqual([]);
      for (const mark of marks) met.add(mark);
    }
    for (const mark of [
      'reads',
      'committed',
      'left',
      'stood still',
      'process died',
      'sent twice',
      'given up',
      'unknown_member',
      'fenced_instance_id',
      'illegal_generation',
      'rebalance_in_progress',
      'member_id_required',
      'commit: illegal_generation',
      'commit: unknown_member',
    ])
      expect([...met]).toContain(mark);
  });
});
