import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { App, Duration, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { type IVpc, SubnetType, Vpc } from 'aws-cdk-lib/aws-ec2';
import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  ADMIN,
  APPEND,
  CHECK_KEYS,
  CONSUME,
  DELETE_GROUPS,
  GROUPS,
  SERVE_KAFKA,
  TRANSACT,
  union,
} from '../../../infra/constructs/access.ts';
import { KafkaGateway, type KafkaGatewayProps } from '../../../infra/constructs/kafka/kafka-gateway.ts';
import { parseSettings } from '../../../shared/aws/environment.ts';
import { parseGatewayEnvironment } from '../../../shared/aws/gateway-environment.ts';
import { expected, granted } from '../../support/granted.ts';
import {
  eventLog,
  KAFKA_CONTEXT,
  list,
  outFolder,
  resourcesOf,
  type Statement,
  statementsOf,
  testApp,
  testTemplates,
} from '../../support/synthesize.ts';

type Properties = Readonly<Record<string, unknown>>;

/** The only resource of a type. */
function only(template: Template, type: string): Properties {
  const [one, ...others] = Object.values(resourcesOf(template, type));
  expect(others).toEqual([]);
  return (one as { readonly Properties: Properties }).Properties;
}

interface Container {
  readonly Environment: readonly { readonly Name: string; readonly Value: unknown }[];
  readonly StopTimeout: number;
}

function containerOf(template: Template): Container & Properties {
  return (only(template, 'AWS::ECS::TaskDefinition').ContainerDefinitions as (Container & Properties)[])[0] as never;
}

/** What the process makes of the container's environment. */
function settingsOf(template: Template) {
  const variables = Object.fromEntries(
    containerOf(template).Environment.map(({ Name, Value }) => [Name, typeof Value === 'string' ? Value : 'x']),
  );
  const settings = parseSettings(variables);
  return { settings, environment: parseGatewayEnvironment(variables, settings) };
}

function attributesOf(properties: Properties, name: string): Record<string, string> {
  const pairs = properties[name] as readonly { readonly Key: string; readonly Value: string }[];
  return Object.fromEntries(pairs.map(({ Key, Value }) => [Key, Value]));
}

function made(props: Partial<KafkaGatewayProps> | ((stack: Stack) => Partial<KafkaGatewayProps>) = {}): Template {
  const { stack, log } = eventLog({ http: false });
  const { kafkaHostName: hostName, kafkaCertificateArn: certificateArn } = KAFKA_CONTEXT;
  const more = typeof props === 'function' ? props(stack) : props;
  new KafkaGateway(stack, 'Kafka', { log, hostName, certificateArn, ...more });
  return Template.fromStack(stack);
}

describe('without being asked for', () => {
  it('there is nothing of it in the stacks', () => {
    const { stateful, stateless } = testTemplates();
    const text = JSON.stringify([stateful.toJSON(), stateless.toJSON()]);
    expect(text).not.toMatch(/AWS::(?:ECS|EC2|ElasticLoadBalancing|ApplicationAutoScaling|Route53)|kafka/i);
  });

  it('it adds to the stack, and changes nothing that was in it', () => {
    const without = testTemplates().stateless.toJSON();
    const { stateful, stateless } = testTemplates(KAFKA_CONTEXT);
    const { Resources, Outputs } = stateless.toJSON();
    expect(Resources).toMatchObject(without.Resources);
    expect(Outputs).toMatchObject(without.Outputs);
    const added = Object.keys(Resources).filter((id) => !(id in without.Resources));
    expect(added.length).toBeGreaterThan(20);
    expect(added.filter((id) => !id.startsWith('Kafka'))).toEqual([]);
    expect(Object.keys(stateful.toJSON().Resources)).toEqual(Object.keys(testTemplates().stateful.toJSON().Resources));
  });

  it.each([
    [{ ...KAFKA_CONTEXT, kafkaHostName: '' }, 'kafkaHostName'],
    [{ ...KAFKA_CONTEXT, kafkaCertificateArn: '' }, 'kafkaCertificateArn'],
    [{ kafkaGateway: 'yes' }, 'kafkaGateway'],
    [{ ...KAFKA_CONTEXT, kafkaTasksMax: '1' }, 'tasksMax'],
    [{ ...KAFKA_CONTEXT, kafkaHostName: 'kafka.example.com:9092' }, 'without a port'],
  ])('what is missing or wrong is named: %j', (context, says) => {
    expect(() => testApp(context)).toThrow(says);
  });
});

