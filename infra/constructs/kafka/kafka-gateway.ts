import { Duration, RemovalPolicy } from 'aws-cdk-lib';
import { Certificate } from 'aws-cdk-lib/aws-certificatemanager';
import { type IAlarmAction, Stats } from 'aws-cdk-lib/aws-cloudwatch';
import type { IVpc, SubnetSelection } from 'aws-cdk-lib/aws-ec2';
import {
  AvailabilityZoneRebalancing,
  Cluster,
  ContainerInsights,
  CpuArchitecture,
  FargateService,
  FargateTaskDefinition,
  type ICluster,
  LogDrivers,
  OperatingSystemFamily,
} from 'aws-cdk-lib/aws-ecs';
import {
  ClientRoutingPolicy,
  NetworkLoadBalancer,
  NetworkTargetGroup,
  Protocol,
  SslPolicy,
} from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import { ARecord, type IHostedZone, RecordTarget } from 'aws-cdk-lib/aws-route53';
import { LoadBalancerTarget } from 'aws-cdk-lib/aws-route53-targets';
import { Construct } from 'constructs';
import { toEnvironment } from '../../../shared/aws/environment.ts';
import { DRAIN_MS_MAX, GATEWAY_DEFAULTS, toGatewayVariables } from '../../../shared/aws/gateway-environment.ts';
import { OBJECT_PATTERNS } from '../../../shared/storage/keys.ts';
import {
  ADMIN,
  APPEND,
  CHECK_KEYS,
  CONSUME,
  DELETE_GROUPS,
  GROUPS,
  grantAccess,
  SERVE_KAFKA,
  TRANSACT,
  union,
} from '../access.ts';
import { acknowledge, nameInFindings } from '../acknowledge.ts';
import type { EventLog, JwtProps } from '../event-log.ts';
import { makeAlarm } from '../observation.ts';
import { withoutHot } from '../storage/hot-access.ts';
import { GATEWAY_USER, gatewayImage } from './gateway-image.ts';
import { defaultSubnets, EVERYWHERE, makeSecurityGroups, makeVpc } from './gateway-network.ts';
import { gatewayMetric, watchedGateway } from './watch-gateway.ts';

export interface KafkaGatewayProps {
  /** The log whose clients are served. */
  readonly log: Pick<EventLog, 'table' | 'bucket' | 'hotBucket' | 'environment'>;
  /** The name that clients connect to. It must resolve to the load balancer, and the certificate must be for it. */
  readonly hostName: string;
  /** The ARN of a certificate of ACM for `hostName`, in the Region of the stack. */
  readonly certificateArn: string;
  /** The zone in which a record for `hostName` is made. @default - you make a CNAME of `loadBalancerDnsName` yourself */
  readonly hostedZone?: IHostedZone;
  /** The port that clients connect to. @default 9092 */
  readonly port?: number;
  /**
   * The network of load balancer and tasks. It should have gateway endpoints for S3 and DynamoDB, or all records go through
   * its NAT. @default - a VPC of two zones is made, with public subnets, these endpoints and no NAT
   */
  readonly vpc?: IVpc;
  /** @default - private subnets of the VPC if it has any, otherwise public ones */
  readonly vpcSubnets?: SubnetSelection;
  /** Whether the internet reaches the load balancer. @default - only if the VPC is made here, as nobody else is in it */
  readonly internetFacing?: boolean;
  /** The addresses that clients connect from. @default - all if `internetFacing`, otherwise those of the VPC */
  readonly clientCidrs?: readonly string[];
  /** The issuer whose tokens are accepted by OAUTHBEARER, in addition to API keys. @default - only API keys */
  readonly jwt?: JwtProps;
  /** Whether topics are made that clients ask for, if they may. @default true */
  readonly autoCreateTopics?: boolean;
  /** The partitions of such topics. @default 1 */
  readonly partitionsDefault?: number;
  /** How long appends wait for others to share a commit, at most a second. @default 10 ms */
  readonly linger?: Duration;
  /** Processor units of a task: 1024 are one virtual CPU. @default 512 */
  readonly cpu?: number;
  /** Memory of a task, in MiB; ECS takes only some values beside `cpu`. @default 1024 */
  readonly memoryLimitMiB?: number;
  /** Tasks that always run. One alone interrupts its clients when it is replaced. @default 2 */
  readonly tasksMin?: number;
  /** @default 4, or `tasksMin` if that is more */
  readonly tasksMax?: number;
  /** A task is added if tasks have more connections than this on average. @default 2000 */
  readonly connectionsPerTask?: number;
  /** How long a task that stops takes to answer its clients, at most 110 seconds. @default 30 seconds */
  readonly drain?: Duration;
  /** How long logs are kept. @default RetentionDays.TWO_WEEKS */
  readonly logRetention?: RetentionDays;
  /** Whether alarms are made. @default true */
  readonly alarms?: boolean;
  /** Actions that an alarm starts. @default - none: alarms are only shown */
  readonly alarmActions?: readonly IAlarmAction[];
}

