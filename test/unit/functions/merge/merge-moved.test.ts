import { expect, it } from 'vitest';
import { mergeMoved, type StreamRecord } from '../../../../functions/merge/merge-moved.ts';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { headKey, nodePartitionKey } from '../../../../shared/storage/keys.ts';
import { appendTo, memoryBroker, memoryStores } from '../../../support/memory-broker.ts';
import type { SimulatedClock } from '../../../support/simulated-clock.ts';

const HOUR_MS = 3_600_000;

/** Topics with as many tail nodes each, in the partitions 0 (head 0) and 16 (head 1). */
async function topicsWithNodes(broker: Broker, clock: SimulatedClock, names: readonly string[], nodes: number) {
  const ids = new Map<string, string>();
  await clock.run(async () => {
    for (const name of names) {
      await broker.putTopic({ name, partitions: 17 });
      for (let i = 0; i < 8 * nodes; i++)
        for (const partition of [0, 16]) await appendTo(broker, name, partition, ['v']);
      ids.set(name, (await broker.describeTopic(name)).topicId);
      await broker.idle();
    }
  });
  return (name: string): string => ids.get(name) as string;
}

function record(sequenceNumber: string, topicId: string, headNumber: number): StreamRecord {
  return { dynamodb: { Keys: { pk: { S: nodePartitionKey(topicId, headNumber) } }, SequenceNumber: sequenceNumber } };
}

const running = (): AbortSignal => new AbortController().signal;

it('merges each head of a batch once, and no other', async () => {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  const idOf = await topicsWithNodes(broker, stores.clock, ['a', 'b'], 2);
  await stores.clock.advance(2 * HOUR_MS);
  const merged: string[] = [];
  const watched: Pick<Broker, 'mergeHead'> = {
    mergeHead(topicId, headNumber, options) {
      merged.push(`${topicId}#${headNumber}`);
      return broker.mergeHead(topicId, headNumber, options);
    },
  };
  const records = [
    record('1', idOf('a'), 0),
    record('2', idOf('b'), 1),
    record('3', idOf('a'), 0),
    record('4', idOf('a'), 0),
    { dynamodb: { Keys: { pk: { S: headKey(idOf('b'), 0).pk } }, SequenceNumber: '5' } },
  ];
  const run = await stores.clock.run(() => mergeMoved(watched, records, running()));
  expect(merged).toEqual([`${idOf('a')}#0`, `${idOf('b')}#1`]);
  expect(run).toMatchObject({ blocked: 0, complete: true, failed: [] });
  expect(run.results.map(({ nodesMerged }) => nodesMerged)).toEqual([2, 2]);
  // The lists of many heads would not fit in memory.
  for (const result of run.results) expect(result).not.toHaveProperty('list');
});

it('schedules a head that is not due yet, so that it is merged when its nodes are an hour old', async () => {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  const idOf = await topicsWithNodes(broker, stores.clock, ['a'], 1);
  const first = await stores.clock.run(() => mergeMoved(broker, [record('1', idOf('a'), 0)], running()));
  expect(first.results).toMatchObject([{ nodesMerged: 0 }]);
  await stores.clock.advance(HOUR_MS);
  const { results } = await stores.clock.run(broker.runMerges());
  expect(results).toMatchObject([{ nodesMerged: 1 }, { nodesMerged: 1 }]);
  // From now on the list says when the head is due: a day later, but for what comes.
  for (let i = 0; i < 8; i++) await stores.clock.run(appendTo(broker, 'a', 0, ['w']));
  await stores.clock.run(broker.idle());
  await stores.clock.run(() => mergeMoved(broker, [record('2', idOf('a'), 0)], running()));
  await stores.clock.advance(HOUR_MS);
  expect((await stores.clock.run(broker.runMerges())).results).toMatchObject([{ nodesMerged: 1 }]);
});

it('reports the first record of a head that fails, and merges the others', async () => {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  const idOf = await topicsWithNodes(broker, stores.clock, ['a', 'b'], 2);
  const page = await stores.items.query({ pk: nodePartitionKey(idOf('a'), 0), limit: 1 });
  const [node] = page.items;
  await stores.items.delete({ pk: nodePartitionKey(idOf('a'), 0), sk: node?.sk ?? '' });
  await stores.clock.advance(2 * HOUR_MS);
  const records = [record('1', idOf('b'), 0), record('2', idOf('a'), 0), record('3', idOf('a'), 0)];
  const run = await stores.clock.run(() => mergeMoved(broker, records, running()));
  expect(run).toMatchObject({ blocked: 1, complete: true, failed: ['2'], error: { code: 'corrupt_data' } });
  expect(run.results).toMatchObject([{ nodesMerged: 2 }]);
});

it('reports the heads that the time did not suffice for', async () => {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  const idOf = await topicsWithNodes(broker, stores.clock, ['a'], 2);
  await stores.clock.advance(2 * HOUR_MS);
  const stop = new AbortController();
  const stopping: Pick<Broker, 'mergeHead'> = {
    mergeHead(...args) {
      stop.abort();
      return broker.mergeHead(...args);
    },
  };
  const records = [record('1', idOf('a'), 0), record('2', idOf('a'), 1)];
  const run = await stores.clock.run(() => mergeMoved(stopping, records, stop.signal));
  expect(run).toMatchObject({ blocked: 0, complete: false, error: undefined });
  expect(run.failed.toSorted()).toEqual(['1', '2']);
  // The next schedule finds them, too.
  expect((await stores.clock.run(broker.runMerges())).results).toMatchObject([{ nodesMerged: 2 }, { nodesMerged: 2 }]);
});

it('lets a bug end the function', async () => {
  const broken: Pick<Broker, 'mergeHead'> = { mergeHead: () => Promise.reject(new TypeError('a bug')) };
  await expect(mergeMoved(broken, [record('1', 'id', 0)], running())).rejects.toThrow('a bug');
});
