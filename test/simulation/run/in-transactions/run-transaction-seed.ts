import type { Broker } from '../../../../shared/broker/broker.ts';
import { DEFAULT_SETTINGS } from '../../../../shared/broker/settings.ts';
import type { ReadRecord, Violation } from '../../../history/history.ts';
import { readRecords } from '../../../history/history-records.ts';
import { Client } from '../../clients/client.ts';
import {
  JOBS_BESIDE,
  READ_ISOLATED,
  readOnceJudged,
  WRITE_PLAIN,
} from '../../clients/in-transactions/beside-transactions.ts';
import { TRANSACT, TRANSACTION_KEYS, TransactionalProducer } from '../../clients/in-transactions/transact.ts';
import { GROUP, TransactionBook } from '../../clients/in-transactions/transaction-book.ts';
import { bookOf, keepBook, PASSING, PLACES, STAYING } from '../../clients/in-transactions/transaction-topics.ts';
import { Chance } from '../../world/chance.ts';
import { drawFaultMix } from '../../world/faults.ts';
import { STREAM } from '../../world/simulated-process.ts';
import type { SlotName, TransactionWatch } from '../../world/watch/transaction-watch.ts';
import type { Conditions } from '../../world/world.ts';
import { drawLatency } from '../draw-group-run.ts';
import { type PlannedClient, type RunResult, runInWorld, type Selection, type WorldRun } from '../run-in-world.ts';

const FAULTY_REQUESTS_MAX = 1_000;
const REQUESTS_MAX = 20_000;
/** After all faults the time of a transaction is over, by all clocks, and whoever is held up has ended it. */
const OVERDUE_ENDED_MS = 60_000;
/** A new producer of an id gets through within this. */
const NEW_PRODUCER_MS = 60_000;
const NEW_TRANSACTIONS = 3;
/** What is late has arrived, and clients no longer wait. */
const OVER_MS = 12 * 60_000;
const HEALED_CLIENT = 1_000;
const CLIENTS_MAX = 4;

function drawTransactionConditions(seed: number): Conditions {
  const chance = new Chance(seed, STREAM.settings);
  return {
    faults: drawFaultMix(new Chance(seed, STREAM.faults), TRANSACTION_KEYS),
    latency: drawLatency(chance),
    putsBeside: chance.chance(0.25),
    settings: {
      inlineBytesMax: chance.pick([0, 250, DEFAULT_SETTINGS.inlineBytesMax]),
      headCacheMs: chance.pick([0, 1_000, 600_000]),
      topicCacheMs: chance.pick([0, 1_000, 600_000]),
      cacheBytesMax: chance.pick([1, 2_000, 1_000_000]),
      commitTimeoutMs: chance.pick([300, 2_000, DEFAULT_SETTINGS.commitTimeoutMs]),
      checkpointEntries: chance.pick([8, 16, DEFAULT_SETTINGS.checkpointEntries]),
    },
    partitions: [0],
    processes: chance.pick([1, 2, 3]),
    coldRate: chance.pick([0, 0, 0.02, 0.1]),
    skewMs: chance.pick([0, 0, 1_500, 120_000]),
    healAfterMs: chance.pick([20_000, 40_000, 60_000]),
    tailBefore: 0,
    passingPartitions: 1,
    transactions: {
      freezeMs: chance.pick([5_000, 20_000, 120_000]),
      skewMsMax: 120_000,
      timeoutMs: chance.pick([100, 2_000, 10_000, 60_000]),
      transactionalIds: chance.pick([1, 1, 2]),
      hasMembers: chance.chance(0.5),
    },
  };
}

function drawTransactionClients(seed: number): PlannedClient[] {
  const chance = new Chance(seed, STREAM.plan);
  const operations = chance.pick([2, 4, 8]);
  const producers = Array.from({ length: 1 + chance.below(CLIENTS_MAX - 1) }, () => TRANSACT);
  const beside = [READ_ISOLATED, WRITE_PLAIN, JOBS_BESIDE].filter(() => chance.chance(0.6));
  return [...producers, ...beside].map((workload) => ({ workload, operations }));
}

/**
 * One run of producers with transactional ids while faults strike. Then the faults are over: transactions whose time is over are
 * ended by whoever they hold up, a new producer of each id gets through, and all that was told is held against the log.
 */
