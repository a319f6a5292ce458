import { Duration, type RemovalPolicy } from 'aws-cdk-lib';
import type { IAlarmAction } from 'aws-cdk-lib/aws-cloudwatch';
import { Grant, type IGrantable } from 'aws-cdk-lib/aws-iam';
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
  grantAccess,
  type LogBucket,
  type LogTable,
  MAINTAIN,
  MANAGE_KEYS,
  PRODUCE,
  union,
} from './access.ts';
import { acknowledge } from './acknowledge.ts';
import { checkOrigins, functionUrlCors } from './cors.ts';
import { HttpApi } from './http-api.ts';
import { Job } from './job.ts';
import { LogFunction } from './log-function.ts';
import { MetadataTable } from './metadata-table.ts';
import { Observation } from './observation.ts';
import { SegmentBucket } from './segment-bucket.ts';

export interface EventLogProps {
  /** A table of `MetadataTable`, kept in another stack. @default - one is made */
  readonly table?: LogTable;
  /** A bucket of `SegmentBucket`, kept in another stack. @default - one is made */
  readonly bucket?: LogBucket;
  /** What becomes of the table and the bucket that are made here when they leave the stack. @default RemovalPolicy.RETAIN */
  readonly removalPolicy?: RemovalPolicy;
  /** Whether the table that is made here refuses to be deleted. @default true */
  readonly deletionProtection?: boolean;
  /** Whether the table that is made here can be restored as of any second of the last 35 days. @default true */
  readonly pointInTimeRecovery?: boolean;
  /** Whether the bucket counts requests and errors, which costs some dollars a month; they get an alarm. @default false */
  readonly bucketRequestMetrics?: boolean;

  /** Whether there are functions that speak HTTP; without them the log is used in the direct mode alone. @default true */
  readonly http?: boolean;
  /**
   * Who may send requests: `iam` those whose role may call the Function URL (SigV4; see `grantHttp`), `bearer` those with an
   * API key or, with `jwt`, a token: the address is open, and the functions check what comes. `none`: whoever knows
   * the address. @default 'iam'
   */
  readonly auth?: 'iam' | 'bearer' | 'none';
  /** With `auth: 'bearer'`: the issuer whose tokens are taken beside API keys. @default - API keys alone */
  readonly jwt?: JwtProps;
  /**
   * Whether answers are sent as they come: live tails need it, answers may be up to 200 MB rather than 6, and what is left
   * to do after an append does not delay its answer. @default true
   */
  readonly responseStreaming?: boolean;
  /** Whether an API Gateway HTTP API stands before the whole API, beside its Function URL. @default false */
  readonly httpApi?: boolean;
  /**
   * Origins, such as `https://console.example`, whose pages may use the HTTP API; `*` for all, unless `auth` is `none`.
   * The Function URLs and the HTTP API then answer preflights and add the CORS headers; the functions add none.
   * @default - none
   */
  readonly allowedOrigins?: readonly string[];
  /** Memory of the function for the whole API, in MiB; a share of a processor comes with it. @default 1024 */
  readonly memorySize?: number;
  /** Memory of the function for appends, in MiB. @default 512 */
  readonly produceMemorySize?: number;
  /** When Lambda ends a request; long polls and live tails end two seconds before, by themselves. @default 30 seconds */
  readonly timeout?: Duration;
  /**
   * Environments that are kept free for appends, and the most that they take; the account must have as many to spare.
   * Without them, readers that wait can use up the account's. @default - no reservation
   */
  readonly produceReservedConcurrency?: number;
  /** The most environments that the whole API takes. @default - no bound but the account's */
  readonly httpReservedConcurrency?: number;
  /** Data of one head up to this size goes into the table rather than into an object. @default 8192 */
  readonly inlineBytesMax?: number;

  /** How often the jobs run. @default 5 minutes */
  readonly jobInterval?: Duration;
  /** For how long logs are kept. @default RetentionDays.TWO_WEEKS */
  readonly logRetention?: RetentionDays;
  /** Whether alarms are made, at $0.10 each and month beyond the account's first ten. @default true */
  readonly alarms?: boolean;
  /** What an alarm sets off, such as `new SnsAction(topic)`. @default - nothing: alarms only show */
  readonly alarmActions?: readonly IAlarmAction[];
  /** Whether there is a CloudWatch dashboard, at $3.00 a month beyond the account's first three. @default true */
  readonly dashboard?: boolean;
}

/** An issuer of tokens, such as an OpenID Connect provider; see "Access" in docs/http-api.md. */
export interface JwtProps {
  /** What `iss` of its tokens is. */
  readonly issuer: string;
  /** What `aud` of tokens for this log is. */
  readonly audience: string;
  /** Where its public keys are (`jwks_uri`). */
  readonly keysUrl: string;
  /** The claim with the scopes. @default 'tailrace' */
  readonly scopesClaim?: string;
}

