/**
 *     npm run bench:kafka -- [--server tailrace --server kafka --server kafka-flush --server host:port] [--rounds 3] [--records 300000]
 *
 * Kafka's own performance tools on one server after the other, in turns, so that all meet the machine in the same mood.
 * `tailrace` is what `npm start` runs; `kafka` is a real Kafka as it is by default; `kafka-flush` flushes each record to the
 * disk before it answers, as Tailrace does. Nothing here is asserted.
 */
import { randomUUID } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { installKafka } from '../../compat/install/install-kafka.ts';
import type { CompatServer } from '../../compat/server/server.ts';
import { startKafka } from '../../compat/server/start-kafka.ts';
import { startServer } from '../../compat/server/start-server.ts';
import { count, row } from '../measure.ts';
import { consumerFigures, type Figures, latencyFigures, median, producerFigures } from './figures.ts';
import { PerformanceTools } from './performance-tools.ts';
import { startTailraceProcess } from './tailrace-process.ts';

const { values: options } = parseArgs({
  options: {
    server: { type: 'string', multiple: true, default: ['tailrace', 'kafka', 'kafka-flush'] },
    rounds: { type: 'string', default: '3' },
    records: { type: 'string', default: '300000' },
  },
});
const PARTITIONS = 6;
const RECORD_BYTES = 1_024;
const LATENCY_RECORDS = 10_000;
const END_TO_END_RECORDS = 2_000;
const LARGE_BATCHES = ['batch.size=131072', 'linger.ms=5'];

type Workload = (tools: PerformanceTools, records: number) => Promise<Figures>;

const produced = (records: number, throughput: number, properties: readonly string[] = []): Workload => {
  return async (tools) => {
    const topic = await tools.createTopic(PARTITIONS);
    const bytes = ['--record-size', String(RECORD_BYTES)];
    return producerFigures(await tools.produce(topic, records, throughput, [...bytes, ...properties]));
  };
};

function properties(...values: string[]): string[] {
  return ['--command-property', 'acks=all', ...values];
}

const consumed: Workload = async (tools, records) => {
  const topic = await tools.createTopic(PARTITIONS);
  await tools.produce(topic, records, -1, ['--record-size', String(RECORD_BYTES), ...properties(...LARGE_BATCHES)]);
  return consumerFigures(await tools.consume(topic, records));
};

const endToEnd: Workload = async (tools) => {
  const topic = await tools.createTopic(1);
  return latencyFigures(await tools.endToEnd(topic, END_TO_END_RECORDS, RECORD_BYTES));
};

function workloads(records: number): ReadonlyMap<string, Workload> {
  return new Map<string, Workload>([
    ['producer, default settings', produced(records, -1, properties())],
    ['producer, batches of 128 KiB', produced(records, -1, properties(...LARGE_BATCHES))],
    ['producer, 1,000 records/s', produced(LATENCY_RECORDS, 1_000, properties())],
    ['consumer', consumed],
    ['end to end, one record at a time', endToEnd],
  ]);
}

function start(name: string): Promise<CompatServer> {
  if (name === 'tailrace') return startTailraceProcess();
  if (name === 'kafka-flush') return startKafka({ properties: { 'log.flush.interval.messages': '1' } });
  return startServer(name);
}

async function main(): Promise<void> {
  const [records, rounds] = [Number(options.records), Number(options.rounds)];
  process.stdout.write(
    `${availableParallelism()} cores, ${PARTITIONS} partitions, ${count(records)} records of 1 KiB, acks=all, ` +
      `the middle of ${rounds} rounds\n\n`,
  );
  const java = await installKafka({ heap: '512m' });
  const found = new Map<string, Figures[]>();
  for (let round = 0; round < rounds; round++) {
    for (const name of options.server) {
      // One at a time: each has the machine for itself.
      const server = await start(name);
      try {
        const tools = new PerformanceTools(java, server.bootstrap, () => `bench-${randomUUID()}`);
        for (const [what, run] of workloads(records)) {
          const key = `${what}\n${name}`;
          found.set(key, [...(found.get(key) ?? []), await run(tools, records)]);
        }
      } finally {
        await server.stop();
      }
    }
  }
  report(found, records);
}

function report(found: ReadonlyMap<string, readonly Figures[]>, records: number): void {
  const [first = ''] = options.server;
  for (const what of workloads(records).keys()) {
    process.stdout.write(`${what}\n`);
    const base = median(found.get(`${what}\n${first}`) ?? []);
    for (const name of options.server) {
      const { perSecond, p50Ms, p99Ms } = median(found.get(`${what}\n${name}`) ?? []);
      const rate = perSecond === undefined ? '' : `${count(perSecond)} records/s`;
      const ratio =
        perSecond === undefined || base.perSecond === undefined ? '' : `${(perSecond / base.perSecond).toFixed(2)} x`;
      const latency = p50Ms === undefined ? '' : `p50 ${p50Ms} ms, p99 ${p99Ms} ms`;
      row(`  ${name}`, rate, ratio, latency);
    }
  }
}

await main();
