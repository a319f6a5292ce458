import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from './run-command.ts';

/** Where LocalStack looks for its index of the AWS APIs, below FILESYSTEM_ROOT. */
export const CATALOG = join('usr', 'lib', 'localstack');

/** Without the index LocalStack reads the descriptions of all AWS services at its first request. */
export async function buildCatalog(folder: string, python: string): Promise<void> {
  await mkdir(join(folder, CATALOG), { recursive: true });
  const env = { PATH: process.env.PATH ?? '', HOME: folder, FILESYSTEM_ROOT: folder, OVERRIDE_IN_DOCKER: '0' };
  await runCommand(python, ['-I', '-m', 'localstack.aws.spec'], { env });
}
