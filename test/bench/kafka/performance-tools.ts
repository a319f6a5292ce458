import type { JavaCommand } from '../../compat/install/install-kafka.ts';
import { runCommand } from '../../localstack/run-command.ts';

const PACKAGE = 'org.apache.kafka.tools';

/** Kafka's own tools, run by their main classes against one server; each resolves with what the tool printed. */
export class PerformanceTools {
  readonly #java: JavaCommand;
  readonly #bootstrap: string;
  readonly #makeName: () => string;

  constructor(java: JavaCommand, bootstrap: string, makeName: () => string) {
    this.#java = java;
    this.#bootstrap = bootstrap;
    this.#makeName = makeName;
  }

  /** Resolves with the name of a topic that nobody has used. */
  async createTopic(partitions: number): Promise<string> {
    const topic = this.#makeName();
    const what = ['--create', '--topic', topic, '--partitions', String(partitions)];
    await this.#run('TopicCommand', [...what, '--bootstrap-server', this.#bootstrap]);
    return topic;
  }

  produce(topic: string, records: number, throughput: number, parameters: readonly string[]): Promise<string> {
    const what = ['--topic', topic, '--num-records', String(records), '--throughput', String(throughput)];
    return this.#run('ProducerPerformance', ['--bootstrap-server', this.#bootstrap, ...what, ...parameters]);
  }

  consume(topic: string, records: number): Promise<string> {
    const what = ['--topic', topic, '--num-records', String(records), '--timeout', '60000'];
    return this.#run('ConsumerPerformance', ['--bootstrap-server', this.#bootstrap, ...what]);
  }

  /** One record after the other, each read before the next is written. */
  endToEnd(topic: string, records: number, bytes: number): Promise<string> {
    return this.#run('EndToEndLatency', [this.#bootstrap, topic, String(records), 'all', String(bytes)]);
  }

  #run(main: string, parameters: readonly string[]): Promise<string> {
    return runCommand(this.#java.command, [...this.#java.parameters, `${PACKAGE}.${main}`, ...parameters]);
  }
}
