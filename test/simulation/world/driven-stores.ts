import { aroundStores } from '../../../shared/storage/around-stores.ts';
import type { UrlSigner } from '../../../shared/storage/file/url-signer.ts';
import { MemoryObjectStore } from '../../../shared/storage/memory/object-store.ts';
import type { Stores } from '../../../shared/storage/ports.ts';
import { EventLoop } from './event-loop.ts';
import { Fates } from './faults.ts';
import { SimulatedProcess } from './simulated-process.ts';
import { SimulatedStorage } from './simulated-storage.ts';
import { StorageWatch } from './watch/storage-watch.ts';

/** The stores of one simulated process over a simulated storage, for callers who live in real time: no request fails. */
export function drivenStores(seed: number, signer: UrlSigner, { putsBeside = false } = {}): Stores {
  const loop = new EventLoop();
  const watch = new StorageWatch({ isAlive: () => true, nowMs: () => loop.nowMs });
  const storage = new SimulatedStorage(loop, watch, new MemoryObjectStore({ signer }), putsBeside);
  const latency = { usualMs: 10, slowMs: 1_000, slowShare: 0.1, patienceMs: 5_000 };
  const fates = new Fates(seed, { rates: {}, keysFrom: '' });
  const process = new SimulatedProcess({
    id: 1,
    seed,
    loop,
    fates,
    storage,
    latency,
    skewMs: 0,
    freezeMsMax: 0,
    skewMsMax: 0,
  });
  return aroundStores(process, (_, run) => async (...args) => {
    const answer = run(...args);
    let settled = false;
    const done = (): void => {
      settled = true;
    };
    answer.then(done, done);
    await loop.run(() => settled);
    return answer;
  });
}
