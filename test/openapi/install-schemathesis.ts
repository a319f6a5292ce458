import { installVenv, venvPython } from '../localstack/install-venv.ts';

/**
 * Installs Schemathesis (MIT) from PyPI into the user's cache, unless it is there: about 10 seconds and 80 MB, then a few
 * milliseconds. Resolves with the Python that has it. Needs Python 3.12; rejects with what is missing.
 */
export async function installSchemathesis(): Promise<string> {
  const folder = await installVenv({
    name: 'schemathesis-4.32.5',
    requirement: 'schemathesis==4.32.5',
    constraints: new URL('./recipe/schemathesis-constraints.txt', import.meta.url),
  }).catch((error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(
      `Schemathesis could not be installed: it takes Python, and PyPI must be reachable the first time.\n${reason}`,
      {
        cause: error,
      },
    );
  });
  return venvPython(folder);
}
