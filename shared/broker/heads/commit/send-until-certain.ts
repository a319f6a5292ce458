import { EventLogError } from '../../../log/errors.ts';
import type { WriteResult } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { retrying } from '../../retry.ts';

export interface UncertainWrite<Fate> {
  /** Sends the write. Every attempt sends the identical write. */
  readonly send: () => Promise<WriteResult>;
  /**
   * Decides from an answer what happened to the write. `undefined`: no attempt has been applied, but a lost attempt, or the
   * next one, still can be; so the same write must be sent again. If it throws, the outcome is `unknown`.
   */
  readonly judge: (answer: WriteResult, sentAtMs: number) => Promise<Fate | undefined>;
}

/**
 * Sends a conditional write until its fate is certain: the write was applied, or it can no longer be applied. An answer to
 * one attempt does not settle an earlier attempt whose reply was lost. So `judge` must decide for all attempts.
 * @throws EventLogError when `deadlineMs` passes; with the outcome `unknown` if an attempt may still be in flight
 */
export async function sendUntilCertain<Fate>(
  context: BrokerContext,
  { send, judge }: UncertainWrite<Fate>,
  deadlineMs: number,
): Promise<Fate> {
  for (let outcomeIfFailed: 'from_error' | 'unknown' = 'from_error'; ; outcomeIfFailed = 'unknown') {
    const sentAtMs = context.clock.nowMs();
    const answer = await retrying(context, outcomeIfFailed, send, deadlineMs);
    const fate = await judge(answer, sentAtMs).catch(unknownOutcome);
    if (fate !== undefined) return fate;
    if (context.clock.nowMs() > deadlineMs) throw notSettledInTime('unknown');
  }
}

/** Whatever keeps the judge from a verdict, a reply that cannot be read for example, the write may have been applied. */
function unknownOutcome(error: unknown): never {
  if (!(error instanceof EventLogError)) throw error;
  const { code, message, details, retry } = error;
  throw new EventLogError(code, message, { cause: error, details, retry, outcome: 'unknown' });
}

export function notSettledInTime(outcome: 'not_applied' | 'unknown'): EventLogError {
  return new EventLogError('storage_unavailable', 'The deadline passed before the outcome of the append was certain.', {
    outcome,
  });
}
