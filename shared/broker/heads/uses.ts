import { equalBytes, toHex } from '../../log/bytes.ts';
import type { Entry } from '../../log/head/entry.ts';
import { type Head, holdsOnceKey, type PlacedPart, placeNode, placeTail, type TailNode } from '../../log/head/head.ts';
import type { IdempotencyUse } from '../../log/head/head-append.ts';
import { idempotencyOnceKey, useOfOnceKey } from '../../log/head/once-key.ts';
import { packUse, type UsePart, unpackUse } from '../../log/head/use.ts';
import { IDEMPOTENCY_KEY_LIFETIME_MS } from '../../log/limits.ts';
import { USE, useKey } from '../../storage/keys.ts';
import type { Attributes, ItemStore } from '../../storage/ports.ts';
import { type Ask, type HeadName, nodesBetween } from './items.ts';
import { firstEntryKept } from './segment-list-store.ts';

/**
 * The uses of idempotency keys in one head: in the tail and the tail nodes they are once keys, and before a node may be
 * deleted each of its uses becomes an item.
 */

/**
 * The parts that were appended under this use of a key: none if it was shut out, `undefined` if no entry has it. Costs
 * nothing if the use was observed in the tail, otherwise 1 Query for 64 nodes; 2 GetItems if some of them were deleted.
 */
export async function findUse(
  items: ItemStore,
  name: HeadName,
  head: Head,
  { use, observedEntry }: IdempotencyUse,
  ask: Ask,
): Promise<readonly UsePart[] | undefined> {
  const key = idempotencyOnceKey(use);
  if (holdsOnceKey(head, key)) {
    const entries = head.tail.map((tail) => tail.entry);
    return partsWithKey(entries, head.firstEntry, placeTail(head), head.once, key);
  }
  for (let from = observedEntry; ; ) {
    try {
      for await (const node of nodesBetween(items, name, from, head.firstEntry, ask)) {
        if (node.once.some((left) => equalBytes(left, key)))
          return partsWithKey(node.entries, node.firstEntry, placeNode(node), node.once, key);
      }
      return undefined;
    } catch (error) {
      from = await firstEntryKept(items, name, from, error, ask);
      // The item is written before a node can go, so it tells of every use in the nodes that are gone.
      const { attributes } = await ask(() => items.get(useKey(name.topicId, name.headNumber, toHex(use))));
      const packed = attributes?.[USE.parts];
      if (packed instanceof Uint8Array) return unpackUse(packed);
    }
  }
}

/** An item may not expire before the note of its use, which a slow request can make this long before its entry. */
const USE_LIFETIME_MS = IDEMPOTENCY_KEY_LIFETIME_MS + 2 * 3_600_000;

/** The items of all uses in a node, to be put before the node may be deleted. */
export function usesOfNode(
  { topicId, headNumber }: HeadName,
  node: TailNode,
  nowMs: number,
): { readonly key: ReturnType<typeof useKey>; readonly attributes: Attributes }[] {
  const placed = placeNode(node);
  const expiresAt = Math.ceil((nowMs + USE_LIFETIME_MS) / 1_000);
  return node.once.flatMap((key) => {
    const use = useOfOnceKey(key);
    if (use === undefined) return [];
    const parts = partsWithKey(node.entries, node.firstEntry, placed, node.once, key);
    const attributes = { [USE.parts]: packUse(parts), [USE.expiresAt]: expiresAt };
    return [{ key: useKey(topicId, headNumber, toHex(use)), attributes }];
  });
}

/** Selects the parts that were appended under the key from consecutive entries with all their parts and once keys. */
function partsWithKey(
  entries: readonly Entry[],
  firstEntry: number,
  placed: readonly PlacedPart[],
  once: readonly Uint8Array[],
  key: Uint8Array,
): UsePart[] {
  const keysBefore: number[] = [];
  let keys = 0;
  for (const { onceKeys } of entries) {
    keysBefore.push(keys);
    keys += onceKeys;
  }
  return placed.flatMap(({ entryNumber, part, baseOffset }) => {
    if (part.keyed === undefined) return [];
    const own = once[(keysBefore[entryNumber - firstEntry] as number) + part.keyed];
    if (own === undefined || !equalBytes(own, key)) return [];
    return [{ slot: part.slot, baseOffset, records: part.records }];
  });
}
