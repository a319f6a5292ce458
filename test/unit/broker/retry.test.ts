import { describe, expect, it } from 'vitest';
import { retrying } from '../../../shared/broker/retry.ts';
import { DEFAULT_SETTINGS } from '../../../shared/broker/settings.ts';
import { EventLogError } from '../../../shared/log/errors.ts';
import { SeededRandom } from '../../support/memory-broker.ts';
import { SimulatedClock } from '../../support/simulated-clock.ts';

const PASSING = new EventLogError('storage_unavailable', 'No answer.', { outcome: 'unknown' });
const REFUSED = new EventLogError('storage_unavailable', 'No permission.', { retry: 'never', outcome: 'not_applied' });

/** What comes of a request that fails in this way at first, one after the other, and how often it was sent. */
async function outcomeOf(failures: readonly Error[], outcomeIfFailed: Parameters<typeof retrying>[1], repeat = false) {
  const clock = new SimulatedClock();
  let tries = 0;
  const sent = retrying(
    { clock, random: new SeededRandom(1), settings: DEFAULT_SETTINGS },
    outcomeIfFailed,
    async () => {
      const failure = failures[repeat ? tries % failures.length : tries];
      tries++;
      if (failure !== undefined) throw failure;
      return 'answered';
    },
  );
  return { result: await clock.run(sent.catch((error: EventLogError) => error)), tries };
}

describe('a request that is safe to repeat', () => {
  it('is repeated after failures that pass', async () => {
    expect(await outcomeOf([PASSING, PASSING], 'from_error')).toEqual({ result: 'answered', tries: 3 });
  });

  it('is not repeated after one that does not pass, and the caller is told so', async () => {
    const { result, tries } = await outcomeOf([REFUSED], 'not_applied');
    expect(tries).toBe(1);
    expect(result).toMatchObject({
      code: 'storage_unavailable',
      retry: 'never',
      outcome: 'not_applied',
      cause: REFUSED,
    });
  });

  it('may have been applied if any try may have been, unless the caller knows better', async () => {
    for (const [outcomeIfFailed, outcome] of [
      ['from_error', 'unknown'],
      ['not_applied', 'not_applied'],
    ] as const)
      expect((await outcomeOf([PASSING, REFUSED], outcomeIfFailed)).result).toMatchObject({ retry: 'never', outcome });
    expect((await outcomeOf([REFUSED], 'from_error')).result).toMatchObject({ outcome: 'not_applied' });
  });

  it('is given up after the deadline, and can be sent again', async () => {
    const { result, tries } = await outcomeOf([PASSING], 'from_error', true);
    expect(tries).toBeGreaterThan(5);
    expect(result).toMatchObject({ code: 'storage_unavailable', retry: 'as_is', outcome: 'unknown' });
  });

  it('that fails in an unknown way fails as an error of ours', async () => {
    const { result, tries } = await outcomeOf([new TypeError('x')], 'unknown');
    expect([tries, result]).toMatchObject([1, { code: 'internal', outcome: 'unknown' }]);
  });
});
