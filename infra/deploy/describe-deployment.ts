/** Derives the resources of a deployment, and the cost of an idle deployment, from the templates. */

export interface Template {
  readonly Resources?: Readonly<Record<string, TemplateResource>>;
}

interface TemplateResource {
  readonly Type: string;
  readonly Properties?: Readonly<Record<string, unknown>>;
}

export interface Description {
  /** Kinds of resources with their counts, the highest count first. */
  readonly made: readonly (readonly [kind: string, count: number])[];
  readonly idle: readonly IdleCost[];
  /** The sum of `idle`, in dollars a month. */
  readonly idleDollars: number;
}

interface IdleCost {
  readonly what: string;
  readonly dollars: number;
}

/**
 * List prices in US dollars, us-east-1, without free tier: CloudWatch, Lambda (arm64), DynamoDB, Fargate (arm64), Network Load
 * Balancer, public IPv4 addresses; read on 2026-11-21.
 */
const PRICE = {
  alarmMetricMonth: 0.1,
  dashboardMonth: 3,
  invocation: 0.2e-6,
  gibSecond: 13.3334e-6,
  readUnit: 0.125e-6,
  fargateVcpuHour: 0.03238,
  fargateGibHour: 0.00356,
  loadBalancerHour: 0.0225,
  publicAddressHour: 0.005,
} as const;
const HOURS_A_MONTH = 730;
const MINUTES_A_MONTH = HOURS_A_MONTH * 60;
/** The duration of a run that finds nothing to do. It mostly starts an environment: the last one is gone after a while. */
const IDLE_RUN_S = 0.5;
/** Eight queries for due items, and a little more. */
const IDLE_RUN_READ_UNITS = 10;

export function describeDeployment(templates: readonly Template[]): Description {
  const resources = templates.flatMap((template) => Object.values(template.Resources ?? {}));
  const counts = new Map<string, number>();
  for (const { Type } of resources) counts.set(kindOf(Type), (counts.get(kindOf(Type)) ?? 0) + 1);
  const ofType = (type: string): TemplateResource[] => resources.filter((resource) => resource.Type === type);
  const alarms = ofType('AWS::CloudWatch::Alarm');
  const dashboards = ofType('AWS::CloudWatch::Dashboard').length;
  const jobs = ofType('AWS::Events::Rule').map((rule) => ({
    runs: runsAMonth(rule),
    memoryMib: Math.max(...templates.map((template) => memoryOfTarget(template, rule))),
  }));
  const idle: IdleCost[] = [
    {
      what: `${jobs.reduce((sum, { runs }) => sum + runs, 0)} runs of jobs`,
      dollars: jobs.reduce((sum, { runs, memoryMib }) => sum + runs * idleRunDollars(memoryMib), 0),
    },
    {
      what: `${alarms.length} alarms (an account's first ten are free)`,
      dollars: alarms.reduce((sum, alarm) => sum + alarmMetrics(alarm), 0) * PRICE.alarmMetricMonth,
    },
    { what: `${dashboards} dashboard (an account's first three are free)`, dollars: dashboards * PRICE.dashboardMonth },
    ...gatewayCosts(ofType),
  ].filter(({ dollars }) => dollars > 0);
  return {
    made: [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)),
    idle,
    idleDollars: idle.reduce((sum, { dollars }) => sum + dollars, 0),
  };
}

/** Of the Kafka gateways: tasks and load balancer run whether they are used or not. */
function gatewayCosts(ofType: (type: string) => TemplateResource[]): IdleCost[] {
  const [task] = ofType('AWS::ECS::TaskDefinition');
  const [balancer] = ofType('AWS::ElasticLoadBalancingV2::LoadBalancer');
  if (task === undefined || balancer === undefined) return [];
  const tasks = Number(ofType('AWS::ApplicationAutoScaling::ScalableTarget')[0]?.Properties?.MinCapacity ?? 0);
  const vcpus = Number(task.Properties?.Cpu) / 1_024;
  const gib = Number(task.Properties?.Memory) / 1_024;
  const taskHour = vcpus * PRICE.fargateVcpuHour + gib * PRICE.fargateGibHour;
  const isPublic = JSON.stringify(ofType('AWS::ECS::Service')).includes('"AssignPublicIp":"ENABLED"');
  const subnets = balancer.Properties?.Scheme === 'internet-facing' ? (balancer.Properties.Subnets as object[]) : [];
  const addresses = (isPublic ? tasks : 0) + subnets.length;
  return [
    { what: `${tasks} tasks of the Kafka gateway`, dollars: tasks * taskHour * HOURS_A_MONTH },
    { what: 'its load balancer, without traffic', dollars: PRICE.loadBalancerHour * HOURS_A_MONTH },
    { what: `${addresses} public addresses`, dollars: addresses * PRICE.publicAddressHour * HOURS_A_MONTH },
  ];
}

/** `AWS::Lambda::Function` -> `Lambda Function`. */
function kindOf(type: string): string {
  return type.replace(/^AWS::/, '').replaceAll('::', ' ');
}

function runsAMonth({ Properties }: TemplateResource): number {
  const [, number, unit] = /^rate\((\d+) (minute|hour|day)s?\)$/.exec(String(Properties?.ScheduleExpression)) ?? [];
  const minutes = { minute: 1, hour: 60, day: 1_440 }[unit ?? ''];
  return minutes === undefined ? 0 : Math.round(MINUTES_A_MONTH / (Number(number) * minutes));
}

/** The number of metrics of an alarm: alarms are billed by metric. */
function alarmMetrics({ Properties }: TemplateResource): number {
  const metrics = Properties?.Metrics;
  if (!Array.isArray(metrics)) return 1;
  return metrics.filter((each: { MetricStat?: unknown }) => each.MetricStat !== undefined).length;
}

function idleRunDollars(memoryMib: number): number {
  return PRICE.invocation + (memoryMib / 1_024) * IDLE_RUN_S * PRICE.gibSecond + IDLE_RUN_READ_UNITS * PRICE.readUnit;
}

/** The memory of the function that a rule invokes; 0 if the template has no such function. */
function memoryOfTarget({ Resources = {} }: Template, { Properties }: TemplateResource): number {
  const [target] = (Properties?.Targets ?? []) as { readonly Arn?: { readonly 'Fn::GetAtt'?: readonly string[] } }[];
  const id = target?.Arn?.['Fn::GetAtt']?.[0];
  return id === undefined ? 0 : Number(Resources[id]?.Properties?.MemorySize ?? 0);
}