describe('Kafka gateways', () => {
  let template: Template;
  beforeAll(() => {
    template = testTemplates({ ...KAFKA_CONTEXT, kafkaHostedZoneId: 'Z1' }).stateless;
  });

  it('run on arm64, as a user without rights, on a file system that is only read', () => {
    expect(only(template, 'AWS::ECS::TaskDefinition')).toMatchObject({
      RuntimePlatform: { CpuArchitecture: 'ARM64', OperatingSystemFamily: 'LINUX' },
      RequiresCompatibilities: ['FARGATE'],
      Cpu: '512',
      Memory: '1024',
    });
    expect(containerOf(template)).toMatchObject({ User: '1000:1000', ReadonlyRootFilesystem: true });
  });

  it('get an environment that they can read, with encryption up to the load balancer, and API keys', () => {
    const { settings, environment } = settingsOf(template);
    expect(settings).toMatchObject({ tableName: 'x', bucketName: 'x', authentication: ['api_keys'] });
    expect(environment).toMatchObject({
      advertisedHost: 'kafka.example.com',
      advertisedPort: 9_092,
      tls: { type: 'load_balancer' },
      mechanisms: ['SCRAM-SHA-512', 'SCRAM-SHA-256', 'PLAIN'],
    });
  });

  it('have times to stop that fit each other', () => {
    const { drainMs } = settingsOf(template).environment;
    const { StopTimeout } = containerOf(template);
    const attributes = attributesOf(
      only(template, 'AWS::ElasticLoadBalancingV2::TargetGroup'),
      'TargetGroupAttributes',
    );
    // The process ends by itself before ECS kills it, and ECS takes no more than two minutes.
    expect(StopTimeout * 1_000).toBeGreaterThanOrEqual(drainMs + 5_000);
    expect(StopTimeout).toBeLessThanOrEqual(120);
    // The load balancer does not cut what the gateway still answers.
    expect(Number(attributes['deregistration_delay.timeout_seconds']) * 1_000).toBeGreaterThanOrEqual(drainMs);
    expect(attributes['deregistration_delay.connection_termination.enabled']).toBe('false');
    // The longest drain leaves ECS its margin.
    expect(containerOf(made({ drain: Duration.seconds(110) })).StopTimeout).toBe(120);
  });

  it('are checked where they say how they are', () => {
    const { environment } = settingsOf(template);
    expect(only(template, 'AWS::ElasticLoadBalancingV2::TargetGroup')).toMatchObject({
      TargetType: 'ip',
      Protocol: 'TCP',
      Port: environment.port,
      HealthCheckProtocol: 'HTTP',
      HealthCheckPort: String(environment.healthPort),
      HealthCheckPath: '/health',
      Matcher: { HttpCode: '200' },
    });
    const ports = containerOf(template).PortMappings as readonly { readonly ContainerPort: number }[];
    expect(ports.map(({ ContainerPort }) => ContainerPort)).toEqual([environment.port, environment.healthPort]);
  });

  it('are reached over TLS 1.2 or later, in the zone of the client', () => {
    expect(only(template, 'AWS::ElasticLoadBalancingV2::Listener')).toMatchObject({
      Protocol: 'TLS',
      Port: 9_092,
      SslPolicy: 'ELBSecurityPolicy-TLS13-1-2-Res-2021-06',
      Certificates: [{ CertificateArn: KAFKA_CONTEXT.kafkaCertificateArn }],
    });
    const balancer = only(template, 'AWS::ElasticLoadBalancingV2::LoadBalancer');
    expect(balancer).toMatchObject({ Type: 'network', Scheme: 'internet-facing' });
    expect(attributesOf(balancer, 'LoadBalancerAttributes')).toMatchObject({
      'load_balancing.cross_zone.enabled': 'false',
      'dns_record.client_routing_policy': 'availability_zone_affinity',
    });
    expect(only(template, 'AWS::Route53::RecordSet')).toMatchObject({ Name: 'kafka.example.com.', Type: 'A' });
  });

  it('let nobody in but clients through the listener', () => {
    const groups = Object.entries(resourcesOf(template, 'AWS::EC2::SecurityGroup'));
    const inline = groups.flatMap(([id, { Properties }]) =>
      ((Properties.SecurityGroupIngress ?? []) as Properties[]).map((rule) => [
        id.slice(5, 13),
        rule.CidrIp,
        rule.ToPort,
      ]),
    );
    expect(inline).toEqual([['Balancer', '0.0.0.0/0', 9_092]]);
    const between = Object.values(resourcesOf(template, 'AWS::EC2::SecurityGroupIngress')).map(({ Properties }) => [
      JSON.stringify(Properties.GroupId).includes('TaskGroup'),
      JSON.stringify(Properties.SourceSecurityGroupId).includes('BalancerGroup'),
      Properties.FromPort,
      Properties.ToPort,
    ]);
    expect(between).toEqual([
      [true, true, 9_092, 9_092],
      [true, true, 8_080, 8_080],
    ]);
  });

  it('describe their rules in characters that EC2 takes', () => {
    const descriptions = JSON.stringify(template.toJSON()).matchAll(
      /"(?:Group)?Description":"([^"]*)","?(?:From|IpP|Dest)/g,
    );
    const all = [...descriptions].map(([, text]) => text ?? '');
    expect(all.length).toBeGreaterThan(4);
    for (const text of all) expect(text).toMatch(/^[a-zA-Z0-9. _\-:/()#,@[\]+=&;{}!$*]{0,255}$/);
  });

  it('begin only HTTPS connections, without NAT, and S3 and DynamoDB stay inside', () => {
    template.resourceCountIs('AWS::EC2::NatGateway', 0);
    const services = Object.values(resourcesOf(template, 'AWS::EC2::VPCEndpoint')).map(({ Properties }) => [
      Properties.VpcEndpointType,
      /\.(\w+)"\]\]/.exec(JSON.stringify(Properties.ServiceName))?.[1],
    ]);
    expect(services).toEqual([
      ['Gateway', 's3'],
      ['Gateway', 'dynamodb'],
    ]);
    const [tasks] = Object.entries(resourcesOf(template, 'AWS::EC2::SecurityGroup')).filter(([id]) =>
      id.includes('TaskGroup'),
    );
    expect(tasks?.[1].Properties.SecurityGroupEgress).toMatchObject([
      { FromPort: 443, ToPort: 443, IpProtocol: 'tcp' },
    ]);
    expect(only(template, 'AWS::ECS::Service')).toMatchObject({
      NetworkConfiguration: { AwsvpcConfiguration: { AssignPublicIp: 'ENABLED' } },
    });
  });

  it('are at least two, are replaced before they go, and taken back if they fail', () => {
    expect(only(template, 'AWS::ECS::Service')).toMatchObject({
      LaunchType: 'FARGATE',
      DeploymentConfiguration: {
        MinimumHealthyPercent: 100,
        MaximumPercent: 200,
        DeploymentCircuitBreaker: { Enable: true, Rollback: true },
      },
      AvailabilityZoneRebalancing: 'ENABLED',
    });
    // A deployment must not take back what the load has asked for.
    expect(only(template, 'AWS::ECS::Service').DesiredCount).toBeUndefined();
    expect(only(template, 'AWS::ApplicationAutoScaling::ScalableTarget')).toMatchObject({
      MinCapacity: 2,
      MaxCapacity: 4,
    });
    const policies = Object.values(resourcesOf(template, 'AWS::ApplicationAutoScaling::ScalingPolicy')).map(
      ({ Properties }) => Properties.TargetTrackingScalingPolicyConfiguration,
    );
    expect(policies).toMatchObject([
      { PredefinedMetricSpecification: { PredefinedMetricType: 'ECSServiceAverageCPUUtilization' }, TargetValue: 60 },
      { CustomizedMetricSpecification: { MetricName: 'KafkaConnections', Statistic: 'Average' }, TargetValue: 2_000 },
    ]);
  });

  it('have a role with what they do for clients and no more, which only ECS takes', () => {
    expect(granted(statementsOf(template, 'KafkaRole'))).toEqual(
      expected(union(APPEND, TRANSACT, CONSUME, GROUPS, DELETE_GROUPS, ADMIN, CHECK_KEYS, SERVE_KAFKA), false),
    );
    const roles = Object.entries(resourcesOf(template, 'AWS::IAM::Role')).filter(([id]) => id.startsWith('Kafka'));
    expect(roles.length).toBe(2);
    for (const [, { Properties }] of roles) {
      expect(Properties.ManagedPolicyArns).toBeUndefined();
      expect(JSON.stringify(Properties.AssumeRolePolicyDocument)).toContain('"Service":"ecs-tasks.amazonaws.com"');
    }
    const pulling: Statement[] = statementsOf(template, 'KafkaTaskExecutionRole');
    expect(pulling.filter(({ Resource }) => Resource === '*').flatMap(({ Action }) => list(Action))).toEqual([
      'ecr:GetAuthorizationToken',
    ]);
  });

  it('have a log that forgets, and alarms', () => {
    const [logs] = Object.entries(resourcesOf(template, 'AWS::Logs::LogGroup')).filter(([id]) =>
      id.startsWith('Kafka'),
    );
    expect(logs?.[1].Properties.RetentionInDays).toBe(14);
    const alarms = Object.entries(resourcesOf(template, 'AWS::CloudWatch::Alarm')).filter(([id]) =>
      id.startsWith('Kafka'),
    );
    expect(alarms.map(([, { Properties }]) => [Properties.MetricName, Properties.TreatMissingData])).toEqual([
      ['HealthyHostCount', 'breaching'],
      ['UnHealthyHostCount', 'notBreaching'],
      ['KafkaErrors', 'notBreaching'],
      ['KafkaTableUnreached', 'notBreaching'],
    ]);
  });

  it('tell where clients connect', () => {
    expect(template.findOutputs('KafkaBootstrapServers')).toEqual({
      KafkaBootstrapServers: { Value: 'kafka.example.com:9092' },
    });
    expect(JSON.stringify(template.findOutputs('KafkaLoadBalancer'))).toContain('DNSName');
  });
});

