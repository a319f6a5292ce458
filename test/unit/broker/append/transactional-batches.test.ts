import { describe, expect, it } from 'vitest';
import { allocateProducerId } from '../../../../shared/broker/append/allocate-producer-id.ts';
import { mergeHead } from '../../../../shared/broker/jobs/merge/merge-head.ts';
import { viewPartition } from '../../../../shared/broker/read/view-partitions.ts';
import { putTopic } from '../../../../shared/broker/topics/put-topic.ts';
import { encodeBatch } from '../../../../shared/log/batch/record-batch.ts';
import type { PlacedPart } from '../../../../shared/log/head/head.ts';
import { checkProducedBatch } from '../../../../shared/log/topic/check-batch.ts';
import type { Topic } from '../../../../shared/log/topic/topic.ts';
import { type Fault, faultyStores } from '../../../support/faulty-stores.ts';
import { bytes, memoryStores, SeededRandom } from '../../../support/memory-broker.ts';
import {
  appendBatch,
  type LogProcess,
  logProcess,
  mark,
  readValues,
  wholeHead,
} from '../../../support/transactional-log.ts';

const DAY_MS = 86_400_000;

async function topicOf(process: LogProcess, partitions = 4): Promise<Topic> {
  await putTopic(process.context, { name: 't', partitions });
  return process.context.topics.get('t');
}

const codeOf = (outcome: Awaited<ReturnType<typeof appendBatch>>): string | number =>
  outcome.ok ? outcome.baseOffset : outcome.error.code;

