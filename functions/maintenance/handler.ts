import { parseSettings } from '../../shared/aws/environment.ts';
import { composeBroker } from '../../shared/aws/open.ts';
import type { LambdaContext } from '../lambda/edge.ts';
import { maintain } from '../lambda/job.ts';
import { logLine } from '../lambda/log-line.ts';

/** A schedule invokes this function; the content of the event is ignored. */
const broker = composeBroker(parseSettings(process.env));

export function handler(_event: unknown, context: LambdaContext): Promise<Record<string, number | boolean>> {
  return maintain(broker, context, logLine);
}
