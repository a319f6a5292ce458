import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Installation, installOnce } from './cache.ts';
import { findPython } from './find-tools.ts';
import { runCommand } from './run-command.ts';

export interface Venv {
  /** `localstack-2026.3.0`. */
  readonly name: string;
  /** What pip installs. */
  readonly requirement: string;
  /** Every version, ours to choose: what the package leaves open has drifted since its release, and broken it. */
  readonly constraints: URL;
  /** What else is to be put into the folder, and the files that decide it. */
  readonly complete?: (folder: string, python: string) => Promise<void>;
  readonly recipe?: readonly URL[];
}

/** Resolves with the folder of a virtual environment that holds the package, installed from PyPI if it isn't there. */
export async function installVenv({ name, requirement, constraints, complete, recipe = [] }: Venv): Promise<string> {
  const installation: Installation = {
    name,
    recipe: [constraints, ...recipe],
    install: async (folder) => {
      await runCommand(await findPython(), ['-m', 'venv', folder]);
      const pip = ['-m', 'pip', 'install', '-q', '--disable-pip-version-check', '-c', fileURLToPath(constraints)];
      await runCommand(venvPython(folder), [...pip, requirement]);
      await complete?.(folder, venvPython(folder));
    },
    // It is a link to the Python it was made with.
    isUsable: (folder) => existsSync(venvPython(folder)),
  };
  return installOnce(installation);
}

export function venvPython(folder: string): string {
  return join(folder, 'bin', 'python');
}
