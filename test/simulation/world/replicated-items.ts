import { MemoryItemStore } from '../../../shared/storage/memory/item-store.ts';
import type {
  Attributes,
  Condition,
  ItemKey,
  ItemPage,
  ItemRange,
  ItemRead,
  ItemStore,
  ItemToPut,
  Update,
  WriteResult,
} from '../../../shared/storage/ports.ts';
import type { EventLoop } from './event-loop.ts';

/**
 * The port promises strongly consistent reads, and the adapter asks DynamoDB for them. Two planted bugs turn these off:
 * then a read may be answered by a replica, as DynamoDB answers one that did not ask.
 */
const GETS_ARE_STRONG = true;
const QUERIES_ARE_STRONG = true;

/** How long a write takes to reach the replica. */
const REPLICA_LAG_MS = 100;

/** Items as they are, and a replica that has them a little later. */
export class ReplicatedItemStore implements ItemStore {
  private readonly loop: EventLoop;
  readonly putsBeside: boolean;
  private readonly items: MemoryItemStore;
  private readonly replica = new MemoryItemStore();
  private reads = 0;

  constructor(loop: EventLoop, putsBeside: boolean) {
    this.loop = loop;
    this.putsBeside = putsBeside;
    this.items = new MemoryItemStore({ putsBeside });
  }

  get(key: ItemKey): Promise<ItemRead> {
    return this.readFrom(GETS_ARE_STRONG).get(key);
  }

  query(range: ItemRange): Promise<ItemPage> {
    return this.readFrom(QUERIES_ARE_STRONG).query(range);
  }

  put(key: ItemKey, attributes: Attributes, conditions?: readonly Condition[]): Promise<WriteResult> {
    return this.replicated(key, this.items.put(key, attributes, conditions));
  }

  update(
    key: ItemKey,
    updates: readonly Update[],
    conditions?: readonly Condition[],
    beside?: ItemToPut,
  ): Promise<WriteResult> {
    const written = this.replicated(key, this.items.update(key, updates, conditions, beside));
    return beside === undefined ? written : this.replicated(beside.key, written);
  }

  delete(key: ItemKey, conditions?: readonly Condition[]): Promise<WriteResult> {
    return this.replicated(key, this.items.delete(key, conditions));
  }

  private readFrom(isStrong: boolean): ItemStore {
    return isStrong || this.reads++ % 2 === 0 ? this.items : this.replica;
  }

  private replicated(key: ItemKey, written: Promise<WriteResult>): Promise<WriteResult> {
    if (!GETS_ARE_STRONG || !QUERIES_ARE_STRONG) void this.replicate(key, written);
    return written;
  }

  private async replicate(key: ItemKey, written: Promise<WriteResult>): Promise<void> {
    const { attributes } = await this.items.get(key);
    if (!(await written).ok) return;
    this.loop.at(this.loop.nowMs === 0 ? 0 : REPLICA_LAG_MS, () => {
      void (attributes === undefined ? this.replica.delete(key) : this.replica.put(key, attributes));
    });
  }
}
