import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

/** Every source file of the repository, with what it imports. Paths are relative to the repository. */

export const ROOT = join(import.meta.dirname, '../..');
export const FOLDERS = ['shared', 'functions', 'infra', 'test'];
/** Persisted bytes and what made them, not code of ours. */
const PASSED_OVER = ['test/fixtures/', 'node_modules/', 'infra/cdk.out/', 'cdk.out/'];

export interface SourceFile {
  readonly path: string;
  readonly text: string;
  /** Without comments, so that prose neither imports anything nor breaks a rule. */
  readonly code: string;
  /** Paths from the root, or names of packages and `node:` modules. */
  readonly imports: readonly string[];
}

export const FILES: readonly SourceFile[] = FOLDERS.flatMap((folder) => sourcePaths(folder)).map(readSource);
export const BY_PATH = new Map(FILES.map((file) => [file.path, file]));

function sourcePaths(folder: string): string[] {
  if (!existsSync(join(ROOT, folder))) return [];
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(?:tsx?|js)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length + 1))
    .filter((path) => !PASSED_OVER.some((start) => path.startsWith(start)))
    .sort();
}

function readSource(path: string): SourceFile {
  const text = readFileSync(join(ROOT, path), 'utf8');
  const code = withoutComments(text);
  const found = [
    ...code.matchAll(/^\s*(?:import|export)\s[^;'"]*?\bfrom\s*['"]([^'"]+)['"]/gm),
    ...code.matchAll(/^\s*import\s*['"]([^'"]+)['"]/gm),
    ...code.matchAll(/\bimport\(\s*['"]([^'"]+)['"]\s*\)/g),
  ].map((match) => match[1] as string);
  return {
    path,
    text,
    code,
    imports: found.map((name) => (name.startsWith('.') ? normalize(join(dirname(path), name)) : name)),
  };
}

/** Comments at the beginning of a line or behind code and a space; what else has slashes is left as it is. */
function withoutComments(text: string): string {
  return text.replaceAll(/^\s*\/\*[\s\S]*?\*\//gm, '').replaceAll(/(^|\s)\/\/.*$/gm, '$1');
}