describe('batches of transactions', () => {
  it('show once their transaction has committed, never if it was aborted, and stop readers of committed records meanwhile', async () => {
    const process = logProcess(memoryStores());
    const topic = await topicOf(process);
    await appendBatch(process, { partition: 0, producerId: 1, baseSequence: 0, values: ['plain'] });
    await appendBatch(process, { partition: 0, producerId: 2, baseSequence: 0, values: ['a', 'b'], transaction: 0 });
    await appendBatch(process, { partition: 0, producerId: 3, baseSequence: 0, values: ['gone'], transaction: 7 });
    await appendBatch(process, { partition: 0, producerId: 1, baseSequence: 1, values: ['behind'] });
    expect(await readValues(process, 0, 'read_committed')).toEqual(['plain']);
    expect(await readValues(process, 0, 'read_uncommitted')).toEqual(['plain', 'a', 'b', 'gone', 'behind']);
    await mark(process, topic, 0, { producerId: 3, producerEpoch: 1, transaction: 7, outcome: 'aborted' });
    expect(await readValues(process, 0, 'read_committed')).toEqual(['plain']);
    await mark(process, topic, 0, { producerId: 2, producerEpoch: 1, transaction: 0, outcome: 'committed' });
    expect(await readValues(process, 0, 'read_committed')).toEqual(['plain', 'a', 'b', 'behind']);
    // A marker takes up one offset.
    const view = await viewPartition(process.context, 't', 0);
    expect(view).toMatchObject({ highWatermark: 7, lastStableOffset: 7 });
  });

  it('cannot land behind their marker, also where the transaction has no data', async () => {
    const stores = memoryStores();
    const [a, b] = [logProcess(stores), logProcess(stores)];
    const topic = await topicOf(a, 20);
    // Both processes know the heads.
    for (const process of [a, b])
      for (const partition of [0, 16])
        await appendBatch(process, { partition, producerId: 9, baseSequence: 0, values: ['x'] });
    await appendBatch(a, { partition: 0, producerId: 2, baseSequence: 0, values: ['1'], transaction: 4 });
    const marker = { producerId: 2, producerEpoch: 0, transaction: 4, outcome: 'committed' } as const;
    for (const headNumber of [0, 1]) await mark(a, topic, headNumber, marker);
    for (const partition of [1, 16, 17]) {
      const late = { partition, producerId: 2, baseSequence: 0, values: ['late'], transaction: 4 };
      expect(codeOf(await appendBatch(b, late))).toBe('invalid_transaction_state');
    }
    expect(
      codeOf(await appendBatch(b, { partition: 0, producerId: 2, baseSequence: 0, values: ['1'], transaction: 4 })),
    ).toBe(1);
    expect(
      codeOf(await appendBatch(b, { partition: 0, producerId: 2, baseSequence: 1, values: ['2'], transaction: 5 })),
    ).toBe(3);
  });

  it('begin at sequence 0 after a marker of a newer epoch, which fences the older one', async () => {
    const process = logProcess(memoryStores());
    const topic = await topicOf(process);
    const batch = { partition: 0, producerId: 2, values: ['v'] };
    await appendBatch(process, { ...batch, producerEpoch: 3, baseSequence: 0, transaction: 0 });
    await mark(process, topic, 0, { producerId: 2, producerEpoch: 4, transaction: 0, outcome: 'committed' });
    const next = (producerEpoch: number, baseSequence: number) =>
      appendBatch(process, { ...batch, producerEpoch, baseSequence, transaction: 1 });
    expect(codeOf(await next(3, 1))).toBe('producer_fenced');
    expect(codeOf(await next(4, 1))).toBe('out_of_order_sequence');
    expect(codeOf(await next(4, 0))).toBe(2);
  });

  it('begin at sequence 0 in a partition that does not know them, however old the id of their producer is', async () => {
    const stores = memoryStores();
    const process = logProcess(stores);
    await topicOf(process);
    const producerId = await allocateProducerId(process.context);
    await stores.clock.advance(3 * DAY_MS);
    const batch = { producerId, baseSequence: 5, values: ['v'] };
    expect(codeOf(await appendBatch(process, { ...batch, partition: 0, transaction: 0 }))).toBe(
      'out_of_order_sequence',
    );
    expect(codeOf(await appendBatch(process, { ...batch, partition: 1 }))).toBe(0);
  });

  it('are refused where they do not belong to the open transaction of their producer', async () => {
    const process = logProcess(memoryStores());
    await topicOf(process);
    const batch = { partition: 0, producerId: 2, values: ['v'] };
    await appendBatch(process, { ...batch, baseSequence: 0, transaction: 1 });
    expect(codeOf(await appendBatch(process, { ...batch, baseSequence: 1 }))).toBe('invalid_transaction_state');
    expect(codeOf(await appendBatch(process, { ...batch, baseSequence: 1, transaction: 2 }))).toBe(
      'invalid_transaction_state',
    );
    expect(codeOf(await appendBatch(process, { ...batch, baseSequence: 1, transaction: 1 }))).toBe(1);
  });

  it('of the next transaction come behind the marker of the one before, also if one commit could take both', async () => {
    const process = logProcess(memoryStores());
    const topic = await topicOf(process);
    const batch = { partition: 0, producerId: 2 };
    await appendBatch(process, { ...batch, baseSequence: 0, values: ['first'], transaction: 0 });
    const marker = { producerId: 2, producerEpoch: 0, transaction: 0, outcome: 'aborted' } as const;
    const second = encodeBatch([{ key: null, value: bytes('second'), headers: [], timestampMs: 1_000 }], {
      producer: { producerId: 2, producerEpoch: 0, baseSequence: 1 },
      transactional: true,
    });
    const checked = checkProducedBatch(second, topic.config, 1_000);
    const placed = {
      ...{ ...checked, partition: 0, slot: 0 },
      producer: { producerId: 2, producerEpoch: 0, baseSequence: 1, transaction: 1 },
    };
    const [, next] = await process.groupCommit.append(topic, 0, [
      { atomic: true, batches: [], bytes: 0, marker },
      { atomic: false, batches: [placed], bytes: second.length },
    ]);
    expect(next).toMatchObject({ outcomes: [{ type: 'appended', baseOffset: 2 }] });
    await mark(process, topic, 0, { producerId: 2, producerEpoch: 0, transaction: 1, outcome: 'committed' });
    expect(await readValues(process, 0, 'read_committed')).toEqual(['second']);
  });

  it('are not said to be marked before a marker is durable, whoever asked for it first', async () => {
    const stores = memoryStores();
    let isDown = false;
    const process = logProcess(
      faultyStores(stores, ({ method }) => (isDown && method === 'update' ? { fault: 'throttled' } : undefined)),
    );
    const topic = await topicOf(process);
    await appendBatch(process, { partition: 0, producerId: 2, baseSequence: 0, values: ['v'], transaction: 0 });
    isDown = true;
    const marker = { producerId: 2, producerEpoch: 0, transaction: 0, outcome: 'committed' } as const;
    const marks = Promise.allSettled([mark(process, topic, 0, marker), mark(process, topic, 0, marker)]);
    await stores.clock.advance(60_000);
    expect((await marks).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  });

  it('find no room in a head that has a thousand open transactions, and others do not care', async () => {
    const stores = memoryStores();
    const process = logProcess(stores);
    const topic = await topicOf(process);
    const send = (producerId: number, baseSequence = 0) =>
      appendBatch(process, { partition: producerId % 4, producerId, baseSequence, values: ['v'], transaction: 0 });
    for (let first = 0; first < 1_000; first += 100)
      await Promise.all(Array.from({ length: 100 }, (_, i) => send(first + i)));
    await process.groupCommit.idle();
    for (let i = 0; i < 40; i++)
      await appendBatch(process, { partition: 0, producerId: 5_000, baseSequence: i, values: ['plain'] });
    await process.groupCommit.idle();
    expect(codeOf(await send(1_000))).toBe('concurrent_transactions');
    expect(codeOf(await send(7, 1))).toBeTypeOf('number');
    const other = logProcess(stores);
    expect((await viewPartition(other.context, 't', 0)).lastStableOffset).toBe(0);
    await mark(process, topic, 0, { producerId: 7, producerEpoch: 0, transaction: 0, outcome: 'committed' });
    expect(codeOf(await send(1_000))).toBeTypeOf('number');
  });
});

/** One partition as a plain walk over all its parts tells it. */
function judge(parts: readonly PlacedPart[], slot: number) {
  const open = new Map<number, number>();
  const aborted: { producerId: number; firstOffset: number; lastOffset: number }[] = [];
  const data: { offset: number; producerId: number; transaction: number | undefined; records: number }[] = [];
  let next = 0;
  for (const { part, baseOffset } of parts) {
    if (part.slot !== slot) continue;
    expect(baseOffset).toBe(next);
    next += part.records;
    const { marker, producer } = part;
    if (marker !== undefined) {
      const firstOffset = open.get(marker.producerId);
      expect(firstOffset, 'a marker ends what is open').toBeDefined();
      open.delete(marker.producerId);
      if (marker.outcome === 'aborted')
        aborted.push({ producerId: marker.producerId, firstOffset: firstOffset as number, lastOffset: baseOffset });
    } else {
      const { producerId = -1, transaction } = producer ?? {};
      if (transaction !== undefined && !open.has(producerId)) open.set(producerId, baseOffset);
      data.push({ offset: baseOffset, producerId, transaction, records: part.records });
    }
  }
  const lastStableOffset = Math.min(next, ...open.values());
  const isAborted = (offset: number, producerId: number): boolean =>
    aborted.some((one) => one.producerId === producerId && one.firstOffset <= offset && offset < one.lastOffset);
  const committed = data.filter(
    ({ offset, producerId, transaction }) =>
      offset < lastStableOffset && (transaction === undefined || !isAborted(offset, producerId)),
  );
  return { next, lastStableOffset, committed, open };
}

const FAULTS: readonly Fault[] = ['throttled', 'lost_request', 'lost_reply', 'late', 'repeated'];

describe('transactions of several processes over a store that loses, delays and repeats requests', () => {
  it.each(Array.from({ length: 25 }, (_, seed) => seed))('are what their entries say (seed %i)', async (seed) => {
    const random = new SeededRandom(seed);
    const stores = memoryStores();
    let isFaulty = false;
    const faulty = faultyStores(stores, () => {
      if (!isFaulty || random.next() > 0.12) return undefined;
      return { fault: FAULTS[random.below(FAULTS.length)] as Fault, lateMs: random.below(3_000) };
    });
    const running = [0, 1, 2].map(() => logProcess(faulty));
    const anyProcess = (): LogProcess => running[random.below(running.length)] as LogProcess;
    const topic = await topicOf(anyProcess(), 20);
    isFaulty = true;
    const step = async <T>(work: Promise<T>): Promise<T> => {
      for (let done = false; !done; ) {
        done = await Promise.race([
          work.then(
            () => true,
            () => true,
          ),
          stores.clock.advance(200).then(() => false),
        ]);
      }
      return work;
    };
    // Each producer has its transaction's number, its sequences, and the partitions it has written to.
    const producers = Array.from({ length: 8 }, (_, i) => ({
      id: 10 + i,
      number: 0,
      epoch: 0,
      sequences: new Map<number, number>(),
    }));
    const told: { partition: number; offset: number; value: string }[] = [];
    let values = 0;
    for (let i = 0; i < 120; i++) {
      const producer = producers[random.below(producers.length)] as (typeof producers)[number];
      if (random.next() < 0.75) {
        const partition = [0, 1, 2, 16, 17][random.below(5)] as number;
        const baseSequence = producer.sequences.get(partition) ?? 0;
        const batch = {
          ...{
            partition,
            producerId: producer.id,
            producerEpoch: producer.epoch,
            baseSequence,
            values: [`v${values++}`],
          },
          transaction: producer.id === 10 ? undefined : producer.number,
        };
        for (let tries = 0; tries < 5; tries++) {
          const outcome = await step(appendBatch(anyProcess(), batch));
          if (outcome.ok) {
            told.push({ partition, offset: outcome.baseOffset, value: batch.values[0] as string });
            producer.sequences.set(partition, baseSequence + 1);
            break;
          }
          expect(['throttled', 'storage_unavailable']).toContain(outcome.error.code);
        }
      } else if (producer.id !== 10) {
        const outcome = random.next() < 0.4 ? 'aborted' : 'committed';
        const marker = {
          producerId: producer.id,
          producerEpoch: producer.epoch + 1,
          transaction: producer.number,
          outcome,
        } as const;
        for (const headNumber of [0, 1]) {
          const markers = Array.from({ length: 1 + random.below(2) }, async () => {
            for (;;) {
              try {
                return await mark(anyProcess(), topic, headNumber, marker);
              } catch {
                await stores.clock.sleep(50);
              }
            }
          });
          await step(Promise.all(markers));
        }
        producer.number++;
        producer.epoch++;
        producer.sequences.clear();
      }
      if (random.next() < 0.1) running[random.below(running.length)] = logProcess(faulty);
    }
    isFaulty = false;
    await step(Promise.all(running.map(({ groupCommit }) => groupCommit.idle())));
    await stores.clock.advance(10_000);
    const fresh = logProcess(stores);
    for (const headNumber of [0, 1]) {
      const parts = await wholeHead(fresh, topic, headNumber);
      // In some runs what can be merged is, and readers find aborted transactions in segments too.
      if (seed % 2 === 1) await mergeHead(fresh.context, topic, headNumber, { force: true });
      for (const slot of headNumber === 0 ? [0, 1, 2] : [0, 1]) {
        const partition = headNumber * 16 + slot;
        const known = judge(parts, slot);
        for (const process of [...running, fresh]) {
          const view = await viewPartition(process.context, 't', partition);
          expect(view).toMatchObject({ highWatermark: known.next, lastStableOffset: known.lastStableOffset });
          const from = random.below(known.next + 1);
          const wanted = known.committed.filter(({ offset }) => offset >= from).map(({ offset }) => offset);
          const values = await readValues(process, partition, 'read_committed', from);
          expect(values).toHaveLength(wanted.length);
          const at = new Map(
            told.filter((one) => one.partition === partition).map(({ offset, value }) => [offset, value]),
          );
          wanted.forEach((offset, i) => {
            if (at.has(offset)) expect(values[i]).toBe(at.get(offset));
          });
        }
      }
    }
  });
});