const TIMEOUT = Duration.seconds(30);
const JOB_INTERVAL = Duration.minutes(5);
const JOB_TIMEOUT = Duration.minutes(2);
/** Below API Gateway's own bound of 30 seconds. */
const GATEWAY_TIMEOUT_S = 29;
const MEMORY_MIB = 1_024;
const PRODUCE_MEMORY_MIB = 512;
const JOB_MEMORY_MIB = 512;

/**
 * A whole event log: table and bucket, functions behind their own URLs, jobs, alarms. Idle it costs what it keeps, and
 * the alarms and the dashboard where the account's free ones are used up.
 */
export class EventLog extends Construct {
  readonly table: LogTable;
  readonly bucket: LogBucket;
  /** The whole HTTP API; `undefined` without `http`. */
  readonly httpFunction: LambdaFunction | undefined;
  /** Appends alone; `undefined` without `http`. */
  readonly produceFunction: LambdaFunction | undefined;
  readonly maintenanceFunction: LambdaFunction;
  /** Where the whole API answers: the HTTP API's address where there is one, else the Function URL. */
  readonly apiUrl: string | undefined;
  /** Where the operations that append answer. */
  readonly produceUrl: string | undefined;
  /** The API Gateway HTTP API, where `httpApi` asked for it. */
  readonly httpApi: HttpApi['api'] | undefined;
  /** What a function of the caller's own needs in its environment for the direct mode. */
  readonly environment: Readonly<Record<string, string>>;
  private readonly urls: FunctionUrl[] = [];

  constructor(scope: Construct, id: string, props: EventLogProps = {}) {
    super(scope, id);
    const { removalPolicy, deletionProtection, pointInTimeRecovery, logRetention, auth = 'iam' } = props;
    this.table =
      props.table ??
      new MetadataTable(this, 'Table', {
        ...(removalPolicy === undefined ? {} : { removalPolicy }),
        ...(deletionProtection === undefined ? {} : { deletionProtection }),
        ...(pointInTimeRecovery === undefined ? {} : { pointInTimeRecovery }),
      }).table;
    this.bucket =
      props.bucket ??
      new SegmentBucket(this, 'Bucket', {
        ...(removalPolicy === undefined ? {} : { removalPolicy }),
        requestMetrics: props.bucketRequestMetrics ?? false,
      }).bucket;
    const settings: Settings = {
      tableName: this.table.tableName,
      bucketName: this.bucket.bucketName,
      inlineBytesMax: props.inlineBytesMax,
    };
    this.environment = toEnvironment(settings);
    const { table, bucket } = this;
    const common = { table, bucket, logRetention };

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
      const all = union(PRODUCE, CONSUME, ADMIN, MANAGE_KEYS, ...checkKeys);
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
        // API Gateway takes whole answers only, and waits 30 seconds at most.
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

    const job = new Job(this, 'Maintenance', {
      ...common,
      environment: this.environment,
      name: 'maintenance',
      description: 'jobs on a schedule',
      access: MAINTAIN,
      memorySize: JOB_MEMORY_MIB,
      timeout: JOB_TIMEOUT,
      every: props.jobInterval ?? JOB_INTERVAL,
    });
    this.maintenanceFunction = job.function;

    new Observation(this, 'Observation', {
      table,
      bucket,
      bucketRequestMetrics: props.bucketRequestMetrics ?? false,
      produce: this.produceFunction,
      http: this.httpFunction,
      maintenance: job.function,
      jobInterval: props.jobInterval ?? JOB_INTERVAL,
      alarms: props.alarms ?? true,
      alarmActions: props.alarmActions ?? [],
      dashboard: props.dashboard ?? true,
    });
  }

  /** Lets a principal append in the direct mode: from its own code, by its own requests to table and bucket. */
  grantProduce(grantee: IGrantable): Grant {
    return grantAccess(grantee, PRODUCE, this.table, this.bucket);
  }

  /** Lets a principal read in the direct mode. */
  grantConsume(grantee: IGrantable): Grant {
    return grantAccess(grantee, CONSUME, this.table, this.bucket);
  }

  /** Lets a principal make, change and delete topics in the direct mode. */
  grantAdmin(grantee: IGrantable): Grant {
    return grantAccess(grantee, ADMIN, this.table, this.bucket);
  }

  /** Lets a principal send requests to the HTTP API: to its appends alone, or to all of it. Has a meaning only for `auth: iam`. */
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

/** What the functions are told to ask for themselves. */
function authentication({ auth, jwt }: EventLogProps): Partial<Settings> {
  if (auth !== 'bearer') {
    if (jwt === undefined) return {};
    throw new Error("The property jwt has a meaning only with auth: 'bearer'.");
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
