/**
 * The messages between `SqliteItemStore` and its worker.
 *
 * One message carries all requests of a burst. One message back carries all results of a transaction, in the order of the
 * requests, so no request needs a name. Messages are never stored.
 */
import type { ErrorCode, ErrorDetails, Outcome, Retry } from '../../log/errors.ts';
import type { Condition, ItemKey, ItemRange, RemovedItems, Update } from '../ports.ts';
import type { Durability } from './database.ts';

export interface WorkerOptions {
  readonly path: string;
  /** Where a new database is prepared, on the same file system. */
  readonly tmpFolder: string;
}

/** Attributes travel encoded by `item-codec.ts`. */
export type ItemRequest =
  | { readonly kind: 'get'; readonly key: ItemKey }
  | { readonly kind: 'query'; readonly range: ItemRange }
  | {
      readonly kind: 'put';
      readonly key: ItemKey;
      readonly item: Uint8Array<ArrayBuffer>;
      readonly conditions: readonly Condition[];
    }
  | {
      readonly kind: 'update';
      readonly key: ItemKey;
      readonly updates: readonly Update[];
      readonly conditions: readonly Condition[];
      readonly beside: { readonly key: ItemKey; readonly item: Uint8Array<ArrayBuffer> } | undefined;
    }
  | { readonly kind: 'delete'; readonly key: ItemKey; readonly conditions: readonly Condition[] }
  /** Removes up to `limit` items that expire before the second `end`. */
  | { readonly kind: 'remove_expired'; readonly end: number; readonly limit: number };

/** `close` is the last message. The worker then closes the database, says so, and ends when the port is closed. */
export type ToWorker = { readonly requests: readonly ItemRequest[] } | 'close';

/** The position of an encoded item in the message's `bytes`. */
export interface ItemSpan {
  readonly start: number;
  readonly end: number;
}

export type ItemResult =
  | { readonly kind: 'read'; readonly item: ItemSpan | undefined }
  | { readonly kind: 'page'; readonly items: readonly (ItemSpan & { readonly sk: string })[]; readonly more: boolean }
  /** `item` is absent if the caller knows it already: after a put and a delete. */
  | { readonly kind: 'applied'; readonly item: ItemSpan | undefined; readonly units: number }
  | { readonly kind: 'refused'; readonly item: ItemSpan | undefined; readonly units: number }
  | ({ readonly kind: 'removed' } & RemovedItems)
  | { readonly kind: 'failed'; readonly failure: Failure };

/** An `EventLogError` as plain data. */
export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly retry: Retry;
  readonly outcome: Outcome;
  readonly details: ErrorDetails;
}

export type FromWorker =
  | { readonly kind: 'opened'; readonly durability: Durability }
  | { readonly kind: 'open_failed'; readonly failure: Failure }
  | { readonly kind: 'closed' }
  | {
      readonly kind: 'results';
      readonly results: readonly ItemResult[];
      readonly bytes: Uint8Array<ArrayBuffer>;
      /** How many transactions have been committed, and so synced, since the store was opened. */
      readonly syncs: number;
    };

/** The first buffer of a burst. Most bursts need no other. */
const BUFFER_BYTES = 4_096;

/**
 * Copies of the bytes that a burst of requests names, side by side. A copy is needed, because a burst is sent after its callers
 * have gone on; and one buffer crosses to another thread much faster than many.
 */
export class BurstBytes {
  #buffers: ArrayBuffer[] = [];
  #used = 0;

  copy(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
    let buffer = this.#buffers.at(-1);
    if (buffer === undefined || this.#used + bytes.length > buffer.byteLength) {
      buffer = new ArrayBuffer(Math.max(BUFFER_BYTES, bytes.length));
      this.#buffers.push(buffer);
      this.#used = 0;
    }
    const copy = new Uint8Array(buffer, this.#used, bytes.length);
    copy.set(bytes);
    this.#used += bytes.length;
    return copy;
  }

  /** Returns the buffers of all copies, and forgets them. */
  take(): ArrayBuffer[] {
    const buffers = this.#buffers;
    this.#buffers = [];
    this.#used = 0;
    return buffers;
  }
}
