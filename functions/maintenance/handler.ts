import { parseSettings } from '../../shared/settings.ts';
import { composeBroker } from '../compose.ts';
import type { LambdaContext } from '../lambda-edge.ts';
import { logLine } from '../log.ts';
import { maintain } from '../maintain.ts';

/** Run by a schedule; what it is sent is of no importance. */
const broker = composeBroker(parseSettings(process.env));

export function handler(_event: unknown, context: LambdaContext): Promise<Record<string, number | boolean>> {
  return maintain(broker, context, logLine);
}
