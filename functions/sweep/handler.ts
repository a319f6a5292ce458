import { parseSettings } from '../../shared/aws/environment.ts';
import { composeBroker } from '../../shared/aws/open.ts';
import type { LambdaContext } from '../lambda/edge.ts';
import { type JobRun, runScheduled } from '../lambda/job.ts';
import { logLine } from '../lambda/log-line.ts';

/** A schedule invokes this function; the content of the event is ignored. */
const settings = parseSettings(process.env);
const broker = composeBroker(settings);

export function handler(_event: unknown, context: LambdaContext): Promise<Record<string, number | boolean>> {
  return runScheduled({ name: 'sweep', tableName: settings.tableName, run: sweep }, context, logLine);
}

async function sweep(options: { readonly signal: AbortSignal }): Promise<JobRun> {
  const { topicsFailed, error, complete, ...counts } = await broker.resumeDeletions(options);
  return { results: [], blocked: topicsFailed, error, complete, ...counts };
}
