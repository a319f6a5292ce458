import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Configs, ConnectGroup } from './connect-group.ts';
import { until } from './until.ts';

const ARRIVED_MS = 60_000;

/** A file whose lines go to a topic and from there to another file, by two connectors of Kafka Connect. */
export class Flow {
  readonly source: string;
  readonly sink: string;
  readonly topic: string;
  /** The path of the file that is read. */
  readonly input: string;
  readonly #output: string;
  #written = 0;

  constructor(folder: string, name: string) {
    this.source = `${name}-source`;
    this.sink = `${name}-sink`;
    this.topic = name;
    this.input = join(folder, `${name}.in`);
    this.#output = join(folder, `${name}.out`);
  }

  get names(): readonly string[] {
    return [this.source, this.sink];
  }

  /** Makes the connectors. Connect creates the topic, through the admin API. */
  async create(group: ConnectGroup): Promise<void> {
    await this.createSource(group);
    await writeFile(this.#output, '');
    await group.configure(this.sink, {
      'connector.class': 'org.apache.kafka.connect.file.FileStreamSinkConnector',
      'tasks.max': '1',
      topics: this.topic,
      file: this.#output,
      // It looks for the topic, which may not be there yet, every 5 min by default.
      'consumer.override.metadata.max.age.ms': '1000',
      // The session of a consumer whose worker was killed: by default 45 s.
      'consumer.override.session.timeout.ms': '6000',
      'consumer.override.heartbeat.interval.ms': '1000',
    });
  }

  /** Makes the connector that reads the file, and no other. */
  async createSource(group: ConnectGroup, configs: Configs = {}): Promise<void> {
    await writeFile(this.input, '');
    await group.configure(this.source, {
      'connector.class': 'org.apache.kafka.connect.file.FileStreamSourceConnector',
      'tasks.max': '1',
      topic: this.topic,
      file: this.input,
      'topic.creation.default.partitions': '1',
      'topic.creation.default.replication.factor': '1',
      ...configs,
    });
  }

  /** Appends so many lines to the file; each has its number. */
  async write(count: number): Promise<void> {
    const lines = Array.from({ length: count }, (_, i) => `${lineOf(this.#written + i)}\n`);
    this.#written += count;
    await appendFile(this.input, lines.join(''));
  }

  /** The bytes that were written. */
  async inputBytes(): Promise<number> {
    return (await readFile(this.input)).length;
  }

  get written(): readonly string[] {
    return Array.from({ length: this.#written }, (_, i) => lineOf(i));
  }

  /** The lines that have come, as often as they came. */
  async come(): Promise<readonly string[]> {
    return (await readFile(this.#output, 'utf8')).split('\n').slice(0, -1);
  }

  /** Waits until every line has come at least once. */
  async untilAllCame(): Promise<void> {
    const { written } = this;
    await until(`${written.length} lines of ${this.topic}`, ARRIVED_MS, async () => {
      const come = new Set(await this.come());
      return written.every((line) => come.has(line));
    });
  }

  async untilCount(count: number): Promise<void> {
    await until(`${count} lines of ${this.topic}`, ARRIVED_MS, async () => (await this.come()).length >= count);
  }
}

function lineOf(number: number): string {
  return `line ${number}`;
}
