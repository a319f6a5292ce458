import { describe, expect, it } from 'vitest';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { encodeBatch } from '../../../../shared/log/batch/record-batch.ts';
import type { ProducerName } from '../../../../shared/log/transaction/transaction.ts';
import { aroundStores, keyOf } from '../../../../shared/storage/around-stores.ts';
import { faultyStores } from '../../../support/faulty-stores.ts';
import { bytes, codeOf, memoryBroker, memoryStores, text } from '../../../support/memory-broker.ts';

const PLACE = { topic: 't', partition: 0 };

/** Transactions as producers see them, over brokers in several processes. */

interface Produced {
  readonly topic?: string;
  readonly partition?: number;
  readonly baseSequence?: number;
  readonly values: readonly string[];
}

async function produce(
  broker: Broker,
  transactionalId: string,
  producer: ProducerName,
  batches: readonly Produced[],
  enlists = true,
): Promise<(number | string)[]> {
  const outcomes = await broker.appendInTransaction({
    transactionalId,
    enlists,
    batches: batches.map(({ topic = 't', partition = 0, baseSequence = 0, values }) => ({
      topic,
      partition,
      batch: encodeBatch(
        values.map((value) => ({ key: null, value: bytes(value), headers: [], timestampMs: 1_000 })),
        { producer: { ...producer, baseSequence }, transactional: true },
      ),
    })),
  });
  return outcomes.map((outcome) => (outcome.ok ? outcome.baseOffset : outcome.error.code));
}

async function values(broker: Broker, topic = 't', partition = 0): Promise<string[]> {
  const { records } = await broker.readRecords({ topic, partition, from: { offset: 0 } });
  return records.map(({ value }) => text(value));
}

async function world(): Promise<{ stores: ReturnType<typeof memoryStores>; a: Broker; b: Broker }> {
  const stores = memoryStores();
  const [a, b] = [memoryBroker(stores), memoryBroker(stores)];
  await a.putTopic({ name: 't', partitions: 40 });
  await a.putTopic({ name: 'other', partitions: 2 });
  return { stores, a, b };
}

const offsetsOf = async (broker: Broker, requireStable = true): Promise<(number | string | null)[]> => {
  const partitions = [0, 17].map((partition) => ({ topic: 't', partition }));
  const { items } = await broker.fetchOffsets({ group: 'g', partitions, requireStable });
  return items.map(({ offset, error }) => error?.code ?? offset);
};

