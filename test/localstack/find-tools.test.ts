import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findJavaHome, findMaven, findPython } from './find-tools.ts';

/** A machine that has only what the test puts in these two folders. */
let bin: string;
let environment: NodeJS.ProcessEnv;

beforeEach(async () => {
  bin = await mkdtemp(join(tmpdir(), 'tailrace-tools-'));
  environment = { PATH: bin, PYENV_ROOT: join(bin, 'pyenv') };
});

afterEach(() => rm(bin, { recursive: true, force: true }));

async function command(path: string, script: string): Promise<string> {
  await mkdir(join(bin, path, '..'), { recursive: true });
  await writeFile(join(bin, path), `#!/bin/sh\n${script}\n`);
  await chmod(join(bin, path), 0o755);
  return join(bin, path);
}

function java(version: string, home: string): string {
  return `echo "    java.home = ${home}" >&2; echo "    java.specification.version = ${version}" >&2`;
}

test('what is missing is named, with the way to get it', async () => {
  await expect(findPython(environment)).rejects.toThrow(/Python 3\.12 or newer.*is missing.*TAILRACE_PYTHON/);
  await expect(findJavaHome({}, environment)).rejects.toThrow(/Java 17 or newer is missing.*JAVA_HOME/);
  await expect(findJavaHome({ compiler: true }, environment)).rejects.toThrow(/A JDK 17 .*a JRE has no javac/);
  await expect(findMaven(environment)).rejects.toThrow(/Maven is missing.*apt-get install maven/);
});

test('an old Python is passed over for a newer one, under whatever name', async () => {
  await command('python3', 'exit 1');
  await expect(findPython(environment)).rejects.toThrow('Python 3.12');
  const pyenv = await command('pyenv/versions/3.12.4/bin/python', 'exit 0');
  expect(await findPython(environment)).toBe(pyenv);
  await command('python3.12', 'exit 0');
  expect(await findPython(environment)).toBe('python3.12');
  expect(await findPython({ ...environment, TAILRACE_PYTHON: pyenv })).toBe(pyenv);
});

test('an old Java will not do, and a JRE only where nothing is compiled', async () => {
  await command('java', java('11', bin));
  await expect(findJavaHome({}, environment)).rejects.toThrow('Java 17');
  await command('java', java('1.8', bin));
  await expect(findJavaHome({}, environment)).rejects.toThrow('Java 17');
  const jre = join(bin, 'jre');
  await command('java', java('17', jre));
  expect(await findJavaHome({}, environment)).toBe(jre);
  await expect(findJavaHome({ compiler: true }, environment)).rejects.toThrow('JDK 17');
  const jdk = join(bin, 'jdk');
  await command('jdk/bin/java', java('21', jdk));
  await command('jdk/bin/javac', java('21', jdk));
  expect(await findJavaHome({ compiler: true }, { ...environment, JAVA_HOME: jdk })).toBe(jdk);
});
