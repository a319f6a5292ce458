import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { bundleFunction, FUNCTION_NAMES, type FunctionName } from '../../infra/constructs/bundle.ts';

export interface Bundle {
  readonly name: FunctionName;
  readonly path: string;
  readonly bytes: number;
}

export interface Bundles {
  readonly all: readonly Bundle[];
  close(): void;
}

/** Makes the functions as they are deployed. */
export function makeBundles(): Bundles {
  const folder = mkdtempSync(join(tmpdir(), 'tailrace-bundles-'));
  const all = FUNCTION_NAMES.map((name) => {
    bundleFunction(name, join(folder, name));
    const path = join(folder, name, 'index.mjs');
    return { name, path, bytes: statSync(path).size };
  });
  return { all, close: () => rmSync(folder, { recursive: true, force: true }) };
}

export const BUNDLE_ENVIRONMENT = { TAILRACE_TABLE: 'table', TAILRACE_BUCKET: 'bucket', AWS_REGION: 'eu-central-1' };

/** Prints, on its last line, the imported names, the duration, and the connections and name look-ups that were started. */
const IMPORT = `
const dns = require('node:dns'), net = require('node:net');
const calls = [];
for (const [module, name] of [[dns, 'lookup'], [dns, 'resolve'], [net.Socket.prototype, 'connect']]) {
  const real = module[name];
  module[name] = function (...args) { calls.push(name); return real.apply(this, args); };
}
const startMs = performance.now();
import(process.env.TAILRACE_TEST_BUNDLE).then((module) => {
  const importMs = performance.now() - startMs;
  setTimeout(() => console.log(JSON.stringify({ names: Object.keys(module), importMs, calls })), 50);
}, (error) => { console.error(error.message); process.exit(1); });`;

export interface Imported {
  readonly names: readonly string[];
  readonly importMs: number;
  readonly calls: readonly string[];
}

/** Imports a bundle in a separate process that has only this environment. */
export async function importBundle(
  bundle: Bundle,
  environment: Readonly<Record<string, string>> = BUNDLE_ENVIRONMENT,
): Promise<Imported> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--eval', IMPORT], {
    env: { ...environment, TAILRACE_TEST_BUNDLE: bundle.path },
    timeout: 30_000,
  });
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Imported;
}