export async function runTransactionSeed(
  seed: number,
  selection: Selection = {},
  log?: (line: string) => void,
): Promise<RunResult> {
  const conditions = drawTransactionConditions(seed);
  const clients = drawTransactionClients(seed);
  const { transactions } = conditions;
  const live = async (run: WorldRun): Promise<void> => {
    const { world } = run;
    const watch = world.watch.transactions;
    if (watch === undefined || transactions === undefined) throw new Error('No run of transactions.');
    const book = new TransactionBook(watch, (promise, message) => run.broken(promise, message));
    keepBook(world, book);
    const plain = world.plainBroker();
    for (const { name, partitions } of STAYING) {
      await plain.putTopic({ name, partitions, config: { 'retention.ms': -1 } });
      book.topics.set(name, await plain.knownTopic(name));
    }
    await plain.putTopic({ name: PASSING, partitions: 1 });
    await run.workUnderFaults(FAULTY_REQUESTS_MAX);
    await world.loop.run(() => run.working === 0 || run.isEndless);
    const healed = new Client(world, HEALED_CLIENT, 'healed');
    const chance = new Chance(seed, STREAM.heal);
    if (chance.chance(0.5)) {
      const { timeoutMs, skewMsMax } = transactions;
      run.start(healed, readToTheEnds(healed, timeoutMs + skewMsMax + OVERDUE_ENDED_MS));
      await world.loop.run(() => run.working === 0 || run.isEndless);
      for (const wrong of heldUp(book, watch)) run.broken('R19', `${wrong} long after the time of all transactions.`);
    }
    for (let i = 0; i < transactions.transactionalIds; i++) run.start(healed, getThrough(healed, `id-${i}`, run));
    await world.loop.run(() => run.working === 0 || run.isEndless);
    const lastMs = world.loop.nowMs + OVER_MS;
    world.loop.at(OVER_MS, () => {});
    await world.loop.run(() => world.loop.nowMs > lastMs || run.isEndless);
    if (run.isEndless) run.broken('R19', 'Something goes round in circles.');
    await plain.sweepTransactions();
    for (const id of watch.openIds) run.broken('R19', `${id} has a transaction that nobody ends.`);
    for (const wrong of heldUp(book, watch)) run.broken('R19', `${wrong} in the end.`);
    run.violations.push(...(await judgeInTheEnd(plain, book)));
  };
  return runInWorld({ seed, clients, conditions, requestsMax: REQUESTS_MAX }, selection, log, live);
}

const EVERY_PLACE = PLACES.slice(1);

/** Readers that are held up end what is in their way. */
async function readToTheEnds(client: Client, patienceMs: number): Promise<void> {
  const untilMs = client.nowMs + patienceMs;
  const { transactions } = client.world.watch;
  for (const { topic, partition } of EVERY_PLACE) {
    const slot = bookOf(client.world).slotOf(topic, partition);
    let from = 0;
    while (client.nowMs < untilMs && transactions !== undefined) {
      from = (await readOnceJudged(client, topic, partition, from, 'read_committed')) ?? from;
      if (slot === undefined || from >= endOf(transactions, slot)) break;
      await client.sleep(200);
    }
  }
}

async function getThrough(client: Client, id: string, run: WorldRun): Promise<void> {
  const untilMs = client.nowMs + NEW_PRODUCER_MS;
  const producer = new TransactionalProducer(client, id, client.chance.chance(0.5), true);
  for (let done = 0; client.nowMs < untilMs; ) {
    if (await producer.transact(EVERY_PLACE, true, 'committed')) done++;
    if (done === NEW_TRANSACTIONS) return;
    await client.sleep(100);
  }
  run.broken('R19', `No new producer of ${id} got through within ${NEW_PRODUCER_MS} ms after all faults.`);
}

function endOf(watch: TransactionWatch, slot: SlotName): number {
  const last = watch.spansOf(slot).at(-1);
  return last === undefined ? 0 : last.offset + last.records;
}

/** What readers of committed records wait for. */
function heldUp(book: TransactionBook, watch: TransactionWatch): string[] {
  return EVERY_PLACE.flatMap(({ topic, partition }) => {
    const slot = book.slotOf(topic, partition) as SlotName;
    const [stable, end] = [watch.lastStableOffset(slot), endOf(watch, slot)];
    return stable === end ? [] : [`${topic}/${partition} is stable up to ${stable} of ${end}`];
  });
}

/** Both isolations from the beginning, the offsets of the group, and what clients were told. */
async function judgeInTheEnd(plain: Broker, book: TransactionBook): Promise<Violation[]> {
  const violations: Violation[] = [];
  const log = new Map<SlotName, ReadRecord[]>();
  for (const { topic, partition } of EVERY_PLACE) {
    const slot = book.slotOf(topic, partition) as SlotName;
    for (const isolation of ['read_committed', 'read_uncommitted'] as const) {
      const records: ReadRecord[] = [];
      let from = 0;
      for (let isOver = false; !isOver; ) {
        const result = await plain.read({ topic, partition, from: { offset: from }, isolation });
        for await (const batch of result.batches) records.push(...readRecords(batch, from));
        isOver = result.nextOffset >= result.highWatermark || result.nextOffset === from;
        from = result.nextOffset;
      }
      book.read(slot, isolation, 0, from, records);
      if (isolation === 'read_uncommitted') log.set(slot, records);
    }
  }
  const { items } = await plain.fetchOffsets({ group: GROUP, partitions: EVERY_PLACE, requireStable: true });
  for (const { error, topic, partition } of items)
    if (error !== undefined)
      violations.push({ promise: 'R19', message: `The offset of ${topic}/${partition}: ${error.message}` });
  return [...violations, ...book.judge(log)];
}
