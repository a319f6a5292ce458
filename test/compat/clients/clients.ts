import { installGoAgent } from '../install/install-go.ts';
import { installJavaAgent, installKafka } from '../install/install-kafka.ts';
import { installKcatAgent } from '../install/install-kcat.ts';
import { installAiokafkaAgent, installConfluentAgent } from '../install/install-python.ts';

function nodeAgent(name: string): () => Promise<readonly string[]> {
  const file = new URL(`../agents/node/${name}-agent.ts`, import.meta.url).pathname;
  return () => Promise.resolve([process.execPath, file]);
}

/** Kafka's own programs: no agent, but the command that runs their main classes. */
async function kafkaPrograms(): Promise<readonly string[]> {
  const { command, parameters } = await installKafka();
  return [command, ...parameters];
}

/** Each client library: installs what it needs, unless it is there, and resolves with the command of its agent. */
export const CLIENTS = {
  console: kafkaPrograms,
  connect: kafkaPrograms,
  'mirror-maker': kafkaPrograms,
  java: installJavaAgent,
  confluent: installConfluentAgent,
  kcat: installKcatAgent,
  kafkajs: nodeAgent('kafkajs'),
  platformatic: nodeAgent('platformatic'),
  aiokafka: installAiokafkaAgent,
  franz: () => installGoAgent('franz'),
  sarama: () => installGoAgent('sarama'),
} as const;

export type ClientName = keyof typeof CLIENTS;
export const CLIENT_NAMES = Object.keys(CLIENTS) as ClientName[];

/** Of `npm test`: quick to install, and of three families. */
export const CORE_CLIENTS: readonly ClientName[] = ['java', 'kcat', 'kafkajs'];
