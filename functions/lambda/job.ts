import type { Broker } from '../../shared/broker/broker.ts';
import type { LambdaContext } from './edge.ts';
import type { logLine } from './log-line.ts';

/** A run starts no new work this long before Lambda would end it. */
const STOP_MARGIN_MS = 10_000;

/**
 * Runs all jobs once. Each job continues where it stopped, and stops before Lambda ends the run. The result, which is also
 * logged, says what was done. If a job fails, the other jobs still run, and then the error is thrown, so that it counts as
 * an error of the function.
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
    log('INFO', 'Searched for interrupted deletions.', { requestId: context.awsRequestId, ...counts });
    if (error !== undefined) {
      log('ERROR', 'A deletion could not be finished.', { requestId: context.awsRequestId, why: error.message });
      throw error;
    }
    return counts;
  } finally {
    clearTimeout(timer);
  }
}
