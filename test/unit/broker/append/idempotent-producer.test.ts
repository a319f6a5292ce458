import { describe, expect, it } from 'vitest';
import type { RecordOutcome } from '../../../../shared/broker/append/outcomes.ts';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { faultyStores } from '../../../support/faulty-stores.ts';
import {
  appendTo,
  memoryBroker,
  memoryStores,
  record,
  requestsFor,
  SeededRandom,
  valuesOf,
} from '../../../support/memory-broker.ts';
import { turn } from '../../../support/simulated-clock.ts';

interface Send {
  readonly partition?: number;
  readonly id?: number;
  readonly epoch?: number;
  readonly sequence: number;
  readonly values: readonly string[];
}

/** The offset, `again <offset>` for a duplicate, or the error's code. */
async function send(
  broker: Broker,
  { partition = 0, id = 7, epoch = 0, sequence, values }: Send,
): Promise<number | string> {
  const [outcome] = await broker.appendRecords({
    topic: 't',
    records: values.map((value) => record(value, { partition })),
    producer: { producerId: id, producerEpoch: epoch, baseSequence: sequence },
  });
  const first = outcome as RecordOutcome;
  if (!first.ok) return first.error.code;
  return first.duplicate ? `again ${first.offset}` : first.offset;
}

async function threeBrokers(): Promise<{ stores: ReturnType<typeof memoryStores>; brokers: [Broker, Broker, Broker] }> {
  const stores = memoryStores();
  const brokers: [Broker, Broker, Broker] = [memoryBroker(stores), memoryBroker(stores), memoryBroker(stores)];
  await brokers[0].putTopic({ name: 't', partitions: 32 });
  return { stores, brokers };
}

/** Other commits to the same head, so that the tail moves on. */
async function moveOn(broker: Broker, commits: number): Promise<void> {
  for (let i = 0; i < commits; i++) {
    await appendTo(broker, 't', 15, ['noise']);
    await broker.idle();
  }
}

