import type { Broker } from '../../shared/broker/broker.ts';
import { recordsOf, type StoredBatch } from '../../shared/log/batch/stored-batch.ts';
import { HEAD, headKey } from '../../shared/storage/keys.ts';
import type { ItemKey } from '../../shared/storage/ports.ts';
import { appendTo, memoryBroker, memoryStores, text } from './memory-broker.ts';
import { type MergedBatch, MergedLog } from './merged-log.ts';

/** What tests of reads of merged records share. */

/** A topic with a writer, and a log whose merges the test decides on. */
export async function setUpMerged(partitions = 1) {
  const stores = memoryStores();
  const writer = memoryBroker(stores);
  await writer.putTopic({ name: 't', partitions });
  const { topicId } = await writer.describeTopic('t');
  const log = new MergedLog(stores, topicId);
  return {
    stores,
    writer,
    log,
    topicId,
    reader: (settings = {}) => memoryBroker(stores, settings),
    async append(count: number, value: (i: number) => string = (i) => `${i}`, partition = 0): Promise<void> {
      for (let i = 0; i < count; i++) {
        await appendTo(writer, 't', partition, [value(i)]);
        await writer.idle();
        await stores.clock.advance(1);
      }
    },
    async raiseStart(offset: number, partition = 0): Promise<void> {
      await stores.items.update(headKey(topicId, 0), [{ do: 'set', name: HEAD.start(partition), value: offset }]);
    },
  };
}

/** The values of records whose values are their offsets. */
export const numbers = (count: number, from = 0): string[] => Array.from({ length: count }, (_, i) => `${from + i}`);
export const isOdd = ({ baseOffset }: MergedBatch): boolean => baseOffset % 2 === 1;

/** The values of one read from its offset on, and where it goes on. */
export async function readOnce(broker: Broker, offset: number, maxBytes?: number) {
  const result = await broker.read({ topic: 't', partition: 0, from: { offset }, maxBytes });
  const values: string[] = [];
  for await (const batch of result.batches)
    for (const each of recordsOf(batch)) if (each.offset >= result.offset) values.push(text(each.value));
  return { values, nextOffset: result.nextOffset, highWatermark: result.highWatermark };
}

/** Takes all values of a read, and does something after the first ones. */
export async function takeWith(
  batches: AsyncIterable<StoredBatch>,
  after: number,
  work: () => Promise<void>,
): Promise<string[]> {
  const values: string[] = [];
  if (after === 0) await work();
  for await (const batch of batches) {
    values.push(...recordsOf(batch).map((each) => text(each.value)));
    if (values.length === after) await work();
  }
  return values;
}

type Stores = ReturnType<typeof memoryStores>;

/** The methods of a store, to put others in their place. */
export function bound(items: Stores['items']): Stores['items'] {
  return {
    get: items.get.bind(items),
    put: items.put.bind(items),
    update: items.update.bind(items),
    delete: items.delete.bind(items),
    query: items.query.bind(items),
  } as Stores['items'];
}

/** Stores whose first read of the head finds it as it was before. */
export function staleHead(stores: Stores, head: Awaited<ReturnType<Stores['items']['get']>>) {
  let isFirst = true;
  return {
    ...stores,
    items: {
      ...bound(stores.items),
      get: async (key: ItemKey) => {
        const read = await stores.items.get(key);
        if (!key.pk.startsWith('head#') || !isFirst) return read;
        isFirst = false;
        return head;
      },
    } as Stores['items'],
  };
}
