/**
 * LocalStack without Docker: `localstack-core` in host mode, DynamoDB Local, and our plugin (`plugin/`), through which
 * Lambda functions run as local processes and every listener is bound to the loopback. It isn't the LocalStack image.
 *
 * What it doesn't do as AWS does:
 * - A function URL with RESPONSE_STREAM answers, but when the function has ended; InvokeWithResponseStream answers nothing.
 * - API Gateway v2 (HTTP APIs) is missing. EventBridge Scheduler stores schedules and never runs them; rules do run.
 * - TTL deletes nothing by itself: `DELETE /_aws/dynamodb/expired` does.
 * - Nothing throttles, no IAM policy is enforced, and no transaction ever conflicts.
 * - Functions share the user, the files and the processors of the machine; layers are ignored; whatever `nodejs` runtime a
 *   function asks for, it runs on the Node that started the emulator.
 */
import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Emulator, type EmulatorCommand, type EmulatorOptions, startEmulator } from './emulator.ts';
import { findJavaHome } from './find-tools.ts';
import { installLocalStack } from './install-localstack.ts';

const PLUGIN = fileURLToPath(new URL('./plugin', import.meta.url));
const BOOTSTRAP = fileURLToPath(new URL('./lambda-bootstrap.ts', import.meta.url));

/** What the stack of this project may use, and what the CDK needs to deploy it. */
const SERVICES = [
  ...['s3', 'dynamodb', 'dynamodbstreams', 'lambda', 'apigateway', 'cloudformation', 'cloudwatch', 'logs', 'events'],
  ...['scheduler', 'iam', 'sts', 'ssm', 'sqs', 'sns', 'kms', 'secretsmanager', 'ecr', 'resourcegroupstaggingapi'],
];

/** Starts LocalStack on the loopback, after installing it if need be. See `startEmulator` for what it promises. */
export async function startLocalStack(options: EmulatorOptions = {}): Promise<Emulator> {
  const [{ python, catalog, dynamoDbLocal }, java] = [await installLocalStack(), await findJavaHome()];
  const prepare = async ({ port, folder }: { port: number; folder: string }): Promise<EmulatorCommand> => {
    const tmp = join(folder, 'tmp');
    // Where LocalStack looks for what it would otherwise download, a Java 21 among it; DynamoDB Local is content with 17.
    const libraries = join(folder, 'fs', 'var', 'lib', 'localstack', 'lib');
    const systemLibraries = join(folder, 'fs', 'usr', 'lib');
    for (const path of [tmp, systemLibraries, join(libraries, 'dynamodb-local'), join(libraries, 'java')]) {
      await mkdir(path, { recursive: true });
    }
    await symlink(catalog, join(systemLibraries, 'localstack'));
    await symlink(dynamoDbLocal, join(libraries, 'dynamodb-local', '2'));
    await symlink(java, join(libraries, 'java', '21'));
    return {
      command: python,
      parameters: ['-m', 'localstack.runtime.main'],
      environment: {
        HOME: folder,
        TMPDIR: tmp,
        JAVA_TOOL_OPTIONS: `-XX:-UsePerfData -Djava.io.tmpdir=${tmp}`,
        PYTHONPATH: PLUGIN,
        PYTHONDONTWRITEBYTECODE: '1',
        PYTHONUNBUFFERED: '1',
        FILESYSTEM_ROOT: join(folder, 'fs'),
        GATEWAY_LISTEN: `127.0.0.1:${port}`,
        LOCALSTACK_HOST: `localhost:${port}`,
        // The two of ours. LocalStack's own `twisted` listens on every interface whatever GATEWAY_LISTEN says, and its own
        // `docker` executor needs what it says.
        GATEWAY_SERVER: 'twisted-loopback',
        LAMBDA_RUNTIME_EXECUTOR: 'process',
        LAMBDA_PROCESS_NODE: process.execPath,
        LAMBDA_PROCESS_BOOTSTRAP: BOOTSTRAP,
        LAMBDA_KEEPALIVE_MS: '600000',
        // Streams come from DynamoDB Local itself; the default provider would download kinesis-mock for them.
        PROVIDER_OVERRIDE_DYNAMODB: 'v2',
        DYNAMODB_IN_MEMORY: '1',
        DYNAMODB_HEAP_SIZE: '512m',
        // Its heuristics take some virtual machines for a container, in which it would listen on every interface.
        OVERRIDE_IN_DOCKER: '0',
        // It would serve DNS on port 53, and could rewrite the settings of the resolver.
        DNS_ADDRESS: '0',
        // Presigned URLs are checked, and expire.
        S3_SKIP_SIGNATURE_VALIDATION: '0',
        DISABLE_EVENTS: '1',
        SKIP_SSL_CERT_DOWNLOAD: '1',
        SERVICES: SERVICES.join(','),
      },
    };
  };
  return startEmulator('localstack', prepare, options);
}
