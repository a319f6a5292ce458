import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { S3Client } from '@aws-sdk/client-s3';
import { expect, it } from 'vitest';
import { missingForDeployment } from '../../../infra/deploy/check-aws.ts';
import { describeDeployment, type Template } from '../../../infra/deploy/describe-deployment.ts';
import { emptyEphemeralBuckets } from '../../../infra/deploy/empty-bucket.ts';
import { KAFKA_CONTEXT, outFolder, testTemplates } from '../../support/synthesize.ts';

const DEPLOY = join(import.meta.dirname, '../../../infra/deploy/deploy.ts');
const run = promisify(execFile);

function described(context: Readonly<Record<string, string>> = {}) {
  const { stateful, stateless } = testTemplates(context);
  return describeDeployment([stateful.toJSON() as Template, stateless.toJSON() as Template]);
}

it('tells what was made and what it costs idle', () => {
  const { made, idle, idleDollars } = described();
  expect(Object.fromEntries(made)).toMatchObject({
    'Lambda Function': 6,
    'Lambda Url': 2,
    'DynamoDB Table': 1,
    'S3 Bucket': 1,
  });
  // Sixteen alarms: nine on one metric, five on two, one on four, one on five.
  expect(idle.map(({ what, dollars }) => [what.split(' (')[0], dollars.toFixed(2)])).toEqual([
    ['8760 runs of jobs', '0.06'],
    ['16 alarms', '2.80'],
    ['1 dashboard', '3.00'],
  ]);
  expect(idleDollars).toBeCloseTo(5.86, 2);
});

it('counts the tasks, the load balancer and the addresses of Kafka gateways', () => {
  const before = described().idleDollars;
  const { idle, idleDollars } = described(KAFKA_CONTEXT);
  // Two tasks of half a processor and 1 GiB, 730 hours. Two addresses of tasks, and two of the load balancer.
  expect(idle.slice(-3).map(({ what, dollars }) => [what, dollars.toFixed(2)])).toEqual([
    ['2 tasks of the Kafka gateway', '28.84'],
    ['its load balancer, without traffic', '16.43'],
    ['4 public addresses', '14.60'],
  ]);
  // Its four alarms too.
  expect(idleDollars - before).toBeCloseTo(28.84 + 16.43 + 14.6 + 0.4, 1);
});

it('costs a few cents idle without alarms and dashboard', () => {
  expect(described({ alarms: 'false', dashboard: 'false' }).idleDollars).toBeLessThan(0.1);
});

const found = { region: async () => 'eu-west-1', credentials: async () => ({}) };
const lacking = (message: string) => () => Promise.reject(new Error(message));

it('needs a Region and credentials, and says how to set them', async () => {
  expect(await missingForDeployment(found)).toBeUndefined();
  expect(await missingForDeployment({ ...found, region: lacking('Region is missing') })).toMatch(
    /no AWS Region.*Set AWS_REGION/,
  );
  expect(await missingForDeployment({ ...found, credentials: lacking('Token is expired.') })).toMatch(
    /no AWS credentials \(Token is expired\)\. Set AWS_PROFILE/,
  );
});

it('ends before it synthesizes anything if the Region or the credentials are missing', async () => {
  const folder = outFolder();
  const nothing = { PATH: process.env.PATH, HOME: folder, AWS_EC2_METADATA_DISABLED: 'true' };
  for (const [environment, says] of [
    [{}, 'There is no AWS Region.'],
    [{ AWS_DEFAULT_REGION: 'eu-west-1' }, 'There are no AWS credentials'],
  ] as const) {
    const ended = run(process.execPath, [DEPLOY, 'deploy', '--yes'], { env: { ...nothing, ...environment } });
    await expect(ended).rejects.toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining(says) });
  }
});

/** Buckets by name, with their tags and keys. */
function fakeS3(buckets: Record<string, { tags: Record<string, string>; keys: string[] }>) {
  const send = async (command: { constructor: { name: string }; input: Record<string, unknown> }): Promise<unknown> => {
    const bucket = buckets[String(command.input.Bucket)];
    switch (command.constructor.name) {
      case 'ListBucketsCommand':
        return { Buckets: Object.keys(buckets).map((Name) => ({ Name })) };
      case 'GetBucketTaggingCommand':
        if (Object.keys(bucket?.tags ?? {}).length === 0)
          throw Object.assign(new Error('none'), { name: 'NoSuchTagSet' });
        return { TagSet: Object.entries(bucket?.tags ?? {}).map(([Key, Value]) => ({ Key, Value })) };
      case 'ListObjectsV2Command':
        return { Contents: bucket?.keys.slice(0, 2).map((Key) => ({ Key })) };
      case 'DeleteObjectsCommand': {
        const { Objects } = command.input.Delete as { Objects: { Key: string }[] };
        if (bucket !== undefined) bucket.keys = bucket.keys.filter((key) => !Objects.some(({ Key }) => Key === key));
        return {};
      }
      default:
        throw new Error(command.constructor.name);
    }
  };
  return { send } as unknown as Pick<S3Client, 'send'>;
}

it('empties the buckets of a deployment that is thrown away, and no others', async () => {
  const ephemeral = { tailrace: 'Branch', 'tailrace:ephemeral': 'true' };
  const buckets = {
    'branchstateful-segments-1': { tags: ephemeral, keys: ['a', 'b', 'c'] },
    // Kept for good, of another name, without tags, or not of the stack.
    'branchstateful-segments-2': { tags: { tailrace: 'Branch' }, keys: ['a'] },
    'branchstateful-segments-3': { tags: { ...ephemeral, tailrace: 'Other' }, keys: ['a'] },
    'branchstateful-segments-4': { tags: {}, keys: ['a'] },
    'elsewhere-segments-5': { tags: ephemeral, keys: ['a'] },
  };
  expect(await emptyEphemeralBuckets('Branch', 'BranchStateful', fakeS3(buckets))).toBe(3);
  expect(Object.values(buckets).map(({ keys }) => keys.length)).toEqual([0, 1, 1, 1, 1]);
});
