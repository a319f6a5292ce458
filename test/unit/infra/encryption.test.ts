import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { beforeAll, describe, expect, it } from 'vitest';
import { EventLog } from '../../../infra/constructs/event-log.ts';
import { keyStatements } from '../../../infra/constructs/storage/key-access.ts';
import { MetadataTable } from '../../../infra/constructs/storage/metadata-table.ts';
import { SegmentBucket } from '../../../infra/constructs/storage/segment-bucket.ts';
import { eventLog, list, outFolder, type Statement, statementsOf, testTemplates } from '../../support/synthesize.ts';

/** The name of the service in `<service>.<Region>.amazonaws.com`. */
function serviceOf(viaService: unknown): string {
  const region = { Ref: 'AWS::Region' };
  for (const service of ['dynamodb', 's3']) {
    if (JSON.stringify(viaService) === JSON.stringify({ 'Fn::Join': ['', [`${service}.`, region, '.amazonaws.com']] }))
      return service;
  }
  throw new Error(`No service is named by ${JSON.stringify(viaService)}.`);
}

describe('a key of the customer', () => {
  /** What a role may do with keys, as `service action`, by the service that must ask for it. */
  function keyRights(statements: readonly Statement[]): string[] {
    return statements
      .filter(({ Action }) => list(Action).some((action) => action.startsWith('kms:')))
      .flatMap(({ Action, Resource, Condition, Effect }) => {
        expect(Effect).toBe('Allow');
        expect(Resource).toEqual({ 'Fn::GetAtt': [expect.stringMatching(/^Key/), 'Arn'] });
        expect(Object.keys(Condition ?? {})).toEqual(['StringEquals']);
        const service = serviceOf(Condition?.StringEquals?.['kms:ViaService']);
        return list(Action).map((action) => `${service} ${action}`);
      })
      .sort();
  }

  let template: Template;
  beforeAll(() => {
    const own = eventLog((stack) => ({ encryptionKey: new Key(stack, 'Key'), httpApi: true }));
    const { stack, log } = own;
    for (const grant of ['grantProduce', 'grantConsume', 'grantAdmin'] as const)
      log[grant](new Role(stack, grant, { assumedBy: new ServicePrincipal('lambda.amazonaws.com') }));
    template = own.template();
  });

  it('encrypts the table, and the bucket by a key of the bucket', () => {
    const key = { 'Fn::GetAtt': [Match.stringLikeRegexp('^Key'), 'Arn'] };
    template.hasResourceProperties('AWS::DynamoDB::Table', {
      SSESpecification: { SSEEnabled: true, SSEType: 'KMS', KMSMasterKeyId: key },
    });
    template.hasResourceProperties('AWS::S3::Bucket', {
      BucketEncryption: {
        ServerSideEncryptionConfiguration: [
          {
            BucketKeyEnabled: true,
            ServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms', KMSMasterKeyID: key },
          },
        ],
      },
    });
    template.resourceCountIs('AWS::KMS::Key', 1);
  });

  it.each([
    ['LogProduce', ['dynamodb kms:Decrypt', 's3 kms:GenerateDataKey']],
    ['LogHttpRole', ['dynamodb kms:Decrypt', 's3 kms:Decrypt', 's3 kms:GenerateDataKey']],
    ['LogGateway', ['dynamodb kms:Decrypt', 's3 kms:Decrypt', 's3 kms:GenerateDataKey']],
    ['LogMerge', ['dynamodb kms:Decrypt', 's3 kms:Decrypt', 's3 kms:GenerateDataKey']],
    ['LogExpire', ['dynamodb kms:Decrypt']],
    ['grantProduce', ['dynamodb kms:Decrypt', 's3 kms:GenerateDataKey']],
    ['grantConsume', ['dynamodb kms:Decrypt', 's3 kms:Decrypt']],
    ['grantAdmin', ['dynamodb kms:Decrypt']],
  ])('gives the role of %s what its access needs of the key, through its service alone', (name, rights) => {
    expect(keyRights(statementsOf(template, name))).toEqual(rights);
  });

  it('gives who uploads in parts the right to read the parts again', () => {
    const key = new Key(new Stack(new App({ outdir: outFolder() }), 'Keys'), 'Key');
    const access = { items: {}, objects: { PutObject: ['segment'], AbortMultipartUpload: ['segment'] } } as const;
    const [statement, ...others] = keyStatements(access, { encryptionKey: key }, { encryptionKey: key });
    expect(others).toEqual([]);
    expect(statement?.actions.sort()).toEqual(['kms:Decrypt', 'kms:GenerateDataKey']);
  });

  it('is named by its ARN on the command line', () => {
    const encryptionKeyArn = 'arn:aws:kms:eu-central-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef';
    const { stateful, stateless } = testTemplates({ encryptionKeyArn });
    stateful.hasResourceProperties('AWS::DynamoDB::Table', { SSESpecification: { KMSMasterKeyId: encryptionKeyArn } });
    const kms = statementsOf(stateless, 'EventLogHttp').filter(({ Action }) => list(Action)[0]?.startsWith('kms:'));
    expect(kms.map(({ Action, Resource, Condition }) => [list(Action), Resource, Condition])).toEqual([
      [
        ['kms:Decrypt'],
        encryptionKeyArn,
        { StringEquals: { 'kms:ViaService': 'dynamodb.eu-central-1.amazonaws.com' } },
      ],
      [
        ['kms:Decrypt', 'kms:GenerateDataKey'],
        encryptionKeyArn,
        { StringEquals: { 'kms:ViaService': 's3.eu-central-1.amazonaws.com' } },
      ],
    ]);
  });

  it('is in no template without one', () => {
    const { stateful, stateless } = testTemplates();
    expect(JSON.stringify([stateful.toJSON(), stateless.toJSON()])).not.toContain('kms:');
  });

  it('serves a table and a bucket of another stack too', () => {
    const app = new App({ outdir: outFolder(), context: { 'aws:cdk:bundling-stacks': [] } });
    const records = new Stack(app, 'Records');
    const encryptionKey = new Key(records, 'Key');
    const { table } = new MetadataTable(records, 'Table', { encryptionKey });
    const { bucket } = new SegmentBucket(records, 'Bucket', { encryptionKey });
    const service = new Stack(app, 'Service');
    new EventLog(service, 'Log', { table, bucket });
    const statements = statementsOf(Template.fromStack(service), 'LogProduce');
    expect(statements.flatMap(({ Action }) => list(Action)).filter((action) => action.startsWith('kms:'))).toEqual([
      'kms:Decrypt',
      'kms:GenerateDataKey',
    ]);
  });
});
