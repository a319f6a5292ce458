import { App, type AppProps, Duration, Tags } from 'aws-cdk-lib';
import type { EventLogProps } from '../constructs/event-log.ts';
import { StatefulStack } from './stateful-stack.ts';
import { StatelessStack, type StatelessStackProps } from './stateless-stack.ts';

/**
 * Options of the command line (`-c name=value`). Everything else has the defaults of `EventLog`; to change more, use the
 * construct in your own app.
 */
const CONTEXT = {
  /** The prefix of the stacks' names. */
  name: 'Tailrace',
  /** `true` for a temporary deployment: when it is destroyed, nothing is kept. */
  ephemeral: 'false',
  auth: 'iam',
  streaming: 'true',
  httpApi: 'false',
  /** Origins separated by commas. */
  allowedOrigins: '',
  alarms: 'true',
  dashboard: 'true',
  bucketRequestMetrics: 'false',
  /** The ARN of your KMS key for the table and the bucket. */
  encryptionKeyArn: '',
  produceReservedConcurrency: '',
  httpReservedConcurrency: '',
  /** Default: each job's own interval. */
  jobMinutes: '',
  mergeWindowSeconds: '60',
  /** `true` makes Kafka gateways, which cost about $60 a month; they need a host name and its certificate of ACM. */
  kafkaGateway: 'false',
  kafkaHostName: '',
  kafkaCertificateArn: '',
  /** The zone of Route 53 in which a record for the host name is made. */
  kafkaHostedZoneId: '',
  kafkaTasksMin: '2',
  kafkaTasksMax: '',
} as const;

type ContextName = keyof typeof CONTEXT;

/** Makes the two stacks of one event log. */
export function makeApp(props: AppProps = {}): { app: App; stateful: StatefulStack; stateless: StatelessStack } {
  const app = new App(props);
  const text = (name: ContextName): string => String(app.node.tryGetContext(name) ?? CONTEXT[name]);
  const flag = (name: ContextName): boolean => oneOf(name, text(name), ['true', 'false']) === 'true';
  const count = (name: ContextName): number | undefined =>
    text(name) === '' ? undefined : wholeNumber(name, text(name));
  const name = text('name');
  const ephemeral = flag('ephemeral');
  const env = environment();
  const produceReservedConcurrency = count('produceReservedConcurrency');
  const httpReservedConcurrency = count('httpReservedConcurrency');
  const jobMinutes = count('jobMinutes');
  const bucketRequestMetrics = flag('bucketRequestMetrics');
  const eventLog: EventLogProps = {
    auth: oneOf('auth', text('auth'), ['iam', 'bearer', 'none']),
    responseStreaming: flag('streaming'),
    httpApi: flag('httpApi'),
    ...(text('allowedOrigins') === '' ? {} : { allowedOrigins: text('allowedOrigins').split(',') }),
    alarms: flag('alarms'),
    dashboard: flag('dashboard'),
    bucketRequestMetrics,
    mergeWindow: Duration.seconds(count('mergeWindowSeconds') ?? 60),
    ...(jobMinutes === undefined ? {} : { jobInterval: Duration.minutes(jobMinutes) }),
    ...(produceReservedConcurrency === undefined ? {} : { produceReservedConcurrency }),
    ...(httpReservedConcurrency === undefined ? {} : { httpReservedConcurrency }),
  };
  const needed = (name: ContextName): string => {
    if (text(name) !== '') return text(name);
    throw new Error(`-c kafkaGateway=true needs -c ${name}=….`);
  };
  const kafkaTasksMin = count('kafkaTasksMin');
  const kafkaTasksMax = count('kafkaTasksMax');
  const kafkaGateway: StatelessStackProps['kafkaGateway'] = flag('kafkaGateway')
    ? {
        hostName: needed('kafkaHostName'),
        certificateArn: needed('kafkaCertificateArn'),
        ...(text('kafkaHostedZoneId') === '' ? {} : { hostedZoneId: text('kafkaHostedZoneId') }),
        ...(kafkaTasksMin === undefined ? {} : { tasksMin: kafkaTasksMin }),
        ...(kafkaTasksMax === undefined ? {} : { tasksMax: kafkaTasksMax }),
        alarms: flag('alarms'),
      }
    : undefined;
  const stateful = new StatefulStack(app, `${name}Stateful`, {
    ...env,
    ephemeral,
    bucketRequestMetrics,
    ...(text('encryptionKeyArn') === '' ? {} : { encryptionKeyArn: text('encryptionKeyArn') }),
    description: 'Tailrace: the records and their order. Kept when deleted.',
  });
  const stateless = new StatelessStack(app, `${name}Stateless`, {
    ...env,
    stateful,
    eventLog,
    ...(kafkaGateway === undefined ? {} : { kafkaGateway }),
    description: 'Tailrace: functions, addresses, jobs and alarms.',
  });
  Tags.of(app).add('tailrace', name);
  if (ephemeral) Tags.of(app).add('tailrace:ephemeral', 'true');
  return { app, stateful, stateless };
}

/** The account and Region that the CDK's command line found; without them templates fit any account and Region. */
function environment(): { env?: { account: string; region: string } } {
  const { CDK_DEFAULT_ACCOUNT: account, CDK_DEFAULT_REGION: region } = process.env;
  return account === undefined || region === undefined ? {} : { env: { account, region } };
}

function oneOf<Value extends string>(name: ContextName, given: string, values: readonly Value[]): Value {
  const value = values.find((each) => each === given);
  if (value === undefined) throw new Error(`-c ${name} takes ${values.join(' or ')}, not '${given}'.`);
  return value;
}

function wholeNumber(name: ContextName, given: string): number {
  if (!/^[1-9]\d{0,5}$/.test(given))
    throw new Error(`-c ${name} must be a whole number from 1 to 999999, not '${given}'.`);
  return Number(given);
}
