import { type PowerCutResult, runPowerCuts } from './run-seed.ts';

export interface PowerCutTally {
  seeds: number;
  acknowledged: number;
  cuts: number;
  kills: number;
  faults: number;
  readonly failed: { readonly seed: number; readonly message: string }[];
}

/**
 * Runs the seeds `[first, first + seeds)`; stops once `failuresMax` of them failed. An error that is thrown, or that nobody
 * waits for, which would end a real process, is a failure too.
 */
export async function tallyPowerCuts(first: number, seeds: number, failuresMax: number): Promise<PowerCutTally> {
  const tally: PowerCutTally = { seeds: 0, acknowledged: 0, cuts: 0, kills: 0, faults: 0, failed: [] };
  let unhandled: unknown;
  const note = (reason: unknown): void => {
    unhandled ??= reason;
  };
  process.on('unhandledRejection', note);
  try {
    for (let seed = first; seed < first + seeds && tally.failed.length < failuresMax; seed++) {
      tally.seeds++;
      const { violations, ...counts } = await resultOf(seed);
      const message = unhandled === undefined ? violations[0] : `Nobody waits for: ${unhandled}`;
      unhandled = undefined;
      if (message !== undefined) tally.failed.push({ seed, message });
      for (const name of ['acknowledged', 'cuts', 'kills', 'faults'] as const) tally[name] += counts[name];
    }
  } finally {
    process.off('unhandledRejection', note);
  }
  return tally;
}

async function resultOf(seed: number): Promise<PowerCutResult> {
  try {
    return await runPowerCuts(seed);
  } catch (error) {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { violations: [message], acknowledged: 0, cuts: 0, kills: 0, faults: 0 };
  }
}
