import { aroundStores } from '../../shared/storage/around-stores.ts';
import type { Stores } from '../../shared/storage/ports.ts';

export interface DyingStores<S extends Stores> {
  readonly stores: S;
  /** Resolves when the process has died. */
  readonly died: Promise<'died'>;
  /** The requests so far. */
  readonly requests: () => number;
}

/**
 * Stores of a process that dies at the request after the first `requestsMax`: the request takes effect or not, and neither
 * it nor any later one is ever answered.
 */
export function dyingStores<S extends Stores>(
  stores: S,
  requestsMax: number,
  lastOne: 'is_sent' | 'is_not_sent' = 'is_not_sent',
): DyingStores<S> {
  let requests = 0;
  let die: (how: 'died') => void = () => {};
  const died = new Promise<'died'>((resolve) => {
    die = resolve;
  });
  const around = aroundStores(stores, (request, send) => (...args) => {
    if (request === 'presign' || requests++ < requestsMax) return send(...args);
    if (requests === requestsMax + 1 && lastOne === 'is_sent') void send(...args).finally(() => die('died'));
    else die('died');
    return new Promise(() => {});
  });
  return { stores: { ...stores, ...around }, died, requests: () => requests };
}
