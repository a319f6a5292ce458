import { App, Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  ADMIN,
  CHECK_KEYS,
  CONSUME,
  DELETE_GROUPS,
  GROUPS,
  MANAGE_KEYS,
  PRODUCE,
  TRANSACT,
  union,
  VERIFY,
} from '../../../infra/constructs/access.ts';
import { EventLog } from '../../../infra/constructs/event-log.ts';
import { JOB_NAMES, JOBS } from '../../../infra/constructs/jobs/jobs.ts';
import { parseSettings } from '../../../shared/aws/environment.ts';
import { expected, granted, suffixOf } from '../../support/granted.ts';
import {
  eventLog,
  list,
  outFolder,
  resourcesOf,
  type Statement,
  statementsOf,
  testApp,
  testTemplates,
} from '../../support/synthesize.ts';

describe('the stateful stack', () => {
  let template: Template;
  beforeAll(() => {
    template = testTemplates().stateful;
  });

  it('keeps the table, whatever happens', () => {
    template.hasResource('AWS::DynamoDB::Table', {
      DeletionPolicy: 'Retain',
      UpdateReplacePolicy: 'Retain',
      Properties: {
        BillingMode: 'PAY_PER_REQUEST',
        DeletionProtectionEnabled: true,
        PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
        TimeToLiveSpecification: { AttributeName: 'e', Enabled: true },
        KeySchema: [
          { AttributeName: 'pk', KeyType: 'HASH' },
          { AttributeName: 'sk', KeyType: 'RANGE' },
        ],
        // Without it the table is under DynamoDB's own key.
        SSESpecification: Match.absent(),
        StreamSpecification: { StreamViewType: 'KEYS_ONLY' },
      },
    });
    expect(testApp().stateful.terminationProtection).toBe(true);
  });

  it('keeps the bucket, encrypted, and from the public', () => {
    template.hasResource('AWS::S3::Bucket', {
      DeletionPolicy: 'Retain',
      UpdateReplacePolicy: 'Retain',
      Properties: {
        PublicAccessBlockConfiguration: {
          BlockPublicAcls: true,
          BlockPublicPolicy: true,
          IgnorePublicAcls: true,
          RestrictPublicBuckets: true,
        },
        OwnershipControls: { Rules: [{ ObjectOwnership: 'BucketOwnerEnforced' }] },
        BucketEncryption: {
          ServerSideEncryptionConfiguration: [{ ServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }],
        },
        LifecycleConfiguration: {
          Rules: [{ AbortIncompleteMultipartUpload: { DaysAfterInitiation: 1 }, Status: 'Enabled' }],
        },
        VersioningConfiguration: Match.absent(),
      },
    });
  });

  it.each([{ Bool: { 'aws:SecureTransport': 'false' } }, { NumericLessThan: { 's3:TlsVersion': 1.2 } }])(
    'refuses requests to the bucket by %j',
    (Condition) => {
      template.hasResourceProperties('AWS::S3::BucketPolicy', {
        PolicyDocument: {
          Statement: Match.arrayWith([
            Match.objectLike({ Effect: 'Deny', Action: 's3:*', Condition, Principal: { AWS: '*' } }),
          ]),
        },
      });
    },
  );

  it('tells its names', () => {
    expect(Object.keys(template.findOutputs('*'))).toEqual(expect.arrayContaining(['TableName', 'BucketName']));
  });

  it('keeps nothing of a deployment that is thrown away, without any function that deletes', () => {
    const { stateful } = testApp({ ephemeral: 'true' });
    expect(stateful.terminationProtection).toBeFalsy();
    const ephemeral = Template.fromStack(stateful);
    for (const type of ['AWS::DynamoDB::Table', 'AWS::S3::Bucket'])
      ephemeral.hasResource(type, { DeletionPolicy: 'Delete' });
    ephemeral.hasResourceProperties('AWS::DynamoDB::Table', { DeletionProtectionEnabled: false });
    expect(new Set(Object.values(ephemeral.toJSON().Resources as object).map(({ Type }) => Type))).toEqual(
      new Set(['AWS::DynamoDB::Table', 'AWS::S3::Bucket', 'AWS::S3::BucketPolicy']),
    );
  });
});

