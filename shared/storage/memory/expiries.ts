import type { ItemKey } from '../ports.ts';

interface Expiry extends ItemKey {
  readonly expiresAt: number;
}

/**
 * The keys of items that expire, in the order of their expiry. Most items expire after all others, so most changes are at
 * the end of the list.
 */
export class Expiries {
  readonly #list: Expiry[] = [];

  /** The expiry of an item changes. `undefined` stands for an item that never expires, or does not exist. */
  move({ pk, sk }: ItemKey, from: number | undefined, to: number | undefined): void {
    if (from === to) return;
    if (from !== undefined) this.#list.splice(this.#indexOf({ expiresAt: from, pk, sk }), 1);
    if (to !== undefined) {
      const expiry = { expiresAt: to, pk, sk };
      this.#list.splice(this.#indexOf(expiry), 0, expiry);
    }
  }

  /** Up to `limit` of the items that expire before the second `end`, the oldest first. */
  before(end: number, limit: number): ItemKey[] {
    const keys: ItemKey[] = [];
    for (const { expiresAt, pk, sk } of this.#list) {
      if (expiresAt >= end || keys.length === limit) break;
      keys.push({ pk, sk });
    }
    return keys;
  }

  /** The index of the first entry that is not below `expiry`. */
  #indexOf(expiry: Expiry): number {
    let low = 0;
    let high = this.#list.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (isBelow(this.#list[middle]!, expiry)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Any total order over the keys serves: it only finds an entry again. */
function isBelow(a: Expiry, b: Expiry): boolean {
  if (a.expiresAt !== b.expiresAt) return a.expiresAt < b.expiresAt;
  return a.pk === b.pk ? a.sk < b.sk : a.pk < b.pk;
}
