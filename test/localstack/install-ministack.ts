import { installVenv, venvPython } from './install-venv.ts';

/** Installs MiniStack from PyPI into the user's cache, unless it is there. Resolves with the Python that has it. */
export async function installMiniStack(): Promise<string> {
  const folder = await installVenv({
    name: 'ministack-1.5.33',
    requirement: 'ministack==1.5.33',
    constraints: new URL('./recipe/ministack-constraints.txt', import.meta.url),
  });
  return venvPython(folder);
}
