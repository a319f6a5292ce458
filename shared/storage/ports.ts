/**
 * The four things Tailrace needs from the world. Everything else is computed.
 *
 * A port speaks of objects and items, never of topics or offsets, and every method is one request to the service behind
 * it, so that what an operation costs can be counted. The suites in `test/conformance` are the proof of these contracts:
 * every adapter passes them, also while faults are injected.
 *
 * Failures are thrown as `EventLogError`: `throttled`, `storage_unavailable`, `storage_full`, `corrupt_data`,
 * `data_folder_unusable` or `shutting_down`, and `invalid_request` for what can't be stored, each with its `outcome`. A write whose reply was lost has the outcome `unknown`: it may have been applied, or may still be.
 */

/** Bytes under a key, written once and never changed. S3, or files. */
export interface ObjectStore {
  /**
   * Stores the concatenation of `chunks` under `key`, whole or not at all, if there is no object of that name.
   * Durable on return; until then the chunks must not be changed. Answers `exists`, and changes nothing, where there is one: also after an own earlier try whose
   * reply was lost. Of racing puts of one key, one wins. Costs 1 PutObject.
   */
  put(key: string, chunks: readonly Uint8Array[]): Promise<'created' | 'exists'>;

  /**
   * The bytes `[range.start, range.end)` of an object, or `undefined` where there is no such object.
   * A range that goes past the object's end is answered short. Costs 1 GetObject.
   */
  get(key: string, range: ByteRange): Promise<Uint8Array | undefined>;

  /**
   * A URL by which anyone can GET those bytes without credentials until `expiresAtMs`, with `headers` sent along.
   * Costs no request.
   */
  presign(key: string, range: ByteRange, expiresAtMs: number): Promise<SignedUrl>;
}

/** Half-open: `start` in, `end` out; both in bytes from the object's beginning. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

export interface SignedUrl {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * Small items under a two-part key, each changed by single conditional writes. DynamoDB, or SQLite.
 *
 * Operations on one item are linearizable. Each write is atomic and durable on return.
 * Conditions and updates are closed sets, each of which compiles to one DynamoDB request. They treat what is not there
 * as neutral: an absent number counts as 0, an absent list as empty, and an update creates the item that it does not find.
 * An item holds at most 400 KB (`ITEM_BYTES_MAX`), a number is an integer within ±(2^53 − 1), and an attribute keeps its
 * type; a write that breaks this is refused with `invalid_request`. No attribute may be named `pk` or `sk`, and keys have
 * DynamoDB's sizes (2,048 and 1,024 bytes).
 */
export interface ItemStore {
  /** 1 GetItem; strongly consistent. */
  get(key: ItemKey): Promise<ItemRead>;

  /** Replaces the whole item, or creates it, if all conditions hold. 1 PutItem. */
  put(key: ItemKey, attributes: Attributes, conditions?: readonly Condition[]): Promise<WriteResult>;

  /**
   * Applies all updates if all conditions hold; the answer's `attributes` are the item's as they are afterwards.
   * No attribute may be named by two updates of one call. 1 UpdateItem.
   */
  update(key: ItemKey, updates: readonly Update[], conditions?: readonly Condition[]): Promise<WriteResult>;

  /** Removes the item, if all conditions hold; removing what is not there succeeds. 1 DeleteItem. */
  delete(key: ItemKey, conditions?: readonly Condition[]): Promise<WriteResult>;

  /**
   * The items of partition key `pk` with `from <= sk < to`, in order of `sk` by its UTF-8 bytes, or in reverse.
   * Answers at most `limit` (1 or more) items and about 1 MB, whichever comes first; `more` says that the range may hold others.
   * Strongly consistent per item; items written while pages are read may or may not be seen. 1 Query.
   */
  query(range: ItemRange): Promise<ItemPage>;
}

export interface ItemKey {
  readonly pk: string;
  readonly sk: string;
}

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
 * What must hold for a write to happen. Absent numbers count as 0, absent lists as empty; a string that is absent equals
 * none. `equals` and `at_most` never hold for an attribute of another type.
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
 * What a write changes. Absent numbers count as 0, absent lists as empty; but `remove_first` needs a list: without one the
 * write may be refused as `invalid_request`.
 */
export type Update =
  | { readonly do: 'set'; readonly name: string; readonly value: AttributeValue }
  | { readonly do: 'add'; readonly name: string; readonly by: number }
  | { readonly do: 'append'; readonly name: string; readonly values: readonly Uint8Array[] }
  | { readonly do: 'remove_first'; readonly name: string; readonly count: number }
  | { readonly do: 'remove'; readonly name: string };

/** `units` are DynamoDB's: reads of 4 KB (strong), writes of 1 KB, by the whole item; a refused write is billed too. */
export interface ItemRead {
  readonly attributes: Attributes | undefined;
  readonly units: number;
}

export type WriteResult =
  /** `attributes` are the item's after an update, what was given to a put, and none after a delete. */
  | { readonly ok: true; readonly attributes: Attributes; readonly units: number }
  /** A condition failed and nothing was changed; `attributes` is the item that was met, if there is one. */
  | { readonly ok: false; readonly attributes: Attributes | undefined; readonly units: number };

export interface ItemPage {
  readonly items: readonly { readonly sk: string; readonly attributes: Attributes }[];
  readonly more: boolean;
  readonly units: number;
}

/** All that a log keeps. */
export interface Stores {
  readonly objects: ObjectStore;
  readonly items: ItemStore;
}

/** Wall time, and waiting. Never trusted for correctness between processes. */
export interface Clock {
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  nowMs(): number;
  /** Resolves after `ms`, or at once when `signal` is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Bytes that no one can guess and that do not repeat. */
export interface Random {
  bytes(length: number): Uint8Array;
}
