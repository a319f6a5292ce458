import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { missingForDeployment } from './check-aws.ts';
import { describeDeployment, type Template } from './describe-deployment.ts';
import { emptyEphemeralBuckets } from './empty-bucket.ts';

const USAGE = `Usage: npm run deploy|destroy|diff -- [options]

  --name NAME          prefix of the stacks' names (default Tailrace)
  --ephemeral          for a deployment that is thrown away: destroy deletes everything, records too
  --auth HOW           who may send requests: iam (SigV4; the default), bearer (with API keys), none (everybody)
  --context NAME=VALUE any other setting of infra/stacks/make-app.ts; can be repeated
  --yes                ask nothing

Credentials and Region are those of the AWS CLI (AWS_PROFILE, AWS_REGION and so on). An account and Region needs
\`npx cdk bootstrap\` once.`;

type Command = 'deploy' | 'destroy' | 'diff';

interface Choices {
  readonly name: string;
  readonly ephemeral: boolean;
  readonly yes: boolean;
  /** Arguments for the CDK: `-c name=value …`. */
  readonly context: readonly string[];
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const HOURS_A_MONTH = 730;

async function main(args: readonly string[]): Promise<number> {
  const [command, ...rest] = args;
  if (command !== 'deploy' && command !== 'destroy' && command !== 'diff') {
    process.stderr.write(`${USAGE}\n`);
    return command === '--help' || command === '-h' ? 0 : 2;
  }
  if (rest.includes('--help') || rest.includes('-h')) {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  const choices = parseChoices(rest);
  if (choices === undefined) return 2;
  // The AWS CLI and the CDK know this variable too, the AWS SDK doesn't.
  if (process.env.AWS_DEFAULT_REGION) process.env.AWS_REGION ||= process.env.AWS_DEFAULT_REGION;
  const missing = await missingForDeployment();
  if (missing !== undefined) {
    process.stderr.write(`${missing}\n`);
    return 1;
  }
  const folder = mkdtempSync(join(tmpdir(), 'tailrace-deploy-'));
  try {
    return await run(command, choices, folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function parseChoices(args: readonly string[]): Choices | undefined {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        name: { type: 'string', default: 'Tailrace' },
        ephemeral: { type: 'boolean', default: false },
        auth: { type: 'string', default: 'iam' },
        context: { type: 'string', multiple: true, default: [] },
        yes: { type: 'boolean', default: false },
      },
    });
    const { name, ephemeral, auth, yes, context } = values;
    const all = [`name=${name}`, `ephemeral=${ephemeral}`, `auth=${auth}`, ...context];
    return { name, ephemeral, yes, context: all.flatMap((each) => ['-c', each]) };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    process.stderr.write(`${why}\n\n${USAGE}\n`);
    return undefined;
  }
}

async function run(command: Command, choices: Choices, folder: string): Promise<number> {
  const stateful = `${choices.name}Stateful`;
  const stateless = `${choices.name}Stateless`;
  const outputsFile = join(folder, 'outputs.json');
  const assembly = join(folder, 'assembly');
  const common = ['--output', assembly, ...choices.context];
  const destroy = (stack: string): number =>
    cdk(['destroy', stack, '--exclusively', ...(choices.yes ? ['--force'] : []), ...common]);
  if (command === 'diff') return cdk(['diff', ...common]);
  if (command === 'deploy') {
    const approval = choices.yes ? ['--require-approval', 'never'] : [];
    const code = cdk(['deploy', stateful, stateless, '--outputs-file', outputsFile, ...approval, ...common]);
    if (code === 0) report(readJson<Outputs>(outputsFile)[stateless] ?? {}, templatesIn(assembly), choices);
    return code;
  }
  const code = destroy(stateless);
  if (code !== 0) return code;
  // Records are deleted only if the deployment was made as ephemeral.
  if (!choices.ephemeral) {
    process.stdout.write(
      `\n${stateful} is kept, with its table and bucket: \`npm run deploy\` continues with them.\n` +
        'To delete the records too, turn off its termination protection and the deletion protection of its table, delete the stack, and then the table and the bucket.\n',
    );
    return 0;
  }
  // CloudFormation deletes only empty buckets. Nothing writes to the bucket at this point.
  const deleted = await emptyEphemeralBuckets(choices.name, stateful);
  process.stdout.write(`${deleted} objects of ${stateful} deleted.\n`);
  return destroy(stateful);
}

/** Runs the CDK's own command line under this Node, which also runs the app. */
function cdk(args: readonly string[]): number {
  const path = [join(ROOT, 'node_modules', '.bin'), dirname(process.execPath), process.env.PATH ?? ''].join(delimiter);
  const cli = join(dirname(createRequire(import.meta.url).resolve('aws-cdk/package.json')), 'bin', 'cdk');
  const result = spawnSync(process.execPath, [cli, ...args], {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, PATH: path },
  });
  if (result.error !== undefined) throw result.error;
  return result.status ?? 1;
}

type Outputs = Readonly<Record<string, Readonly<Record<string, string>>>>;

function report(outputs: Readonly<Record<string, string>>, templates: readonly Template[], choices: Choices): void {
  const { made, idle, idleDollars } = describeDeployment(templates);
  const lines = [
    '',
    ...Object.entries(outputs).map(([name, value]) => `${name.padEnd(11)} ${value}`),
    '',
    `Made: ${made.map(([kind, count]) => (count === 1 ? kind : `${count} ${kind}`)).join(', ')}.`,
    '',
    'Idle costs at list prices: stored data (S3 $0.023, DynamoDB $0.25 and its backups $0.20 a GB and month), and',
    ...idle.map(({ what, dollars }) => `  $${dollars.toFixed(2).padStart(5)} a month for ${what}`),
    `  $${idleDollars.toFixed(2).padStart(5)} a month, which is $${(idleDollars / HOURS_A_MONTH).toFixed(4)} an hour.`,
    ...(choices.context.includes('auth=bearer')
      ? [
          '',
          'Make the first API key, if none exists yet:',
          `  export TAILRACE_KEY=$(npm run --silent make-key -- --table ${outputs.TableName} --bucket ${outputs.BucketName})`,
        ]
      : []),
    ...(outputs.ApiUrl === undefined ? [] : ['', 'Try it:', `  ${tryIt(outputs.ApiUrl, choices)}`]),
    '',
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}

function tryIt(apiUrl: string, { context }: Choices): string {
  const address = `${apiUrl}v1/topics`;
  if (context.includes('auth=none')) return `curl ${address}`;
  if (context.includes('auth=bearer')) return `curl -H "authorization: Bearer $TAILRACE_KEY" ${address}`;
  // Requests to API Gateway are signed for another service than requests to Function URLs.
  const service = apiUrl.includes('.lambda-url.') ? 'lambda' : 'execute-api';
  return (
    `curl --aws-sigv4 "aws:amz:$AWS_REGION:${service}" --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" ` +
    `-H "x-amz-security-token: $AWS_SESSION_TOKEN" ${address}`
  );
}

function templatesIn(assembly: string): Template[] {
  return readdirSync(assembly)
    .filter((name) => name.endsWith('.template.json'))
    .map((name) => readJson<Template>(join(assembly, name)));
}

function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, 'utf8')) as T;
}

process.exitCode = await main(process.argv.slice(2));
