import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { runCommand } from './run-command.ts';

/** LocalStack's package says 3.10, but its source is written in the syntax of 3.12. */
const PYTHON_MINOR_MIN = 12;
/** DynamoDB Local 2 is compiled for Java 17. */
const JAVA_MIN = 17;

/** Resolves with the path or the name of a Python that can make virtual environments. */
export async function findPython(environment: NodeJS.ProcessEnv = process.env): Promise<string> {
  const check = `import sys, venv, ensurepip; sys.exit(sys.version_info < (3, ${PYTHON_MINOR_MIN}))`;
  for (const candidate of await pythonCandidates(environment)) {
    if (await succeeds(candidate, ['-c', check], environment)) return candidate;
  }
  throw new Error(
    `Python 3.${PYTHON_MINOR_MIN} or newer, with its venv module, is missing. Get it with 'uv python install --default', ` +
      "'pyenv install 3.13', 'apt-get install python3-venv' or 'brew install python@3.13', or name one in TAILRACE_PYTHON.",
  );
}

async function pythonCandidates(environment: NodeJS.ProcessEnv): Promise<string[]> {
  const versions = join(environment.PYENV_ROOT || join(homedir(), '.pyenv'), 'versions');
  const installed = await readdir(versions).catch(() => []);
  const pyenv = ['3.13.', '3.12.'].flatMap((prefix) => installed.filter((name) => name.startsWith(prefix)));
  return [
    ...(environment.TAILRACE_PYTHON ? [environment.TAILRACE_PYTHON] : []),
    'python3.13',
    'python3.12',
    ...pyenv.map((name) => join(versions, name, 'bin', 'python')),
    'python3',
  ];
}

/**
 * Resolves with the home of a Java. `compiler`: one with `javac`; running a single source file with `java` is no way
 * around that, since it needs the compiler's module too, which only a JDK has.
 */
export async function findJavaHome(
  options: { readonly compiler?: boolean } = {},
  environment: NodeJS.ProcessEnv = process.env,
): Promise<string> {
  const candidates = [...(environment.JAVA_HOME ? [join(environment.JAVA_HOME, 'bin', 'java')] : []), 'java', 'javac'];
  for (const candidate of candidates) {
    const home = await javaHome(candidate, environment);
    if (home === undefined) continue;
    if (!options.compiler || existsSync(join(home, 'bin', 'javac'))) return home;
  }
  throw new Error(
    `${options.compiler ? 'A JDK' : 'Java'} ${JAVA_MIN} or newer is missing${options.compiler ? ' (a JRE has no javac)' : ''}. ` +
      "Get it with 'apt-get install openjdk-17-jdk-headless' or 'brew install openjdk', or name its folder in JAVA_HOME.",
  );
}

async function javaHome(command: string, environment: NodeJS.ProcessEnv): Promise<string | undefined> {
  const flag = command === 'javac' ? '-J-XshowSettings:properties' : '-XshowSettings:properties';
  const text = await runCommand(command, [flag, '-version'], { env: environment }).catch(() => '');
  const version = /java\.specification\.version = (\d+)$/m.exec(text)?.[1];
  return Number(version) >= JAVA_MIN ? /java\.home = (.+)$/m.exec(text)?.[1] : undefined;
}

export async function findMaven(environment: NodeJS.ProcessEnv = process.env): Promise<string> {
  if (await succeeds('mvn', ['-version'], environment)) return 'mvn';
  throw new Error("Maven is missing. Get it with 'apt-get install maven' or 'brew install maven'.");
}

async function succeeds(
  command: string,
  parameters: readonly string[],
  environment: NodeJS.ProcessEnv,
): Promise<boolean> {
  return runCommand(command, parameters, { env: environment }).then(
    () => true,
    () => false,
  );
}
