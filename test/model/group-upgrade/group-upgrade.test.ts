import { describe, expect, it } from 'vitest';
import { runSeed } from './run.ts';

const SEEDS = Number(process.env.UPGRADE_SEEDS ?? 60);
const FROM = Number(process.env.UPGRADE_FROM ?? 0);

describe('consumers of both protocols in one group, in several processes with faults', () => {
  it(`never share a partition, commit only for what they own, and settle, in ${SEEDS} random runs`, {
    timeout: 1_240_000,
  }, async () => {
    const met = new Set<string>();
    const bad: string[] = [];
    for (let seed = FROM; seed < FROM + SEEDS; seed++) {
      const { problems, marks } = await runSeed(seed);
      if (problems.length > 0) bad.push(`${seed}: ${problems.slice(0, 3).join(' | ')}`);
      for (const mark of marks) met.add(mark);
    }
    console.log([...met].sort().join(', '));
    expect(bad).toEqual([]);
  });
});
