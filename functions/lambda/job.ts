import type { LambdaContext } from './edge.ts';
import type { logLine } from './log-line.ts';
import { metricsOf } from './metrics.ts';

/** A run starts no new work this long before Lambda would end it. */
const STOP_MARGIN_MS = 10_000;

export interface JobRun {
  /** What was done for each head, or for each item that was visited. */
  readonly results: readonly object[];
  /** What could not be done; the next run tries it again. */
  readonly blocked: number;
  /** The first error of that. */
  readonly error: Error | undefined;
  /** Whether all that was due was done; otherwise the next run goes on with the rest. */
  readonly complete: boolean;
}

export interface LambdaJob<Run extends JobRun> {
  /** The name in logs and metrics. */
  readonly name: string;
  /** The log's table, which tells the metrics of several logs of an account apart. */
  readonly tableName: string;
  readonly run: (options: { readonly signal: AbortSignal }) => Promise<Run>;
}

/**
 * Runs a job once, and tells it to stop before Lambda ends it. One line of the log says what was done, and makes metrics of
 * what was counted (`metrics.ts`). The caller must deal with the run's `error`.
 */
export async function runJob<Run extends JobRun>(
  { name, tableName, run }: LambdaJob<Run>,
  context: LambdaContext,
  log: typeof logLine,
): Promise<{ readonly run: Run; readonly counts: Readonly<Record<string, number>> }> {
  const timeIsUp = new AbortController();
  const timer = setTimeout(() => timeIsUp.abort(), Math.max(0, context.getRemainingTimeInMillis() - STOP_MARGIN_MS));
  try {
    const done = await run({ signal: timeIsUp.signal });
    const counts = countsOf(done);
    const about = { requestId: context.awsRequestId, job: name, table: tableName };
    const { complete, error } = done;
    log('INFO', `The job ${name} has run.`, { ...about, ...counts, complete, ...metricsOf(about, counts) });
    if (error !== undefined) log('ERROR', `The job ${name} could not do all.`, { ...about, why: error.message });
    return { run: done, counts };
  } finally {
    clearTimeout(timer);
  }
}

/** `runJob` for a schedule. @throws the run's error, after everything else was done, so that it counts as an error of the function */
export async function runScheduled(
  job: LambdaJob<JobRun>,
  context: LambdaContext,
  log: typeof logLine,
): Promise<Record<string, number | boolean>> {
  const { run, counts } = await runJob(job, context, log);
  if (run.error !== undefined) throw run.error;
  return { ...counts, complete: run.complete };
}

/** When a head is looked at next is no count, and what is blocked in a result is in the run's own count. */
const NOT_COUNTED = ['nextAtMs', 'blocked'];

/** Adds up the numbers of the results and of the run itself; of times, the longest counts. */
function countsOf({ results, ...run }: JobRun): Record<string, number> {
  const counts: Record<string, number> = { visited: results.length };
  for (const result of results) {
    for (const [name, value] of Object.entries(result)) {
      if (typeof value !== 'number' || NOT_COUNTED.includes(name)) continue;
      counts[name] = name.endsWith('Ms') ? Math.max(counts[name] ?? 0, value) : (counts[name] ?? 0) + value;
    }
  }
  for (const [name, value] of Object.entries(run))
    if (typeof value === 'number') counts[name] = (counts[name] ?? 0) + value;
  return counts;
}
