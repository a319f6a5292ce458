import { describe, expect, it } from 'vitest';
import { runSeed } from './run.ts';

const SEEDS = 100;

describe('consumers of both protocols in one group, in several processes with faults', () => {
  it(`do not share partitions, commit only what they own, and settle, in ${SEEDS} random runs`, {
    timeout: 240_000,
  }, async () => {
    const met = new Set<string>();
    for (let seed = 0; seed < SEEDS; seed++) {
      const { problems, marks } = await runSeed(seed);
      expect(problems, `seed ${seed}`).toEqual([]);
      for (const mark of marks) met.add(mark);
    }
    for (const mark of [
      'group: classic',
      'group: consumer',
      'group: mixed',
      'group: only classic',
      'classic reads',
      'classic left',
      'consumer reads',
      'consumer left',
      'committed',
      'stood still',
      'process died',
      'sent twice',
      'given up',
      'rebalance_in_progress',
      'unknown_member',
      'fenced_instance_id',
      'commit: rebalance_in_progress',
      'at the end 0 consumers',
      'at the end only classic consumers by KIP-848',
      'at the end 1 consumers',
      'at the end 2 consumers',
    ])
      expect([...met]).toContain(mark);
  });
});