const CPU = 512;
const MEMORY_MIB = 1_024;
const TASKS_MIN = 2;
const TASKS_MAX = 4;
const CONNECTIONS_PER_TASK = 2_000;
/** Work that is begun when half of the processor is used still finds room for the begin of another task, which takes a minute. */
const CPU_PERCENT = 60;
/** The process ends by itself within the drain time. After this long more ECS kills it. */
const STOP_MARGIN = Duration.seconds(10);

/** What a gateway does for its clients, and for itself. A client may do what its key or token says, and no more. */
export const GATEWAY_ACCESS = union(APPEND, TRANSACT, CONSUME, GROUPS, DELETE_GROUPS, ADMIN, CHECK_KEYS, SERVE_KAFKA);

/**
 * Kafka gateways on Fargate behind a Network Load Balancer that ends TLS. They keep nothing, so any of them serves any client.
 * All have the address of the load balancer, and so are one broker to clients (docs/design/0013-kafka-gateway-on-aws.md).
 * Not free when idle: about $60 a month in us-east-1 by default (docs/operations.md).
 */
export class KafkaGateway extends Construct {
  readonly service: FargateService;
  readonly loadBalancer: NetworkLoadBalancer;
  readonly vpc: IVpc;
  /** What clients are configured with, such as `kafka.example.com:9092`. */
  readonly bootstrapServers: string;
  /** What `hostName` must be a CNAME of, without a `hostedZone`. */
  readonly loadBalancerDnsName: string;

  constructor(scope: Construct, id: string, props: KafkaGatewayProps) {
    super(scope, id);
    const { log, hostName, port = GATEWAY_DEFAULTS.port, drain = Duration.millis(GATEWAY_DEFAULTS.drainMs) } = props;
    checkProps(props);
    this.vpc = props.vpc ?? makeVpc(this);
    const vpcSubnets = props.vpcSubnets ?? defaultSubnets(this.vpc);
    const internetFacing = props.internetFacing ?? props.vpc === undefined;
    const ports = { listener: port, kafka: GATEWAY_DEFAULTS.port, health: GATEWAY_DEFAULTS.healthPort };
    const clientCidrs = props.clientCidrs ?? [internetFacing ? EVERYWHERE : this.vpc.vpcCidrBlock];
    const groups = makeSecurityGroups(this, this.vpc, ports, clientCidrs);

    this.service = this.makeService(props, { vpcSubnets, drain, group: groups.tasks });
    const targets = new NetworkTargetGroup(this, 'Targets', {
      vpc: this.vpc,
      port: ports.kafka,
      protocol: Protocol.TCP,
      targets: [this.service.loadBalancerTarget({ containerName: CONTAINER, containerPort: ports.kafka })],
      // ECS waits for it before it sends the signal. Connections stay until the gateway ends them, when all is answered.
      deregistrationDelay: drain,
      connectionTermination: false,
      healthCheck: {
        protocol: Protocol.HTTP,
        port: String(ports.health),
        path: '/health',
        healthyHttpCodes: '200',
        interval: Duration.seconds(10),
        timeout: Duration.seconds(5),
        healthyThresholdCount: 2,
        unhealthyThresholdCount: 3,
      },
    });
    this.loadBalancer = new NetworkLoadBalancer(this, 'LoadBalancer', {
      vpc: this.vpc,
      vpcSubnets: internetFacing ? { subnets: this.vpc.publicSubnets } : vpcSubnets,
      internetFacing,
      securityGroups: [groups.balancer],
      // Each zone's address leads to the gateways of that zone, and clients in a zone are given its address first: so neither
      // the way from client to load balancer nor the one to the gateway crosses zones, at $0.01 a GB in each direction.
      crossZoneEnabled: false,
      clientRoutingPolicy: ClientRoutingPolicy.AVAILABILITY_ZONE_AFFINITY,
    });
    this.loadBalancer.addListener('Tls', {
      port,
      protocol: Protocol.TLS,
      certificates: [Certificate.fromCertificateArn(this, 'Certificate', props.certificateArn)],
      sslPolicy: SslPolicy.TLS13_RES,
      defaultTargetGroups: [targets],
    });
    acknowledge(this.loadBalancer, {
      'AwsSolutions-ELB2':
        'An access log of a Network Load Balancer has a line for each connection, and the gateways count these themselves.',
    });
    this.loadBalancerDnsName = this.loadBalancer.loadBalancerDnsName;
    this.bootstrapServers = `${hostName}:${port}`;
    if (props.hostedZone !== undefined)
      new ARecord(this, 'Record', {
        zone: props.hostedZone,
        recordName: `${hostName}.`,
        target: RecordTarget.fromAlias(new LoadBalancerTarget(this.loadBalancer)),
      });
    if (props.alarms ?? true)
      for (const watched of watchedGateway(log.table, targets)) makeAlarm(this, watched, props.alarmActions ?? []);
  }

