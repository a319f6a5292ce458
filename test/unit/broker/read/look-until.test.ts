import { expect, it } from 'vitest';
import { AppendSignals } from '../../../../shared/broker/memory/append-signals.ts';
import { lookUntil } from '../../../../shared/broker/read/look-until.ts';
import { SimulatedClock, turn } from '../../../support/simulated-clock.ts';

it('a wait that nobody waits for any longer costs no further look', async () => {
  const clock = new SimulatedClock();
  const gone = new AbortController();
  let looks = 0;
  const waiting = lookUntil(
    { clock },
    {
      listener: new AppendSignals().listen(),
      look: async () => ++looks,
      isEnough: () => false,
      untilMs: clock.nowMs() + 60_000,
      lookMs: () => undefined,
      signal: gone.signal,
    },
  );
  await turn();
  gone.abort();
  expect(await waiting).toBe(1);
  expect(looks).toBe(1);
});
