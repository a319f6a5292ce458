import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Broker } from '../../shared/broker/broker.ts';
import { addCounts, noRequests } from '../../shared/broker/usage/request-counts.ts';
import { startTailrace } from '../../shared/local/start.ts';
import { encodeBatch } from '../../shared/log/batch/record-batch.ts';
import type { ProducerName } from '../../shared/log/transaction/transaction.ts';
import { count, type Measurement, measure, row } from './measure.ts';
import { printTransactionCosts } from './transaction-costs.ts';

/**
 * `npm run bench:transactions`: transactions in one local process, durable, on this machine, and what they
 * cost on AWS. Nothing here is asserted.
 */

const VALUE = Uint8Array.from({ length: 100 }, (_, i) => 97 + (i % 26));
const AT_ONCE = 64;
const PARTITIONS_PER_HEAD = 16;

interface Spread {
  readonly name: string;
  readonly partitions: readonly number[];
  readonly target: string;
}

const ONE_HEAD: Spread = { name: '3 partitions of one head', partitions: [0, 1, 2], target: '>= 2,000/s' };
const THREE_HEADS: Spread = {
  name: '3 heads',
  partitions: [0, PARTITIONS_PER_HEAD, 2 * PARTITIONS_PER_HEAD],
  target: '>= 800/s',
};

function batchOf(records: number, producer?: ProducerName, baseSequence = 0): Uint8Array {
  const made = Array.from({ length: records }, () => ({
    key: null,
    value: VALUE,
    headers: [],
    timestampMs: Date.now(),
  }));
  return producer === undefined
    ? encodeBatch(made)
    : encodeBatch(made, { producer: { ...producer, baseSequence }, transactional: true });
}

interface NamedProducer {
  readonly transactionalId: string;
  producer: ProducerName;
}

class Producers {
  readonly #broker: Broker;
  readonly #named: NamedProducer[] = [];

  private constructor(broker: Broker) {
    this.#broker = broker;
  }

  static async make(broker: Broker, name: string, producers: number): Promise<Producers> {
    const made = new Producers(broker);
    for (let i = 0; i < producers; i++) {
      const transactionalId = `${name}-${i}`;
      const producer = await broker.initialiseProducer({ transactionalId, timeoutMs: 900_000 });
      made.#named.push({ transactionalId, producer });
    }
    return made;
  }

  /** Ten records over three partitions. */
  async transact(topic: string, { partitions }: Spread): Promise<void> {
    const named = this.#named.pop();
    if (named === undefined) throw new Error('There are fewer producers than transactions at once.');
    const { transactionalId } = named;
    await this.#append(topic, named, partitions);
    named.producer = await this.#broker.endTransaction({
      ...{ transactionalId, producer: named.producer },
      outcome: 'committed',
      raisesEpoch: true,
    });
    this.#named.push(named);
  }

  async begin(topic: string, partition: number): Promise<void> {
    const named = this.#named.pop();
    if (named !== undefined) await this.#append(topic, named, [partition]);
  }

  async #append(
    topic: string,
    { transactionalId, producer }: NamedProducer,
    partitions: readonly number[],
  ): Promise<void> {
    const outcomes = await this.#broker.appendInTransaction({
      transactionalId,
      enlists: true,
      batches: partitions.map((partition, i) => ({ topic, partition, batch: batchOf(i === 0 ? 4 : 3, producer) })),
    });
    for (const outcome of outcomes) if (!outcome.ok) throw outcome.error;
  }
}

async function main(): Promise<void> {
  process.stdout.write(`Node ${process.version}, ${availableParallelism()} cores\n\n`);
  row('', 'measured', 'target');
  for (const spread of [ONE_HEAD, THREE_HEADS]) await throughput(spread);
  await reading();
  await besideOpenOnes();
  await printTransactionCosts();
}

async function withLog<T>(work: (broker: Broker) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'tailrace-bench-'));
  const tailrace = await startTailrace({ dataFolder: folder });
  try {
    await tailrace.broker.putTopic({ name: 't', partitions: 3 * PARTITIONS_PER_HEAD });
    return await work(tailrace.broker);
  } finally {
    await tailrace.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

function report(what: string, { perSecond, p50Ms, p99Ms }: Measurement, target: string, more = ''): void {
  row(what, `${count(perSecond)}/s`, target, `p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms${more}`);
}

async function throughput(spread: Spread): Promise<void> {
  await withLog(async (broker) => {
    const producers = await Producers.make(broker, 'p', AT_ONCE);
    const one = () => producers.transact('t', spread);
    await measure(AT_ONCE, 1_000, one);
    const before = writesOf(broker);
    const transactions = 8_000;
    const measured = await measure(AT_ONCE, transactions, one);
    const writes = (writesOf(broker) - before) / transactions;
    report(
      `10 records, ${spread.name}, ${AT_ONCE} at once`,
      measured,
      spread.target,
      `, ${writes.toFixed(2)} writes each`,
    );
    const alone = await measure(1, 500, one);
    report(`10 records, ${spread.name}, one at a time`, alone, '');
  });
}

/** All writes of items, for whatever purpose. */
function writesOf(broker: Broker): number {
  const total = noRequests();
  for (const { counts } of broker.usage()) addCounts(total, counts);
  return total.putItem + total.updateItem;
}

async function reading(): Promise<void> {
  await withLog(async (broker) => {
    const producers = await Producers.make(broker, 'p', AT_ONCE);
    await measure(AT_ONCE, 5_000, () => producers.transact('t', ONE_HEAD));
    await broker.idle();
    let committed = 0;
    let uncommitted = 0;
    for (let round = 0; round < 8; round++) {
      uncommitted += await secondsToRead(broker, 'read_uncommitted');
      committed += await secondsToRead(broker, 'read_committed');
    }
    row(
      'read_committed, all records of 3 partitions',
      `${(uncommitted / committed).toFixed(2)} x`,
      '>= 0.90 x',
      'of read_uncommitted',
    );
  });
}

async function secondsToRead(broker: Broker, isolation: 'read_committed' | 'read_uncommitted'): Promise<number> {
  const startedMs = performance.now();
  for (const partition of ONE_HEAD.partitions) {
    for (let offset = 0; ; ) {
      const result = await broker.read({ topic: 't', partition, from: { offset }, isolation });
      for await (const _ of result.batches);
      if (result.nextOffset === offset) break;
      offset = result.nextOffset;
    }
  }
  return (performance.now() - startedMs) / 1_000;
}

/** Appends of others to a head with 1,000 open transactions, and to one with none, in turns. */
async function besideOpenOnes(): Promise<void> {
  await withLog(async (broker) => {
    const producers = await Producers.make(broker, 'open', 1_000);
    for (let i = 0; i < 1_000; i++) await producers.begin('t', i % PARTITIONS_PER_HEAD);
    await broker.idle();
    const append = (partition: number) => () =>
      broker.append({ batches: [{ topic: 't', partition, batch: batchOf(1) }] });
    const rates = { busy: 0, idle: 0 };
    for (const at of [AT_ONCE, 1]) {
      for (let round = 0; round < 4; round++) {
        rates.busy += (await measure(at, at === 1 ? 500 : 4_000, append(0))).perSecond;
        rates.idle += (await measure(at, at === 1 ? 500 : 4_000, append(PARTITIONS_PER_HEAD))).perSecond;
      }
      row(
        `appends beside 1,000 open transactions, ${at} callers`,
        `${(rates.busy / rates.idle).toFixed(2)} x`,
        '>= 0.50 x',
        'of appends to a head without any',
      );
    }
  });
}

await main();
