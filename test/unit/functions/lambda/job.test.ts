import { expect, it, vi } from 'vitest';
import { type JobRun, type LambdaJob, runJob, runScheduled } from '../../../../functions/lambda/job.ts';
import { logLine } from '../../../../functions/lambda/log-line.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { lambdaContext } from '../../../support/lambda-events.ts';

const NOTHING: JobRun = { results: [], blocked: 0, error: undefined, complete: true };

function lines() {
  const logged: Record<string, unknown>[] = [];
  const log = (level: string, message: string, fields: object = {}): void => {
    logged.push({ level, message, ...fields });
  };
  return { logged, log };
}

function job(run: LambdaJob<JobRun>['run']): LambdaJob<JobRun> {
  return { name: 'tidy', tableName: 'Table-1', run };
}

it('adds up what was done, takes the longest time, and tells so', async () => {
  const { logged, log } = lines();
  const results = [
    { nodesMerged: 2, waitedMs: 70, nextAtMs: 5, list: {} },
    { nodesMerged: 3, waitedMs: 60, nextAtMs: undefined },
    { nodesMerged: 0, waitedMs: undefined, nextAtMs: 9 },
  ];
  const counts = { visited: 3, nodesMerged: 5, waitedMs: 70, blocked: 0, complete: true };
  const run = async () => ({ ...NOTHING, results });
  expect(await runScheduled(job(run), lambdaContext(60_000), log)).toEqual(counts);
  expect(logged).toEqual([expect.objectContaining({ level: 'INFO', job: 'tidy', table: 'Table-1', ...counts })]);
});

it('adds the numbers that a run has itself, and counts what is blocked once', async () => {
  const results = [{ orphansDeleted: 2, blocked: 1 }];
  const run = async () => ({ ...NOTHING, results, blocked: 1, orphansDeleted: 3, topicsDeleted: 4 });
  const counts = await runScheduled(job(run), lambdaContext(60_000), lines().log);
  expect(counts).toMatchObject({ orphansDeleted: 5, topicsDeleted: 4, blocked: 1 });
});

it('makes metrics of what was counted, in one line, and none of an idle run', async () => {
  const written: string[] = [];
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((text) => written.push(String(text)) > 0);
  try {
    const results = [{ bytesMerged: 10, segmentsWritten: 1, segmentsJoined: 0, waitedMs: 7 }];
    await runJob(
      job(async () => ({ ...NOTHING, results })),
      lambdaContext(60_000),
      logLine,
    );
    await runJob(
      job(async () => NOTHING),
      lambdaContext(60_000),
      logLine,
    );
  } finally {
    write.mockRestore();
  }
  const [line, idle] = written.map((text) => JSON.parse(text));
  expect(line).toMatchObject({ level: 'INFO', job: 'tidy', table: 'Table-1', bytesMerged: 10, segmentsJoined: 0 });
  const [{ Namespace, Dimensions, Metrics }] = line._aws.CloudWatchMetrics;
  expect([Namespace, Dimensions, Metrics]).toEqual([
    'Tailrace',
    [['table', 'job']],
    [
      { Name: 'visited', Unit: 'Count' },
      { Name: 'bytesMerged', Unit: 'Bytes' },
      { Name: 'segmentsWritten', Unit: 'Count' },
      { Name: 'waitedMs', Unit: 'Milliseconds' },
    ],
  ]);
  // Each metric and dimension is a field of the line.
  for (const name of [...Dimensions[0], ...Metrics.map(({ Name }: { Name: string }) => Name)])
    expect(line[name]).toBeDefined();
  expect(Math.abs(line._aws.Timestamp - Date.now())).toBeLessThan(60_000);
  expect(idle._aws).toBeUndefined();
});

it('stops in good time', async () => {
  const startMs = Date.now();
  const run: LambdaJob<JobRun>['run'] = async ({ signal }) => {
    while (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, 5));
    return { ...NOTHING, complete: false };
  };
  expect(await runScheduled(job(run), lambdaContext(10_050), lines().log)).toMatchObject({ complete: false });
  expect(Date.now() - startMs).toBeLessThan(2_000);
});

it('fails where a job did, after the others were served, and tells why', async () => {
  const error = new EventLogError('storage_unavailable', 'no answer');
  const run = async () => ({ ...NOTHING, results: [{ nodesMerged: 1 }], blocked: 1, error });
  const { logged, log } = lines();
  await expect(runScheduled(job(run), lambdaContext(60_000), log)).rejects.toBe(error);
  expect(logged.map(({ level, why, nodesMerged }) => [level, why, nodesMerged])).toEqual([
    ['INFO', undefined, 1],
    ['ERROR', 'no answer', undefined],
  ]);
});