describe('the image', () => {
  it('is made of the bundle and a Dockerfile that runs nothing, without Docker', () => {
    const outdir = outFolder();
    const stack = new Stack(new App({ outdir }), 'Own');
    const { kafkaHostName: hostName, kafkaCertificateArn: certificateArn } = KAFKA_CONTEXT;
    const { table, bucket, hotBucket, environment } = eventLog({ http: false }).log;
    expect(
      () =>
        new KafkaGateway(stack, 'Kafka', { log: { table, bucket, hotBucket, environment }, hostName, certificateArn }),
    ).not.toThrow();
    const [asset, ...others] = readdirSync(outdir).filter((name) => name.startsWith('asset.'));
    expect(others).toEqual([]);
    const image = join(outdir, String(asset));
    expect(readdirSync(image).sort()).toEqual(['Dockerfile', 'index.mjs']);
    const lines = readFileSync(join(image, 'Dockerfile'), 'utf8').trim().split('\n');
    expect(lines.map((line) => line.split(' ')[0])).toEqual(['FROM', 'WORKDIR', 'COPY', 'USER', 'ENV', 'CMD']);
    expect(readFileSync(join(image, 'index.mjs'), 'utf8')).toContain('TAILRACE_KAFKA_ADVERTISED_HOST');
  });
});

