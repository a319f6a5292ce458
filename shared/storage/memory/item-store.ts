import type {
  Attributes,
  Condition,
  ExpiringItems,
  ItemKey,
  ItemPage,
  ItemRange,
  ItemRead,
  ItemStore,
  ItemToPut,
  RemovedItems,
  Update,
  WriteResult,
} from '../ports.ts';
import {
  checkBeside,
  checkItemKey,
  checkItemRange,
  checkRemoval,
  checkWrite,
  type Write,
} from '../rules/item-checks.ts';
import { itemBytes, QUERY_PAGE_BYTES_MAX, readUnits } from '../rules/item-size.ts';
import {
  checkBesideIsNew,
  conditionHolds,
  copyAttributes,
  decideWrite,
  expiredBefore,
  expiryOf,
} from '../rules/item-writes.ts';
import { compareUtf8 } from '../utf8.ts';
import { Expiries } from './expiries.ts';

/** The items of one partition key; `sks` are their sort keys in UTF-8 order. */
interface Partition {
  readonly items: Map<string, Attributes>;
  readonly sks: string[];
}

/**
 * An `ItemStore` in this process's memory, for tests and short-lived logs. Nothing of it is durable.
 *
 * Each operation takes effect when it is called and is answered on a later microtask. Attributes are copied in and out,
 * so nothing a caller does to its buffers reaches a stored item.
 */
export class MemoryItemStore implements ItemStore, ExpiringItems {
  readonly putsBeside: boolean;
  readonly #partitions = new Map<string, Partition>();
  readonly #expiries = new Expiries();

  /** Without `putsBeside` it takes what DynamoDB takes, and no more. */
  constructor({ putsBeside = false } = {}) {
    this.putsBeside = putsBeside;
  }

  async get(key: ItemKey): Promise<ItemRead> {
    checkItemKey(key);
    const attributes = this.#find(key);
    return {
      attributes: attributes && copyAttributes(attributes),
      units: readUnits(itemBytes(key, attributes)),
    };
  }

  async put(key: ItemKey, attributes: Attributes, conditions: readonly Condition[] = []): Promise<WriteResult> {
    return this.#write(key, { kind: 'put', attributes, conditions });
  }

  async update(
    key: ItemKey,
    updates: readonly Update[],
    conditions: readonly Condition[] = [],
    beside?: ItemToPut,
  ): Promise<WriteResult> {
    if (beside !== undefined) {
      checkBeside(beside);
      const before = this.#find(key);
      if (conditions.every((condition) => conditionHolds(before, condition)))
        checkBesideIsNew(beside.attributes, this.#find(beside.key));
    }
    const result = this.#write(key, { kind: 'update', updates, conditions });
    if (!result.ok || beside === undefined) return result;
    const put = this.#write(beside.key, { kind: 'put', attributes: beside.attributes, conditions: [] });
    return { ...result, units: result.units + put.units };
  }

  async delete(key: ItemKey, conditions: readonly Condition[] = []): Promise<WriteResult> {
    return this.#write(key, { kind: 'delete', conditions });
  }

  async query(range: ItemRange): Promise<ItemPage> {
    checkItemRange(range);
    const partition = this.#partitions.get(range.pk);
    if (partition === undefined) return { items: [], more: false, units: readUnits(0) };
    const start = range.from === undefined ? 0 : lowerBound(partition.sks, range.from);
    const end = range.to === undefined ? partition.sks.length : lowerBound(partition.sks, range.to);
    const items: { sk: string; attributes: Attributes }[] = [];
    let bytes = 0;
    let more = false;
    for (let i = 0; i < end - start; i++) {
      const sk = partition.sks[range.descending ? end - 1 - i : start + i]!;
      const attributes = partition.items.get(sk)!;
      const size = itemBytes({ pk: range.pk, sk }, attributes);
      if (items.length === range.limit || (items.length > 0 && bytes + size > QUERY_PAGE_BYTES_MAX)) {
        more = true;
        break;
      }
      items.push({ sk, attributes: copyAttributes(attributes) });
      bytes += size;
    }
    return { items, more, units: readUnits(bytes) };
  }

  async removeExpired(nowMs: number, limit: number): Promise<RemovedItems> {
    checkRemoval(nowMs, limit);
    const expired = this.#expiries.before(expiredBefore(nowMs), limit + 1);
    const removed = expired.slice(0, limit);
    for (const key of removed) this.#replace(key, undefined);
    return { removed: removed.length, more: expired.length > limit };
  }

  #find(key: ItemKey): Attributes | undefined {
    return this.#partitions.get(key.pk)?.items.get(key.sk);
  }

  #write(key: ItemKey, write: Write): WriteResult {
    checkWrite(key, write);
    const before = this.#find(key);
    const decision = decideWrite(key, before, write);
    if (decision.kind === 'refused') {
      return { ok: false, attributes: before && copyAttributes(before), units: decision.units };
    }
    const { after, units } = decision;
    this.#replace(key, after && copyAttributes(after));
    // A put is answered with what the caller gave, which needs no copy.
    if (after === undefined || write.kind === 'put') return { ok: true, attributes: after ?? {}, units };
    return { ok: true, attributes: copyAttributes(after), units };
  }

  #replace(key: ItemKey, attributes: Attributes | undefined): void {
    let partition = this.#partitions.get(key.pk);
    if (partition === undefined) {
      if (attributes === undefined) return;
      partition = { items: new Map(), sks: [] };
      this.#partitions.set(key.pk, partition);
    }
    const before = partition.items.get(key.sk);
    this.#expiries.move(key, expiryOf(before), expiryOf(attributes));
    const existed = before !== undefined;
    if (attributes !== undefined) {
      partition.items.set(key.sk, attributes);
      if (!existed) partition.sks.splice(lowerBound(partition.sks, key.sk), 0, key.sk);
    } else if (existed) {
      partition.items.delete(key.sk);
      partition.sks.splice(lowerBound(partition.sks, key.sk), 1);
      if (partition.sks.length === 0) this.#partitions.delete(key.pk);
    }
  }
}

/** The index of the first of `sks` that is not below `sk`. */
function lowerBound(sks: readonly string[], sk: string): number {
  let low = 0;
  let high = sks.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareUtf8(sks[middle]!, sk) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
