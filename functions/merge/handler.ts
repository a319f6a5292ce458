import { parseSettings } from '../../shared/aws/environment.ts';
import { composeBroker } from '../../shared/aws/open.ts';
import type { LambdaContext } from '../lambda/edge.ts';
import { runJob, runScheduled } from '../lambda/job.ts';
import { logLine } from '../lambda/log-line.ts';
import { mergeMoved, type StreamRecord } from './merge-moved.ts';

/**
 * The table's stream invokes this function with the tail nodes that were moved, and a schedule invokes it to merge what is
 * due and what no event told of. Records of heads that failed are reported, so that Lambda sends them again.
 */
const settings = parseSettings(process.env);
const broker = composeBroker(settings);
const job = { name: 'merge', tableName: settings.tableName };

export async function handler(event: { readonly Records?: readonly StreamRecord[] }, context: LambdaContext) {
  const { Records: records } = event;
  if (records === undefined)
    return runScheduled({ ...job, run: (options) => broker.runMerges(options) }, context, logLine);
  const { run } = await runJob({ ...job, run: ({ signal }) => mergeMoved(broker, records, signal) }, context, logLine);
  return { batchItemFailures: run.failed.map((itemIdentifier) => ({ itemIdentifier })) };
}