describe('a transaction', () => {
  it('commits records of several heads and topics, and offsets of a group, all at once', async () => {
    const { a, b } = await world();
    const producer = await a.initialiseProducer({ transactionalId: 'x', timeoutMs: 60_000 });
    expect(await produce(a, 'x', producer, [{ values: ['1'] }, { partition: 20, values: ['2'] }])).toEqual([0, 0]);
    expect(await produce(b, 'x', producer, [{ topic: 'other', values: ['3'] }])).toEqual([0]);
    const staged = await b.commitOffsetsInTransaction({
      transactionalId: 'x',
      producer,
      group: 'g',
      offsets: [
        { topic: 't', partition: 0, offset: 5 },
        { topic: 't', partition: 17, offset: 6, metadata: 'm' },
      ],
      enlists: true,
    });
    expect(staged).toEqual([{ ok: true }, { ok: true }]);
    expect(await offsetsOf(a)).toEqual(['unstable_offsets', 'unstable_offsets']);
    expect(await offsetsOf(a, false)).toEqual([null, null]);
    expect(await Promise.all([values(b), values(b, 't', 20), values(b, 'other')])).toEqual([[], [], []]);
    const next = await a.endTransaction({ transactionalId: 'x', producer, outcome: 'committed', raisesEpoch: true });
    expect(next).toEqual({ ...producer, producerEpoch: producer.producerEpoch + 1 });
    expect(await Promise.all([values(b), values(b, 't', 20), values(b, 'other')])).toEqual([['1'], ['2'], ['3']]);
    expect(await offsetsOf(b)).toEqual([5, 6]);
  });

  it('that is aborted leaves nothing, and its producer goes on', async () => {
    const { a, b } = await world();
    const producer = await a.initialiseProducer({ transactionalId: 'x', timeoutMs: 60_000 });
    await produce(a, 'x', producer, [{ values: ['gone'] }, { partition: 20, values: ['gone'] }]);
    const commit = { transactionalId: 'x', producer, group: 'g', enlists: true } as const;
    await a.commitOffsetsInTransaction({ ...commit, offsets: [{ topic: 't', partition: 0, offset: 5 }] });
    const next = await b.endTransaction({ transactionalId: 'x', producer, outcome: 'aborted', raisesEpoch: true });
    expect(await offsetsOf(b)).toEqual([null, null]);
    expect(await produce(a, 'x', next, [{ values: ['kept'] }])).toEqual([2]);
    await a.endTransaction({ transactionalId: 'x', producer: next, outcome: 'committed', raisesEpoch: true });
    expect(await values(b)).toEqual(['kept']);
    expect(await produce(a, 'x', producer, [{ baseSequence: 1, values: ['late'] }]).catch((error) => error.code)).toBe(
      'producer_fenced',
    );
  });

  it('of a producer that was replaced is aborted, and what the old one sends is refused', async () => {
    const { a, b } = await world();
    const old = await a.initialiseProducer({ transactionalId: 'x', timeoutMs: 60_000 });
    await produce(a, 'x', old, [{ values: ['old'] }]);
    const fresh = await b.initialiseProducer({ transactionalId: 'x', timeoutMs: 60_000 });
    // The old producer's process remembers that its transaction is open and its head enlisted.
    expect(await produce(a, 'x', old, [{ baseSequence: 1, values: ['old'] }])).toEqual(['producer_fenced']);
    expect(
      await codeOf(a.endTransaction({ transactionalId: 'x', producer: old, outcome: 'committed', raisesEpoch: true })),
    ).toBe('producer_fenced');
    await produce(b, 'x', fresh, [{ values: ['fresh'] }]);
    await b.endTransaction({ transactionalId: 'x', producer: fresh, outcome: 'committed', raisesEpoch: true });
    expect(await values(a)).toEqual(['fresh']);
  });

  it('of a producer that was replaced is refused batch by batch, and what else was appended is told', async () => {
    const { a, b } = await world();
    const old = await a.initialiseProducer({ transactionalId: 'x', timeoutMs: 60_000 });
    await produce(a, 'x', old, [{ values: ['old'] }]);
    await b.initialiseProducer({ transactionalId: 'x', timeoutMs: 60_000 });
    const records = [{ key: null, value: bytes('plain'), headers: [], timestampMs: 1_000 }];
    const plain = encodeBatch(records);
    const late = encodeBatch(records, { producer: { ...old, baseSequence: 0 }, transactional: true });
    const outcomes = await a.appendInTransaction({
      transactionalId: 'x',
      enlists: true,
      batches: [
        { topic: 't', partition: 2, batch: plain },
        { topic: 't', partition: 1, batch: late },
      ],
    });
    expect(outcomes.map((outcome) => (outcome.ok ? outcome.baseOffset : outcome.error.code))).toEqual([
      0,
      'producer_fenced',
    ]);
    expect(await values(b, 't', 2)).toEqual(['plain']);
  });

  it('that is left open is aborted by whoever is held up, once its time is over', async () => {
    const { stores, a, b } = await world();
    const producer = await a.initialiseProducer({ transactionalId: 'x', timeoutMs: 10_000 });
    await produce(a, 'x', producer, [{ values: ['left'] }]);
    await a.append({
      batches: [
        {
          topic: 't',
          partition: 0,
          batch: encodeBatch([{ key: null, value: bytes('plain'), headers: [], timestampMs: 1 }]),
        },
      ],
    });
    expect(await values(b)).toEqual([]);
    await stores.clock.advance(20_000);
    await values(b);
    await b.idle();
    await stores.clock.advance(1_000);
    expect(await values(b)).toEqual(['plain']);
    expect(
      await codeOf(a.endTransaction({ transactionalId: 'x', producer, outcome: 'committed', raisesEpoch: true })),
    ).toBe('producer_fenced');
  });

  it.each([
    [
      'read',
      async (broker: Broker) =>
        (await broker.readRecords({ ...PLACE, from: { offset: 0 }, waitMs: 20_000 })).records.length,
    ],
    [
      'fetch',
      async (broker: Broker) => {
        const partitions = [{ ...PLACE, offset: 0, bytesMax: 1_000 }];
        const [found] = await broker.fetchPartitions({ partitions, bytesMin: 1, bytesMax: 1_000, waitMs: 20_000 });
        return found?.ok ? found.batches.length : found;
      },
    ],
  ])('that is left open ends a %s that waits for it, where no other process can append', async (_, wait) => {
    const stores = memoryStores();
    const broker = memoryBroker(stores, { pollIntervalMs: undefined });
    await broker.putTopic({ name: 't', partitions: 1 });
    const producer = await broker.initialiseProducer({ transactionalId: 'x', timeoutMs: 5_000 });
    await produce(broker, 'x', producer, [{ values: ['left'] }]);
    await broker.appendRecords({ ...PLACE, records: [{ ...PLACE, key: null, value: bytes('plain'), headers: [] }] });
    const beganMs = stores.clock.nowMs();
    expect(await stores.clock.run(wait(broker))).toBeGreaterThan(0);
    expect(stores.clock.nowMs() - beganMs).toBeLessThan(15_000);
  });

  it('by Kafka’s older protocol keeps its epoch, and needs its partitions to be added first', async () => {
    const { a, b } = await world();
    const producer = await a.initialiseProducer({ transactionalId: 'x', timeoutMs: 60_000 });
    const { topicId } = await a.describeTopic('t');
    const head = { topicId, topic: 't', headNumber: 0 };
    const send = (broker: Broker, baseSequence: number) =>
      produce(broker, 'x', producer, [{ baseSequence, values: [`${baseSequence}`] }], false).catch(
        (error) => error.code,
      );
    expect(await send(a, 0)).toBe('invalid_transaction_state');
    const end = { transactionalId: 'x', producer, outcome: 'committed', raisesEpoch: false } as const;
    for (const baseSequence of [0, 1, 2]) {
      await a.enlist({ transactionalId: 'x', producer, participants: { heads: [head] } });
      // The other process remembers the transaction before.
      expect(await send(b, baseSequence)).toEqual([baseSequence * 2]);
      expect(await a.endTransaction(end)).toEqual(producer);
    }
    expect(await values(b)).toEqual(['0', '1', '2']);
    const commit = { transactionalId: 'x', producer, group: 'g', enlists: false } as const;
    const offsets = [{ topic: 't', partition: 0, offset: 3 }];
    await a.enlist({ transactionalId: 'x', producer, participants: { heads: [head] } });
    expect(await a.commitOffsetsInTransaction({ ...commit, offsets })).toMatchObject([
      { ok: false, error: { code: 'invalid_transaction_state' } },
    ]);
    await a.enlist({ transactionalId: 'x', producer, participants: { groups: ['g'] } });
    expect(await a.commitOffsetsInTransaction({ ...commit, offsets })).toEqual([{ ok: true }]);
    await a.endTransaction(end);
    expect(await offsetsOf(b)).toEqual([3, null]);
  });

  it('by the older protocol is not begun by offsets whose transaction ends after its group was looked up', async () => {
    const { stores, a } = await world();
    const producer = await a.initialiseProducer({ transactionalId: 'x', timeoutMs: 60_000 });
    await a.enlist({ transactionalId: 'x', producer, participants: { groups: ['g'] }, isFresh: true });
    let asked = 0;
    const slow = aroundStores(stores, (_, send) => async (...args) => {
      if (keyOf(args).startsWith('txn#') && ++asked === 2)
        await a.endTransaction({ transactionalId: 'x', producer, outcome: 'committed', raisesEpoch: false });
      return send(...args);
    });
    const commit = { transactionalId: 'x', producer, group: 'g', enlists: false } as const;
    const offsets = [{ topic: 't', partition: 0, offset: 3 }];
    const outcomes = await memoryBroker({ ...stores, ...slow }).commitOffsetsInTransaction({ ...commit, offsets });
    expect(outcomes).toMatchObject([{ ok: false, error: { code: 'invalid_transaction_state' } }]);
    expect((await a.describeTransaction('x')).state).toBe('complete_commit');
  });

  it('by the older protocol is ended by a process that remembers the one before, also if a request is lost', async () => {
    const { stores, a } = await world();
    let losing = 0;
    const b = memoryBroker(
      faultyStores(stores, ({ method, key }) =>
        method === 'update' && key.startsWith('txn#') && losing-- > 0 ? { fault: 'lost_request' } : undefined,
      ),
    );
    const producer = await a.initialiseProducer({ transactionalId: 'x', timeoutMs: 60_000 });
    const { topicId } = await a.describeTopic('t');
    const end = { transactionalId: 'x', producer, outcome: 'committed', raisesEpoch: false } as const;
    for (const [baseSequence, last] of [
      [0, a],
      [1, b],
    ] as const) {
      const participants = { heads: [{ topicId, topic: 't', headNumber: 0 }] };
      await a.enlist({ transactionalId: 'x', producer, participants, isFresh: true });
      const sender = baseSequence === 0 ? b : a;
      await produce(sender, 'x', producer, [{ baseSequence, values: [`${baseSequence}`] }], false);
      losing = 1;
      await stores.clock.run(last.endTransaction(end));
    }
    expect(await values(a)).toEqual(['0', '1']);
  });

  it('takes in partitions that another process has added, and refuses those that do not exist', async () => {
    const { a, b } = await world();
    const producer = await a.initialiseProducer({ transactionalId: 'x', timeoutMs: 60_000 });
    expect(await produce(a, 'x', producer, [{ topic: 'other', values: ['1'] }])).toEqual([0]);
    await b.putTopic({ name: 'other', partitions: 20 });
    const added = { topic: 'other', partition: 17, values: ['2'] };
    expect(await produce(a, 'x', producer, [added, { ...added, partition: 20 }])).toEqual([0, 'unknown_topic']);
    expect((await b.describeTransaction('x')).participants.heads.map(({ headNumber }) => headNumber)).toEqual([0, 1]);
    await a.endTransaction({ transactionalId: 'x', producer, outcome: 'committed', raisesEpoch: true });
    expect(await values(b, 'other', 17)).toEqual(['2']);
  });

  it('repeats its answer to numbered records, and refuses more batches than it remembers', async () => {
    const { a, b } = await world();
    await a.putTopic({ name: 'other', config: { 'max.message.bytes': '1000' } });
    const producer = await a.initialiseProducer({ transactionalId: 'x', timeoutMs: 60_000 });
    const value = bytes('x'.repeat(600));
    const request = (...counts: number[]) => {
      let baseSequence = 0;
      const entries = counts.map((count) => {
        const records = Array(count).fill({ key: null, value, headers: [], partition: 0, timestampMs: 1_000 });
        baseSequence += count;
        return { topic: 'other', baseSequence: baseSequence - count, records };
      });
      return { transactionalId: 'x', producer, entries };
    };
    await expect(a.appendRecordsInTransaction(request(6))).rejects.toMatchObject({
      code: 'request_too_large',
      details: { field: 'entries[0].sequence', batches: 6, batchesMax: 5 },
    });
    await expect(a.appendRecordsInTransaction(request(3, 3))).rejects.toMatchObject({
      code: 'request_too_large',
      outcome: 'not_applied',
      details: { field: 'entries[1].sequence' },
    });
    const first = await a.appendRecordsInTransaction(request(3, 2));
    expect(first.flat().map(({ offset }) => offset)).toEqual([0, 1, 2, 3, 4]);
    expect(await b.appendRecordsInTransaction(request(3, 2))).toEqual(first);
  });

  it('does not hang on a topic that was deleted in the middle', async () => {
    const { a, b } = await world();
    const producer = await a.initialiseProducer({ transactionalId: 'x', timeoutMs: 60_000 });
    await produce(a, 'x', producer, [{ values: ['1'] }, { topic: 'other', values: ['2'] }]);
    await b.deleteTopic('other');
    await b.putTopic({ name: 'other', partitions: 2 });
    expect(await produce(a, 'x', producer, [{ topic: 'other', baseSequence: 1, values: ['3'] }])).toEqual([
      'unknown_topic',
    ]);
    await b.endTransaction({ transactionalId: 'x', producer, outcome: 'committed', raisesEpoch: true });
    expect(await values(a)).toEqual(['1']);
    expect(await values(a, 'other')).toEqual([]);
  });
});
