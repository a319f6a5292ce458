import { EventLogError } from '../../shared/log/errors.ts';
import { aroundStores, keyOf, type StoreRequest } from '../../shared/storage/around-stores.ts';
import { ITEM_PATTERNS, type ItemKind, OBJECT_PATTERNS, type ObjectKind } from '../../shared/storage/keys.ts';
import type { ObjectSource } from '../../shared/storage/ports.ts';
import type { MemoryStores } from './memory-broker.ts';

export interface Permissions {
  readonly items: Partial<Readonly<Record<string, readonly ItemKind[]>>>;
  readonly objects: Partial<Readonly<Record<string, readonly ObjectKind[]>>>;
}

/** Stores that reject requests without permission, as IAM does, and record all requests, such as `GetItem head`. */
export function guardedStores(
  stores: MemoryStores,
  permissions: Permissions,
): MemoryStores & { readonly used: Set<string>; readonly refused: Set<string> } {
  const used = new Set<string>();
  const refused = new Set<string>();
  const check = (request: StoreRequest, key: string): void => permit(...ACTIONS[request], key);
  const permit = (action: string, isObject: boolean, key: string): void => {
    const kind = isObject ? kindOf(OBJECT_PATTERNS, key) : kindOf(ITEM_PATTERNS, key);
    const allowed: readonly string[] = (isObject ? permissions.objects : permissions.items)[action] ?? [];
    const what = `${action} ${kind}`;
    if (kind !== undefined && allowed.includes(kind)) {
      used.add(what);
      return;
    }
    refused.add(what);
    throw new EventLogError('storage_unavailable', `Not allowed: ${what}.`, { retry: 'never', outcome: 'not_applied' });
  };
  const guarded = aroundStores(stores, (request, run) => async (...args) => {
    check(request, keyOf(args));
    if (request === 'concatObjects') {
      permit('AbortMultipartUpload', true, keyOf(args));
      for (const { key } of args[1] as readonly ObjectSource[]) check('getObject', key);
    }
    return run(...args);
  });
  return { ...guarded, clock: stores.clock, used, refused };
}

/** The action that IAM requires, and whether it is an action on objects. */
const ACTIONS: Readonly<Record<StoreRequest, readonly [action: string, isObject: boolean]>> = {
  putObject: ['PutObject', true],
  getObject: ['GetObject', true],
  // A URL is signed with the caller's rights, so it gives access to everything that the caller may read.
  presign: ['GetObject', true],
  deleteObject: ['DeleteObject', true],
  listObjects: ['ListBucket', true],
  concatObjects: ['PutObject', true],
  getItem: ['GetItem', false],
  putItem: ['PutItem', false],
  updateItem: ['UpdateItem', false],
  deleteItem: ['DeleteItem', false],
  query: ['Query', false],
};

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
