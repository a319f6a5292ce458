import { expect, it } from 'vitest';
import { meteredStores } from '../../../../shared/broker/usage/metered-stores.ts';
import { noRequests } from '../../../../shared/broker/usage/request-counts.ts';
import { createUrlSigner } from '../../../../shared/storage/file/url-signer.ts';
import { MemoryItemStore } from '../../../../shared/storage/memory/item-store.ts';
import { MemoryObjectStore } from '../../../../shared/storage/memory/object-store.ts';
import type { Stores } from '../../../../shared/storage/ports.ts';

const KEY = { pk: 'p', sk: 's' };

/** An item of 9 KB: 3 units to read, 9 to write. */
function filled(): { readonly stores: Stores; readonly data: Uint8Array } {
  const signer = createUrlSigner({ secret: new Uint8Array(32), baseUrl: () => 'http://localhost' });
  return {
    stores: { items: new MemoryItemStore(), objects: new MemoryObjectStore({ signer }) },
    data: new Uint8Array(9_000),
  };
}

it('each request is counted under its own name, with the units and bytes that it is billed', async () => {
  const { stores, data } = filled();
  const counts = noRequests();
  const { items, objects } = meteredStores(stores, counts);
  const counted = async (request: () => Promise<unknown>): Promise<object> => {
    const before = { ...counts };
    await request();
    return Object.fromEntries(
      Object.entries(counts).flatMap(([name, count]) => {
        const more = count - before[name as keyof typeof before];
        return more === 0 ? [] : [[name, more]];
      }),
    );
  };
  expect(await counted(() => items.put(KEY, { data }))).toEqual({ putItem: 1, writeUnits: 9 });
  expect(await counted(() => items.get(KEY))).toEqual({ getItem: 1, readUnits: 3 });
  expect(await counted(() => items.query({ pk: 'p', limit: 1 }))).toEqual({ query: 1, readUnits: 3 });
  expect(await counted(() => items.update(KEY, [{ do: 'add', name: 'n', by: 1 }]))).toEqual({
    updateItem: 1,
    writeUnits: 9,
  });
  expect(await counted(() => items.put(KEY, {}, [{ if: 'item_absent' }]))).toEqual({ putItem: 1, writeUnits: 9 });
  expect(await counted(() => items.delete(KEY))).toEqual({ deleteItem: 1, writeUnits: 9 });
  expect(await counted(() => objects.put('a', [data, data]))).toEqual({ putObject: 1, bytesWritten: 18_000 });
  expect(await counted(() => objects.get('a', { start: 0, end: 100 }))).toEqual({ getObject: 1, bytesRead: 100 });
  expect(await counted(() => objects.get('none', { start: 0, end: 100 }))).toEqual({ getObject: 1 });
  const source = { key: 'a', range: { start: 10, end: 110 } };
  expect(await counted(() => objects.concat('b', [source, source], [data]))).toEqual({
    putObject: 1,
    getObject: 2,
    bytesRead: 200,
    bytesWritten: 9_200,
  });
  expect(await counted(() => objects.list('', { limit: 10 }))).toEqual({ listObjects: 1 });
  expect(await counted(() => objects.delete('b'))).toEqual({ deleteObject: 1 });
  expect(await counted(() => objects.presign('a', { start: 0, end: 100 }, 1))).toEqual({});
});

it('a request is counted when it is sent, also if it fails', async () => {
  const counts = noRequests();
  const { items } = meteredStores(filled().stores, counts);
  await expect(items.get({ pk: '', sk: 's' })).rejects.toMatchObject({ code: 'invalid_request' });
  expect(counts).toEqual({ ...noRequests(), getItem: 1 });
});
