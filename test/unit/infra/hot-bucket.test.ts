import { App, RemovalPolicy, Stack, Validations } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { AwsSolutionsChecks, ServerlessChecks } from 'cdk-nag';
import { beforeAll, describe, expect, it } from 'vitest';
import { EventLog } from '../../../infra/constructs/event-log.ts';
import { hotStatements, withoutHot } from '../../../infra/constructs/storage/hot-access.ts';
import { HotBucket } from '../../../infra/constructs/storage/hot-bucket.ts';
import { eventLog, list, outFolder, resourcesOf, statementsOf, testTemplates } from '../../support/synthesize.ts';

const ZONE = { hotAvailabilityZoneId: 'use1-az4' };
const READ_ONLY = { StringEquals: { 's3express:SessionMode': 'ReadOnly' } };

describe('a hot bucket', () => {
  let template: Template;
  beforeAll(() => {
    const own = eventLog({ ...ZONE, httpApi: true });
    for (const grant of ['grantProduce', 'grantConsume', 'grantAdmin'] as const)
      own.log[grant](new Role(own.stack, grant, { assumedBy: new ServicePrincipal('lambda.amazonaws.com') }));
    template = own.template();
  });

  it('is a directory bucket in the zone, which is kept', () => {
    template.hasResource('AWS::S3Express::DirectoryBucket', {
      DeletionPolicy: 'Retain',
      UpdateReplacePolicy: 'Retain',
      Properties: {
        DataRedundancy: 'SingleAvailabilityZone',
        LocationName: 'use1-az4',
        LifecycleConfiguration: {
          Rules: [{ AbortIncompleteMultipartUpload: { DaysAfterInitiation: 1 }, Status: 'Enabled' }],
        },
      },
    });
  });

  it('is named to every function, and to callers of the direct mode', () => {
    for (const { Properties } of Object.values(resourcesOf(template, 'AWS::Lambda::Function')))
      expect(Properties.Environment).toMatchObject({
        Variables: { TAILRACE_HOT_BUCKET: { Ref: expect.stringContaining('HotBucket') } },
      });
    const { log, stack } = eventLog({ ...ZONE, http: false });
    expect(stack.resolve(log.environment)).toMatchObject({ TAILRACE_HOT_BUCKET: { Ref: expect.any(String) } });
  });

  it.each([
    ['LogProduce', 'ReadWrite'],
    ['LogHttpRole', 'ReadWrite'],
    ['LogGateway', 'ReadWrite'],
    ['grantProduce', 'ReadWrite'],
    ['grantConsume', 'ReadOnly'],
    ['LogMerge', 'ReadOnly'],
    ['LogExpire', undefined],
    ['grantAdmin', undefined],
  ])('gives the role of %s sessions of the mode %s', (name, mode) => {
    const statements = statementsOf(template, name);
    const sessions = statements.filter(({ Action }) => list(Action).some((action) => action.startsWith('s3express:')));
    const bucket = { 'Fn::GetAtt': [expect.stringContaining('HotBucket'), 'Arn'] };
    const expected = { Effect: 'Allow', Action: 's3express:CreateSession', Resource: bucket };
    expect(sessions).toEqual(
      mode === undefined ? [] : [mode === 'ReadOnly' ? { ...expected, Condition: READ_ONLY } : expected],
    );
    expect(JSON.stringify(statements)).not.toContain('/hot/');
  });

  it('needs no permission on hot objects in the bucket of segments', () => {
    const objects = { GetObject: ['hot', 'segment'], PutObject: ['hot'], DeleteObject: ['segment'] };
    expect(withoutHot(objects)).toEqual({ GetObject: ['segment'], DeleteObject: ['segment'] });
  });

  it.each([
    [{ GetObject: ['hot'] }, READ_ONLY],
    [{ GetObject: ['hot', 'segment'], PutObject: ['segment'] }, READ_ONLY],
    [{ DeleteObject: ['hot'] }, {}],
    [{ GetObject: ['hot'], DeleteObject: ['hot'] }, {}],
  ])('lets sessions write only if hot objects are written: %j', (objects, conditions) => {
    const bucket = { bucketArn: 'arn:aws:s3express:us-east-1:1:bucket/b', bucketName: 'b' };
    const [statement, ...others] = hotStatements(objects, bucket);
    expect(others).toEqual([]);
    expect(statement?.conditions).toEqual(conditions);
    expect(hotStatements({ GetObject: ['segment'] }, bucket)).toEqual([]);
  });

  it('can be of another stack, and be thrown away', () => {
    const app = new App({ outdir: outFolder(), context: { 'aws:cdk:bundling-stacks': [] } });
    const records = new Stack(app, 'Records');
    const { bucket: hotBucket } = new HotBucket(records, 'Hot', {
      availabilityZoneId: 'use1-az4',
      removalPolicy: RemovalPolicy.DESTROY,
    });
    const service = new Stack(app, 'Service');
    new EventLog(service, 'Log', { hotBucket });
    Template.fromStack(records).hasResource('AWS::S3Express::DirectoryBucket', { DeletionPolicy: 'Delete' });
    const made = Template.fromStack(service);
    made.resourceCountIs('AWS::S3Express::DirectoryBucket', 0);
    made.hasResourceProperties('AWS::Lambda::Function', {
      Environment: { Variables: Match.objectLike({ TAILRACE_HOT_BUCKET: { 'Fn::ImportValue': Match.anyValue() } }) },
    });
  });

  it('passes the checks of cdk-nag', () => {
    const app = new App({ outdir: outFolder(), context: { 'aws:cdk:bundling-stacks': [] } });
    new EventLog(new Stack(app, 'Own'), 'Log', { ...ZONE, httpApi: true });
    Validations.of(app).addPlugins(new AwsSolutionsChecks(app), new ServerlessChecks(app));
    expect(() => app.synth()).not.toThrow();
  });

  it('is refused where it makes no sense', () => {
    const hotBucket = { bucketArn: 'a', bucketName: 'b' };
    expect(() => eventLog({ ...ZONE, hotBucket })).toThrow('not both');
    expect(() => eventLog({ hotAvailabilityZoneId: 'us-east-1a' })).toThrow("'use1-az4', not 'us-east-1a'");
    const encrypted = (stack: Stack) => ({ encryptionKey: new Key(stack, 'Key') });
    expect(() => eventLog((stack) => ({ ...encrypted(stack), ...ZONE }))).toThrow('encryptionKey');
    expect(() => eventLog((stack) => ({ ...encrypted(stack), hotBucket }))).toThrow('encryptionKey');
  });

  it('is in no template unless it is asked for', () => {
    const { stateful, stateless } = testTemplates();
    expect(JSON.stringify([stateful.toJSON(), stateless.toJSON()])).not.toMatch(/s3express|S3Express|HOT_BUCKET/);
  });
});
