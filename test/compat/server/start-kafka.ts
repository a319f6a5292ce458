import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type EmulatorOptions, reservePorts, startKeptServer } from '../../localstack/emulator.ts';
import { runCommand } from '../../localstack/run-command.ts';
import { installKafka, type JavaCommand } from '../install/install-kafka.ts';
import { hasBrokers } from './has-brokers.ts';
import { propertiesText } from './properties-text.ts';
import type { CompatServer } from './server.ts';

const CLUSTER_ID = 'dGFpbHJhY2UtY29tcGF0MA';
const USER = { username: 'alice', password: 'alice-secret' };
const HEAP = '1g';

export interface KafkaOptions extends EmulatorOptions {
  /** Settings of the broker that differ from ours. */
  readonly properties?: Readonly<Record<string, string>>;
  /** Default `1g`. */
  readonly heap?: string;
}

interface Ports {
  readonly sasl: number;
  readonly controller: number;
  readonly behindProxy: number;
  /** Of the proxy. */
  readonly advertised: number;
}

/**
 * Starts a real Apache Kafka, one KRaft node with an empty log on the loopback, after installing it if need be. Resolves
 * when it serves requests. Nothing of it is left after `stop` or the end of this process.
 */
export async function startKafka(options: KafkaOptions = {}): Promise<CompatServer> {
  const java = await installKafka({ heap: options.heap ?? HEAP });
  const reserved = await reservePorts(4);
  const [sasl = 0, controller = 0, behindProxy = 0, advertised = 0] = reserved.ports;
  const own: Ports = { sasl, controller, behindProxy, advertised };
  const prepare = async ({ port, folder }: { port: number; folder: string }) => {
    const file = join(folder, 'server.properties');
    const properties = { ...brokerProperties(folder, port, own), ...options.properties };
    await writeFile(file, propertiesText(properties));
    await format(java, file);
    await reserved.release();
    return {
      command: java.command,
      parameters: [...java.parameters, 'kafka.Kafka', file],
      environment: { HOME: folder },
    };
  };
  const { port, ended, stop } = await startKeptServer('kafka', prepare, hasBrokers, options).finally(reserved.release);
  return {
    bootstrap: `127.0.0.1:${port}`,
    sasl: { bootstrap: `127.0.0.1:${own.sasl}`, ...USER },
    behindProxy: { port: own.behindProxy, advertisedPort: own.advertised },
    ended,
    stop,
  };
}

function format(java: JavaCommand, file: string): Promise<string> {
  const scram = ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => [
    '--add-scram',
    `${mechanism}=[name=${USER.username},password=${USER.password}]`,
  ]);
  const command = ['kafka.tools.StorageTool', 'format', '-t', CLUSTER_ID, '-c', file, ...scram];
  return runCommand(java.command, [...java.parameters, ...command]);
}

function brokerProperties(folder: string, port: number, own: Ports) {
  const open = `PLAIN://127.0.0.1:${port},SASL://127.0.0.1:${own.sasl}`;
  const login = 'org.apache.kafka.common.security';
  return {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${own.controller}`,
    listeners: `${open},PROXY://127.0.0.1:${own.behindProxy},CONTROLLER://127.0.0.1:${own.controller}`,
    'advertised.listeners': `${open},PROXY://127.0.0.1:${own.advertised}`,
    'listener.security.protocol.map': 'PLAIN:PLAINTEXT,SASL:SASL_PLAINTEXT,PROXY:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'inter.broker.listener.name': 'PLAIN',
    'controller.listener.names': 'CONTROLLER',
    'sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
    'listener.name.sasl.plain.sasl.jaas.config': `${login}.plain.PlainLoginModule required user_${USER.username}="${USER.password}";`,
    'listener.name.sasl.scram-sha-256.sasl.jaas.config': `${login}.scram.ScramLoginModule required;`,
    'listener.name.sasl.scram-sha-512.sasl.jaas.config': `${login}.scram.ScramLoginModule required;`,
    'log.dirs': join(folder, 'log'),
    // Each of these topics wants three brokers by default.
    'offsets.topic.replication.factor': '1',
    'offsets.topic.num.partitions': '4',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.min.isr': '1',
    'share.coordinator.state.topic.replication.factor': '1',
    'share.coordinator.state.topic.min.isr': '1',
    'auto.create.topics.enable': 'false',
    // So that a test in which a member dies doesn't wait for the defaults: up to 45 seconds.
    'group.initial.rebalance.delay.ms': '0',
    'group.min.session.timeout.ms': '1000',
    'group.consumer.min.session.timeout.ms': '3000',
    'group.consumer.session.timeout.ms': '3000',
    'group.consumer.min.heartbeat.interval.ms': '500',
    'group.consumer.heartbeat.interval.ms': '500',
  };
}
