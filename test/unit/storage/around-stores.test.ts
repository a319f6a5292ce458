import { expect, it } from 'vitest';
import { aroundStores, keyOf, type StoreRequest } from '../../../shared/storage/around-stores.ts';
import type { Condition, ItemMethod, ItemStore, ObjectStore } from '../../../shared/storage/ports.ts';
import { memoryStores } from '../../support/memory-broker.ts';

const KEY = { pk: 'p', sk: 's' };
const FAILING: readonly Condition[] = [{ if: 'equals', name: 'n', value: 7 }];

/** Each method, with every argument that it can take, and what it answers over stores that hold one item and one object. */
const ITEM_CALLS: {
  readonly [Method in ItemMethod]: readonly [StoreRequest, (items: ItemStore) => Promise<unknown>, unknown];
} = {
  get: ['getItem', (items) => items.get(KEY), { attributes: { n: 1 } }],
  put: ['putItem', (items) => items.put(KEY, { n: 2 }, FAILING), { ok: false }],
  update: ['updateItem', (items) => items.update(KEY, [{ do: 'add', name: 'n', by: 1 }], FAILING), { ok: false }],
  delete: ['deleteItem', (items) => items.delete(KEY, FAILING), { ok: false }],
  query: ['query', (items) => items.query({ pk: 'p', limit: 1 }), { items: [{ sk: 's' }] }],
};
const OBJECT_CALLS: {
  readonly [Method in keyof ObjectStore]: readonly [StoreRequest, (objects: ObjectStore) => Promise<unknown>, unknown];
} = {
  put: ['putObject', (objects) => objects.put('p', [new Uint8Array(2)]), 'exists'],
  get: ['getObject', (objects) => objects.get('p', { start: 1, end: 3 }), new Uint8Array([2, 3])],
  presign: [
    'presign',
    (objects) => objects.presign('p', { start: 1, end: 3 }, 5).catch((error: Error) => error.message),
    'This object store was made without a signer.',
  ],
  delete: ['deleteObject', (objects) => objects.delete('p'), undefined],
  list: ['listObjects', (objects) => objects.list('p', { after: 'o', limit: 1 }), { keys: [], more: false }],
  concat: [
    'concatObjects',
    (objects) => objects.concat('p', [], [new Uint8Array(2)]).then(({ bytesWritten }) => bytesWritten),
    2,
  ],
};

async function filledStores() {
  const stores = memoryStores();
  await stores.items.put(KEY, { n: 1 });
  await stores.objects.put('p', [new Uint8Array([1, 2, 3])]);
  return stores;
}

it('aroundStores stands at each method of both stores, and passes on what it is given and answered', async () => {
  const stores = await filledStores();
  const seen: [StoreRequest, string][] = [];
  const around = aroundStores(stores, (request, run) => (...args) => {
    seen.push([request, keyOf(args)]);
    return run(...args);
  });
  for (const [request, call, answer] of Object.values(ITEM_CALLS)) {
    const result = await call(around.items);
    expect(result).toMatchObject(answer as object);
    expect(result).toEqual(await call(stores.items));
    expect(seen.splice(0)).toEqual([[request, 'p']]);
  }
  for (const [request, call, answer] of Object.values(OBJECT_CALLS)) {
    expect(await call(around.objects)).toEqual(answer);
    expect(seen.splice(0)).toEqual([[request, 'p']]);
  }
});

it('aroundStores asks for each method once, when the stores are wrapped', async () => {
  const requests: StoreRequest[] = [];
  const { items } = aroundStores(await filledStores(), (request, run) => {
    requests.push(request);
    return run;
  });
  await items.get(KEY);
  await items.get(KEY);
  expect(requests.sort()).toEqual(
    [...Object.values(ITEM_CALLS), ...Object.values(OBJECT_CALLS)].map(([name]) => name).sort(),
  );
});
