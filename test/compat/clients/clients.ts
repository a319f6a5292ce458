import { installGoAgent } from '../install/install-go.ts';
import { installJavaAgent, installJavaPrograms } from '../install/install-kafka.ts';
import { installKcatAgent } from '../install/install-kcat.ts';
import { installAiokafkaAgent, installConfluentAgent } from '../install/install-python.ts';

function nodeAgent(name: string): () => Promise<readonly string[]> {
  const file = new URL(`../agents/node/${name}-agent.ts`, import.meta.url).pathname;
  return () => Promise.resolve([process.execPath, file]);
}

/** Each client library: installs what it needs, unless it is there, and resolves with the command of its agent. */
export const CLIENTS = {
  /** Kafka's own programs: no agent, but the command that runs their main classes. */
  console: installJavaPrograms,
  connect: installJavaPrograms,
  'mirror-maker': installJavaPrograms,
  streams: installJavaPrograms,
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

/** Of `npm test`, which tries two clients of npm by other tests: quick to install, and what most other clients are built on. */
export const CORE_CLIENTS = ['java', 'confluent'] as const satisfies readonly ClientName[];
export type CoreClientName = (typeof CORE_CLIENTS)[number];
