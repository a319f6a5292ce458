import { EventLogError } from '../../log/errors.ts';
import type { WriteResult } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import { retrying } from '../retry.ts';

export interface UncertainWrite<Fate> {
  /** The write. Every attempt sends the very same. */
  readonly send: () => Promise<WriteResult>;
  /**
   * Says from an answer what became of the write. `undefined`: no attempt has been applied, but one that got lost still
   * can be, or the next one; so the same write must be sent again.
   */
  readonly judge: (answer: WriteResult, sentAtMs: number) => Promise<Fate | undefined>;
}

/**
 * Sends a conditional write until its fate is certain: applied, or not applied and no longer able to be. An answer to one
 * attempt does not settle an earlier one whose reply was lost, so `judge` decides by what the answer says of all attempts.
 * @throws EventLogError when `deadlineMs` passes: with the outcome `unknown` once an attempt may be on its way
 */
export async function sendUntilCertain<Fate>(
  context: BrokerContext,
  { send, judge }: UncertainWrite<Fate>,
  deadlineMs: number,
): Promise<Fate> {
  for (let outcomeIfFailed: 'from_error' | 'unknown' = 'from_error'; ; outcomeIfFailed = 'unknown') {
    const sentAtMs = context.clock.nowMs();
    const answer = await retrying(context, outcomeIfFailed, send, deadlineMs);
    const fate = await judge(answer, sentAtMs);
    if (fate !== undefined) return fate;
    if (context.clock.nowMs() > deadlineMs) throw notSettledInTime('unknown');
  }
}

export function notSettledInTime(outcome: 'not_applied' | 'unknown'): EventLogError {
  return new EventLogError('storage_unavailable', 'The append could not be settled in time.', { outcome });
}
