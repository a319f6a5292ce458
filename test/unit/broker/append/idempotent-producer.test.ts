import { describe, expect, it } from 'vitest';
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
import { growOld, HOUR_MS, moveOn, send, threeBrokers } from '../../../support/produce.ts';

describe('an idempotent producer', () => {
  it('gets the first offset again for any of its last five batches, from any broker, after the tail has moved', async () => {
    const { stores, brokers } = await threeBrokers();
    const [a, b, c] = brokers;
    for (let i = 0; i < 7; i++) expect(await send(a, { sequence: i * 2, values: [`${i}`, `${i}+`] })).toBe(i * 2);
    for (const broker of brokers) {
      for (let i = 2; i < 7; i++)
        expect(await send(broker, { sequence: i * 2, values: [`${i}`, `${i}+`] })).toBe(`again ${i * 2}`);
      expect(await send(broker, { sequence: 2, values: ['1', '1+'] })).toBe('out_of_order_sequence');
      expect(await send(broker, { sequence: 16, values: ['gap'] })).toBe('out_of_order_sequence');
    }
    await moveOn(b, 40);
    const fresh = memoryBroker(stores);
    for (const broker of [a, b, c, fresh]) {
      expect(await send(broker, { sequence: 12, values: ['6', '6+'] })).toBe('again 12');
      expect(await send(broker, { sequence: 13, values: ['gap'] })).toBe('out_of_order_sequence');
    }
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

  it('of a newer epoch fences the older ones in its partition, also over jumps, and no other partition', async () => {
    const { brokers } = await threeBrokers();
    const [a, b, c] = brokers;
    expect(await send(a, { partition: 0, sequence: 0, values: ['0'] })).toBe(0);
    expect(await send(b, { partition: 1, epoch: 40, sequence: 0, values: ['40'] })).toBe(0);
    for (const [sequence, broker] of [a, b, c].entries()) {
      const next = { partition: 0, sequence: sequence + 1, values: ['the old epoch goes on'] };
      expect(await send(broker, next)).toBe(sequence + 1);
      expect(await send(broker, { partition: 1, epoch: 39, sequence: 0, values: ['zombie'] })).toBe('producer_fenced');
    }
    expect(await send(c, { partition: 0, epoch: 1_000, sequence: 1, values: ['must begin at 0'] })).toBe(
      'out_of_order_sequence',
    );
    expect(await send(c, { partition: 0, epoch: 1_000, sequence: 0, values: ['1000'] })).toBe(4);
    for (const epoch of [1, 39, 40, 41, 960, 999]) {
      expect(await send(a, { partition: 0, epoch, sequence: 0, values: ['zombie'] })).toBe('producer_fenced');
    }
    for (const broker of brokers) {
      expect(await send(broker, { partition: 0, sequence: 4, values: ['zombie'] })).toBe('producer_fenced');
    }
    expect(await send(a, { partition: 1, epoch: 40, sequence: 1, values: ['40 goes on'] })).toBe(1);
    expect(await valuesOf(a, 't', 0)).toEqual(['0', ...Array(3).fill('the old epoch goes on'), '1000']);
  });

  it('that lost a batch begins a new epoch in that partition while it finishes the others under the old one', async () => {
    const { stores, brokers } = await threeBrokers();
    const [a, b, c] = brokers;
    // In flight: three batches for partition 0, of which the first never arrives, and three for partition 1.
    expect(await send(a, { partition: 0, sequence: 0, values: ['0'] })).toBe(0);
    for (const sequence of [0, 1])
      expect(await send(a, { partition: 1, sequence, values: [`${sequence}`] })).toBe(sequence);
    for (const sequence of [2, 3]) {
      expect(await send(b, { partition: 0, sequence, values: ['early'] })).toBe('out_of_order_sequence');
    }
    // Batch 1 of partition 0 has expired at the client, which numbers the two behind it from 0 on, under epoch 1.
    for (const sequence of [0, 1]) {
      expect(await send(b, { partition: 0, epoch: 1, sequence, values: [`1/${sequence}`] })).toBe(sequence + 1);
    }
    // Partition 1 goes on, retries included, from whatever broker, and after the tail has moved.
    await moveOn(c, 20);
    for (const broker of [...brokers, memoryBroker(stores)]) {
      for (const sequence of [0, 1]) {
        expect(await send(broker, { partition: 1, sequence, values: [`${sequence}`] })).toBe(`again ${sequence}`);
      }
    }
    expect(await send(c, { partition: 1, sequence: 2, values: ['2'] })).toBe(2);
    // When none is in flight there, it changes too.
    expect(await send(a, { partition: 1, epoch: 1, sequence: 0, values: ['1/0'] })).toBe(3);
    expect(await send(b, { partition: 1, sequence: 3, values: ['zombie'] })).toBe('producer_fenced');
    expect(await send(b, { partition: 0, sequence: 1, values: ['expired'] })).toBe('producer_fenced');
    expect(await valuesOf(a, 't', 0)).toEqual(['0', '1/0', '1/1']);
    expect(await valuesOf(a, 't', 1)).toEqual(['0', '1', '2', '1/0']);
  });

  it.each([1, 40, 1_000, 32_767])(
    'of an older epoch is shut out of a partition by epoch %d, whoever comes first',
    async (epoch) => {
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
          .then(() => send(a, { epoch, sequence: 0, values: ['new'] }));
        await stores.clock.run(Promise.all([zombie(), risen]));
        // However much of the old epoch came before the fence, nothing of it comes after.
        const log = await stores.clock.run(valuesOf(a, 't', 0));
        expect(log.at(-1), `seed ${seed}`).toBe('new');
        expect(await risen).toBe(log.length - 1);
        const next = { sequence: log.length - 1, values: ['zombie'] };
        expect(await stores.clock.run(send(b, next)), `seed ${seed}`).toBe('producer_fenced');
        expect(await stores.clock.run(valuesOf(a, 't', 0))).toEqual(log);
        seen.add(log.length);
      }
      expect(seen.size).toBeGreaterThan(2);
    },
  );

  it.each([true, false])(
    'whose first batches in a partition have two epochs (young: %s) has them in order, or the older one fenced',
    async (isYoung) => {
      const seen = new Set<string>();
      for (let seed = 0; seed < 60; seed++) {
        const stores = memoryStores();
        if (!isYoung) await growOld(stores);
        const random = new SeededRandom(seed);
        const slow = faultyStores(stores, () => ({ delayMs: random.below(30) }));
        const [a, b] = [memoryBroker(slow), memoryBroker(slow)];
        await stores.clock.run(a.putTopic({ name: 't', partitions: 16 }));
        const [old, risen] = await stores.clock.run(
          Promise.all([
            send(a, { epoch: 3, sequence: 0, values: ['3'] }),
            send(b, { epoch: 70, sequence: 0, values: ['70'] }),
          ]),
        );
        const values = (await stores.clock.run(valuesOf(a, 't', 0))).join();
        expect([values, old, risen]).toEqual(values === '3,70' ? ['3,70', 0, 1] : ['70', 'producer_fenced', 0]);
        seen.add(values);
      }
      expect(seen.size).toBe(2);
    },
  );

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

  it('with a young id has its first batches in order in each partition, whichever arrives first', async () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 60; seed++) {
      const stores = memoryStores();
      const random = new SeededRandom(seed);
      const slow = faultyStores(stores, () => ({ delayMs: random.below(30) }));
      const [a, b] = [memoryBroker(slow), memoryBroker(slow)];
      await stores.clock.run(a.putTopic({ name: 't', partitions: 16 }));
      const id = await stores.clock.run(a.allocateProducerId());
      const second = { id, sequence: 1, values: ['1'] };
      const [first, raced] = await stores.clock.run(
        Promise.all([send(a, { id, sequence: 0, values: ['0'] }), send(b, second)]),
      );
      expect(first, `seed ${seed}`).toBe(0);
      expect(['out_of_order_sequence', 1]).toContain(raced);
      seen.add(`${raced}`);
      // Sent again as it is, as Kafka's clients do, it finds its place.
      const again = await stores.clock.run(send(b, second));
      expect(again).toBe(raced === 1 ? 'again 1' : 1);
      expect(await stores.clock.run(valuesOf(a, 't', 0))).toEqual(['0', '1']);
    }
    expect(seen.size).toBe(2);
  });

  it('with an old id may begin anywhere, so its first batches are in order, or the overtaken one is rejected', async () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 60; seed++) {
      const stores = memoryStores();
      await growOld(stores);
      const random = new SeededRandom(seed);
      const slow = faultyStores(stores, () => ({ delayMs: random.below(30) }));
      const [a, b] = [memoryBroker(slow), memoryBroker(slow)];
      await stores.clock.run(a.putTopic({ name: 't', partitions: 16 }));
      const answers = await stores.clock.run(
        Promise.all([send(a, { sequence: 0, values: ['0'] }), send(b, { sequence: 1, values: ['1'] })]),
      );
      const values = await stores.clock.run(valuesOf(a, 't', 0));
      expect(['0,1', '1']).toContain(values.join());
      expect(answers, `seed ${seed}`).toEqual(values.length === 2 ? [0, 1] : ['out_of_order_sequence', 0]);
      seen.add(values.join());
    }
    expect(seen.size).toBe(2);
  });

  it('is old a day or two after its id was given out, and young before that and if its id was given out by nobody', async () => {
    const stores = memoryStores();
    const a = memoryBroker(stores);
    await a.putTopic({ name: 't', partitions: 16 });
    const id = await a.allocateProducerId();
    const begins = (broker: Broker, partition: number, producerId: number) =>
      send(broker, { id: producerId, partition, sequence: 9, values: ['x'] });
    expect(await begins(a, 0, id)).toBe('out_of_order_sequence');
    await stores.clock.advance(24 * HOUR_MS);
    expect(await begins(memoryBroker(stores), 0, id)).toBe('out_of_order_sequence');
    await stores.clock.advance(24 * HOUR_MS);
    const later = await a.allocateProducerId();
    for (const broker of [a, memoryBroker(stores)]) {
      expect(await begins(broker, 0, later)).toBe('out_of_order_sequence');
      expect(await begins(broker, 0, 4_711)).toBe('out_of_order_sequence');
    }
    expect(await begins(memoryBroker(stores), 0, id)).toBe(0);
    // A partition that knows an old id expects its next sequence.
    expect(await send(a, { id, sequence: 11, values: ['gap'] })).toBe('out_of_order_sequence');
    expect(await send(a, { id, sequence: 10, values: ['y'] })).toBe(1);
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
    const { stores, brokers } = await threeBrokers();
    await growOld(stores);
    const [a, b] = brokers;
    expect(await send(a, { sequence: 2_147_483_646, values: ['a', 'b', 'c'] })).toBe(0);
    expect(await send(b, { sequence: 1, values: ['d'] })).toBe(3);
    expect(await send(a, { sequence: 2_147_483_646, values: ['a', 'b', 'c'] })).toBe('again 0');
    expect(await send(a, { sequence: 3, values: ['x'] })).toBe('out_of_order_sequence');
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
