import { Broker } from '../../shared/broker/broker.ts';
import { PRICES } from '../../shared/broker/usage/prices.ts';
import { addCounts, dollars, noRequests, type RequestCounts } from '../../shared/broker/usage/request-counts.ts';
import type { Purpose } from '../../shared/broker/usage/usage-meter.ts';
import { encodeBatch } from '../../shared/log/batch/record-batch.ts';
import type { ProducerName } from '../../shared/log/transaction/transaction.ts';
import { systemClock } from '../../shared/storage/system/clock.ts';
import { systemRandom } from '../../shared/storage/system/random.ts';
import { memoryStores } from '../support/memory-broker.ts';

/** What transactions cost on AWS: the requests and units of the broker with its settings for Lambda are counted, one at a time. */

const RUNS = 400;
const VALUE = new Uint8Array(100).fill(97);
const PARTITIONS_PER_HEAD = 16;

interface Work {
  readonly name: string;
  readonly partitions: readonly number[];
  readonly commitsOffsets?: boolean;
}

/** Ten records each. */
const WORKS: readonly Work[] = [
  { name: '1 head', partitions: [0, 1, 2] },
  { name: '3 heads', partitions: [0, PARTITIONS_PER_HEAD, 2 * PARTITIONS_PER_HEAD] },
  { name: '1 head and offsets of a group', partitions: [0, 1, 2], commitsOffsets: true },
];

/** Counts what is requested in steps, by step and purpose. */
class Steps {
  readonly #broker: Broker;
  readonly #counts = new Map<string, RequestCounts>();

  constructor(broker: Broker) {
    this.#broker = broker;
  }

  async of<T>(step: string, run: () => Promise<T>): Promise<T> {
    this.#add(step, -1);
    const result = await run();
    this.#add(step, 1);
    return result;
  }

  /** For one run. */
  sum(steps: readonly string[], purposes: readonly Purpose[]): RequestCounts {
    const total = noRequests();
    for (const step of steps)
      for (const purpose of purposes) {
        const counts = this.#counts.get(`${step} ${purpose}`);
        if (counts !== undefined) addCounts(total, counts, 1 / RUNS);
      }
    return total;
  }

  #add(step: string, sign: number): void {
    for (const { purpose, counts } of this.#broker.usage()) {
      const key = `${step} ${purpose}`;
      const sum = this.#counts.get(key) ?? noRequests();
      this.#counts.set(key, sum);
      addCounts(sum, counts, sign);
    }
  }
}

function makeBroker(): Broker {
  return new Broker({
    ...memoryStores(),
    clock: systemClock,
    random: systemRandom,
    settings: { cacheBytesMax: 1, headCacheMs: 1_000 },
  });
}

function batchOf(records: number, producer?: ProducerName): Uint8Array {
  const made = Array.from({ length: records }, () => ({ key: null, value: VALUE, headers: [], timestampMs: 1 }));
  return producer === undefined
    ? encodeBatch(made)
    : encodeBatch(made, { producer: { ...producer, baseSequence: 0 }, transactional: true });
}

async function measured({
  partitions,
  commitsOffsets = false,
}: Work): Promise<{ readonly steps: Steps; readonly plain: Steps }> {
  const broker = makeBroker();
  await broker.putTopic({ name: 't', partitions: 3 * PARTITIONS_PER_HEAD });
  const batchesOf = (producer?: ProducerName) =>
    partitions.map((partition, i) => ({ topic: 't', partition, batch: batchOf(i === 0 ? 4 : 3, producer) }));
  const plain = new Steps(broker);
  for (let i = 0; i < RUNS; i++) {
    await plain.of('append', () => broker.append({ batches: batchesOf() }));
    await plain.of('append', () => broker.idle());
  }
  const steps = new Steps(broker);
  const transactionalId = 'orders-to-invoices-7';
  const initialise = (): Promise<ProducerName> => broker.initialiseProducer({ transactionalId, timeoutMs: 60_000 });
  let producer = await initialise();
  for (let i = 0; i < RUNS; i++) {
    const batches = batchesOf(producer);
    await steps.of('append', () => broker.appendInTransaction({ transactionalId, enlists: true, batches }));
    const offsets = [{ topic: 't', partition: 0, offset: i }];
    const commit = { transactionalId, producer, group: 'invoices', offsets, enlists: true };
    if (commitsOffsets) await steps.of('offsets', () => broker.commitOffsetsInTransaction(commit));
    const end = { transactionalId, producer, outcome: 'committed', raisesEpoch: true } as const;
    producer = await steps.of('end', () => broker.endTransaction(end));
    await steps.of('append', () => broker.idle());
  }
  return { steps, plain };
}

async function initialisations(): Promise<Steps> {
  const broker = makeBroker();
  const steps = new Steps(broker);
  for (let i = 0; i < RUNS; i++) {
    const request = { transactionalId: `orders-to-invoices-${i}`, timeoutMs: 60_000 };
    await steps.of('first', () => broker.initialiseProducer(request));
    await steps.of('again', () => broker.initialiseProducer(request));
  }
  return steps;
}

const ALL: readonly Purpose[] = ['append', 'move_tail', 'transaction', 'group', 'admin'];

function line(cells: readonly string[]): void {
  process.stdout.write(`${cells.map((cell, i) => (i === 0 ? cell.padEnd(32) : cell.padStart(14))).join('')}\n`);
}

function perMillion(counts: RequestCounts): string {
  return `$${(dollars(counts) * 1e6).toFixed(2)}`;
}

function requestsAndUnits({
  getItem,
  query,
  putItem,
  updateItem,
  deleteItem,
  writeUnits,
  readUnits,
}: RequestCounts): string[] {
  return [getItem + query, putItem + updateItem + deleteItem, readUnits, writeUnits].map((value) => value.toFixed(2));
}

export async function printTransactionCosts(): Promise<void> {
  process.stdout.write(
    `\nOn AWS, one at a time, storage requests counted; prices of ${PRICES.region}, ${PRICES.asOf}, for a million\n`,
  );
  line([
    'a transaction of 10 records',
    'reads',
    'writes',
    'read units',
    'write units',
    'appends',
    'enlist',
    'end to finish',
    'offsets',
    'together',
    'plain append',
  ]);
  for (const work of WORKS) {
    const { steps, plain } = await measured(work);
    const everything = steps.sum(['append', 'offsets', 'end'], ALL);
    line([
      work.name,
      ...requestsAndUnits(everything),
      perMillion(steps.sum(['append', 'end'], ['append', 'move_tail'])),
      perMillion(steps.sum(['append'], ['transaction'])),
      perMillion(steps.sum(['end'], ['transaction'])),
      perMillion(steps.sum(['offsets'], ALL)),
      perMillion(everything),
      perMillion(plain.sum(['append'], ALL)),
    ]);
  }
  const steps = await initialisations();
  line(['an initialisation', 'reads', 'writes', 'read units', 'write units', 'together']);
  for (const step of ['first', 'again']) {
    const counts = steps.sum([step], ALL);
    line([
      step === 'first' ? 'of a new transactional id' : 'of one that is known',
      ...requestsAndUnits(counts),
      perMillion(counts),
    ]);
  }
}
