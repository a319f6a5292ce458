import { parseSettings } from '../../shared/aws/environment.ts';
import { composeBroker } from '../../shared/aws/open.ts';
import type { LambdaContext } from '../lambda/edge.ts';
import { maintain } from '../lambda/job.ts';
import { logLine } from '../lambda/log-line.ts';

/** Run by a schedule; what it is sent is of no importance. */
const broker = composeBroker(parseSettings(process.env));

export function handler(_event: unknown, context: LambdaContext): Promise<Record<string, number | boolean>> {
  return maintain(broker, context, logLine);
}
