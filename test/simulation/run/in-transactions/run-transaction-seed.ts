import type { Broker } from '../../../../shared/broker/broker.ts';
import type { PutTopicRequest } from '../../../../shared/broker/topics/put-topic.ts';
import {
  TRANSACTION,
  TRANSACTION_LISTING,
  transactionKey,
  transactionListingKey,
} from '../../../../shared/storage/transaction-keys.ts';
import type { ReadRecord, Violation } from '../../../history/history.ts';
import { readRecords } from '../../../history/history-records.ts';
import { Client } from '../../clients/client.ts';
import { readOnceJudged } from '../../clients/in-transactions/beside-transactions.ts';
import { type RemovedRecords, removedRecords } from '../../clients/in-transactions/removed-records.ts';
import { TransactionalProducer } from '../../clients/in-transactions/transact.ts';
import { GROUP, TransactionBook } from '../../clients/in-transactions/transaction-book.ts';
import { bookOf, keepBook, MAKE_PASSING, PLACES, STAYING } from '../../clients/in-transactions/transaction-topics.ts';
import { Chance } from '../../world/chance.ts';
import { EPOCH_MS, STREAM } from '../../world/simulated-process.ts';
import type { SlotName, TransactionWatch } from '../../world/watch/transaction-watch.ts';
import { MARKER } from '../../world/watch/true-log.ts';
import type { Conditions, TransactionConditions, World } from '../../world/world.ts';
import { type RunPlan, type RunResult, runInWorld, type Selection, type WorldRun } from '../run-in-world.ts';
import { drawTransactionClients, drawTransactionConditions } from './draw-transaction-run.ts';

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
const LATE_CLIENT = 1_001;
const PREPARING = 0;

/**
 * One run of producers with transactional ids while faults strike. Then the faults are over: transactions whose time is over are
 * ended by whoever they hold up, a new producer of each id gets through, and all that was told is held against the log.
 */
export function runTransactionSeed(
  seed: number,
  selection: Selection = {},
  log?: (line: string) => void,
): Promise<RunResult> {
  return runTransactions(
    {
      seed,
      conditions: drawTransactionConditions(seed),
      clients: drawTransactionClients(seed),
      requestsMax: REQUESTS_MAX,
    },
    { selection, log },
  );
}

export interface TransactionPlan extends RunPlan {
  readonly conditions: Conditions & { readonly transactions: TransactionConditions };
}

interface TransactionRunOptions {
  readonly selection: Selection;
  readonly log: ((line: string) => void) | undefined;
  readonly faultyRequestsMax?: number;
  /** The settings of a topic that stays. */
  readonly configOf?: (topic: string) => PutTopicRequest['config'];
  /** After all producers have got through, before all is read and judged. */
  readonly afterwards?: (run: WorldRun, plain: Broker) => Promise<void>;
}

export function runTransactions(plan: TransactionPlan, options: TransactionRunOptions): Promise<RunResult> {
  const { seed, conditions } = plan;
  const { transactions } = conditions;
  const { selection, log, faultyRequestsMax = FAULTY_REQUESTS_MAX, afterwards } = options;
  const { configOf = () => ({ 'retention.ms': -1 }) } = options;
  const live = async (run: WorldRun): Promise<void> => {
    const { world } = run;
    const watch = world.watch.transactions;
    if (watch === undefined) throw new Error('No run of transactions.');
    const removed = world.watch.jobs && removedRecords(world.watch.jobs);
    const book = new TransactionBook(watch, (promise, message) => run.broken(promise, message), removed);
    keepBook(world, book);
    const plain = world.plainBroker();
    for (const { name, partitions } of STAYING) {
      await plain.putTopic({ name, partitions, config: configOf(name) });
      book.topics.set(name, await plain.knownTopic(name));
    }
    await plain.putTopic(MAKE_PASSING);
    await prepareIds(world, transactions);
    await run.workUnderFaults(faultyRequestsMax);
    await world.loop.run(() => run.working === 0 || run.isEndless);
    const healed = new Client(world, HEALED_CLIENT, 'healed');
    const chance = new Chance(seed, STREAM.heal);
    if (chance.chance(0.5)) {
      const { timeoutMs, skewMsMax } = transactions;
      run.start(healed, readToTheEnds(healed, timeoutMs + skewMsMax + OVERDUE_ENDED_MS));
      await world.loop.run(() => run.working === 0 || run.isEndless);
      for (const wrong of heldUp(book, watch)) run.broken('R19', `${wrong} long after the time of all transactions.`);
    }
    await getAllThrough(run, healed);
    const lastMs = world.loop.nowMs + OVER_MS;
    world.loop.at(OVER_MS, () => {});
    await world.loop.run(() => world.loop.nowMs > lastMs || run.isEndless);
    if (run.isEndless) run.broken('R19', 'Something goes round in circles.');
    await plain.sweepTransactions();
    for (const id of watch.openIds) run.broken('R19', `${id} has a transaction that nobody ends.`);
    for (const wrong of heldUp(book, watch)) run.broken('R19', `${wrong} in the end.`);
    if (!run.isEndless) await afterwards?.(run, plain);
    run.violations.push(...(await judgeInTheEnd(plain, book, removed)));
  };
  return runInWorld(plan, selection, log, live);
}

