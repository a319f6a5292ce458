import { expect } from 'vitest';
import type { KeptServer } from '../../localstack/emulator.ts';
import { until } from '../connect/until.ts';
import { startProgram } from '../server/start-program.ts';
import type { Case } from './case.ts';
import { base64, type World } from './world.ts';

const MAIN = 'WordCount';
const TIMEOUT_MS = 240_000;
const COUNTED_MS = 90_000;
const PARTITIONS = 4;
const ALL = Array.from({ length: PARTITIONS }, (_, i) => i);
const WORDS = 20;

/** An application of Kafka Streams that counts words, and what it must have counted by now. */
class WordCount {
  readonly #world: World;
  readonly #id: string;
  readonly #input: string;
  readonly #output: string;
  readonly #expected = new Map<string, number>();

  constructor(world: World, { id, input, output }: { id: string; input: string; output: string }) {
    this.#world = world;
    this.#id = id;
    this.#input = input;
    this.#output = output;
  }

  static async create(world: World): Promise<WordCount> {
    const [input, output] = [await world.topic(PARTITIONS), await world.topic(PARTITIONS)];
    return new WordCount(world, { id: world.group(), input, output });
  }

  /** Starts an instance, which has no state yet. */
  async start(): Promise<KeptServer> {
    const instance = await startProgram({
      name: 'word-count',
      command: this.#world.command,
      main: MAIN,
      properties: (_, folder) => this.#properties(folder),
      isReady: () => Promise.resolve(true),
    });
    this.#world.atEnd(() => instance.stop());
    return instance;
  }

  /** Writes so many lines of two words each. */
  async write(count: number): Promise<void> {
    const lines = Array.from({ length: count }, (_, i) => [`word-${i % WORDS}`, `word-${(i * 7) % WORDS}`]);
    for (const word of lines.flat()) this.#expected.set(word, (this.#expected.get(word) ?? 0) + 1);
    const records = lines.map((words, i) => ({ key: base64(`${i}`), value: base64(words.join(' ')) }));
    await this.#world.referenceProduce({ topic: this.#input, records });
  }

  /** Waits until each word has been counted. Afterwards no count may be wrong: nothing was counted twice. */
  async untilCounted(): Promise<void> {
    const isThere = async (): Promise<boolean> => {
      const counts = await this.#counts();
      return [...this.#expected].every(([word, count]) => (counts.get(word) ?? 0) >= count);
    };
    await until('counts of all words', COUNTED_MS, isThere).catch(async (error: unknown) => {
      throw new Error(`${String(error)}: ${JSON.stringify([...(await this.#counts())])}`);
    });
    expect(new Map([...(await this.#counts())].sort())).toEqual(new Map([...this.#expected].sort()));
  }

  /** Waits until the application has committed that it has read all, so that nothing of it is read again. */
  async untilCommitted(): Promise<void> {
    await until('the commit of all offsets', COUNTED_MS, async () => {
      for (const topic of await this.#topics()) {
        const { offsets } = await this.#world.referenceAdmin({ op: 'committed', group: this.#id, topic });
        for (const partition of ALL) {
          const end = await this.#end(topic, partition);
          if (end > 0 && offsets?.[partition] !== end) return false;
        }
      }
      return true;
    });
  }

  /** What the application reads: the input, and the topic in which the words are partitioned again. */
  async #topics(): Promise<readonly string[]> {
    const { topics = [] } = await this.#world.referenceAdmin({ op: 'list-topics' });
    return [this.#input, ...topics.filter((topic) => topic.startsWith(this.#id) && topic.endsWith('-repartition'))];
  }

  /** The last count of each word. */
  async #counts(): Promise<Map<string, number>> {
    let count = 0;
    for (const partition of ALL) count += await this.#end(this.#output, partition);
    if (count === 0) return new Map();
    const records = await this.#world.readAll(this.#output, PARTITIONS, count);
    return new Map(records.map(({ key, value }) => [textOf(key), Number(textOf(value))]));
  }

  async #end(topic: string, partition: number): Promise<number> {
    const asked = { op: 'list-offsets', topic, partition, at: 'latest' } as const;
    return (await this.#world.referenceAdmin(asked)).offset ?? 0;
  }

  #properties(folder: string): Readonly<Record<string, string>> {
    return {
      'bootstrap.servers': this.#world.server.bootstrap,
      'application.id': this.#id,
      'word-count.input': this.#input,
      'word-count.output': this.#output,
      'state.dir': folder,
      'dsl.store.suppliers.class': 'org.apache.kafka.streams.state.BuiltInDslStoreSuppliers$InMemoryDslStoreSuppliers',
      'replication.factor': '1',
      'num.stream.threads': '2',
      'commit.interval.ms': '200',
      // So that each new count is written.
      'statestore.cache.max.bytes': '0',
      'consumer.auto.offset.reset': 'earliest',
      'consumer.session.timeout.ms': '6000',
      'consumer.heartbeat.interval.ms': '1000',
    };
  }
}

function textOf(value: string | null): string {
  return Buffer.from(value ?? '', 'base64').toString();
}

async function instanceKilled(world: World): Promise<void> {
  const counting = await WordCount.create(world);
  const [first] = await Promise.all([counting.start(), counting.start()]);
  await counting.write(200);
  await counting.untilCounted();
  await counting.untilCommitted();
  // Its counts are only in the changelog now.
  await first.stop();
  await counting.write(200);
  await counting.untilCounted();
}

async function restarted(world: World): Promise<void> {
  const counting = await WordCount.create(world);
  const first = await counting.start();
  await counting.write(100);
  await counting.untilCounted();
  await first.finish();
  await counting.write(100);
  await counting.start();
  await counting.untilCounted();
}

export const STREAMS: readonly Case[] = [
  { name: 'streams-instance-killed', of: 'streams', timeoutMs: TIMEOUT_MS, run: instanceKilled },
  { name: 'streams-restarted', of: 'streams', timeoutMs: TIMEOUT_MS, run: restarted },
];
