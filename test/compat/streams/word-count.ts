import { expect } from 'vitest';
import type { KeptServer } from '../../localstack/emulator.ts';
import { base64, type World } from '../cases/world.ts';
import type { Isolation, ReadRecord } from '../clients/contract.ts';
import { until } from '../connect/until.ts';
import { startProgram } from '../server/start-program.ts';

const MAIN = 'WordCount';
const COUNTED_MS = 90_000;
const OPEN_MS = 30_000;
const READ_MS = 5_000;
/** How long a reader waits for what should not come. */
const QUIET_MS = 3_000;
const PARTITIONS = 4;
const ALL = Array.from({ length: PARTITIONS }, (_, i) => i);
const WORDS = 20;

/** So long that an instance that is killed has an open transaction, and that another one ends it soon. */
const EXACTLY_ONCE = {
  'processing.guarantee': 'exactly_once_v2',
  'commit.interval.ms': '3000',
  'producer.transaction.timeout.ms': '6000',
};
const AT_LEAST_ONCE = { 'commit.interval.ms': '200' };

/** An application of Kafka Streams that counts words, and what it must have counted by now. */
export class WordCount {
  readonly #world: World;
  readonly #id: string;
  readonly #input: string;
  readonly #output: string;
  readonly #guarantee: Readonly<Record<string, string>>;
  readonly #expected = new Map<string, number>();

  constructor(world: World, topics: { input: string; output: string }, guarantee: Readonly<Record<string, string>>) {
    this.#world = world;
    this.#id = world.group();
    this.#input = topics.input;
    this.#output = topics.output;
    this.#guarantee = guarantee;
  }

  static async create(world: World, { isExactlyOnce = false } = {}): Promise<WordCount> {
    const topics = { input: await world.topic(PARTITIONS), output: await world.topic(PARTITIONS) };
    return new WordCount(world, topics, isExactlyOnce ? EXACTLY_ONCE : AT_LEAST_ONCE);
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

  /** Goes on writing until there are open transactions in all partitions of the output. */
  async writeUntilOpen(): Promise<void> {
    await until('open transactions', OPEN_MS, async () => {
      await this.write(WORDS);
      for (const partition of ALL) {
        const stable = await this.#end(this.#output, partition, 'read_committed');
        if (stable === (await this.#end(this.#output, partition))) return false;
      }
      return true;
    });
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

  /** Waits until each word has been counted. Readers of committed records then get each count of each word once, in order. */
  async untilCountedOnce(): Promise<void> {
    const total = this.#total();
    let found = 0;
    await until('committed counts of all words', COUNTED_MS, async () => {
      found = (await this.#read('read_committed', total, READ_MS)).length;
      return found === total;
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}: ${found} of ${total}`);
    });
    await this.untilCommitted();
    const counts = new Map<string, number[]>();
    for (const { key, value } of await this.#read('read_committed', total + 1, QUIET_MS)) {
      const word = textOf(key);
      counts.set(word, [...(counts.get(word) ?? []), Number(textOf(value))]);
    }
    const wanted = [...this.#expected].map(([word, count]) => [word, Array.from({ length: count }, (_, i) => i + 1)]);
    expect(Object.fromEntries(counts)).toEqual(Object.fromEntries(wanted));
  }

  /** Counts that were written in transactions that did not commit. */
  async aborted(): Promise<number> {
    const total = this.#total();
    const all = await this.#read('read_uncommitted', 2 * total, QUIET_MS);
    return all.length - total;
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

  #total(): number {
    return [...this.#expected.values()].reduce((sum, count) => sum + count, 0);
  }

  async #read(isolation: Isolation, count: number, timeoutMs: number): Promise<readonly ReadRecord[]> {
    const request = { topic: this.#output, partitions: ALL, from: 'earliest', isolation, count, timeoutMs } as const;
    return (await this.#world.referenceConsume(request)).records;
  }

  async #end(topic: string, partition: number, isolation: Isolation = 'read_uncommitted'): Promise<number> {
    const asked = { op: 'list-offsets', topic, partition, at: 'latest', isolation } as const;
    return (await this.#world.referenceAdmin(asked)).offset ?? 0;
  }

  #properties(folder: string): Readonly<Record<string, string>> {
    return {
      ...this.#guarantee,
      'bootstrap.servers': this.#world.server.bootstrap,
      'application.id': this.#id,
      'word-count.input': this.#input,
      'word-count.output': this.#output,
      'state.dir': folder,
      'dsl.store.suppliers.class': 'org.apache.kafka.streams.state.BuiltInDslStoreSuppliers$InMemoryDslStoreSuppliers',
      'replication.factor': '1',
      'num.stream.threads': '2',
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
