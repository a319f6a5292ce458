import type { Broker } from '../../shared/broker/broker.ts';
import type { LambdaContext } from './edge.ts';
import type { logLine } from './log-line.ts';

/** A run takes up nothing new so long before Lambda would end it. */
const STOP_MARGIN_MS = 10_000;

/**
 * One run of all jobs: each goes on where it was stopped, and stops in good time. Answers, and logs, what was done.
 * Throws where a job failed, so that it counts as an error of the function, after the others had their turn.
 */
export async function maintain(
  broker: Pick<Broker, 'resumeDeletions'>,
  context: LambdaContext,
  log: typeof logLine,
): Promise<Record<string, number | boolean>> {
  const timeIsUp = new AbortController();
  const timer = setTimeout(() => timeIsUp.abort(), Math.max(0, context.getRemainingTimeInMillis() - STOP_MARGIN_MS));
  try {
    const { error, ...counts } = await broker.resumeDeletions({ signal: timeIsUp.signal });
    log('INFO', 'Interrupted deletions were looked for.', { requestId: context.awsRequestId, ...counts });
    if (error !== undefined) {
      log('ERROR', 'A deletion could not be finished.', { requestId: context.awsRequestId, why: error.message });
      throw error;
    }
    return counts;
  } finally {
    clearTimeout(timer);
  }
}
