import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Installation, installOnce } from './cache.ts';
import { findJavaHome, findMaven } from './find-tools.ts';
import { runCommand } from './run-command.ts';

const POM = new URL('./recipe/pom.xml', import.meta.url);
const MAIN = new URL('./recipe/LoopbackMain.java', import.meta.url);
const COPY = 'org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies';
/** Of no use on a 64-bit Linux or macOS, or to anyone but DynamoDB Local's own tests. */
const UNUSED = /\.dll$|-i386-.*\.so$|^(mockito|objenesis|hamcrest)-.*\.jar$/;

const INSTALLATION: Installation = {
  name: 'dynamodb-local-2.6.1',
  // This file as well: it decides what the jars hold.
  recipe: [POM, MAIN, new URL(import.meta.url)],
  install: async (folder) => {
    const [java, maven] = [await findJavaHome({ compiler: true }), await findMaven()];
    const libraries = join(folder, 'DynamoDBLocal_lib');
    await mkdir(libraries);
    const pom = fileURLToPath(POM);
    await runCommand(maven, ['-B', '-q', '-f', pom, COPY, '-DincludeScope=runtime', `-DoutputDirectory=${libraries}`], {
      env: { ...process.env, JAVA_HOME: java },
    });
    const names = (await readdir(libraries)).sort();
    for (const name of names.filter((name) => UNUSED.test(name))) await rm(join(libraries, name));
    const jars = names.filter((name) => name.endsWith('.jar') && !UNUSED.test(name));
    await makeJars(
      java,
      folder,
      jars.map((name) => `DynamoDBLocal_lib/${name}`),
    );
  },
};

/** Resolves with a folder laid out as LocalStack expects its own download of DynamoDB Local. */
export function installDynamoDbLocal(): Promise<string> {
  return installOnce(INSTALLATION);
}

/** LocalStack runs `java -javaagent:ddb-local-loader-0.1.jar -jar DynamoDBLocal.jar`: the same jar plays both parts. */
async function makeJars(java: string, folder: string, classPath: readonly string[]): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), 'tailrace-jar-'));
  try {
    const libraries = join(folder, 'DynamoDBLocal_lib', '*');
    const javac = join(java, 'bin', 'javac');
    const classes = join(work, 'classes');
    await runCommand(javac, ['--release', '17', '-cp', libraries, '-d', classes, fileURLToPath(MAIN)]);
    const manifest = join(work, 'manifest');
    await writeFile(
      manifest,
      `Main-Class: LoopbackMain\nPremain-Class: LoopbackMain\nClass-Path: ${classPath.join('\n  ')}\n`,
    );
    for (const name of ['DynamoDBLocal.jar', 'ddb-local-loader-0.1.jar']) {
      await runCommand(join(java, 'bin', 'jar'), ['cfm', join(folder, name), manifest, '-C', classes, '.']);
    }
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
