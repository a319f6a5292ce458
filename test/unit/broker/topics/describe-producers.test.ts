import { describe, expect, it } from 'vitest';
import { codeOf, memoryBroker, memoryStores } from '../../../support/memory-broker.ts';
import { HOUR_MS, moveOn, send } from '../../../support/produce.ts';

describe('the producers of a partition', () => {
  it('are found in the tail, in tail nodes and in the items of a checkpoint', async () => {
    const stores = memoryStores();
    const broker = memoryBroker(stores);
    await broker.putTopic({ name: 't', partitions: 16 });
    await send(broker, { id: 5, partition: 3, sequence: 0, values: ['a', 'b'] });
    await send(broker, { id: 6, partition: 3, epoch: 4, sequence: 0, values: ['c'] });
    await send(broker, { id: 6, partition: 4, sequence: 0, values: ['d'] });
    const five = { producerId: 5, producerEpoch: 0 };
    const six = { producerId: 6, producerEpoch: 4, lastSequence: 0 };
    const lastTimestampMs = stores.clock.nowMs();
    const inHead = [
      { ...five, lastSequence: 1, lastTimestampMs },
      { ...six, lastTimestampMs },
    ];
    expect(await broker.describeProducers('t', 3)).toEqual(inHead);
    await moveOn(broker, 40);
    // In tail nodes by now.
    expect(await memoryBroker(stores).describeProducers('t', 3)).toEqual(inHead);
    const { topicId } = await broker.describeTopic('t');
    let checkpoint = 0;
    while (checkpoint === 0) {
      await moveOn(broker, 64);
      const { attributes } = await stores.items.get({ pk: `checkpoint#${topicId}#0`, sk: '-' });
      checkpoint = Number(attributes?.q ?? 0);
    }
    const inItems = [
      { ...five, lastSequence: 1, lastTimestampMs: undefined },
      { ...six, lastTimestampMs: undefined },
    ];
    expect(await memoryBroker(stores).describeProducers('t', 3)).toEqual(inItems);
    // What an item knows and what came after it are put together.
    await stores.clock.advance(1_000);
    await send(broker, { id: 5, partition: 3, sequence: 2, values: ['e', 'f', 'g'] });
    expect(await memoryBroker(stores).describeProducers('t', 3)).toEqual([
      { ...five, lastSequence: 4, lastTimestampMs: lastTimestampMs + 1_000 },
      { ...six, lastTimestampMs: undefined },
    ]);
    expect(await broker.describeProducers('t', 4)).toEqual([
      { producerId: 6, producerEpoch: 0, lastSequence: 0, lastTimestampMs: undefined },
    ]);
    expect(await broker.describeProducers('t', 0)).toEqual([]);
  });

  it('are those of the last day', async () => {
    const stores = memoryStores();
    const broker = memoryBroker(stores);
    await broker.putTopic({ name: 't' });
    await send(broker, { id: 5, sequence: 0, values: ['a'] });
    await stores.clock.advance(23 * HOUR_MS);
    await send(broker, { id: 6, sequence: 0, values: ['b'] });
    const ids = async () => (await broker.describeProducers('t', 0)).map(({ producerId }) => producerId);
    expect(await ids()).toEqual([5, 6]);
    await stores.clock.advance(2 * HOUR_MS);
    expect(await ids()).toEqual([6]);
  });

  it('are those of the topic that has the name now', async () => {
    const stores = memoryStores();
    const [broker, other] = [memoryBroker(stores), memoryBroker(stores)];
    await broker.putTopic({ name: 't' });
    await send(broker, { sequence: 0, values: ['a'] });
    expect(await broker.describeProducers('t', 0)).toHaveLength(1);
    await other.deleteTopic('t');
    await other.putTopic({ name: 't' });
    expect(await broker.describeProducers('t', 0)).toEqual([]);
    expect(await codeOf(broker.describeProducers('t', 1))).toBe('unknown_partition');
    await other.deleteTopic('t');
    expect(await codeOf(broker.describeProducers('t', 0))).toBe('unknown_topic');
  });
});
