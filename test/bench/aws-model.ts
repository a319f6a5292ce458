import { Broker } from '../../shared/broker/broker.ts';
import type { ByteRange, Clock, ItemStore, ObjectStore } from '../../shared/storage/ports.ts';
import { memoryStores, SeededRandom } from '../support/memory-broker.ts';
import { LATENCIES } from './list-prices.ts';

/**
 * `npm run bench:aws-model`: how long appends and reads would take on AWS. The broker itself runs, over stores that answer
 * after a time drawn from the latencies of `list-prices.ts`, on a simulated clock. Modelled, not measured: a log-normal
 * through a median and a 99th percentile that others have published, no throttling, no cold start, no client.
 */

const RUNS = 2_000;

interface Latency {
  readonly p50: number;
  readonly p99: number;
}

/** The 99th percentile of the standard normal distribution. */
const Z99 = 2.326;

class Latencies {
  private readonly random: SeededRandom;
  private readonly clock: Clock;

  constructor(clock: Clock, seed: number) {
    this.clock = clock;
    this.random = new SeededRandom(seed);
  }

  async wait({ p50, p99 }: Latency): Promise<void> {
    const normal = Math.sqrt(-2 * Math.log(1 - this.random.next())) * Math.cos(2 * Math.PI * this.random.next());
    await this.clock.sleep(p50 * (p99 / p50) ** (normal / Z99));
  }
}

function slowItems(items: ItemStore, latencies: Latencies): ItemStore {
  const read = async <T>(request: () => Promise<T>): Promise<T> => {
    await latencies.wait(LATENCIES.itemRead);
    return request();
  };
  const write = async <T>(request: () => Promise<T>): Promise<T> => {
    await latencies.wait(LATENCIES.itemWrite);
    return request();
  };
  return {
    get: (key) => read(() => items.get(key)),
    query: (range) => read(() => items.query(range)),
    put: (...args) => write(() => items.put(...args)),
    update: (...args) => write(() => items.update(...args)),
    delete: (...args) => write(() => items.delete(...args)),
  };
}

function slowObjects(objects: ObjectStore, latencies: Latencies, put: Latency): ObjectStore {
  return {
    put: async (key, chunks) => {
      await latencies.wait(put);
      return objects.put(key, chunks);
    },
    get: async (key: string, range: ByteRange) => {
      await latencies.wait(LATENCIES.objectGet);
      return objects.get(key, range);
    },
    presign: (...args) => objects.presign(...args),
    // Only jobs use them, and these are not modelled.
    delete: (...args) => objects.delete(...args),
    list: (...args) => objects.list(...args),
    concat: (...args) => objects.concat(...args),
  };
}

interface Path {
  readonly name: string;
  readonly target: string;
  readonly put?: Latency;
  /** Through a function URL, or in the caller's own process. */
  readonly url: boolean;
  run(broker: Broker, i: number): Promise<unknown>;
}

function append(bytes: number): Path['run'] {
  const value = new Uint8Array(bytes);
  return (broker) => broker.appendRecords({ topic: 't', records: [{ key: null, value, headers: [], partition: 0 }] });
}

async function readLast(broker: Broker): Promise<void> {
  const result = await broker.read({ topic: 't', partition: 0, from: { tail: 1 } });
  for await (const _ of result.batches);
}

const PATHS: readonly Path[] = [
  { name: 'append, small, by function URL', target: 'p50 <= 20, p99 <= 60', url: true, run: append(500) },
  { name: 'append, small, in the caller', target: '', url: false, run: append(500) },
  { name: 'append, large, by function URL', target: 'p50 <= 75', url: true, run: append(100_000) },
  { name: 'append, large, in the caller', target: '', url: false, run: append(100_000) },
  {
    name: 'append, large, S3 Express, function URL',
    target: '',
    put: LATENCIES.expressPut,
    url: true,
    run: append(100_000),
  },
  { name: 'read of the last record, function URL', target: '', url: true, run: readLast },
  {
    name: 'read at the end, function URL',
    target: '',
    url: true,
    run: (broker) => broker.read({ topic: 't', partition: 0, from: { tail: 0 } }),
  },
];

async function main(): Promise<void> {
  process.stdout.write(
    'Modelled milliseconds on AWS, one request at a time, warm; see list-prices.ts for the latencies it draws from.\n\n',
  );
  process.stdout.write(`${'path'.padEnd(44)}${'p50'.padStart(8)}${'p99'.padStart(8)}   target\n`);
  for (const [i, path] of PATHS.entries()) {
    const { objects, items, clock } = memoryStores();
    const latencies = new Latencies(clock, i + 1);
    const broker = new Broker({
      items: slowItems(items, latencies),
      objects: slowObjects(objects, latencies, path.put ?? LATENCIES.objectPut),
      clock,
      random: new SeededRandom(i + 100),
      settings: { cacheBytesMax: 1, topicCacheMs: 60_000 },
    });
    const times = await clock.run(async () => {
      await broker.putTopic({ name: 't' });
      await append(500)(broker, 0);
      const taken: number[] = [];
      for (let run = 0; run < RUNS; run++) {
        const beganMs = clock.nowMs();
        if (path.url) await latencies.wait(LATENCIES.functionUrl);
        await path.run(broker, run);
        taken.push(clock.nowMs() - beganMs);
      }
      await broker.idle();
      return taken.sort((a, b) => a - b);
    });
    const quantile = (q: number): string => String(times[Math.floor(times.length * q)]).padStart(8);
    process.stdout.write(`${path.name.padEnd(44)}${quantile(0.5)}${quantile(0.99)}   ${path.target}\n`);
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  process.exitCode = 1;
});
