import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Installation, installOnce } from '../../localstack/cache.ts';
import { findJavaHome, findMaven } from '../../localstack/find-tools.ts';
import { runCommand } from '../../localstack/run-command.ts';

export const KAFKA_VERSION = '4.3.1';

const POM = new URL('./recipe/pom.xml', import.meta.url);
const LOGGING = new URL('./recipe/log4j2.properties', import.meta.url);
const SOURCES = ['Agent', 'TokenHandler', 'Transactions', 'WordCount'].map(
  (name) => new URL(`../agents/java/${name}.java`, import.meta.url),
);
const COPY = 'org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies';

const KAFKA: Installation = {
  name: `kafka-${KAFKA_VERSION}`,
  recipe: [POM, LOGGING],
  install: async (folder) => {
    // The Java agent and the server need a JDK: asked for here, before anything is fetched.
    const [java, maven] = [await findJavaHome({ compiler: true }), await findMaven()];
    const pom = fileURLToPath(POM);
    const libraries = join(folder, 'libraries');
    await runCommand(maven, ['-B', '-q', '-f', pom, COPY, '-DincludeScope=runtime', `-DoutputDirectory=${libraries}`], {
      env: { ...process.env, JAVA_HOME: java },
    });
    await copyFile(LOGGING, join(folder, 'log4j2.properties'));
  },
};

export interface JavaCommand {
  readonly command: string;
  /** To be followed by the name of a main class and its parameters. */
  readonly parameters: readonly string[];
}

/**
 * Installs Apache Kafka (server, tools and Java client, from Maven Central) into the user's cache, unless it is there: some
 * seconds and 56 MB. Resolves with the command that runs a main class of it.
 */
export async function installKafka(
  options: { readonly heap?: string; readonly classes?: string } = {},
): Promise<JavaCommand> {
  const folder = await installOnce(KAFKA);
  const java = await findJavaHome({ compiler: true });
  const classPath = [...(options.classes === undefined ? [] : [options.classes]), join(folder, 'libraries', '*')];
  return {
    command: join(java, 'bin', 'java'),
    parameters: [
      `-Xmx${options.heap ?? '256m'}`,
      // These start in half the time, and none of them runs long enough for the better compiler.
      ...(options.heap === undefined ? ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC'] : []),
      '-XX:-UsePerfData',
      `-Dlog4j2.configurationFile=${join(folder, 'log4j2.properties')}`,
      '-cp',
      classPath.join(':'),
    ],
  };
}

/** Compiles the Java agent into the user's cache, unless it is there. Resolves with the command that runs it. */
export async function installJavaAgent(): Promise<readonly string[]> {
  return [...(await installJavaPrograms()), 'Agent'];
}

/** As `installJavaAgent`; the command is to be followed by a main class of `agents/java` or of Kafka. */
export async function installJavaPrograms(): Promise<readonly string[]> {
  const kafka = await installOnce(KAFKA);
  const classes = await installOnce({
    name: `kafka-java-agent-${KAFKA_VERSION}`,
    recipe: [POM, ...SOURCES],
    install: async (folder) => {
      const javac = join(await findJavaHome({ compiler: true }), 'bin', 'javac');
      await mkdir(folder, { recursive: true });
      const sources = SOURCES.map((source) => fileURLToPath(source));
      await runCommand(javac, ['--release', '17', '-cp', join(kafka, 'libraries', '*'), '-d', folder, ...sources]);
    },
  });
  const { command, parameters } = await installKafka({ classes });
  return [command, ...parameters];
}
