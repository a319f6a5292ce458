import { Duration, type RemovalPolicy } from 'aws-cdk-lib';
import type { IAlarmAction } from 'aws-cdk-lib/aws-cloudwatch';
import { Grant, type IGrantable } from 'aws-cdk-lib/aws-iam';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import {
  FunctionUrl,
  FunctionUrlAuthType,
  type IFunction,
  InvokeMode,
  type Function as LambdaFunction,
} from 'aws-cdk-lib/aws-lambda';
import type { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { type Settings, toEnvironment } from '../../shared/aws/environment.ts';
import {
  ADMIN,
  CHECK_KEYS,
  CONSUME,
  DELETE_GROUPS,
  GROUPS,
  grantAccess,
  type LogBucket,
  type LogTable,
  MANAGE_KEYS,
  PRODUCE,
  TRANSACT,
  union,
  VERIFY,
} from './access.ts';
import { acknowledge } from './acknowledge.ts';
import { checkOrigins, functionUrlCors } from './cors.ts';
import { HttpApi } from './http-api.ts';
import { Job } from './jobs/job.ts';
import { JOB_NAMES, JOBS, type JobName, LAG_JOB } from './jobs/jobs.ts';
import { checkLagAlarms, type LagAlarm } from './jobs/measure-lag.ts';
import { NodeStream } from './jobs/node-stream.ts';
import { LogFunction } from './log-function.ts';
import { Observation } from './observation.ts';
import { HotBucket, type LogHotBucket } from './storage/hot-bucket.ts';
import { MetadataTable } from './storage/metadata-table.ts';
import { SegmentBucket } from './storage/segment-bucket.ts';

export interface EventLogProps {
  /** The table of a `MetadataTable` in another stack. @default - a table is made here */
  readonly table?: LogTable;
  /** The bucket of a `SegmentBucket` in another stack. @default - a bucket is made here */
  readonly bucket?: LogBucket;
  /** The bucket of a `HotBucket` in another stack, for hot objects. @default - as `hotAvailabilityZoneId` says */
  readonly hotBucket?: LogHotBucket;
  /**
   * The Availability Zone, such as `use1-az4`, in which a `HotBucket` is made here. Large appends become faster and cheaper,
   * and **are lost with the zone until they are merged**. @default - hot objects are in the bucket of all objects
   */
  readonly hotAvailabilityZoneId?: string;
  /**
   * What happens to the table and the bucket that are made here when they are removed from the stack.
   * @default RemovalPolicy.RETAIN
   */
  readonly removalPolicy?: RemovalPolicy;
  /** Whether the table that is made here is protected from deletion. @default true */
  readonly deletionProtection?: boolean;
  /** Whether the table that is made here can be restored to any second of the last 35 days. @default true */
  readonly pointInTimeRecovery?: boolean;
  /**
   * Your key for the table and the bucket that are made here; see `MetadataTableProps` and `SegmentBucketProps`. The roles
   * get what they need of it. @default - keys of DynamoDB and S3, which cost nothing
   */
  readonly encryptionKey?: IKey;
  /** Whether the bucket counts requests and errors, and errors have an alarm. Costs some dollars a month. @default false */
  readonly bucketRequestMetrics?: boolean;

  /** Whether functions for the HTTP API are made; without them the log can be used only in the direct mode. @default true */
  readonly http?: boolean;
  /**
   * Who may send requests. `iam`: principals that may call the Function URL (SigV4; see `grantHttp`). `bearer`: callers
   * with an API key or, with `jwt`, a token; the address is open, and the functions check the credential. `none`: everyone
   * who knows the address. @default 'iam'
   */
  readonly auth?: 'iam' | 'bearer' | 'none';
  /** The issuer whose tokens are accepted in addition to API keys; requires `auth: 'bearer'`. @default - only API keys */
  readonly jwt?: JwtProps;
  /**
   * Whether answers are sent while they are being produced. Live tails need this. Answers can be up to 200 MB instead of
   * 6 MB, and work that remains after an append does not delay its answer. @default true
   */
  readonly responseStreaming?: boolean;
  /** Whether an API Gateway HTTP API also serves the whole API, in addition to the Function URL. @default false */
  readonly httpApi?: boolean;
  /**
   * Origins, such as `https://console.example`, whose pages may use the HTTP API. `*` allows all origins, unless `auth` is
   * `none`.
   * The Function URLs and the HTTP API then answer preflights and add the CORS headers; the functions add none.
   * @default - none
   */
  readonly allowedOrigins?: readonly string[];
  /** Memory of the function for the whole API, in MiB. Lambda assigns processor time in proportion. @default 1024 */
  readonly memorySize?: number;
  /** Memory of the function for appends, in MiB. @default 512 */
  readonly produceMemorySize?: number;
  /** The time after which Lambda ends a request. Long polls and live tails end two seconds earlier. @default 30 seconds */
  readonly timeout?: Duration;
  /**
   * Environments reserved for appends, which is also the maximum for appends. The account must have this many available.
   * Without a reservation, waiting readers can use up the account's environments. @default - no reservation
   */
  readonly produceReservedConcurrency?: number;
  /** The maximum number of environments of the whole API. @default - only the account's limit */
  readonly httpReservedConcurrency?: number;
  /** Data of one head up to this size, in bytes, is written to the table instead of an object. @default 8192 */
  readonly inlineBytesMax?: number;

  /** How often the schedule runs each job. @default - 15 minutes */
  readonly jobInterval?: Duration;
  /**
   * How long moved records gather before the table's stream starts merges, up to five minutes. A longer time means fewer
   * requests. @default 1 minute
   */
  readonly mergeWindow?: Duration;
  /** How long logs are kept. @default RetentionDays.TWO_WEEKS */
  readonly logRetention?: RetentionDays;
  /** Whether alarms are made. Each costs $0.10 a month beyond the account's first ten. @default true */
  readonly alarms?: boolean;
  /** Actions that an alarm starts, such as `new SnsAction(topic)`. @default - none: alarms are only shown */
  readonly alarmActions?: readonly IAlarmAction[];
  /**
   * Consumer groups whose lag is measured each minute, by a function of its own, with alarms on it. A group costs about a dollar
   * a month for its metrics, and what measuring it costs (docs/operations.md). At most 15 groups; no other group is measured.
   * @default - none, and no function
   */
  readonly lagAlarms?: readonly LagAlarm[];
  /** Whether a CloudWatch dashboard is made. It costs $3.00 a month beyond the account's first three. @default true */
  readonly dashboard?: boolean;
}

/** An issuer of tokens, such as an OpenID Connect provider; see "Access" in docs/http-api.md. */
export interface JwtProps {
  /** The `iss` of the issuer's tokens. */
  readonly issuer: string;
  /** The `aud` of tokens for this log. */
  readonly audience: string;
  /** The address of the issuer's public keys (`jwks_uri`). */
  readonly keysUrl: string;
  /** The claim with the scopes. @default 'tailrace' */
  readonly scopesClaim?: string;
}

const TIMEOUT = Duration.seconds(30);
const MERGE_WINDOW = Duration.minutes(1);
/** A time below API Gateway's limit of 30 seconds. */
const GATEWAY_TIMEOUT_S = 29;
const MEMORY_MIB = 1_024;
const PRODUCE_MEMORY_MIB = 512;

/**
 * A whole event log: table and bucket, functions with their own URLs, jobs, alarms. An idle log costs only its stored
 * data, plus the alarms and the dashboard if the account's free ones are used up.
 */
export class EventLog extends Construct {
  readonly table: LogTable;
  readonly bucket: LogBucket;
  /** The directory bucket of hot objects; `undefined` if they are in `bucket`. */
  readonly hotBucket: LogHotBucket | undefined;
  /** The function of the whole HTTP API; `undefined` without `http`. */
  readonly httpFunction: LambdaFunction | undefined;
  /** The function that only appends; `undefined` without `http`. */
  readonly produceFunction: LambdaFunction | undefined;
  readonly jobFunctions: Readonly<Record<JobName, LambdaFunction>>;
  /** The function that measures lag; `undefined` without `lagAlarms`. */
  readonly lagFunction: LambdaFunction | undefined;
  /** The address of the whole API: that of the API Gateway HTTP API if there is one, otherwise the Function URL. */
  readonly apiUrl: string | undefined;
  /** The address of the operations that append. */
  readonly produceUrl: string | undefined;
  /** The API Gateway HTTP API, if `httpApi` is set. */
  readonly httpApi: HttpApi['api'] | undefined;
  /** Environment variables that a caller's own function needs for the direct mode. */
  readonly environment: Readonly<Record<string, string>>;
  private readonly urls: FunctionUrl[] = [];

  constructor(scope: Construct, id: string, props: EventLogProps = {}) {
    super(scope, id);
    const { removalPolicy, deletionProtection, pointInTimeRecovery, encryptionKey, logRetention, auth = 'iam' } = props;
    const encryption = encryptionKey === undefined ? {} : { encryptionKey };
    this.table =
      props.table ??
      new MetadataTable(this, 'Table', {
        ...(removalPolicy === undefined ? {} : { removalPolicy }),
        ...(deletionProtection === undefined ? {} : { deletionProtection }),
        ...(pointInTimeRecovery === undefined ? {} : { pointInTimeRecovery }),
        ...encryption,
      }).table;
    this.bucket =
      props.bucket ??
      new SegmentBucket(this, 'Bucket', {
        ...(removalPolicy === undefined ? {} : { removalPolicy }),
        requestMetrics: props.bucketRequestMetrics ?? false,
        ...encryption,
      }).bucket;
    this.hotBucket = this.chooseHotBucket(props);
    const settings: Settings = {
      tableName: this.table.tableName,
      bucketName: this.bucket.bucketName,
      hotBucketName: this.hotBucket?.bucketName,
      inlineBytesMax: props.inlineBytesMax,
    };
    this.environment = toEnvironment(settings);
    const { table, bucket, hotBucket } = this;
    const common = { table, bucket, hotBucket, logRetention };

    if (props.http ?? true) {
      checkOrigins(props.allowedOrigins ?? [], auth);
      const exportName = (props.responseStreaming ?? true) ? 'streamHandler' : 'handler';
      const timeout = props.timeout ?? TIMEOUT;
      const environment = toEnvironment({
        ...settings,
        allowedOrigins: props.allowedOrigins,
        ...authentication(props),
      });
      const checkKeys = auth === 'bearer' ? [CHECK_KEYS] : [];
      const all = union(PRODUCE, TRANSACT, CONSUME, GROUPS, DELETE_GROUPS, ADMIN, VERIFY, MANAGE_KEYS, ...checkKeys);
      const produce = new LogFunction(this, 'Produce', {
        ...common,
        environment,
        name: 'produce',
        description: 'takes appends',
        exportName,
        timeout,
        access: union(PRODUCE, ...checkKeys),
        memorySize: props.produceMemorySize ?? PRODUCE_MEMORY_MIB,
        reservedConcurrency: props.produceReservedConcurrency,
      });
      const http = new LogFunction(this, 'Http', {
        ...common,
        environment,
        name: 'http',
        description: 'the whole HTTP API',
        exportName,
        timeout,
        access: all,
        memorySize: props.memorySize ?? MEMORY_MIB,
        reservedConcurrency: props.httpReservedConcurrency,
      });
      this.produceFunction = produce.function;
      this.httpFunction = http.function;
      this.produceUrl = this.addUrl('ProduceUrl', produce.function, props).url;
      this.apiUrl = this.addUrl('HttpUrl', http.function, props).url;
      for (const each of [produce.function, http.function]) acknowledgeSync(each);
      if (props.httpApi) {
        // API Gateway accepts only whole answers, and waits at most 30 seconds.
        const whole =
          exportName === 'handler'
            ? http
            : new LogFunction(this, 'Gateway', {
                ...common,
                environment,
                name: 'http',
                description: 'the whole HTTP API behind API Gateway',
                exportName: 'handler',
                timeout: Duration.seconds(Math.min(GATEWAY_TIMEOUT_S, timeout.toSeconds())),
                access: all,
                memorySize: props.memorySize ?? MEMORY_MIB,
                reservedConcurrency: props.httpReservedConcurrency,
              });
        acknowledgeSync(whole.function);
        this.httpApi = new HttpApi(this, 'HttpApi', {
          handler: whole.function,
          auth,
          logRetention,
          allowedOrigins: props.allowedOrigins,
        }).api;
        this.apiUrl = `${this.httpApi.apiEndpoint}/`;
      }
    }

    const jobs = JOB_NAMES.map((name) => {
      const every = props.jobInterval ?? JOBS[name].every;
      const id = `${name.charAt(0).toUpperCase()}${name.slice(1)}`;
      const { function: made } = new Job(this, id, {
        ...common,
        ...JOBS[name],
        environment: this.environment,
        name,
        every,
      });
      return { name, id, function: made, every };
    });
    this.jobFunctions = Object.fromEntries(jobs.map((job) => [job.name, job.function])) as Record<
      JobName,
      LambdaFunction
    >;
    const { lagAlarms = [] } = props;
    checkLagAlarms(lagAlarms);
    this.lagFunction =
      lagAlarms.length === 0
        ? undefined
        : new Job(this, 'Lag', {
            ...common,
            ...LAG_JOB,
            environment: this.environment,
            name: 'lag',
            event: { groups: lagAlarms.map(({ group }) => group) },
          }).function;
    const stream =
      table.tableStreamArn === undefined
        ? undefined
        : new NodeStream(this, 'NodeStream', {
            table,
            streamArn: table.tableStreamArn,
            target: this.jobFunctions.merge,
            window: props.mergeWindow ?? MERGE_WINDOW,
          });

    new Observation(this, 'Observation', {
      table,
      bucket,
      bucketRequestMetrics: props.bucketRequestMetrics ?? false,
      produce: this.produceFunction,
      http: this.httpFunction,
      jobs,
      failedRecords: stream?.failed,
      lag:
        this.lagFunction === undefined
          ? undefined
          : {
              job: { name: 'lag', id: 'Lag', function: this.lagFunction, every: LAG_JOB.every },
              alarms: lagAlarms,
            },
      alarms: props.alarms ?? true,
      alarmActions: props.alarmActions ?? [],
      dashboard: props.dashboard ?? true,
    });
  }

  /** Lets a principal append in the direct mode: its own code sends requests to table and bucket. */
  grantProduce(grantee: IGrantable): Grant {
    return grantAccess(grantee, PRODUCE, this.table, this.bucket, this.hotBucket);
  }

  /** Lets a principal read in the direct mode. */
  grantConsume(grantee: IGrantable): Grant {
    return grantAccess(grantee, CONSUME, this.table, this.bucket, this.hotBucket);
  }

  /**
   * Lets a principal read in the direct mode as a member of consumer groups, commit and reset their offsets, and see their
   * lag. It includes `grantConsume`. No group is out of its reach: in the table they are not told apart.
   */
  grantConsumeAsGroup(grantee: IGrantable): Grant {
    return grantAccess(grantee, union(CONSUME, GROUPS), this.table, this.bucket, this.hotBucket);
  }

  /**
   * Lets a principal append and commit offsets of groups in transactions, in the direct mode. It includes `grantProduce`; who
   * reads what it processes also needs `grantConsumeAsGroup`. No transactional id is out of its reach.
   */
  grantTransact(grantee: IGrantable): Grant {
    return grantAccess(grantee, union(PRODUCE, TRANSACT), this.table, this.bucket, this.hotBucket);
  }

  /** Lets a principal make, change and delete topics, and delete consumer groups, in the direct mode. */
  grantAdmin(grantee: IGrantable): Grant {
    return grantAccess(grantee, union(ADMIN, DELETE_GROUPS), this.table, this.bucket, this.hotBucket);
  }

  /** Lets a principal send requests to the HTTP API: only appends, or everything. Has an effect only with `auth: 'iam'`. */
  grantHttp(grantee: IGrantable, scope: 'produce' | 'all'): void {
    const [produce, http] = this.urls;
    produce?.grantInvokeUrl(grantee);
    if (scope === 'all') {
      http?.grantInvokeUrl(grantee);
      if (this.httpApi !== undefined) {
        const resourceArns = [this.httpApi.arnForExecuteApi('*', '/*', '$default')];
        Grant.addToPrincipal({ grantee, actions: ['execute-api:Invoke'], resourceArns });
      }
    }
  }

  private chooseHotBucket({
    hotBucket,
    hotAvailabilityZoneId,
    removalPolicy,
  }: EventLogProps): LogHotBucket | undefined {
    if (hotBucket === undefined && hotAvailabilityZoneId === undefined) return undefined;
    if (hotBucket !== undefined && hotAvailabilityZoneId !== undefined)
      throw new Error('Give hotBucket or hotAvailabilityZoneId, not both.');
    if ((this.table.encryptionKey ?? this.bucket.encryptionKey) !== undefined)
      throw new Error(
        'An encryptionKey cannot be combined with a hot bucket, whose objects would not be encrypted with that key.',
      );
    if (hotBucket !== undefined || hotAvailabilityZoneId === undefined) return hotBucket;
    return new HotBucket(this, 'HotBucket', {
      availabilityZoneId: hotAvailabilityZoneId,
      ...(removalPolicy === undefined ? {} : { removalPolicy }),
    }).bucket;
  }

  private addUrl(
    id: string,
    handler: IFunction,
    { auth = 'iam', responseStreaming = true, allowedOrigins = [] }: EventLogProps,
  ): FunctionUrl {
    const url = new FunctionUrl(this, id, {
      function: handler,
      authType: auth === 'iam' ? FunctionUrlAuthType.AWS_IAM : FunctionUrlAuthType.NONE,
      invokeMode: responseStreaming ? InvokeMode.RESPONSE_STREAM : InvokeMode.BUFFERED,
      ...(allowedOrigins.length === 0 ? {} : { cors: functionUrlCors(allowedOrigins) }),
    });
    this.urls.push(url);
    return url;
  }
}

/** The functions' settings for checking credentials themselves. */
function authentication({ auth, jwt }: EventLogProps): Partial<Settings> {
  if (auth !== 'bearer') {
    if (jwt === undefined) return {};
    throw new Error("The property jwt requires auth: 'bearer'.");
  }
  if (jwt === undefined) return { authentication: ['api_keys'] };
  return {
    authentication: ['api_keys', 'jwt'],
    jwtIssuer: jwt.issuer,
    jwtAudience: jwt.audience,
    jwtKeysUrl: jwt.keysUrl,
    jwtScopesClaim: jwt.scopesClaim,
  };
}

function acknowledgeSync(each: LambdaFunction): void {
  const reason =
    'It is invoked by HTTP requests alone, which wait for their answers; nothing invokes it asynchronously.';
  acknowledge(each, { 'Serverless-LambdaAsyncFailureDestination': reason, 'Serverless-LambdaDLQ': reason });
}
