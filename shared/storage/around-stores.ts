/**
 * One wrapper for both ports, for whatever happens to every request alike: counting, injected faults, permissions.
 * The compiler demands a line here for each method of a port, so no wrapper can miss a new one.
 */
import type { ItemKey, ItemMethod, ItemRange, ItemStore, ObjectStore, Stores } from './ports.ts';

/**
 * The methods of the two ports, named as the requests that they cost on AWS. `presign` costs none, and `concatObjects` costs
 * several.
 */
export type StoreRequest =
  | 'putObject'
  | 'getObject'
  | 'presign'
  | 'deleteObject'
  | 'listObjects'
  | 'concatObjects'
  | 'getItem'
  | 'putItem'
  | 'updateItem'
  | 'deleteItem'
  | 'query';

type StoreMethod = ObjectStore[keyof ObjectStore] | ItemStore[ItemMethod];

export type StoreArguments = Parameters<StoreMethod>;
export type StoreAnswer = Awaited<ReturnType<StoreMethod>>;

/**
 * Makes the function that stands in for one method. `run` calls the wrapped store; the result may call it with other
 * arguments, several times, or not at all. Called once for each method when the stores are wrapped, not for each request.
 */
export type Around = <Arguments extends StoreArguments, Answer extends StoreAnswer>(
  request: StoreRequest,
  run: (...args: Arguments) => Promise<Answer>,
) => (...args: Arguments) => Promise<Answer>;

/** The stores with `around` at each of their methods. */
export function aroundStores({ objects, items }: Stores, around: Around): Stores {
  return {
    objects: {
      put: around('putObject', (key, chunks) => objects.put(key, chunks)),
      get: around('getObject', (key, range) => objects.get(key, range)),
      presign: around('presign', (key, range, expiresAtMs) => objects.presign(key, range, expiresAtMs)),
      delete: around('deleteObject', (key) => objects.delete(key)),
      list: around('listObjects', (prefix, options) => objects.list(prefix, options)),
      concat: around('concatObjects', (key, sources, end) => objects.concat(key, sources, end)),
    },
    items: {
      get: around('getItem', (key) => items.get(key)),
      put: around('putItem', (key, attributes, conditions) => items.put(key, attributes, conditions)),
      update: around('updateItem', (key, updates, conditions, beside) =>
        items.update(key, updates, conditions, beside),
      ),
      putsBeside: items.putsBeside ?? false,
      delete: around('deleteItem', (key, conditions) => items.delete(key, conditions)),
      query: around('query', (range) => items.query(range)),
    },
  };
}

/** What a request is about: the key of the object, the prefix of a list of objects, or the partition key of the item or the range. */
export function keyOf([first]: readonly [string | ItemKey | ItemRange, ...unknown[]]): string {
  return typeof first === 'string' ? first : first.pk;
}