describe('what can be chosen', () => {
  it('a VPC: then the load balancer is inside, for its addresses alone, and tasks have no public address', () => {
    const template = made((stack) => ({
      vpc: new Vpc(stack, 'Mine', {
        subnetConfiguration: [
          { name: 'Public', subnetType: SubnetType.PUBLIC },
          { name: 'Private', subnetType: SubnetType.PRIVATE_WITH_EGRESS },
        ],
      }) as IVpc,
    }));
    template.resourceCountIs('AWS::EC2::VPC', 1);
    expect(only(template, 'AWS::ElasticLoadBalancingV2::LoadBalancer')).toMatchObject({ Scheme: 'internal' });
    expect(only(template, 'AWS::ECS::Service')).toMatchObject({
      NetworkConfiguration: { AwsvpcConfiguration: { AssignPublicIp: 'DISABLED' } },
    });
    expect(JSON.stringify(resourcesOf(template, 'AWS::EC2::SecurityGroup'))).not.toContain(
      '"CidrIp":"0.0.0.0/0","Description":"Kafka',
    );
    template.hasResourceProperties('AWS::EC2::SecurityGroup', {
      SecurityGroupIngress: [
        Match.objectLike({ CidrIp: { 'Fn::GetAtt': [Match.stringLikeRegexp('Mine'), 'CidrBlock'] } }),
      ],
    });
  });

  it('tokens, sizes, times and who may connect', () => {
    const jwt = { issuer: 'https://i.example/', audience: 'a', keysUrl: 'https://i.example/keys', scopesClaim: 's' };
    const template = made({
      jwt,
      port: 9_094,
      cpu: 1_024,
      memoryLimitMiB: 2_048,
      tasksMin: 6,
      connectionsPerTask: 500,
      drain: Duration.seconds(60),
      linger: Duration.millis(0),
      autoCreateTopics: false,
      partitionsDefault: 12,
      clientCidrs: ['10.0.0.0/8'],
      logRetention: RetentionDays.ONE_MONTH,
      alarms: false,
    });
    const { settings, environment } = settingsOf(template);
    expect(settings).toMatchObject({
      jwtIssuer: jwt.issuer,
      jwtAudience: 'a',
      jwtKeysUrl: jwt.keysUrl,
      jwtScopesClaim: 's',
    });
    expect(environment).toMatchObject({
      advertisedPort: 9_094,
      port: 9_092,
      drainMs: 60_000,
      lingerMs: 0,
      autoCreateTopics: false,
      partitionsDefault: 12,
    });
    expect(environment.mechanisms).toContain('OAUTHBEARER');
    expect(only(template, 'AWS::ElasticLoadBalancingV2::Listener')).toMatchObject({ Port: 9_094 });
    expect(containerOf(template).StopTimeout).toBe(70);
    expect(only(template, 'AWS::ApplicationAutoScaling::ScalableTarget')).toMatchObject({
      MinCapacity: 6,
      MaxCapacity: 6,
    });
    expect(JSON.stringify(resourcesOf(template, 'AWS::EC2::SecurityGroup'))).toContain('"CidrIp":"10.0.0.0/8"');
    expect(JSON.stringify(template.findResources('AWS::CloudWatch::Alarm'))).not.toContain('NetworkELB');
    template.hasResourceProperties('AWS::Logs::LogGroup', { RetentionInDays: 30 });
  });

  it.each([
    [{ drain: Duration.seconds(111) }, 'drain is from 1 to 110 whole seconds'],
    [{ drain: Duration.millis(1_500) }, 'whole seconds, not 1.5'],
    [{ drain: Duration.seconds(0) }, 'drain is from 1'],
    [{ linger: Duration.seconds(2) }, 'linger is at most'],
    [{ tasksMin: 0 }, 'tasksMin'],
    [{ tasksMin: 3, tasksMax: 2 }, 'tasksMax'],
    [{ clientCidrs: [] }, 'clientCidrs'],
  ])('nothing that makes no sense: %j', (props, says) => {
    expect(() => made(props)).toThrow(says);
  });
});