describe('an idempotent producer', () => {
  it('is answered a duplicate for any of its last five batches, by any broker, wherever they lie by now', async () => {
    const { brokers } = await threeBrokers();
    const [a, b, c] = brokers;
    for (let i = 0; i < 7; i++) expect(await send(a, { sequence: i * 2, values: [`${i}`, `${i}+`] })).toBe(i * 2);
    for (const broker of brokers) {
      for (let i = 2; i < 7; i++)
        expect(await send(broker, { sequence: i * 2, values: [`${i}`, `${i}+`] })).toBe(`again ${i * 2}`);
      expect(await send(broker, { sequence: 2, values: ['1', '1+'] })).toBe('out_of_order_sequence');
      expect(await send(broker, { sequence: 16, values: ['gap'] })).toBe('out_of_order_sequence');
    }
    await moveOn(b, 40);
    const fresh = memoryBroker((await threeBrokers()).stores);
    expect(await fresh.listTopics()).toMatchObject({ items: [{ name: 't' }] });
    for (const broker of [a, b, c]) expect(await send(broker, { sequence: 12, values: ['6', '6+'] })).toBe('again 12');
    expect(await send(c, { sequence: 14, values: ['7'] })).toBe(14);
    expect(await send(a, { sequence: 14, values: ['7'] })).toBe('again 14');
    expect(await valuesOf(a, 't', 0)).toHaveLength(15);
  });

  it('is refused, and never repeated, where a tail node that may hold its batches is missing', async () => {
    // One of several nodes, and the only one.
    for (const commits of [24, 8]) {
      const { stores, brokers } = await threeBrokers();
      const [a, b] = brokers;
      expect(await send(a, { sequence: 0, values: ['0'] })).toBe(0);
      await moveOn(a, commits);
      const { topicId } = await a.describeTopic('t');
      await stores.items.delete({ pk: `node#${topicId}#0`, sk: '0000000000000000' });
      expect(await send(b, { sequence: 0, values: ['0'] })).toBe('corrupt_data');
      expect(await appendTo(b, 't', 1, ['others go on'])).toBe(0);
    }
  });

  it('is told what the broker expects', async () => {
    const { brokers } = await threeBrokers();
    await send(brokers[0], { sequence: 0, values: ['a', 'b'] });
    const producer = { producerId: 7, producerEpoch: 0, baseSequence: 5 };
    const [outcome] = await brokers[1].appendRecords({
      topic: 't',
      records: [record('x', { partition: 0 })],
      producer,
    });
    expect(outcome).toMatchObject({
      ok: false,
      error: { code: 'out_of_order_sequence', details: { expectedSequence: 2, producerId: 7 } },
    });
  });

  it('of a newer epoch fences the older ones on every slot of the head, also over jumps', async () => {
    const { brokers } = await threeBrokers();
    const [a, b, c] = brokers;
    expect(await send(a, { partition: 0, sequence: 0, values: ['0'] })).toBe(0);
    expect(await send(b, { partition: 1, epoch: 40, sequence: 0, values: ['40'] })).toBe(0);
    for (const broker of brokers) {
      expect(await send(broker, { partition: 0, sequence: 1, values: ['zombie'] })).toBe('producer_fenced');
      expect(await send(broker, { partition: 9, epoch: 39, sequence: 0, values: ['zombie'] })).toBe('producer_fenced');
    }
    expect(await send(c, { partition: 2, epoch: 1_000, sequence: 0, values: ['1000'] })).toBe(0);
    for (const epoch of [0, 39, 40, 41, 960, 999]) {
      expect(await send(a, { partition: 0, epoch, sequence: 0, values: ['zombie'] })).toBe('producer_fenced');
    }
    expect(await send(a, { partition: 0, epoch: 1_000, sequence: 1, values: ['must begin at 0'] })).toBe(
      'out_of_order_sequence',
    );
    expect(await send(a, { partition: 0, epoch: 1_000, sequence: 0, values: ['1000'] })).toBe(1);
    // Another head knows nothing of it, as another broker of Kafka's would.
    expect(await send(a, { partition: 16, epoch: 3, sequence: 0, values: ['3'] })).toBe(0);
    expect(await valuesOf(a, 't', 0)).toEqual(['0', '1000']);
  });

  it.each([1, 40, 1_000, 32_767])('of an older epoch is shut out by epoch %d, whoever comes first', async (epoch) => {
    const seen = new Set<number>();
    for (let seed = 0; seed < 40; seed++) {
      const stores = memoryStores();
      const random = new SeededRandom(seed);
      const slow = faultyStores(stores, () => ({ delayMs: random.below(30) }));
      const [a, b] = [memoryBroker(slow), memoryBroker(slow)];
      await stores.clock.run(a.putTopic({ name: 't', partitions: 16 }));
      await stores.clock.run(send(a, { sequence: 0, values: ['first'] }));
      const zombie = async (): Promise<void> => {
        for (let sequence = 1; sequence < 4; sequence++) await send(b, { sequence, values: [`old ${sequence}`] });
      };
      const risen = stores.clock
        .sleep(random.below(500))
        .then(() => send(a, { partition: 5, epoch, sequence: 0, values: ['new'] }));
      await stores.clock.run(Promise.all([zombie(), risen]));
      expect(await risen).toBe(0);
      // However much of the old epoch came before the fence, nothing of it comes after.
      const before = await stores.clock.run(valuesOf(a, 't', 0));
      const next = { sequence: before.length, values: ['zombie'] };
      expect(await stores.clock.run(send(b, next)), `seed ${seed}`).toBe('producer_fenced');
      expect(await stores.clock.run(valuesOf(a, 't', 0))).toEqual(before);
      seen.add(before.length);
    }
    expect(seen.size).toBeGreaterThan(2);
  });

  it('whose batch is retried through several brokers at once is appended once', async () => {
    for (let seed = 0; seed < 60; seed++) {
      const stores = memoryStores();
      const random = new SeededRandom(seed);
      const slow = faultyStores(stores, () => ({ delayMs: random.below(30) }));
      const brokers = [0, 1, 2].map(() => memoryBroker(slow));
      await stores.clock.run((brokers[0] as Broker).putTopic({ name: 't', partitions: 16 }));
      for (let sequence = 0; sequence < 6; sequence++) {
        const tries = brokers.map((broker) => send(broker, { sequence, values: [`${sequence}`] }));
        const answers = await stores.clock.run(Promise.all(tries));
        expect(answers.map((answer) => String(answer).replace('again ', ''))).toEqual([
          `${sequence}`,
          `${sequence}`,
          `${sequence}`,
        ]);
        expect(answers.filter((answer) => typeof answer === 'number')).toHaveLength(1);
      }
    }
  });

  it('whose first batches race through two brokers has them in order, or one refused', async () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 60; seed++) {
      const stores = memoryStores();
      const random = new SeededRandom(seed);
      const slow = faultyStores(stores, () => ({ delayMs: random.below(30) }));
      const [a, b] = [memoryBroker(slow), memoryBroker(slow)];
      await stores.clock.run(a.putTopic({ name: 't', partitions: 16 }));
      const answers = await stores.clock.run(
        Promise.all([send(a, { sequence: 0, values: ['0'] }), send(b, { sequence: 1, values: ['1'] })]),
      );
      const values = await stores.clock.run(valuesOf(a, 't', 0));
      // A producer that is not known may begin anywhere, so that 1 may come alone; but never 1 and then 0.
      expect(['0,1', '1']).toContain(values.join());
      if (values.join() === '1') expect(answers).toEqual(['out_of_order_sequence', 0]);
      seen.add(values.join());
    }
    expect(seen.size).toBe(2);
  });

  it('sends batches in one append, and the same append again', async () => {
    const { brokers } = await threeBrokers();
    const values = Array.from({ length: 30 }, (_, i) => `${i}`.padEnd(200, '.'));
    await brokers[0].putTopic({ name: 't', partitions: 32, config: { 'max.message.bytes': 1_000 } });
    // Four batches and more in one append: the fifth last and later are known.
    expect(await send(brokers[0], { sequence: 0, values: values.slice(0, 15) })).toBe(0);
    expect(await send(brokers[1], { sequence: 0, values: values.slice(0, 15) })).toBe('again 0');
    expect(await send(brokers[1], { sequence: 15, values: values.slice(15) })).toBe(15);
    expect(await valuesOf(brokers[2], 't', 0)).toEqual(values);
  });

  it('of which there are many share one head’s commits, within what an expression may hold', async () => {
    const { brokers } = await threeBrokers();
    const ids = [...Array(100).keys()];
    const answers = await Promise.all(ids.map((id) => send(brokers[0], { id, sequence: 0, values: [`${id}`] })));
    expect([...answers].sort((x, y) => Number(x) - Number(y))).toEqual(ids);
    expect(requestsFor(brokers[0], 'append').updateItem).toBeLessThanOrEqual(6);
    const again = await Promise.all(ids.map((id) => send(brokers[1], { id, sequence: 0, values: [`${id}`] })));
    expect(again).toEqual(answers.map((offset) => `again ${offset}`));
  });

  it('has sequences that go from 2^31 − 1 to 0', async () => {
    const { brokers } = await threeBrokers();
    const [a, b] = brokers;
    expect(await send(a, { sequence: 2_147_483_646, values: ['a', 'b', 'c'] })).toBe(0);
    expect(await send(b, { sequence: 1, values: ['d'] })).toBe(3);
    expect(await send(a, { sequence: 2_147_483_646, values: ['a', 'b', 'c'] })).toBe('again 0');
    expect(await send(a, { sequence: 3, values: ['x'] })).toBe('out_of_order_sequence');
  });
});