describe('the stateless stack', () => {
  let template: Template;
  beforeAll(() => {
    template = testTemplates().stateless;
  });

  it('holds nothing that must be kept', () => {
    const kinds = new Set(Object.values(template.toJSON().Resources as object).map(({ Type }) => Type));
    expect([...kinds].filter((kind) => /DynamoDB|S3/.test(kind))).toEqual([]);
  });

  it('has functions that are all alike in what should be', () => {
    const functions = Object.values(resourcesOf(template, 'AWS::Lambda::Function'));
    expect(functions.length).toBe(2 + JOB_NAMES.length);
    for (const { Properties } of functions) {
      expect(Properties).toMatchObject({
        Runtime: 'nodejs24.x',
        Architectures: ['arm64'],
        LoggingConfig: { LogFormat: 'JSON', SystemLogLevel: 'WARN', LogGroup: expect.anything() },
      });
      expect(Properties.MemorySize).toBeGreaterThanOrEqual(512);
      const variables = (Properties.Environment as { Variables: Record<string, unknown> }).Variables;
      const named = Object.fromEntries(Object.keys(variables).map((name) => [name, 'x']));
      expect(parseSettings(named)).toMatchObject({ tableName: 'x', bucketName: 'x' });
    }
  });

  it('has a log group for each function, which forgets', () => {
    const groups = resourcesOf(template, 'AWS::Logs::LogGroup');
    expect(Object.values(groups).map(({ Properties }) => Properties.RetentionInDays)).toEqual(
      Object.keys(groups).map(() => 14),
    );
    const used = Object.values(resourcesOf(template, 'AWS::Lambda::Function')).map(
      ({ Properties }) => (Properties.LoggingConfig as { LogGroup: { Ref: string } }).LogGroup.Ref,
    );
    expect(new Set(used)).toEqual(new Set(Object.keys(groups)));
  });

  it('has addresses that ask for signed requests and stream answers', () => {
    const urls = Object.values(resourcesOf(template, 'AWS::Lambda::Url'));
    expect(urls.length).toBe(2);
    for (const { Properties } of urls)
      expect(Properties).toMatchObject({ AuthType: 'AWS_IAM', InvokeMode: 'RESPONSE_STREAM' });
    for (const name of ['Produce', 'Http'])
      template.hasResourceProperties('AWS::Lambda::Function', {
        Handler: 'index.streamHandler',
        Role: { 'Fn::GetAtt': [Match.stringLikeRegexp(`EventLog${name}Role`), 'Arn'] },
      });
    // Whoever may call a function without a signature would be named here.
    const principals = Object.values(resourcesOf(template, 'AWS::Lambda::Permission')).map(
      ({ Properties }) => Properties.Principal,
    );
    expect(principals).toEqual(JOB_NAMES.map(() => 'events.amazonaws.com'));
  });

  it('tells its addresses and names', () => {
    expect(Object.keys(template.findOutputs('*')).sort()).toEqual(['ApiUrl', 'BucketName', 'ProduceUrl', 'TableName']);
  });

  const STREAM = [
    'dynamodb:DescribeStream',
    'dynamodb:GetRecords',
    'dynamodb:GetShardIterator',
    'dynamodb:ListStreams',
  ];

  it.each([
    ['Produce', PRODUCE, []],
    ['Http', union(PRODUCE, TRANSACT, CONSUME, GROUPS, DELETE_GROUPS, ADMIN, VERIFY, MANAGE_KEYS), []],
    ['Merge', JOBS.merge.access, [...STREAM, 'sqs:GetQueueAttributes', 'sqs:GetQueueUrl', 'sqs:SendMessage']],
    ['Expire', JOBS.expire.access, []],
    ['Sweep', JOBS.sweep.access, []],
    ['Compact', JOBS.compact.access, []],
  ])('gives the role of %s its access and no more', (name, access, more) => {
    expect(granted(statementsOf(template, `EventLog${name}`))).toEqual([...expected(access), ...more].sort());
  });

  it('lets the function for appends read no records', () => {
    const what = granted(statementsOf(template, 'EventLogProduce'));
    expect(what.filter((each) => /s3:Get|s3:List|GetItem batch#/.test(each))).toEqual([]);
  });

  it('lets no role replace an object', () => {
    const puts = ['Produce', 'Http', 'Merge', 'Expire', 'Sweep', 'Compact']
      .flatMap((name) => statementsOf(template, name))
      .filter(({ Action }) => list(Action).includes('s3:PutObject'));
    const onlyOnce = { Null: { 's3:if-none-match': 'false' } };
    const noObject = { Bool: { 's3:ObjectCreationOperation': 'false' } };
    expect(puts.map(({ Condition }) => Condition)).toEqual([onlyOnce, onlyOnce, onlyOnce, noObject, onlyOnce]);
  });

  it('has roles for Lambda alone, without managed policies', () => {
    for (const { Properties } of Object.values(resourcesOf(template, 'AWS::IAM::Role'))) {
      expect(Properties.ManagedPolicyArns).toBeUndefined();
      expect(JSON.stringify(Properties.AssumeRolePolicyDocument)).toContain('"Service":"lambda.amazonaws.com"');
    }
  });

  it('has no wildcard in an action, and in resources only behind a prefix', () => {
    const statements = Object.values(resourcesOf(template, 'AWS::IAM::Policy')).flatMap(
      ({ Properties }) => (Properties.PolicyDocument as { Statement: Statement[] }).Statement,
    );
    expect(statements.length).toBeGreaterThan(10);
    for (const { Action, Resource, Condition } of statements) {
      for (const action of list(Action)) expect(action).not.toContain('*');
      for (const resource of list(Resource)) {
        expect(resource).not.toBe('*');
        expect([undefined, '/hot/*', '/segments/*', '/stream/*']).toContain(/\/.*\*/.exec(suffixOf(resource))?.[0]);
      }
      // The actions on the stream have no keys.
      if (list(Action).some((action) => action.startsWith('dynamodb:') && !STREAM.includes(action)))
        expect(Condition?.['ForAllValues:StringLike']?.['dynamodb:LeadingKeys']).not.toContain('*');
    }
  });
});

describe('what can be chosen', () => {
  it('no authorization', () => {
    const { stateless } = testTemplates({ auth: 'none' });
    for (const { Properties } of Object.values(resourcesOf(stateless, 'AWS::Lambda::Url')))
      expect(Properties.AuthType).toBe('NONE');
  });

  it('keys and tokens, which the functions check themselves', () => {
    const { stateless } = testTemplates({ auth: 'bearer' });
    for (const { Properties } of Object.values(resourcesOf(stateless, 'AWS::Lambda::Url')))
      expect(Properties.AuthType).toBe('NONE');
    for (const [id, access] of [
      ['Produce', union(PRODUCE, CHECK_KEYS)],
      ['Http', union(PRODUCE, TRANSACT, CONSUME, GROUPS, DELETE_GROUPS, ADMIN, VERIFY, MANAGE_KEYS, CHECK_KEYS)],
    ] as const) {
      const functions = Object.entries(resourcesOf(stateless, 'AWS::Lambda::Function'));
      const [, made] = functions.find(([name]) => name.startsWith(`EventLog${id}`)) ?? [];
      expect(made?.Properties.Environment).toMatchObject({ Variables: { TAILRACE_AUTHENTICATION: 'api_keys' } });
      expect(granted(statementsOf(stateless, `EventLog${id}`))).toEqual(expected(access));
    }
    const { stateless: signed } = testTemplates();
    expect(JSON.stringify(signed.toJSON())).not.toContain('TAILRACE_AUTHENTICATION');
  });

  it('an issuer of tokens', () => {
    const jwt = { issuer: 'https://i.example/', audience: 'a', keysUrl: 'https://i.example/keys' };
    const stack = new Stack(new App({ outdir: outFolder() }), 'Bearer');
    new EventLog(stack, 'EventLog', { auth: 'bearer', jwt });
    Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Function', {
      Environment: {
        Variables: Match.objectLike({
          TAILRACE_AUTHENTICATION: 'api_keys,jwt',
          TAILRACE_JWT_ISSUER: jwt.issuer,
          TAILRACE_JWT_AUDIENCE: jwt.audience,
          TAILRACE_JWT_KEYS_URL: jwt.keysUrl,
        }),
      },
    });
    expect(() => new EventLog(stack, 'Other', { jwt })).toThrow('bearer');
  });

  it('whole answers', () => {
    const { stateless } = testTemplates({ streaming: 'false' });
    for (const { Properties } of Object.values(resourcesOf(stateless, 'AWS::Lambda::Url')))
      expect(Properties.InvokeMode).toBe('BUFFERED');
    for (const { Properties } of Object.values(resourcesOf(stateless, 'AWS::Lambda::Function')))
      expect(Properties.Handler).toBe('index.handler');
  });

  it('an HTTP API before the whole API, with signed requests, throttling and an access log', () => {
    const { stateless } = testTemplates({ httpApi: 'true' });
    stateless.hasResourceProperties('AWS::ApiGatewayV2::Route', { RouteKey: '$default', AuthorizationType: 'AWS_IAM' });
    stateless.hasResourceProperties('AWS::ApiGatewayV2::Stage', {
      DefaultRouteSettings: { ThrottlingRateLimit: 1_000, ThrottlingBurstLimit: 1_000 },
      AccessLogSettings: Match.objectLike({ Format: Match.stringLikeRegexp('requestId') }),
    });
    // It can't pass on a stream, so the function behind it answers whole, in time.
    stateless.hasResourceProperties('AWS::Lambda::Function', { Handler: 'index.handler', Timeout: 29 });
    expect(JSON.stringify(stateless.findOutputs('ApiUrl'))).toContain('ApiEndpoint');
    expect(granted(statementsOf(stateless, 'EventLogGateway'))).toEqual(
      expected(union(PRODUCE, TRANSACT, CONSUME, GROUPS, DELETE_GROUPS, ADMIN, VERIFY, MANAGE_KEYS)),
    );
    const whole = testTemplates({ httpApi: 'true', streaming: 'false' }).stateless;
    whole.resourceCountIs('AWS::Lambda::Function', 2 + JOB_NAMES.length);
  });

  it('concurrency, the interval of jobs, no alarms and no dashboard', () => {
    const { stateless } = testTemplates({
      produceReservedConcurrency: '50',
      httpReservedConcurrency: '20',
      jobMinutes: '60',
      alarms: 'false',
      dashboard: 'false',
    });
    const reserved = Object.values(resourcesOf(stateless, 'AWS::Lambda::Function')).map(
      ({ Properties }) => Properties.ReservedConcurrentExecutions,
    );
    expect(reserved).toEqual([50, 20, ...JOB_NAMES.map(() => undefined)]);
    stateless.hasResourceProperties('AWS::Events::Rule', { ScheduleExpression: 'rate(1 hour)' });
    stateless.resourceCountIs('AWS::CloudWatch::Alarm', 0);
    stateless.resourceCountIs('AWS::CloudWatch::Dashboard', 0);
  });

  it('metrics of the bucket', () => {
    const { stateful, stateless } = testTemplates({ bucketRequestMetrics: 'true' });
    stateful.hasResourceProperties('AWS::S3::Bucket', { MetricsConfigurations: [{ Id: 'EntireBucket' }] });
    stateless.hasResourceProperties('AWS::CloudWatch::Alarm', { Namespace: 'AWS/S3', MetricName: '5xxErrors' });
  });

  it('names', () => {
    const { stateful, stateless } = testApp({ name: 'Orders' });
    expect([stateful.stackName, stateless.stackName]).toEqual(['OrdersStateful', 'OrdersStateless']);
  });

  it.each([{ auth: 'nobody' }, { ephemeral: 'yes' }, { jobMinutes: '0' }, { produceReservedConcurrency: 'many' }])(
    'nothing that makes no sense: %j',
    (context) => {
      expect(() => testApp(context)).toThrow(Object.keys(context)[0] ?? '');
    },
  );
});

