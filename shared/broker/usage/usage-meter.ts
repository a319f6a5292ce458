import type {
  Attributes,
  ByteRange,
  Condition,
  ItemKey,
  ItemPage,
  ItemRange,
  ItemRead,
  ItemStore,
  ObjectStore,
  SignedUrl,
  Update,
  WriteResult,
} from '../../storage/ports.ts';
import { addCounts, noRequests, type RequestCounts } from './request-counts.ts';

/** What a request was made for. */
export type Purpose = 'append' | 'move_tail' | 'read' | 'admin';

export interface UsageRow {
  readonly topic: string;
  readonly purpose: Purpose;
  readonly counts: RequestCounts;
}

/** Topics are counted one by one up to this many; requests of further ones come under `OTHER_TOPICS`. */
const TOPICS_COUNTED_MAX = 10_000;
export const OTHER_TOPICS = '(other topics)';
/** For what is not done for one topic, such as listing. */
export const NO_TOPIC = '(no topic)';

export interface Stores {
  readonly objects: ObjectStore;
  readonly items: ItemStore;
}

/** Counts every request of this process by topic and purpose, since it started. */
export class UsageMeter {
  private readonly stores: Stores;
  private readonly byTopic = new Map<string, Map<Purpose, { counts: RequestCounts; stores: Stores }>>();

  constructor(stores: Stores) {
    this.stores = stores;
  }

  /** The stores, counting on behalf of a topic. */
  of(topic: string, purpose: Purpose): Stores {
    return this.row(topic, purpose).stores;
  }

  /** The stores, counting into `counts`, which the caller hands out itself. */
  into(counts: RequestCounts): Stores {
    return meteredStores(this.stores, counts);
  }

  add(topic: string, purpose: Purpose, counts: RequestCounts, share: number): void {
    addCounts(this.row(topic, purpose).counts, counts, share);
  }

  rows(): UsageRow[] {
    const rows: UsageRow[] = [];
    for (const [topic, purposes] of this.byTopic) {
      for (const [purpose, { counts }] of purposes) rows.push({ topic, purpose, counts: { ...counts } });
    }
    return rows;
  }

  total(): RequestCounts {
    const total = noRequests();
    for (const row of this.rows()) addCounts(total, row.counts);
    return total;
  }

  private row(topic: string, purpose: Purpose): { counts: RequestCounts; stores: Stores } {
    const name = this.byTopic.has(topic) || this.byTopic.size < TOPICS_COUNTED_MAX ? topic : OTHER_TOPICS;
    let purposes = this.byTopic.get(name);
    if (purposes === undefined) {
      purposes = new Map();
      this.byTopic.set(name, purposes);
    }
    let row = purposes.get(purpose);
    if (row === undefined) {
      const counts = noRequests();
      row = { counts, stores: meteredStores(this.stores, counts) };
      purposes.set(purpose, row);
    }
    return row;
  }
}

function meteredStores({ objects, items }: Stores, counts: RequestCounts): Stores {
  return { objects: new MeteredObjectStore(objects, counts), items: new MeteredItemStore(items, counts) };
}

class MeteredObjectStore implements ObjectStore {
  private readonly store: ObjectStore;
  private readonly counts: RequestCounts;

  constructor(store: ObjectStore, counts: RequestCounts) {
    this.store = store;
    this.counts = counts;
  }

  put(key: string, chunks: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    this.counts.putObject++;
    for (const chunk of chunks) this.counts.bytesWritten += chunk.length;
    return this.store.put(key, chunks);
  }

  async get(key: string, range: ByteRange): Promise<Uint8Array | undefined> {
    this.counts.getObject++;
    const bytes = await this.store.get(key, range);
    this.counts.bytesRead += bytes?.length ?? 0;
    return bytes;
  }

  presign(key: string, range: ByteRange, expiresAtMs: number): Promise<SignedUrl> {
    return this.store.presign(key, range, expiresAtMs);
  }
}

class MeteredItemStore implements ItemStore {
  private readonly store: ItemStore;
  private readonly counts: RequestCounts;

  constructor(store: ItemStore, counts: RequestCounts) {
    this.store = store;
    this.counts = counts;
  }

  async get(key: ItemKey): Promise<ItemRead> {
    this.counts.getItem++;
    const read = await this.store.get(key);
    this.counts.readUnits += read.units;
    return read;
  }

  put(key: ItemKey, attributes: Attributes, conditions?: readonly Condition[]): Promise<WriteResult> {
    this.counts.putItem++;
    return this.written(this.store.put(key, attributes, conditions));
  }

  update(key: ItemKey, updates: readonly Update[], conditions?: readonly Condition[]): Promise<WriteResult> {
    this.counts.updateItem++;
    return this.written(this.store.update(key, updates, conditions));
  }

  delete(key: ItemKey, conditions?: readonly Condition[]): Promise<WriteResult> {
    this.counts.deleteItem++;
    return this.written(this.store.delete(key, conditions));
  }

  async query(range: ItemRange): Promise<ItemPage> {
    this.counts.query++;
    const page = await this.store.query(range);
    this.counts.readUnits += page.units;
    return page;
  }

  private async written(write: Promise<WriteResult>): Promise<WriteResult> {
    const result = await write;
    this.counts.writeUnits += result.units;
    return result;
  }
}
