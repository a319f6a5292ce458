import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';

export const FUNCTION_NAMES = ['produce', 'http', 'maintenance'] as const;
export type FunctionName = (typeof FUNCTION_NAMES)[number];

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** The folder of a function's handler. */
export function functionFolder(name: FunctionName): string {
  return join(ROOT, 'functions', name);
}

/**
 * Makes `index.mjs` of a function in `outFolder`: one minified file that holds everything, the AWS SDK too, so that what
 * runs is what was tested. Needs neither network nor Docker.
 */
export function bundleFunction(name: FunctionName, outFolder: string): void {
  buildSync({
    entryPoints: [join(functionFolder(name), `handler.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`)],
    outfile: join(outFolder, 'index.mjs'),
    bundle: true,
    minify: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    mainFields: ['module', 'main'],
    // Some libraries are CommonJS and ask for Node's modules by `require`.
    banner: { js: "import{createRequire}from'node:module';const require=createRequire(import.meta.url);" },
    legalComments: 'none',
    sourcemap: false,
    logLevel: 'warning',
    absWorkingDir: ROOT,
  });
}
