/**
 * The four things that Tailrace needs from the world: objects, items, time and randomness.
 *
 * A port knows objects and items. It does not know topics or offsets. Each method of a store costs one request to the
 * service behind it, or says how many it made, so the cost of an operation can be counted. The suites in `test/conformance` check these contracts:
 * every adapter passes them, also while faults are injected.
 *
 * A failed method throws an `EventLogError` with one of these codes: `throttled`, `storage_unavailable`, `storage_full`,
 * `corrupt_data`, `data_folder_unusable`, `shutting_down`, or `invalid_request` for what can't be stored. Each error has
 * an `outcome`. If the reply to a write was lost, the outcome is `unknown`: the write may have been applied, or may be
 * applied later.
 */

/** Bytes under a key, written once, never changed, and removed as a whole. Adapters: S3, files, memory. */
export interface ObjectStore {
  /**
   * Stores the concatenation of `chunks` under `key` if the key is free, completely or not at all.
   *
   * The object is durable when `created` is returned. The caller must not change the chunks before that.
   * Returns `exists`, and changes nothing, if the key is taken. This includes the case where an earlier attempt by the
   * same caller succeeded but its reply was lost. After `exists` the object is durable too.
   * If several callers put one key at the same time, one of them creates the object. Costs 1 PutObject.
   */
  put(key: string, chunks: readonly Uint8Array[]): Promise<'created' | 'exists'>;

  /**
   * Returns the bytes `[range.start, range.end)` of an object, or `undefined` if the object does not exist.
   * Returns fewer bytes only if the object ends before `range.end`. An object is visible to every `get` that starts
   * after its `put` has returned. Costs 1 GetObject.
   */
  get(key: string, range: ByteRange): Promise<Uint8Array | undefined>;

  /**
   * Returns a URL that serves these bytes, and no others, to anyone until `expiresAtMs`. The request is a GET without
   * credentials that sends `headers`. The range must hold at least one byte. Costs no request.
   */
  presign(key: string, range: ByteRange, expiresAtMs: number): Promise<SignedUrl>;

  /**
   * Removes the object. Removing a missing one succeeds. When this returns, the object is gone for good: no `get` that
   * starts afterwards finds it, unless a later `put` or `concat` has created it again. Costs 1 DeleteObject.
   */
  delete(key: string): Promise<void>;

  /**
   * Returns the keys that begin with `prefix` and come after `after`, in the order of their UTF-8 bytes.
   *
   * A page has at most `limit` keys (1 to 1,000). `more` is true if there may be further keys, and such a page has at least
   * one key, so the last key is the next `after`. An object that was put before the call is listed, and one that was deleted
   * before is not. Objects that are put or deleted meanwhile may be listed or missing. `prefix` is empty or the beginning of
   * a key, and `after` is a key, of an object or not. Costs 1 ListObjectsV2.
   */
  list(prefix: string, options: ListOptions): Promise<ObjectPage>;

  /**
   * Stores the bytes of all `sources`, one after the other, followed by `end`, under `key` if the key is free. Completely or
   * not at all, and with all that `put` promises. Each range holds at least one byte.
   *
   * Rejects with `corrupt_data`, and creates nothing, if a source does not exist or ends before its range does. If the key is
   * taken as well, it may return `exists` instead. Needs memory for a few parts of 5 MiB and for `end`, however large the
   * object becomes. Costs the requests that the result counts. Where the service copies large ranges by itself, they
   * count as requests but not as bytes. A rejected call does not tell what it cost.
   */
  concat(key: string, sources: readonly ObjectSource[], end: readonly Uint8Array[]): Promise<ConcatResult>;
}

export interface ListOptions {
  readonly after?: string;
  readonly limit: number;
}

export interface ObjectPage {
  readonly keys: readonly string[];
  readonly more: boolean;
}

/** Bytes of an existing object. */
export interface ObjectSource {
  readonly key: string;
  readonly range: ByteRange;
}

export interface ConcatResult {
  readonly result: 'created' | 'exists';
  /** Requests that are billed as a PutObject: puts, server-side copies, and the beginning and the end of an upload. */
  readonly puts: number;
  /** Requests that are billed as a GetObject. */
  readonly gets: number;
  /** Bytes that passed through this process. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

/** A half-open range: it includes `start` and excludes `end`. Both count bytes from the beginning of the object. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

export interface SignedUrl {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * Small items under a two-part key. Each write is conditional and changes one item. Adapters: DynamoDB, SQLite, memory.
 *
 * Operations on one item are linearizable. Each write is atomic, and durable when it is returned.
 *
 * Conditions and updates are closed sets, and the conditions and updates of one call compile to one DynamoDB request.
 * They treat absence as neutral: an absent number counts as 0, an absent list is empty, and an update creates a missing
 * item.
 *
 * An item holds at most 400 KB (`ITEM_BYTES_MAX`), including its key. A number is an integer within ±(2^53 − 1). An update
 * never changes the type of an attribute, except by `set`. A write that breaks one of these rules is rejected with
 * `invalid_request`. `pk` and `sk` are not valid names of attributes. Keys have DynamoDB's limits: 2,048 bytes for `pk`,
 * 1,024 bytes for `sk`.
 *
 * An item expires if its attribute `EXPIRES_AT` (`keys.ts`) is a number: seconds since 1970-01-01T00:00:00Z. The store may
 * remove it at any time after that second, and may keep it for days. Until it is removed every request finds it, so a
 * caller that must not use an expired item checks the attribute itself. The removal costs no request. A store never
 * removes an item without the attribute, or with an attribute of another type.
 */
export interface ItemStore {
  /** Reads an item, strongly consistent. Costs 1 GetItem. */
  get(key: ItemKey): Promise<ItemRead>;

