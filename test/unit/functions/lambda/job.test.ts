import { expect, it } from 'vitest';
import { maintain } from '../../../../functions/lambda/job.ts';
import type { JobRequest } from '../../../../shared/broker/jobs/job-run.ts';
import type { ResumedDeletions } from '../../../../shared/broker/jobs/resume-deletions.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { TOPIC, topicKey } from '../../../../shared/storage/keys.ts';
import { lambdaContext } from '../../../support/lambda-events.ts';
import { memoryBroker, memoryStores } from '../../../support/memory-broker.ts';

const NOTHING: ResumedDeletions = {
  topicsSeen: 0,
  topicsDeleted: 0,
  topicsFailed: 0,
  error: undefined,
  complete: true,
};

function lines() {
  const logged: Record<string, unknown>[] = [];
  const log = (level: string, message: string, fields: object = {}): void => {
    logged.push({ level, message, ...fields });
  };
  return { logged, log };
}

it('finishes what was interrupted, and tells so', async () => {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  await broker.putTopic({ name: 'orders' });
  await stores.items.update(topicKey('orders'), [{ do: 'set', name: TOPIC.deleting, value: 1 }]);
  const { logged, log } = lines();
  const counts = { topicsSeen: 1, topicsDeleted: 1, topicsFailed: 0, complete: true };
  expect(await maintain(broker, lambdaContext(60_000), log)).toEqual(counts);
  expect(logged).toEqual([expect.objectContaining({ level: 'INFO', ...counts })]);
});

it('stops in good time', async () => {
  const startMs = Date.now();
  const resumeDeletions = async ({ signal }: JobRequest = {}): Promise<ResumedDeletions> => {
    while (!signal?.aborted) await new Promise((resolve) => setTimeout(resolve, 5));
    return { ...NOTHING, complete: false };
  };
  expect(await maintain({ resumeDeletions }, lambdaContext(10_050), lines().log)).toMatchObject({ complete: false });
  expect(Date.now() - startMs).toBeLessThan(2_000);
});

it('fails where a job did, and tells why', async () => {
  const error = new EventLogError('storage_unavailable', 'no answer');
  const resumeDeletions = async (): Promise<ResumedDeletions> => ({ ...NOTHING, topicsFailed: 1, error });
  const { logged, log } = lines();
  await expect(maintain({ resumeDeletions }, lambdaContext(60_000), log)).rejects.toBe(error);
  expect(logged.map(({ level, why }) => [level, why])).toEqual([
    ['INFO', undefined],
    ['ERROR', 'no answer'],
  ]);
});
