import { EventLogError } from '../../shared/log/errors.ts';
import { ITEM_PATTERNS, type ItemKind, OBJECT_PATTERNS, type ObjectKind } from '../../shared/storage/keys.ts';
import type {
  Attributes,
  ByteRange,
  Condition,
  ItemKey,
  ItemRange,
  ItemStore,
  ObjectStore,
  Update,
} from '../../shared/storage/ports.ts';
import type { MemoryStores } from './memory-broker.ts';

export interface Permissions {
  readonly items: Partial<Readonly<Record<string, readonly ItemKind[]>>>;
  readonly objects: Partial<Readonly<Record<string, readonly ObjectKind[]>>>;
}

/** Stores that refuse what the permissions do not allow, as IAM does, and note what was asked for: `GetItem head`. */
export function guardedStores(
  { items, objects, clock }: MemoryStores,
  permissions: Permissions,
): MemoryStores & { readonly used: Set<string>; readonly refused: Set<string> } {
  const used = new Set<string>();
  const refused = new Set<string>();
  const check = (action: string, kind: string | undefined, allowed: readonly string[] | undefined): void => {
    const what = `${action} ${kind}`;
    if (kind !== undefined && allowed?.includes(kind)) {
      used.add(what);
      return;
    }
    refused.add(what);
    throw new EventLogError('storage_unavailable', `Not allowed: ${what}.`, { retry: 'never', outcome: 'not_applied' });
  };
  const item = (action: string, pk: string): void =>
    check(action, kindOf(ITEM_PATTERNS, pk), permissions.items[action]);
  const object = (action: string, key: string): void =>
    check(action, kindOf(OBJECT_PATTERNS, key), permissions.objects[action]);
  const guardedItems: ItemStore = {
    async get(key: ItemKey) {
      item('GetItem', key.pk);
      return items.get(key);
    },
    async put(key: ItemKey, attributes: Attributes, conditions?: readonly Condition[]) {
      item('PutItem', key.pk);
      return items.put(key, attributes, conditions);
    },
    async update(key: ItemKey, updates: readonly Update[], conditions?: readonly Condition[]) {
      item('UpdateItem', key.pk);
      return items.update(key, updates, conditions);
    },
    async delete(key: ItemKey, conditions?: readonly Condition[]) {
      item('DeleteItem', key.pk);
      return items.delete(key, conditions);
    },
    async query(range: ItemRange) {
      item('Query', range.pk);
      return items.query(range);
    },
  };
  const guardedObjects: ObjectStore = {
    async put(key: string, chunks: readonly Uint8Array[]) {
      object('PutObject', key);
      return objects.put(key, chunks);
    },
    async get(key: string, range: ByteRange) {
      object('GetObject', key);
      return objects.get(key, range);
    },
    // A URL is signed with the caller's rights, so it opens what the caller may read.
    async presign(key: string, range: ByteRange, expiresAtMs: number) {
      object('GetObject', key);
      return objects.presign(key, range, expiresAtMs);
    },
  };
  return { items: guardedItems, objects: guardedObjects, clock, used, refused };
}

/** Each `action kind` of the permissions. */
export function listed({ items, objects }: Permissions): string[] {
  return [...Object.entries(items), ...Object.entries(objects)]
    .flatMap(([action, kinds = []]) => kinds.map((kind) => `${action} ${kind}`))
    .sort();
}

function kindOf(patterns: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.entries(patterns).find(([, pattern]) =>
    pattern.endsWith('*') ? key.startsWith(pattern.slice(0, -1)) : key === pattern,
  )?.[0];
}