describe('EventLog in a stack of its own', () => {
  it('makes and keeps its table and bucket', () => {
    const { template } = eventLog();
    template().hasResource('AWS::DynamoDB::Table', {
      DeletionPolicy: 'Retain',
      Properties: {
        DeletionProtectionEnabled: true,
        PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
      },
    });
    template().hasResource('AWS::S3::Bucket', { DeletionPolicy: 'Retain' });
  });

  it('takes its props', () => {
    const { template } = eventLog({
      removalPolicy: RemovalPolicy.DESTROY,
      deletionProtection: false,
      pointInTimeRecovery: false,
      memorySize: 2_048,
      produceMemorySize: 256,
      timeout: Duration.seconds(60),
      logRetention: RetentionDays.ONE_MONTH,
      allowedOrigins: ['https://a.example', 'https://b.example'],
      inlineBytesMax: 4_096,
    });
    const made = template();
    made.hasResource('AWS::DynamoDB::Table', { DeletionPolicy: 'Delete' });
    made.hasResourceProperties('AWS::DynamoDB::Table', { DeletionProtectionEnabled: false });
    made.hasResourceProperties('AWS::Lambda::Function', {
      MemorySize: 2_048,
      Timeout: 60,
      Environment: {
        Variables: {
          TAILRACE_ALLOWED_ORIGINS: 'https://a.example,https://b.example',
          TAILRACE_INLINE_BYTES_MAX: '4096',
        },
      },
    });
    made.hasResourceProperties('AWS::Lambda::Function', { MemorySize: 256 });
    made.allResourcesProperties('AWS::Logs::LogGroup', { RetentionInDays: 30 });
  });

  it('has no address without http, and its jobs all the same', () => {
    const { log, template } = eventLog({ http: false });
    expect([log.apiUrl, log.produceUrl, log.httpFunction]).toEqual([undefined, undefined, undefined]);
    template().resourceCountIs('AWS::Lambda::Url', 0);
    template().resourceCountIs('AWS::Lambda::Function', JOB_NAMES.length);
  });

  it.each([
    ['grantProduce', PRODUCE],
    ['grantConsume', CONSUME],
    ['grantConsumeAsGroup', union(CONSUME, GROUPS)],
    ['grantTransact', union(PRODUCE, TRANSACT)],
    ['grantAdmin', union(ADMIN, DELETE_GROUPS)],
  ] as const)('%s gives what the direct mode needs, and no more', (grant, access) => {
    const { stack, log, template } = eventLog({ http: false });
    log[grant](new Role(stack, 'Caller', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') }));
    expect(granted(statementsOf(template(), 'Caller'))).toEqual(expected(access, false));
  });

  it('tells a caller of the direct mode its environment', () => {
    const { log, stack } = eventLog({ http: false, inlineBytesMax: 1_000 });
    expect(stack.resolve(log.environment)).toMatchObject({
      TAILRACE_TABLE: { Ref: expect.any(String) },
      TAILRACE_INLINE_BYTES_MAX: '1000',
    });
  });

  it.each([
    ['produce', ['LogProduceFunction']],
    ['all', ['LogHttpFunction', 'LogProduceFunction']],
  ] as const)('grantHttp gives the address for %s', (scope, functions) => {
    const { stack, log, template } = eventLog();
    log.grantHttp(new Role(stack, 'Caller', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') }), scope);
    const statements = statementsOf(template(), 'Caller');
    expect(statements.flatMap(({ Action }) => list(Action)).sort()).toEqual([
      'lambda:InvokeFunction',
      'lambda:InvokeFunctionUrl',
    ]);
    const named = JSON.stringify(statements.map(({ Resource }) => Resource));
    for (const name of ['LogHttpFunction', 'LogProduceFunction'])
      expect(named.includes(name)).toBe((functions as readonly string[]).includes(name));
    // Without its URL a function can't be invoked.
    for (const { Action, Condition } of statements)
      if (Action === 'lambda:InvokeFunction')
        expect(Condition).toEqual({ Bool: { 'lambda:InvokedViaFunctionUrl': true } });
  });
});