describe('the states of producers', () => {
  it('are rebuilt by a new broker from checkpoints, nodes and the tail', async () => {
    const stores = memoryStores();
    let broker = memoryBroker(stores);
    await broker.putTopic({ name: 't', partitions: 16 });
    const next = new Map<number, number>();
    const last = new Map<number, { offset: number; sequence: number; value: string }>();
    const random = new SeededRandom(11);
    for (let i = 0; i < 2_150; i++) {
      // Producer 0 writes only at the beginning, the others all along, 30 and up from the middle on.
      const id = i < 10 ? 0 : 1 + random.below(i < 1_000 ? 25 : 40);
      const partition = id % 16;
      const sequence = next.get(id) ?? 0;
      const offset = await send(broker, { id, partition, sequence, values: [`${id}:${sequence}`] });
      expect(offset).toBeTypeOf('number');
      next.set(id, sequence + 1);
      last.set(id, { offset: Number(offset), sequence, value: `${id}:${sequence}` });
      if (i % 97 === 0) await broker.idle();
      if (i % 500 === 499) broker = memoryBroker(stores);
    }
    await broker.idle();
    const { topicId } = await broker.describeTopic('t');
    const checkpoint = await stores.items.get({ pk: `checkpoint#${topicId}#0`, sk: '-' });
    expect(Number(checkpoint.attributes?.q)).toBeGreaterThanOrEqual(1_536);
    for (const restarted of [memoryBroker(stores), broker]) {
      for (const [id, { offset, sequence, value }] of last) {
        const partition = id % 16;
        expect(await send(restarted, { id, partition, sequence, values: [value] })).toBe(`again ${offset}`);
        expect(await send(restarted, { id, partition, sequence: sequence + 2, values: ['gap'] })).toBe(
          'out_of_order_sequence',
        );
      }
    }
    // A rebuild reads what came after the checkpoint, not all that was.
    const fresh = memoryBroker(stores);
    await send(fresh, { id: 3, partition: 3, sequence: next.get(3) ?? 0, values: ['on'] });
    expect(requestsFor(fresh, 'append').query).toBeLessThanOrEqual(2);
    const total = [...next.values()].reduce((sum, count) => sum + count, 0) + 1;
    const described = await broker.describePartitions('t');
    expect(described.reduce((sum, partition) => sum + partition.highWatermark, 0)).toBe(total);
  });

  it('are whole when a checkpoint is written while they are read', async () => {
    const stores = memoryStores();
    const writer = memoryBroker(stores);
    await writer.putTopic({ name: 't', partitions: 16 });
    expect(await send(writer, { sequence: 0, values: ['once'] })).toBe(0);
    await moveOn(writer, 510);
    const { topicId } = await writer.describeTopic('t');
    const checkpoint = { pk: `checkpoint#${topicId}#0`, sk: '-' };
    expect((await stores.items.get(checkpoint)).attributes).toBeUndefined();
    // The reader's look at the checkpoint is slow: meanwhile the entries move on, and the checkpoint is written.
    const slow = faultyStores(stores, ({ key, method }) => ({
      delayMs: method === 'get' && key === checkpoint.pk ? 100 : 0,
    }));
    const reader = memoryBroker(slow);
    const again = send(reader, { sequence: 0, values: ['once'] });
    await turn();
    await moveOn(writer, 2);
    expect((await stores.items.get(checkpoint)).attributes).toMatchObject({ q: 512 });
    expect(await stores.clock.run(again)).toBe('again 0');
    expect(await valuesOf(writer, 't', 0)).toEqual(['once']);
  });

  it('are right where a checkpoint stopped half-way', async () => {
    const stores = memoryStores();
    const setUp = memoryBroker(stores);
    await setUp.putTopic({ name: 't', partitions: 16 });
    for (let sequence = 0; sequence < 4; sequence++) await send(setUp, { sequence, values: [`${sequence}`] });
    await moveOn(setUp, 600);
    await send(setUp, { sequence: 4, values: ['4'] });
    await moveOn(setUp, 400);
    // The items are written, and the checkpoint that says so is not.
    const broken = faultyStores(stores, ({ key, method }) =>
      method === 'update' && key.startsWith('checkpoint#') ? { fault: 'lost_request' } : undefined,
    );
    await moveOn(memoryBroker(broken), 30);
    const { topicId } = await setUp.describeTopic('t');
    expect((await stores.items.get({ pk: `checkpoint#${topicId}#0`, sk: '-' })).attributes).toMatchObject({ q: 512 });
    const producer = { pk: `producer#${topicId}#0`, sk: '0000000000000007' };
    expect((await stores.items.get(producer)).attributes).toMatchObject({ q: 1_024 });
    const restarted = memoryBroker(stores);
    for (let sequence = 0; sequence < 5; sequence++) {
      expect(await send(restarted, { sequence, values: [`${sequence}`] })).toBe(`again ${sequence}`);
    }
    expect(await send(restarted, { sequence: 5, values: ['5'] })).toBe(5);
  });

  it('are not put back by a checkpoint that arrives after the next one', async () => {
    const stores = memoryStores();
    let late = true;
    const broken = faultyStores(stores, ({ key, method }) => {
      if (!late || method !== 'put' || !key.startsWith('producer#')) return undefined;
      late = false;
      return { fault: 'late', lateMs: 300_000 };
    });
    const broker = memoryBroker(broken);
    await broker.putTopic({ name: 't', partitions: 16 });
    for (let sequence = 0; sequence < 3; sequence++) await send(broker, { sequence, values: [`${sequence}`] });
    await moveOn(broker, 520);
    for (let sequence = 3; sequence < 9; sequence++) await send(broker, { sequence, values: [`${sequence}`] });
    await moveOn(broker, 510);
    await stores.clock.advance(600_000);
    const restarted = memoryBroker(stores);
    for (let sequence = 4; sequence < 9; sequence++) {
      expect(await send(restarted, { sequence, values: [`${sequence}`] })).toBe(`again ${sequence}`);
    }
    expect(await valuesOf(restarted, 't', 0)).toHaveLength(9);
  });

  it('that were written down after a head that is still remembered take no batch in twice', async () => {
    const stores = memoryStores();
    const settings = { checkpointEntries: 8, headCacheMs: 60_000 };
    const [a, b] = [memoryBroker(stores, settings), memoryBroker(stores, settings)];
    await a.putTopic({ name: 't', partitions: 16 });
    for (let sequence = 0; sequence < 3; sequence++) await send(a, { sequence, values: [`${sequence}`] });
    // From now on this is how the other remembers the head: with three of five batches.
    await moveOn(b, 1);
    for (let sequence = 3; sequence < 5; sequence++) await send(a, { sequence, values: [`${sequence}`] });
    await moveOn(a, 2);
    const { topicId } = await a.describeTopic('t');
    const written = await stores.items.get({ pk: `producer#${topicId}#0`, sk: '0000000000000007' });
    expect(written.attributes).toMatchObject({ q: 8 });
    expect(await send(b, { sequence: 5, values: ['5'] })).toBe(5);
    for (let sequence = 1; sequence < 6; sequence++) {
      expect(await send(b, { sequence, values: [`${sequence}`] })).toBe(`again ${sequence}`);
    }
  });

  it('are forgotten by no one while another broker writes hundreds of entries', async () => {
    const { brokers } = await threeBrokers();
    const [a, b] = brokers;
    expect(await send(a, { sequence: 0, values: ['0'] })).toBe(0);
    for (const commits of [3, 20, 70, 600]) {
      await moveOn(b, commits);
      expect(await send(a, { sequence: 0, values: ['0'] })).toBe('again 0');
    }
    expect(await send(b, { sequence: 1, values: ['1'] })).toBe(1);
    await moveOn(b, 100);
    expect(await send(a, { sequence: 1, values: ['1'] })).toBe('again 1');
    expect(await send(a, { sequence: 2, values: ['2'] })).toBe(2);
  });
});