/** As if other producers had used the transactional ids before. */
async function prepareIds(world: World, { transactionalIds, timeoutMs, firstEpoch, unusedMs }: TransactionConditions) {
  if (firstEpoch === 0 && unusedMs === 0) return;
  const { items } = world.storage.storesOf(PREPARING);
  for (let i = 0; i < transactionalIds; i++) {
    const transactionalId = `id-${i}`;
    await world.plainBroker().initialiseProducer({ transactionalId, timeoutMs });
    await items.update(transactionKey(transactionalId), [
      { do: 'set', name: TRANSACTION.producerEpoch, value: firstEpoch },
      { do: 'set', name: TRANSACTION.usedAtMs, value: EPOCH_MS - unusedMs },
    ]);
    await items.update(transactionListingKey(transactionalId), [
      { do: 'set', name: TRANSACTION_LISTING.writtenAtMs, value: EPOCH_MS - unusedMs },
    ]);
  }
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
      if (slot === undefined || from >= transactions.endOf(slot)) break;
      await client.sleep(200);
    }
  }
}

/** A new producer of each transactional id. */
export async function getAllThrough(run: WorldRun, client = new Client(run.world, LATE_CLIENT, 'late')): Promise<void> {
  const { loop, conditions } = run.world;
  for (let i = 0; i < (conditions.transactions?.transactionalIds ?? 0); i++)
    run.start(client, getThrough(client, `id-${i}`, run));
  await loop.run(() => run.working === 0 || run.isEndless);
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

function writtenTo(removed: RemovedRecords, slot: SlotName): ReadRecord[] {
  return removed.allOf(slot).filter(({ value }) => value !== MARKER);
}

/** What readers of committed records wait for. */
function heldUp(book: TransactionBook, watch: TransactionWatch): string[] {
  return EVERY_PLACE.flatMap(({ topic, partition }) => {
    const slot = book.slotOf(topic, partition) as SlotName;
    const [stable, end] = [watch.lastStableOffset(slot), watch.endOf(slot)];
    return stable === end ? [] : [`${topic}/${partition} is stable up to ${stable} of ${end}`];
  });
}

/** Both isolations from the beginning, the offsets of the group, and what clients were told. */
async function judgeInTheEnd(
  plain: Broker,
  book: TransactionBook,
  removed: RemovedRecords | undefined,
): Promise<Violation[]> {
  const violations: Violation[] = [];
  const log = new Map<SlotName, ReadRecord[]>();
  for (const { topic, partition } of EVERY_PLACE) {
    const slot = book.slotOf(topic, partition) as SlotName;
    for (const isolation of ['read_committed', 'read_uncommitted'] as const) {
      const records: ReadRecord[] = [];
      const start = book.startOf(slot);
      let from = start;
      for (let isOver = false; !isOver; ) {
        const result = await plain.read({ topic, partition, from: { offset: from }, isolation });
        for await (const batch of result.batches) records.push(...readRecords(batch, from));
        isOver = result.nextOffset >= result.highWatermark || result.nextOffset === from;
        from = result.nextOffset;
      }
      book.read(slot, isolation, start, from, records);
      if (isolation === 'read_uncommitted') log.set(slot, removed === undefined ? records : writtenTo(removed, slot));
    }
  }
  const { items } = await plain.fetchOffsets({ group: GROUP, partitions: EVERY_PLACE, requireStable: true });
  for (const { error, topic, partition } of items)
    if (error !== undefined)
      violations.push({ promise: 'R19', message: `The offset of ${topic}/${partition}: ${error.message}` });
  return [...violations, ...book.judge(log)];
}
