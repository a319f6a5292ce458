import { fileURLToPath } from 'node:url';
import { installVenv, venvPython } from '../../localstack/install-venv.ts';

const AGENTS = new URL('../agents/python/', import.meta.url);

/** Installs confluent-kafka (librdkafka) from PyPI into the user's cache, unless it is there: 20 MB. */
export async function installConfluentAgent(): Promise<readonly string[]> {
  const folder = await installVenv({
    name: 'confluent-kafka-2.16.1',
    requirement: 'confluent-kafka==2.16.1',
    constraints: new URL('./recipe/confluent-constraints.txt', import.meta.url),
  });
  return [venvPython(folder), fileURLToPath(new URL('confluent_agent.py', AGENTS))];
}

/** Installs aiokafka, with all codecs, from PyPI into the user's cache, unless it is there. */
export async function installAiokafkaAgent(): Promise<readonly string[]> {
  const folder = await installVenv({
    name: 'aiokafka-0.14.0',
    requirement: 'aiokafka[lz4,snappy,zstd]==0.14.0',
    constraints: new URL('./recipe/aiokafka-constraints.txt', import.meta.url),
  });
  return [venvPython(folder), fileURLToPath(new URL('aiokafka_agent.py', AGENTS))];
}