  private makeService(props: KafkaGatewayProps, { vpcSubnets, drain, group }: ServiceSetting): FargateService {
    const { log, cpu = CPU, memoryLimitMiB = MEMORY_MIB, tasksMin = TASKS_MIN } = props;
    const tasksMax = props.tasksMax ?? Math.max(TASKS_MAX, tasksMin);
    const taskRole = new Role(this, 'Role', {
      assumedBy: new ServicePrincipal('ecs-tasks.amazonaws.com'),
      description: "Tailrace: serves Kafka's clients",
    });
    grantAccess(taskRole, GATEWAY_ACCESS, log.table, log.bucket, log.hotBucket);
    const definition = new FargateTaskDefinition(this, 'Task', {
      cpu,
      memoryLimitMiB,
      taskRole,
      runtimePlatform: {
        cpuArchitecture: CpuArchitecture.ARM64,
        operatingSystemFamily: OperatingSystemFamily.LINUX,
      },
    });
    definition.addContainer(CONTAINER, {
      image: gatewayImage(this),
      environment: environmentOf(props, drain),
      portMappings: [{ containerPort: GATEWAY_DEFAULTS.port }, { containerPort: GATEWAY_DEFAULTS.healthPort }],
      user: GATEWAY_USER,
      readonlyRootFilesystem: true,
      stopTimeout: drain.plus(STOP_MARGIN),
      logging: LogDrivers.awsLogs({
        streamPrefix: 'kafka',
        logGroup: new LogGroup(this, 'Logs', {
          retention: props.logRetention ?? RetentionDays.TWO_WEEKS,
          removalPolicy: RemovalPolicy.DESTROY,
        }),
      }),
    });
    const cluster = new Cluster(this, 'Cluster', {
      vpc: this.vpc,
      containerInsightsV2: ContainerInsights.DISABLED,
    });
    const service = new FargateService(this, 'Service', {
      // Under `exactOptionalPropertyTypes` the CDK's classes do not match its own interfaces.
      cluster: cluster as ICluster,
      taskDefinition: definition,
      vpcSubnets,
      securityGroups: [group],
      // Without NAT it is their only way to ECR and CloudWatch.
      assignPublicIp: this.vpc.selectSubnets(vpcSubnets).hasPublic,
      // New tasks serve before old ones stop, and a version that does not become healthy is taken back.
      minHealthyPercent: 100,
      maxHealthyPercent: 200,
      circuitBreaker: { enable: true, rollback: true },
      healthCheckGracePeriod: Duration.seconds(60),
      availabilityZoneRebalancing: AvailabilityZoneRebalancing.ENABLED,
    });
    const scaling = service.autoScaleTaskCount({ minCapacity: tasksMin, maxCapacity: tasksMax });
    // Each task that goes makes its clients connect again, so tasks go slowly.
    const cooldown = { scaleInCooldown: Duration.minutes(10), scaleOutCooldown: Duration.minutes(1) };
    scaling.scaleOnCpuUtilization('Cpu', { targetUtilizationPercent: CPU_PERCENT, ...cooldown });
    scaling.scaleToTrackCustomMetric('Connections', {
      metric: gatewayMetric(log.table.tableName, 'KafkaConnections', Stats.AVERAGE, Duration.minutes(1)),
      targetValue: props.connectionsPerTask ?? CONNECTIONS_PER_TASK,
      ...cooldown,
    });
    this.acknowledgeFindings(taskRole, definition, cluster, log);
    return service;
  }

