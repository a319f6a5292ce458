import { describe, expect, it } from 'vitest';
import {
  type Access,
  APPEND,
  CONSUME,
  GROUPS,
  PRODUCE,
  SWEEP_TRANSACTIONS,
  TRANSACT,
  union,
} from '../../../infra/constructs/access.ts';
import type { Broker } from '../../../shared/broker/broker.ts';
import { encodeBatch } from '../../../shared/log/batch/record-batch.ts';
import type { ProducerName } from '../../../shared/log/transaction/transaction.ts';
import { guardedStores, listed } from '../../support/guarded-stores.ts';
import { bytes, type MemoryStores, memoryBroker, memoryStores } from '../../support/memory-broker.ts';
import { SimulatedClock } from '../../support/simulated-clock.ts';

/** What roles do in transactions, over stores that refuse everything else. */
interface Work {
  readonly name: string;
  readonly access: Access;
  /** What is granted with it. */
  readonly beside: Access;
  /** Unguarded, beforehand. */
  prepare(broker: Broker, stores: MemoryStores): Promise<void>;
  run(broker: Broker, stores: MemoryStores): Promise<void>;
}

const DAY_MS = 86_400_000;
const TOPIC = { name: 'orders', partitions: 32 };

async function produce(broker: Broker, transactionalId: string, producer: ProducerName): Promise<void> {
  const records = [{ key: null, value: bytes('v'), headers: [], timestampMs: 1_000 }];
  const batch = encodeBatch(records, { producer: { ...producer, baseSequence: 0 }, transactional: true });
  const batches = [0, 16].map((partition) => ({ topic: 'orders', partition, batch }));
  const outcomes = await broker.appendInTransaction({ transactionalId, enlists: true, batches });
  expect(outcomes.map(({ ok }) => ok)).toEqual([true, true]);
}

const offsets = [{ topic: 'orders', partition: 0, offset: 1 }];

const works: Work[] = [
  {
    name: 'producing',
    access: TRANSACT,
    beside: union(APPEND, GROUPS),
    async prepare(broker) {
      await broker.putTopic(TOPIC);
    },
    async run(broker, stores) {
      // So many open transactions that the head cannot hold them, and the tail has moved.
      const open: [string, ProducerName][] = [];
      for (let i = 0; i < 40; i++) {
        const transactionalId = `open-${i}`;
        const producer = await broker.initialiseProducer({ transactionalId, timeoutMs: 900_000 });
        await produce(broker, transactionalId, producer);
        open.push([transactionalId, producer]);
      }
      await broker.idle();
      const other = memoryBroker(stores);
      for (const [transactionalId, producer] of open) {
        const outcome = transactionalId.endsWith('7') ? 'aborted' : 'committed';
        await other.endTransaction({ transactionalId, producer, outcome, raisesEpoch: true });
      }
      await other.idle();
      const request = { transactionalId: 'x', timeoutMs: 10_000 };
      const producer = await broker.initialiseProducer(request);
      const commit = { transactionalId: 'x', producer, group: 'g', offsets, enlists: true };
      expect(await broker.commitOffsetsInTransaction(commit)).toEqual([{ ok: true }]);
      const partitions = [{ topic: 'orders', partition: 0 }];
      const fetched = await broker.fetchOffsets({ group: 'g', partitions, requireStable: true });
      expect(fetched.items).toMatchObject([{ error: { code: 'unstable_offsets' } }]);
      // Two processes make the item of one id.
      const both = [broker, other].map((each) =>
        each.initialiseProducer({ transactionalId: 'new', timeoutMs: 10_000 }),
      );
      await Promise.all(both);
      // Another producer takes over.
      await other.initialiseProducer(request);
      expect((await other.listTransactions()).items.length).toBeGreaterThan(40);
      expect(await other.describeTransaction('x')).toMatchObject({ transactionalId: 'x' });
    },
  },
  {
    name: 'operating',
    access: TRANSACT,
    beside: union(APPEND, GROUPS),
    async prepare(broker) {
      await broker.putTopic(TOPIC);
      for (const transactionalId of ['open', 'idle', 'committed']) {
        const producer = await broker.initialiseProducer({ transactionalId, timeoutMs: 900_000 });
        if (transactionalId === 'idle') continue;
        await produce(broker, transactionalId, producer);
        const commit = { transactionalId, producer, group: transactionalId, offsets, enlists: true };
        await broker.commitOffsetsInTransaction(commit);
        if (transactionalId === 'committed')
          await broker.endTransaction({ transactionalId, producer, outcome: 'committed', raisesEpoch: true });
      }
    },
    async run(broker) {
      const { items } = await broker.listTransactions({ states: ['ongoing'], openLongerThanMs: 0 });
      expect(items.map(({ transactionalId }) => transactionalId)).toEqual([]);
      const { participants } = await broker.describeTransaction('open');
      expect(await broker.enlistedPartitions(participants)).toMatchObject([{ topic: 'orders' }]);
      for (const transactionalId of ['open', 'idle', 'committed']) await broker.fenceProducer(transactionalId);
      expect(await broker.describeTransaction('open')).toMatchObject({ startedAtMs: undefined });
      await broker.idle();
    },
  },
  {
    name: 'sweep',
    access: SWEEP_TRANSACTIONS,
    beside: { items: {}, objects: {} },
    async prepare(broker, stores) {
      await broker.putTopic(TOPIC);
      await broker.initialiseProducer({ transactionalId: 'unused', timeoutMs: 10_000 });
      await (stores.clock as SimulatedClock).advance(8 * DAY_MS);
      const producer = await broker.initialiseProducer({ transactionalId: 'left', timeoutMs: 10_000 });
      await produce(broker, 'left', producer);
      await broker.commitOffsetsInTransaction({
        transactionalId: 'left',
        producer,
        group: 'g',
        offsets,
        enlists: true,
      });
      await (stores.clock as SimulatedClock).advance(60_000);
    },
    async run(broker) {
      expect(await broker.sweepTransactions()).toMatchObject({ transactionalIdsDeleted: 1, transactionsEnded: 1 });
    },
  },
];

