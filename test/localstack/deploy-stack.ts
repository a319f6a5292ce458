import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Emulator } from './emulator.ts';

/** What a deployment is reached by, as the stacks' outputs tell. */
export interface DeployedStack {
  readonly apiUrl: string;
  readonly produceUrl: string;
  readonly tableName: string;
  readonly bucketName: string;
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const LAST_LINES = 60;

/**
 * Bootstraps the emulator and deploys both stacks on it with the CDK's own command line, as `npm run deploy` does on AWS.
 * Rejects with the last lines where that fails.
 */
export async function deployStack(
  emulator: Emulator,
  context: readonly string[] = [],
  log?: (line: string) => void,
): Promise<DeployedStack> {
  const folder = await mkdtemp(join(tmpdir(), 'tailrace-cdk-'));
  try {
    const outputsFile = join(folder, 'outputs.json');
    const settings = ['ephemeral=true', 'alarms=false', 'dashboard=false', ...context].flatMap((setting) => [
      '-c',
      setting,
    ]);
    const common = ['--output', join(folder, 'assembly'), ...settings];
    await cdk(emulator, ['bootstrap', 'aws://000000000000/us-east-1', ...common], log);
    await cdk(
      emulator,
      ['deploy', '--all', '--require-approval', 'never', '--outputs-file', outputsFile, ...common],
      log,
    );
    const stacks = Object.values(
      JSON.parse(await readFile(outputsFile, 'utf8')) as Record<string, Record<string, string>>,
    );
    const outputs: Record<string, string> = Object.assign({}, ...stacks);
    const output = (name: string): string => {
      const value = outputs[name];
      if (value === undefined) throw new Error(`The stacks have no output ${name}: ${Object.keys(outputs).join(', ')}`);
      return value;
    };
    return {
      apiUrl: output('ApiUrl'),
      produceUrl: output('ProduceUrl'),
      tableName: output('TableName'),
      bucketName: output('BucketName'),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function cdk(emulator: Emulator, args: readonly string[], log: (line: string) => void = () => {}): Promise<void> {
  const path = [join(ROOT, 'node_modules', '.bin'), dirname(process.execPath), process.env.PATH ?? ''].join(delimiter);
  const run = spawn(process.execPath, [join(ROOT, 'node_modules', 'aws-cdk', 'bin', 'cdk'), ...args], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      ...emulator.environment,
      PATH: path,
      CI: 'true',
      CDK_DISABLE_CLI_TELEMETRY: 'true',
      AWS_PROFILE: undefined,
    },
  });
  const lines: string[] = [];
  for (const stream of [run.stdout, run.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      for (const line of text.split('\n').filter((each) => each !== '')) {
        lines.push(line);
        log(line);
      }
    });
  }
  const [code] = (await once(run, 'close')) as [number | null];
  if (code !== 0) throw new Error(`cdk ${args[0]} ended with ${code}:\n${lines.slice(-LAST_LINES).join('\n')}`);
}