  private acknowledgeFindings(
    taskRole: Role,
    definition: FargateTaskDefinition,
    cluster: Cluster,
    { bucket, hotBucket }: KafkaGatewayProps['log'],
  ): void {
    const { objects } = GATEWAY_ACCESS;
    for (const kind of new Set(Object.values(hotBucket === undefined ? objects : withoutHot(objects)).flat()))
      acknowledge(taskRole, {
        [`AwsSolutions-IAM5[Resource::${nameInFindings(this, bucket.bucketArn)}/${OBJECT_PATTERNS[kind]}]`]:
          'The keys of objects are random by design; what can be told of them beforehand is this prefix.',
      });
    acknowledge(definition, {
      'AwsSolutions-ECS2': 'Nothing in the environment is secret: names, sizes, addresses.',
      'AwsSolutions-IAM5[Resource::*]':
        'ECR gives tokens for its registry, not for a repository, so that ecr:GetAuthorizationToken knows no resource.',
    });
    acknowledge(cluster, {
      'AwsSolutions-ECS4':
        'Container Insights costs some dollars a month for each service. ECS tells processor and memory without it, and the gateways count the rest.',
    });
  }
}

const CONTAINER = 'gateway';

interface ServiceSetting {
  readonly vpcSubnets: SubnetSelection;
  readonly drain: Duration;
  readonly group: ReturnType<typeof makeSecurityGroups>['tasks'];
}

function environmentOf(
  { log, hostName, port, jwt, autoCreateTopics, partitionsDefault, linger }: KafkaGatewayProps,
  drain: Duration,
): Record<string, string> {
  return {
    ...log.environment,
    ...authentication(jwt),
    ...toGatewayVariables({
      advertisedHost: hostName,
      advertisedPort: port ?? GATEWAY_DEFAULTS.port,
      tls: 'load_balancer',
      autoCreateTopics,
      partitionsDefault,
      lingerMs: linger?.toMilliseconds(),
      drainMs: drain.toMilliseconds(),
    }),
  };
}

function authentication(jwt: JwtProps | undefined): Record<string, string> {
  const none = { tableName: '', bucketName: '' };
  const {
    TAILRACE_TABLE: _,
    TAILRACE_BUCKET: __,
    ...variables
  } = toEnvironment(
    jwt === undefined
      ? { ...none, authentication: ['api_keys'] }
      : {
          ...none,
          authentication: ['api_keys', 'jwt'],
          jwtIssuer: jwt.issuer,
          jwtAudience: jwt.audience,
          jwtKeysUrl: jwt.keysUrl,
          jwtScopesClaim: jwt.scopesClaim,
        },
  );
  return variables;
}

/** @throws Error if a property is out of its bounds */
function checkProps({ drain, linger, tasksMin = TASKS_MIN, tasksMax, hostName, clientCidrs }: KafkaGatewayProps): void {
  const drainMs = drain?.toMilliseconds() ?? GATEWAY_DEFAULTS.drainMs;
  // ECS and the load balancer count in seconds.
  if (drainMs % 1_000 !== 0 || drainMs < 1_000 || drainMs > DRAIN_MS_MAX)
    throw new Error(`drain is from 1 to ${DRAIN_MS_MAX / 1_000} whole seconds, not ${drainMs / 1_000}.`);
  if (linger !== undefined && linger.toMilliseconds() > 1_000)
    throw new Error(`linger is at most 1 second, not ${linger.toMilliseconds()} ms.`);
  if (!Number.isSafeInteger(tasksMin) || tasksMin < 1)
    throw new Error(`tasksMin is a whole number from 1, not ${tasksMin}.`);
  if (tasksMax !== undefined && !(Number.isSafeInteger(tasksMax) && tasksMax >= tasksMin))
    throw new Error(`tasksMax is a whole number from tasksMin (${tasksMin}), not ${tasksMax}.`);
  if (!/^[a-z0-9-]+(\.[a-z0-9-]+)+$/i.test(hostName))
    throw new Error(`hostName is a name such as kafka.example.com, without a port, not '${hostName}'.`);
  if (clientCidrs?.length === 0) throw new Error('clientCidrs is empty, so that no client could connect.');
}