it('several brokers append to one head at once, each retrying through another: nothing twice, nothing missing', async () => {
  for (let seed = 0; seed < 12; seed++) {
    const stores = memoryStores();
    const random = new SeededRandom(seed);
    const slow = faultyStores(stores, () => ({ delayMs: random.below(20) }));
    const brokers = [0, 1, 2].map(() => memoryBroker(slow));
    await stores.clock.run((brokers[0] as Broker).putTopic({ name: 't', partitions: 16 }));
    const writer = async (id: number): Promise<void> => {
      for (let sequence = 0; sequence < 15; sequence++) {
        const batch = { id, partition: id % 4, sequence, values: [`${id}:${sequence}`] };
        const tries = 1 + random.below(3);
        const answers = await Promise.all(
          Array.from({ length: tries }, () => send(brokers[random.below(3)] as Broker, batch)),
        );
        expect(new Set(answers.map((answer) => String(answer).replace('again ', ''))).size).toBe(1);
      }
    };
    await stores.clock.run(Promise.all(Array.from({ length: 8 }, (_, id) => writer(id))));
    for (let partition = 0; partition < 4; partition++) {
      const values = await stores.clock.run(valuesOf(brokers[1] as Broker, 't', partition));
      for (const id of [partition, partition + 4]) {
        const own = values.filter((value) => value.startsWith(`${id}:`));
        expect(own, `seed ${seed}`).toEqual(Array.from({ length: 15 }, (_, sequence) => `${id}:${sequence}`));
      }
      expect(values).toHaveLength(30);
    }
  }
});
