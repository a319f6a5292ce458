import { EventLogError } from '../../shared/log/errors.ts';
import type {
  Attributes,
  ByteRange,
  Clock,
  Condition,
  ItemKey,
  ItemPage,
  ItemRange,
  ItemRead,
  ItemStore,
  ObjectStore,
  SignedUrl,
  Update,
  WriteResult,
} from '../../shared/storage/ports.ts';

/** One request to a store: what a plan of faults decides by. */
export interface StoreCall {
  readonly method: 'put_object' | 'get_object' | 'get' | 'put' | 'update' | 'delete' | 'query';
  /** The object's key, or the item's partition key. */
  readonly key: string;
  readonly updates?: readonly Update[];
}

/**
 * `throttled`: refused, for certain. `lost_request`: never arrives. `lost_reply`: takes effect, but no one hears of it.
 * `late`: no one hears of it, and it takes effect after all, `lateMs` later. `repeated`: the reply is lost, and a client
 * below sends the same again and answers with what that got.
 */
export type Fault = 'throttled' | 'lost_request' | 'lost_reply' | 'late' | 'repeated';

export interface FaultPlan {
  readonly fault?: Fault | undefined;
  /** Before it takes effect, and before it is answered. */
  readonly delayMs?: number;
  readonly lateMs?: number;
}

/** What becomes of each request; `undefined` for nothing special. */
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

export class FaultyItemStore implements ItemStore {
  private readonly store: ItemStore;
  private readonly clock: Clock;
  private readonly decide: DecideFault;

  constructor(store: ItemStore, clock: Clock, decide: DecideFault) {
    this.store = store;
    this.clock = clock;
    this.decide = decide;
  }

  get(key: ItemKey): Promise<ItemRead> {
    return run(this.clock, this.decide({ method: 'get', key: key.pk }), () => this.store.get(key));
  }

  put(key: ItemKey, attributes: Attributes, conditions?: readonly Condition[]): Promise<WriteResult> {
    return run(this.clock, this.decide({ method: 'put', key: key.pk }), () =>
      this.store.put(key, attributes, conditions),
    );
  }

  update(key: ItemKey, updates: readonly Update[], conditions?: readonly Condition[]): Promise<WriteResult> {
    return run(this.clock, this.decide({ method: 'update', key: key.pk, updates }), () =>
      this.store.update(key, updates, conditions),
    );
  }

  delete(key: ItemKey, conditions?: readonly Condition[]): Promise<WriteResult> {
    return run(this.clock, this.decide({ method: 'delete', key: key.pk }), () => this.store.delete(key, conditions));
  }

  query(range: ItemRange): Promise<ItemPage> {
    return run(this.clock, this.decide({ method: 'query', key: range.pk }), () => this.store.query(range));
  }
}

export class FaultyObjectStore implements ObjectStore {
  private readonly store: ObjectStore;
  private readonly clock: Clock;
  private readonly decide: DecideFault;

  constructor(store: ObjectStore, clock: Clock, decide: DecideFault) {
    this.store = store;
    this.clock = clock;
    this.decide = decide;
  }

  put(key: string, chunks: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    return run(this.clock, this.decide({ method: 'put_object', key }), () => this.store.put(key, chunks));
  }

  get(key: string, range: ByteRange): Promise<Uint8Array | undefined> {
    return run(this.clock, this.decide({ method: 'get_object', key }), () => this.store.get(key, range));
  }

  presign(key: string, range: ByteRange, expiresAtMs: number): Promise<SignedUrl> {
    return this.store.presign(key, range, expiresAtMs);
  }
}

/** The stores behind faults. */
export function faultyStores<S extends { objects: ObjectStore; items: ItemStore; clock: Clock }>(
  stores: S,
  decide: DecideFault,
): S {
  return {
    ...stores,
    objects: new FaultyObjectStore(stores.objects, stores.clock, decide),
    items: new FaultyItemStore(stores.items, stores.clock, decide),
  };
}
