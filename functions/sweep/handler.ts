import { parseSettings } from '../../shared/aws/environment.ts';
import { composeBroker } from '../../shared/aws/open.ts';
import type { LambdaContext } from '../lambda/edge.ts';
import { runScheduled } from '../lambda/job.ts';
import { logLine } from '../lambda/log-line.ts';
import { sweepAll } from './sweep-all.ts';

/** A schedule invokes this function; the content of the event is ignored. */
const settings = parseSettings(process.env);
const broker = composeBroker(settings);
const job = {
  name: 'sweep',
  tableName: settings.tableName,
  run: (options: { readonly signal: AbortSignal }) => sweepAll(broker, options),
};

export function handler(_event: unknown, context: LambdaContext): Promise<Record<string, number | boolean>> {
  return runScheduled(job, context, logLine);
}