  /** Replaces the whole item or creates it, if all conditions hold. Costs 1 PutItem. */
  put(key: ItemKey, attributes: Attributes, conditions?: readonly Condition[]): Promise<WriteResult>;

  /**
   * Applies all updates if all conditions hold. The result has the attributes of the whole item after the write.
   * Each update of a call must name another attribute. Costs 1 UpdateItem.
   *
   * `beside`, which only stores with `putsBeside` take, is put if the updates are applied, and only then: both are durable
   * together, or neither is ever seen. It is a new item, or what an earlier attempt has put: the call is rejected with
   * `storage_unavailable`, and changes nothing, if its key has other attributes.
   */
  update(
    key: ItemKey,
    updates: readonly Update[],
    conditions?: readonly Condition[],
    beside?: ItemToPut,
  ): Promise<WriteResult>;

  /** Whether `update` takes an item to put beside. DynamoDB would take twice the price for it. */
  readonly putsBeside?: boolean;

  /** Removes the item if all conditions hold. Removing a missing item succeeds. Costs 1 DeleteItem. */
  delete(key: ItemKey, conditions?: readonly Condition[]): Promise<WriteResult>;

  /**
   * Returns the items of partition key `pk` with `from <= sk < to`, ordered by the UTF-8 bytes of `sk`, or in reverse.
   *
   * A page has at most `limit` items (1 or more) and about 1 MB, whichever comes first. `more` is true if the range may
   * hold further items, and such a page has at least one item. Each item is read strongly consistent. Items that are
   * written during the query may be included or missing. Costs 1 Query.
   */
  query(range: ItemRange): Promise<ItemPage>;
}

export type ItemMethod = Exclude<keyof ItemStore, 'putsBeside'>;

/** An item with its key. */
export interface ItemToPut {
  readonly key: ItemKey;
  readonly attributes: Attributes;
}

/** How expired items are removed from a store whose service does not remove them by itself. */
export interface ExpiringItems {
  /**
   * Removes up to `limit` (1 to 1,000) of the items that had expired at `nowMs`, the oldest first, and fewer if they are
   * large. One call is one short step. The removal is atomic with respect to writes: an item whose expiry was just
   * changed is judged by what it holds now.
   * @throws EventLogError like a write. Nothing is lost then: the items stay, and a later call removes them.
   */
  removeExpired(nowMs: number, limit: number): Promise<RemovedItems>;
}

export interface RemovedItems {
  readonly removed: number;
  /** Whether there may be further expired items. */
  readonly more: boolean;
}

export interface ItemKey {
  readonly pk: string;
  readonly sk: string;
}

/** A half-open range of sort keys. A bound is at most 1,024 bytes. An empty one is below every key. */
export interface ItemRange {
  readonly pk: string;
  readonly from?: string;
  readonly to?: string;
  readonly descending?: boolean;
  readonly limit: number;
}

/** Numbers are integers within ±(2^53 − 1). */
export type AttributeValue = string | number | Uint8Array | readonly Uint8Array[];

export type Attributes = Readonly<Record<string, AttributeValue>>;

/**
 * A condition of a write. An absent number counts as 0, and an absent list is empty. An absent string equals no string.
 * `equals` and `at_most` never hold for an attribute of another type.
 */
export type Condition =
  | { readonly if: 'item_exists' }
  | { readonly if: 'item_absent' }
  | { readonly if: 'equals'; readonly name: string; readonly value: string | number }
  | { readonly if: 'absent'; readonly name: string }
  | { readonly if: 'at_most'; readonly name: string; readonly value: number }
  | { readonly if: 'lacks'; readonly name: string; readonly value: Uint8Array }
  | { readonly if: 'shorter_than'; readonly name: string; readonly length: number };

/**
 * A change to one attribute. An absent number counts as 0, and an absent list is empty. `remove_first` needs an existing
 * list: without one, an adapter may reject the write with `invalid_request`.
 */
export type Update =
  | { readonly do: 'set'; readonly name: string; readonly value: AttributeValue }
  | { readonly do: 'add'; readonly name: string; readonly by: number }
  | { readonly do: 'append'; readonly name: string; readonly values: readonly Uint8Array[] }
  | { readonly do: 'remove_first'; readonly name: string; readonly count: number }
  | { readonly do: 'remove'; readonly name: string };

/**
 * `attributes` is undefined if the item does not exist. `units` counts what DynamoDB bills, by the size of the whole item:
 * one unit for each 4 KB of a strongly consistent read and for each 1 KB of a write. A refused write is billed too.
 */
export interface ItemRead {
  readonly attributes: Attributes | undefined;
  readonly units: number;
}

export type WriteResult =
  /** `attributes` holds the whole item after an update, the given attributes after a put, and nothing after a delete. */
  | { readonly ok: true; readonly attributes: Attributes; readonly units: number }
  /**
   * A condition failed, and nothing was changed. `attributes` is the item that the write found, if it exists. `mayBeApplied`: the
   * adapter has sent the write before without getting a reply, so that an earlier attempt may have been applied.
   */
  | {
      readonly ok: false;
      readonly attributes: Attributes | undefined;
      readonly units: number;
      readonly mayBeApplied?: boolean;
    };

export interface ItemPage {
  readonly items: readonly { readonly sk: string; readonly attributes: Attributes }[];
  readonly more: boolean;
  readonly units: number;
}

/** The two stores of a log. */
export interface Stores {
  readonly objects: ObjectStore;
  readonly items: ItemStore;
}

/** Wall-clock time, and waiting. Correctness never depends on the clocks of two processes agreeing. */
export interface Clock {
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  nowMs(): number;
  /** Resolves after `ms` milliseconds, or as soon as `signal` is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Random bytes that nobody can guess and that do not repeat. */
export interface Random {
  bytes(length: number): Uint8Array;
}
