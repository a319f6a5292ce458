import type { UrlSigner } from '../../../shared/storage/file/url-signer.ts';
import { MemoryObjectStore } from '../../../shared/storage/memory/object-store.ts';
import type { ItemStore, ObjectStore } from '../../../shared/storage/ports.ts';
import { EventLoop } from './event-loop.ts';
import { Fates } from './faults.ts';
import { SimulatedProcess } from './simulated-process.ts';
import { SimulatedStorage } from './simulated-storage.ts';
import { StorageWatch } from './storage-watch.ts';

/** The stores of one simulated process over a simulated storage, for callers who live in real time: no request fails. */
export function drivenStores(
  seed: number,
  signer: UrlSigner,
): { readonly items: ItemStore; readonly objects: ObjectStore } {
  const loop = new EventLoop();
  const storage = new SimulatedStorage(loop, new StorageWatch(() => true), new MemoryObjectStore({ signer }));
  const latency = { usualMs: 10, slowMs: 1_000, slowShare: 0.1, patienceMs: 5_000 };
  const fates = new Fates(seed, { rates: {}, keysFrom: '' });
  const { items, objects } = new SimulatedProcess({ id: 1, seed, loop, fates, storage, latency, skewMs: 0 });
  const driven = async <T>(answer: Promise<T>): Promise<T> => {
    let settled = false;
    const done = (): void => {
      settled = true;
    };
    answer.then(done, done);
    await loop.run(() => settled);
    return answer;
  };
  return {
    items: {
      get: (key) => driven(items.get(key)),
      put: (key, attributes, conditions) => driven(items.put(key, attributes, conditions)),
      update: (key, updates, conditions) => driven(items.update(key, updates, conditions)),
      delete: (key, conditions) => driven(items.delete(key, conditions)),
      query: (range) => driven(items.query(range)),
    },
    objects: {
      put: (key, chunks) => driven(objects.put(key, chunks)),
      get: (key, range) => driven(objects.get(key, range)),
      presign: (key, range, expiresAtMs) => objects.presign(key, range, expiresAtMs),
    },
  };
}
