import type { MemoryObjectStore } from '../../../shared/storage/memory/object-store.ts';
import type { ItemPage, ItemRange, Stores, WriteResult } from '../../../shared/storage/ports.ts';
import { itemBytes, QUERY_PAGE_BYTES_MAX, readUnits } from '../../../shared/storage/rules/item-size.ts';
import type { EventLoop } from './event-loop.ts';
import { ReplicatedItemStore } from './replicated-items.ts';
import type { ArrivedWrite, StorageWatch } from './watch/storage-watch.ts';

/** A query that is read in two steps takes up to so long between them. */
const QUERY_GAP_MS = 50;

/**
 * The bucket and the table of a run: one for all processes, each operation atomic at the moment when it arrives. No kinder
 * than AWS: what happens while a query is read may be in its answer or not, item by item.
 */
export class SimulatedStorage {
  readonly items: ReplicatedItemStore;
  readonly objects: MemoryObjectStore;
  /** Sent by all processes, arrived or not. */
  requests = 0;
  private readonly loop: EventLoop;
  private readonly watch: StorageWatch;

  constructor(loop: EventLoop, watch: StorageWatch, objects: MemoryObjectStore, putsBeside: boolean) {
    this.loop = loop;
    this.items = new ReplicatedItemStore(loop, putsBeside);
    this.watch = watch;
    this.objects = objects;
  }

  /** The stores as one process reaches them: the watch sees what it writes. */
  storesOf(process: number): Stores {
    const { items, objects, watch } = this;
    const seen = async (write: Omit<ArrivedWrite, 'process' | 'result'>, answer: Promise<WriteResult>) => {
      const result = await answer;
      watch.wrote({ ...write, process, result });
      return result;
    };
    return {
      items: {
        get: (key) => items.get(key),
        put: (key, attributes, conditions = []) =>
          seen({ kind: 'put', key, conditions }, items.put(key, attributes, conditions)),
        update: async (key, updates, conditions = [], beside) => {
          const result = await items.update(key, updates, conditions, beside);
          if (beside !== undefined && result.ok)
            watch.wrote({
              kind: 'put',
              key: beside.key,
              conditions: [],
              process,
              result: { ...result, attributes: beside.attributes },
            });
          watch.wrote({ kind: 'update', key, conditions, process, result });
          return result;
        },
        delete: (key, conditions = []) => seen({ kind: 'delete', key, conditions }, items.delete(key, conditions)),
        query: (range) => items.query(range),
        putsBeside: items.putsBeside,
      },
      objects: {
        put: async (key, chunks) => {
          const result = await objects.put(key, chunks);
          watch.putObject(key, totalBytes(chunks), result, () => chunks);
          return result;
        },
        get: (key, range) => objects.get(key, range),
        presign: (key, range, expiresAtMs) => {
          watch.signed(key);
          return objects.presign(key, range, expiresAtMs);
        },
        delete: async (key) => {
          await objects.delete(key);
          watch.deletedObject(key);
        },
        list: (prefix, options) => objects.list(prefix, options),
        concat: async (key, sources, end) => {
          const concat = await objects.concat(key, sources, end);
          const copied = sources.reduce((bytes, { range }) => bytes + range.end - range.start, 0);
          watch.putObject(key, copied + totalBytes(end), concat.result, () => [
            ...sources.map((source) => watch.contentOf(source)),
            ...end,
          ]);
          return concat;
        },
      },
    };
  }

  /** `share`, in [0, 1), decides whether and where the query is cut in two that are not of the same moment. */
  async query(range: ItemRange, share: number): Promise<ItemPage> {
    if (range.limit < 2 || share < 0.5) return this.items.query(range);
    const cut = 1 + Math.floor((range.limit - 1) * (share - 0.5) ** 2);
    const first = await this.items.query({ ...range, limit: cut });
    const last = first.items.at(-1);
    if (!first.more || last === undefined) return first;
    await this.loop.sleep(QUERY_GAP_MS * share);
    const rest = await this.items.query({
      ...range,
      ...(range.descending ? { to: last.sk } : { from: `${last.sk}\0` }),
      limit: range.limit - first.items.length,
    });
    const sizeOf = ({ sk, attributes }: ItemPage['items'][number]): number =>
      itemBytes({ pk: range.pk, sk }, attributes);
    const items = [...first.items];
    let bytes = items.reduce((sum, item) => sum + sizeOf(item), 0);
    for (const item of rest.items) {
      if (bytes + sizeOf(item) > QUERY_PAGE_BYTES_MAX) return { items, more: true, units: readUnits(bytes) };
      items.push(item);
      bytes += sizeOf(item);
    }
    return { items, more: rest.more, units: readUnits(bytes) };
  }
}

function totalBytes(chunks: readonly Uint8Array[]): number {
  return chunks.reduce((total, chunk) => total + chunk.length, 0);
}
