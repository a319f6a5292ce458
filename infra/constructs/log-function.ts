import { AssetHashType, DockerImage, type Duration, RemovalPolicy } from 'aws-cdk-lib';
import { PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import {
  ApplicationLogLevel,
  Architecture,
  Code,
  Function as LambdaFunction,
  LoggingFormat,
  Runtime,
  SystemLogLevel,
} from 'aws-cdk-lib/aws-lambda';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { OBJECT_PATTERNS } from '../../shared/storage/keys.ts';
import { type Access, grantAccess, type LogBucket, type LogTable } from './access.ts';
import { acknowledge, nameInFindings } from './acknowledge.ts';
import { bundleFunction, type FunctionName, functionFolder } from './bundle.ts';
import { withoutHot } from './storage/hot-access.ts';
import type { LogHotBucket } from './storage/hot-bucket.ts';

export interface LogFunctionProps {
  readonly name: FunctionName;
  /** The export that Lambda runs. */
  readonly exportName: 'handler' | 'streamHandler';
  readonly table: LogTable;
  readonly bucket: LogBucket;
  readonly hotBucket?: LogHotBucket | undefined;
  readonly access: Access;
  readonly environment: Readonly<Record<string, string>>;
  readonly description: string;
  readonly memorySize: number;
  readonly timeout: Duration;
  readonly reservedConcurrency?: number | undefined;
  /** @default RetentionDays.TWO_WEEKS */
  readonly logRetention?: RetentionDays | undefined;
}

/**
 * One of Tailrace's functions: Node on arm64, one bundled file, and its own role and log group. The role has only the
 * permissions of the function's access and the permission to write the function's log. Log entries expire.
 */
export class LogFunction extends Construct {
  readonly function: LambdaFunction;

  constructor(scope: Construct, id: string, props: LogFunctionProps) {
    super(scope, id);
    const { name, table, bucket, hotBucket, access } = props;
    const logGroup = new LogGroup(this, 'Logs', {
      retention: props.logRetention ?? RetentionDays.TWO_WEEKS,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    const role = new Role(this, 'Role', {
      assumedBy: new ServicePrincipal('lambda.amazonaws.com'),
      description: `Tailrace: ${props.description}`,
    });
    role.addToPolicy(
      new PolicyStatement({
        actions: ['logs:CreateLogStream', 'logs:PutLogEvents'],
        resources: [logGroup.logGroupArn],
      }),
    );
    grantAccess(role, access, table, bucket, hotBucket);
    this.function = new LambdaFunction(this, 'Function', {
      description: `Tailrace: ${props.description}`,
      runtime: Runtime.NODEJS_24_X,
      architecture: Architecture.ARM_64,
      handler: `index.${props.exportName}`,
      code: Code.fromAsset(functionFolder(name), {
        assetHashType: AssetHashType.OUTPUT,
        bundling: {
          // This image is never used: the local bundler always bundles the function.
          image: DockerImage.fromRegistry('none'),
          local: {
            tryBundle(outFolder) {
              bundleFunction(name, outFolder);
              return true;
            },
          },
        },
      }),
      role,
      logGroup,
      memorySize: props.memorySize,
      timeout: props.timeout,
      environment: { ...props.environment },
      loggingFormat: LoggingFormat.JSON,
      // Keeping the start and end of every invocation would cost more than the invocation itself.
      systemLogLevelV2: SystemLogLevel.WARN,
      applicationLogLevelV2: ApplicationLogLevel.INFO,
      ...(props.reservedConcurrency === undefined ? {} : { reservedConcurrentExecutions: props.reservedConcurrency }),
    });
    acknowledge(this, {
      'Serverless-LambdaTracing':
        'Traces cost about as much as the requests traced. Requests carry ids, every request to the storage is counted, and tracing can be turned on for a function while it is needed.',
    });
    for (const kinds of Object.values(hotBucket === undefined ? access.objects : withoutHot(access.objects))) {
      for (const kind of kinds) {
        acknowledge(role, {
          [`AwsSolutions-IAM5[Resource::${nameInFindings(this, bucket.bucketArn)}/${OBJECT_PATTERNS[kind]}]`]:
            'The keys of objects are random by design; what can be told of them beforehand is this prefix.',
        });
      }
    }
  }
}
