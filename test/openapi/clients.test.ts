import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openApiDocument } from '../../shared/http/openapi.ts';
import { OPERATIONS } from '../../shared/http/operations.ts';
import { runCommand } from '../localstack/run-command.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const TYPESCRIPT_5 = fileURLToPath(new URL('./typescript-5.ts', import.meta.url));

/** TypeScript, but not of this project: it imports types that are made of the document first. */
const USE = new URL('./recipe/client-use.txt', import.meta.url);

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tailrace-clients-'));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

function runTool(parameters: readonly string[]): Promise<string> {
  return runCommand(process.execPath, parameters, { cwd: folder });
}

test('types that openapi-typescript makes of the OpenAPI document fit the answers, and see mistakes in requests', async () => {
  const document = openApiDocument(OPERATIONS, { version: '1.2.3', authenticated: false });
  await writeFile(join(folder, 'openapi.json'), JSON.stringify(document));
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  await copyFile(USE, join(folder, 'use.ts'));
  await writeFile(
    join(folder, 'tsconfig.json'),
    JSON.stringify({
      extends: join(ROOT, 'tsconfig.json'),
      compilerOptions: { types: [], noEmit: true },
      include: ['*.ts'],
    }),
  );
  const generator = join(ROOT, 'node_modules', 'openapi-typescript', 'bin', 'cli.js');
  await runTool(['--import', TYPESCRIPT_5, generator, 'openapi.json', '--output', 'openapi.ts']);
  await expect(runTool([join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')])).resolves.toBe('');
});
