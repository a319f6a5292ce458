import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { JsonObject } from '../../shared/http/openapi.ts';
import { startTailrace, type Tailrace } from '../../shared/local/start.ts';
import { runCommand } from '../localstack/run-command.ts';
import { withoutOptions, withSequences } from './adapt-document.ts';
import { installSchemathesis } from './install-schemathesis.ts';

/**
 * Requests that Schemathesis makes of the OpenAPI document, valid ones and others, to the local server: no answer may be a
 * 5xx, or have a status, a header, a media type or a body that the document doesn't have; what violates a schema must be
 * rejected, and a method that the document doesn't have answered 405.
 */
const CONFIGURATION = fileURLToPath(new URL('./recipe/schemathesis.toml', import.meta.url));
const HOOKS = fileURLToPath(new URL('./recipe/sequential_media.py', import.meta.url));
const SEED = '1';
const INSTALL_MS = 300_000;
const RUN_MS = 120_000;

let python: string;
let tailrace: Tailrace;
let folder: string;

beforeAll(async () => {
  python = await installSchemathesis();
  folder = await mkdtemp(join(tmpdir(), 'tailrace-openapi-'));
  tailrace = await startTailrace({ memory: true });
  for (const name of ['orders', 'clicks', '0']) {
    await send('PUT', `/v1/topics/${name}`, { partitions: 3 });
    const records = [0, 1, 2].map((partition) => ({ partition, key: 'k', value: { n: partition }, headers: [] }));
    await send('POST', `/v1/topics/${name}/records`, { records });
  }
  for (const group of ['billing', '0'])
    await send('PUT', `/v1/groups/${group}/offsets`, { offsets: [{ topic: 'orders', partition: 0, offset: 0 }] });
}, INSTALL_MS);

afterAll(async () => {
  await tailrace?.close();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

async function send(method: string, path: string, body: unknown): Promise<void> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(tailrace.url + path, { method, headers, body: JSON.stringify(body) });
  expect(response.ok).toBe(true);
}

/** How many operations it has, all of which must be tried. */
function operationsOf({ paths }: JsonObject): number {
  return Object.values(paths as JsonObject).reduce<number>(
    (sum, methods) => sum + Object.keys(methods as object).length,
    0,
  );
}

async function servedDocument(): Promise<JsonObject> {
  return (await (await fetch(`${tailrace.url}/openapi.json`)).json()) as JsonObject;
}

/** Resolves with its report. @throws Error with its report, if an answer is not as the document says */
async function runOver(document: JsonObject, parameters: readonly string[]): Promise<string> {
  // It keeps what it learns in the working folder.
  const cwd = await mkdtemp(join(folder, 'run-'));
  const path = join(cwd, 'openapi.json');
  await writeFile(path, JSON.stringify(withSequences(document)));
  return runCommand(
    python,
    [
      ...['-m', 'schemathesis.cli', '--config-file', CONFIGURATION, 'run', path, '--url', tailrace.url],
      ...['--seed', SEED, '--generation-database', 'none', '--no-color', ...parameters],
    ],
    { cwd, outputLinesMax: 400, env: { ...process.env, SCHEMATHESIS_HOOKS: HOOKS, PYTHONDONTWRITEBYTECODE: '1' } },
  );
}

test(
  'the local server answers every request as its OpenAPI document says, at the edges of each parameter and body',
  async () => {
    const document = await servedDocument();
    const report = await runOver(document, ['--phases', 'coverage']);
    expect(report).toContain(`Tested: ${operationsOf(document)}`);
  },
  RUN_MS,
);

test(
  'the local server answers random valid requests as its OpenAPI document says',
  async () => {
    const document = withoutOptions(await servedDocument());
    const random = ['--phases', 'fuzzing', '--mode', 'positive', '--max-examples', '10'];
    expect(await runOver(document, random)).toContain(`Tested: ${operationsOf(document)}`);
  },
  RUN_MS,
);
