import { parseSettings } from '../../shared/aws/environment.ts';
import { composeBroker } from '../../shared/aws/open.ts';
import type { LambdaContext } from '../lambda/edge.ts';
import { runScheduled } from '../lambda/job.ts';
import { logLine } from '../lambda/log-line.ts';
import { groupsOf, measureAndLog } from './measure-and-log.ts';

/** A schedule invokes this function; the event names the groups to measure. */
const settings = parseSettings(process.env);
const { tableName } = settings;
const broker = composeBroker(settings);

export async function handler(event: unknown, context: LambdaContext): Promise<Record<string, number | boolean>> {
  const groups = groupsOf(event);
  const job = {
    name: 'lag',
    tableName,
    run: ({ signal }: { readonly signal: AbortSignal }) =>
      measureAndLog(broker, { groups, tableName, signal, log: logLine }),
  };
  return runScheduled(job, context, logLine);
}
