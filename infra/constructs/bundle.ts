import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type * as esbuild from 'esbuild';
import { SDK_PACKAGES } from '../../shared/aws/sdk-packages.ts';

export const FUNCTION_NAMES = ['produce', 'http', 'merge', 'expire', 'sweep', 'compact', 'lag'] as const;
export type FunctionName = (typeof FUNCTION_NAMES)[number];

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** The folder of a function's handler. */
export function functionFolder(name: FunctionName): string {
  return join(ROOT, 'functions', name);
}

/**
 * Makes a function's `index.mjs` in `outFolder`: one minified file that holds everything, including the AWS SDK, so that
 * the deployed code is the tested code. Needs neither network nor Docker.
 * @throws Error if esbuild or the AWS SDK is not installed, with the command that installs them
 */
export function bundleFunction(name: FunctionName, outFolder: string): void {
  bundleFile(join(functionFolder(name), 'handler'), outFolder);
}

/** The folder of the Kafka gateway, which is a container. */
export const GATEWAY_FOLDER = join(ROOT, 'functions', 'gateway');

/** Makes the `index.mjs` of the Kafka gateway, as `bundleFunction` does. */
export function bundleGateway(outFolder: string): void {
  bundleFile(join(GATEWAY_FOLDER, 'main'), outFolder);
}

function bundleFile(entryPoint: string, outFolder: string): void {
  const { buildSync } = loadEsbuild();
  buildSync({
    entryPoints: [`${entryPoint}.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`],
    outfile: join(outFolder, 'index.mjs'),
    bundle: true,
    minify: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    mainFields: ['module', 'main'],
    // Some libraries are CommonJS and load Node's modules with `require`.
    banner: { js: "import{createRequire}from'node:module';const require=createRequire(import.meta.url);" },
    legalComments: 'none',
    sourcemap: false,
    logLevel: 'warning',
    absWorkingDir: ROOT,
  });
}

/** Loads esbuild on demand. It and the AWS SDK are optional peer dependencies, because only deployments need them. */
function loadEsbuild(): typeof esbuild {
  const require = createRequire(import.meta.url);
  const isMissing = (name: string): boolean => {
    try {
      require.resolve(name);
      return false;
    } catch {
      return true;
    }
  };
  const missing = ['esbuild', ...SDK_PACKAGES].filter(isMissing);
  if (missing.length === 0) return require('esbuild') as typeof esbuild;
  throw new Error(
    `tailrace/cdk bundles the code of the functions when the app is synthesized. Install what is missing: npm install --save-dev ${missing.join(' ')}`,
  );
}
