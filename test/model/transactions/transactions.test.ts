import { describe, expect, it } from 'vitest';
import { runSeed } from './run.ts';

const SEEDS = Number(process.env.TRANSACTION_SEEDS ?? 40);

describe('transactions of producers that fence each other, in several processes with faults', () => {
  it(`are all or nothing, and hold nobody up, in ${SEEDS} random runs`, { timeout: 300_000 }, async () => {
    const met = new Set<string>();
    for (let seed = 0; seed < SEEDS; seed++) {
      const { problems, marks } = await runSeed(seed);
      expect(problems, `seed ${seed}`).toEqual([]);
      for (const mark of marks) met.add(mark);
    }
    for (const mark of [
      ...['initialised', 'enlisted', 'appended', 'offsets staged', 'committed', 'aborted', 'left open'],
      ...['process died', 'sent twice', 'given up', 'producer stood still', 'producer_fenced', 'merged'],
    ])
      expect([...met]).toContain(mark);
  });
});