/** With all that goes with them: consume, transform and produce, exactly once. */
const DIRECT = union(PRODUCE, TRANSACT, CONSUME, GROUPS);

describe('a role of the direct mode', () => {
  const poll = { group: 'g', memberId: 'm', subscription: { topics: ['orders'] }, maxRecords: 10, waitMs: 20_000 };

  async function withOrders() {
    const stores = { ...memoryStores(), clock: new SimulatedClock() };
    const unguarded = memoryBroker(stores);
    for (const name of ['orders', 'bills']) await unguarded.putTopic({ name });
    const records = ['a', 'b'].map((value) => ({ key: null, value: bytes(value), headers: [], partition: 0 }));
    await unguarded.appendRecords({ topic: 'orders', records });
    return { stores, unguarded };
  }

  it('consumes and produces in transactions', async () => {
    const { stores } = await withOrders();
    const guarded = guardedStores(stores, DIRECT);
    const broker = memoryBroker(guarded);
    const { token } = await stores.clock.run(broker.pollGroup(poll));
    const entries = [{ topic: 'bills', records: [{ key: null, value: bytes('bill'), headers: [], partition: 0 }] }];
    for (const idempotencyKey of [undefined, 'key'])
      await broker.transact({ entries, offsets: [{ group: 'g', after: token }], idempotencyKey });
    const producer = await broker.initialiseProducer({ transactionalId: 'x', timeoutMs: 60_000 });
    await broker.appendRecordsInTransaction({ transactionalId: 'x', producer, entries });
    await broker.endTransaction({ transactionalId: 'x', producer, outcome: 'committed', raisesEpoch: true });
    expect([...guarded.refused]).toEqual([]);
  });

  it('that only reads waits for offsets that others settle', async () => {
    const { stores, unguarded } = await withOrders();
    const { token } = await stores.clock.run(unguarded.pollGroup({ ...poll, maxRecords: 1 }));
    const transactionalId = 'x';
    const producer = await unguarded.initialiseProducer({ transactionalId, timeoutMs: 60_000 });
    await unguarded.commitOffsetsInTransaction({ transactionalId, producer, group: 'g', after: token });
    const guarded = guardedStores(stores, union(CONSUME, GROUPS));
    const polling = memoryBroker(guarded).pollGroup(poll);
    await stores.clock.advance(5_000);
    expect([...guarded.refused]).toEqual(['GetItem producerName']);
    await unguarded.endTransaction({ transactionalId, producer, outcome: 'committed', raisesEpoch: true });
    const { partitions } = await stores.clock.run(polling);
    expect(partitions.map(({ offset }) => offset)).toEqual([1]);
  });
});

describe('a role', () => {
  it.each(works)('may do in transactions what it is for: $name', async ({ access, beside, prepare, run }) => {
    const stores = memoryStores();
    await prepare(memoryBroker(stores), stores);
    const guarded = guardedStores(stores, union(access, beside));
    await run(memoryBroker(guarded), guarded);
    expect([...guarded.refused]).toEqual([]);
  });

  it('has no permission that none of this needs, to produce in transactions', async () => {
    const used = new Set<string>();
    for (const { access, beside, prepare, run } of works.slice(0, 1)) {
      const stores = memoryStores();
      await prepare(memoryBroker(stores), stores);
      const guarded = guardedStores(stores, union(access, beside));
      await run(memoryBroker(guarded), guarded);
      for (const what of guarded.used) used.add(what);
    }
    expect(listed(TRANSACT).filter((what) => !used.has(what))).toEqual([]);
  });
});
