import { EventLogError } from '../../shared/log/errors.ts';
import { aroundStores, keyOf, type StoreRequest } from '../../shared/storage/around-stores.ts';
import type { Clock, Stores, Update } from '../../shared/storage/ports.ts';

/** One request to a store. Faults are decided by it. */
export interface StoreCall {
  readonly method: (typeof METHODS)[keyof typeof METHODS];
  /** The object's key, or the item's partition key. */
  readonly key: string;
  readonly updates?: readonly Update[];
}

/**
 * `throttled`: rejected for certain. `lost_request`: never arrives. `lost_reply`: takes effect, but the reply is lost.
 * `late`: there is no reply, and the request takes effect `lateMs` later. `repeated`: the reply is lost, and a client below
 * sends the same request again and returns the second reply.
 */
export type Fault = 'throttled' | 'lost_request' | 'lost_reply' | 'late' | 'repeated';

export interface FaultPlan {
  readonly fault?: Fault | undefined;
  /** The delay before the request takes effect, and again before its reply. */
  readonly delayMs?: number;
  readonly lateMs?: number;
}

/** Decides the fault of each request; `undefined` for none. */
export type DecideFault = (call: StoreCall) => FaultPlan | undefined;

async function run<T>(clock: Clock, plan: FaultPlan | undefined, request: () => Promise<T>): Promise<T> {
  const { fault, delayMs = 0, lateMs = 0 } = plan ?? {};
  if (delayMs > 0) await clock.sleep(delayMs);
  if (fault === 'throttled') throw new EventLogError('throttled', 'Injected: throttled.');
  if (fault === 'lost_request' || fault === 'late') {
    if (fault === 'late')
      void clock
        .sleep(lateMs)
        .then(request)
        .catch(() => {});
    throw new EventLogError('storage_unavailable', 'Injected: no reply.');
  }
  const result = await request();
  if (fault === 'lost_reply') throw new EventLogError('storage_unavailable', 'Injected: the reply was lost.');
  if (delayMs > 0) await clock.sleep(delayMs);
  return fault === 'repeated' ? request() : result;
}

const METHODS = {
  putObject: 'put_object',
  getObject: 'get_object',
  deleteObject: 'delete_object',
  listObjects: 'list_objects',
  concatObjects: 'concat_objects',
  getItem: 'get',
  putItem: 'put',
  updateItem: 'update',
  deleteItem: 'delete',
  query: 'query',
} as const satisfies Record<Exclude<StoreRequest, 'presign'>, string>;

/** The stores, with injected faults. */
export function faultyStores<S extends Stores & { readonly clock: Clock }>(stores: S, decide: DecideFault): S {
  const around = aroundStores(stores, (request, send) => {
    if (request === 'presign') return send;
    return (...args) => {
      const updates = request === 'updateItem' ? { updates: args[1] as readonly Update[] } : {};
      const plan = decide({ method: METHODS[request], key: keyOf(args), ...updates });
      return run(stores.clock, plan, () => send(...args));
    };
  });
  return { ...stores, ...around };
}
