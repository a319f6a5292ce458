import { once } from 'node:events';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { EventLogError } from '../../log/errors.ts';
import type {
  Attributes,
  AttributeValue,
  Condition,
  ExpiringItems,
  ItemKey,
  ItemPage,
  ItemRange,
  ItemRead,
  ItemStore,
  ItemToPut,
  RemovedItems,
  Update,
  WriteResult,
} from '../ports.ts';
import { checkBeside, checkItemKey, checkItemRange, checkRemoval, checkWrite } from '../rules/item-checks.ts';
import { itemBytes, readUnits } from '../rules/item-size.ts';
import { expiredBefore } from '../rules/item-writes.ts';
import type { Durability } from './database.ts';
import { decodeItem, encodeItem } from './item-codec.ts';
import {
  BurstBytes,
  type Failure,
  type FromWorker,
  type ItemRequest,
  type ItemResult,
  type ItemSpan,
  type ToWorker,
  type WorkerOptions,
} from './item-protocol.ts';

type OpeningMessage = Extract<FromWorker, { kind: 'opened' | 'open_failed' }>;
type Settled<Kind extends ItemResult['kind']> = Extract<ItemResult, { kind: Kind }>;

interface Waiting {
  readonly reads: boolean;
  resolve(result: ItemResult, bytes: Uint8Array): void;
  reject(error: EventLogError): void;
}

/**
 * An `ItemStore` in one SQLite database. No other process can open the database while the store is open.
 *
 * SQLite runs in its own thread, so the event loop never waits for the disk. All operations that wait there at the same time
 * form one transaction with one sync (see `item-worker.ts`). A write is on disk when it returns, and many concurrent writes
 * cost little more than one. An operation that arrives alone costs one sync.
 *
 * A write on a full disk fails with `storage_full` and was not applied. Once there is space, writes succeed again. If a
 * commit fails for another reason, its writes fail with `storage_unavailable` and the outcome `unknown`.
 *
 * An idle store does not keep its process alive.
 */
export class SqliteItemStore implements ItemStore, ExpiringItems {
  readonly putsBeside = true;
  /** The settings of the open database, as SQLite reports them. */
  readonly durability: Durability;
  readonly #worker: Worker;
  readonly #port: MessagePort;
  /** Requests that are sent or about to be sent, in the order in which the worker answers. */
  readonly #waiting: Waiting[] = [];
  #burst: ItemRequest[] = [];
  readonly #bytes = new BurstBytes();
  #syncs = 0;
  #closing: Promise<void> | undefined;
  #ended: EventLogError | undefined;

  /**
   * Opens the database, makes it if it is missing, and locks it until `close` or the end of the process. The time does not
   * depend on the number of items.
   * @throws EventLogError `data_folder_unusable` with a `reason` in its details: `in_use`, `version`, `foreign`, `corrupt` or
   * `not_writable`.
   */
  static async open(options: WorkerOptions): Promise<SqliteItemStore> {
    const { port1, port2 } = new MessageChannel();
    // After compilation the worker is a .js file next to this module. `tsc` rewrites imports, but not this URL.
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    const worker = new Worker(new URL(`./item-worker.${extension}`, import.meta.url), {
      workerData: { port: port2, options },
      transferList: [port2],
      execArgv: [],
    });
    const ready = await firstMessage(worker, port1);
    if (ready.kind === 'open_failed') {
      port1.close();
      throw errorOf(ready.failure);
    }
    return new SqliteItemStore(worker, port1, ready.durability);
  }

  private constructor(worker: Worker, port: MessagePort, durability: Durability) {
    this.#worker = worker;
    this.#port = port;
    this.durability = durability;
    port.on('message', (message: FromWorker) => this.#receive(message));
    worker.on('error', (error) => this.#end(`The item store's thread failed: ${error.message}.`, error));
    worker.on('exit', () => this.#end("The item store's thread has ended."));
    worker.unref();
    port.unref();
  }

  /** How many syncs the writes have cost so far, at most one for each write. */
  get syncs(): number {
    return this.#syncs;
  }

  async get(key: ItemKey): Promise<ItemRead> {
    checkItemKey(key);
    return this.#request<'read', ItemRead>({ kind: 'get', key: copyKey(key) }, (result, bytes) => {
      const attributes = decodeSpan(result.item, bytes);
      return { attributes, units: readUnits(itemBytes(key, attributes)) };
    });
  }

  async put(key: ItemKey, attributes: Attributes, conditions: readonly Condition[] = []): Promise<WriteResult> {
    checkWrite(key, { kind: 'put', attributes, conditions });
    const request = {
      kind: 'put',
      key: copyKey(key),
      item: encodeItem(attributes),
      conditions: conditions.map((condition) => this.#copyCondition(condition)),
    } as const;
    return this.#write(request, attributes);
  }

  async update(
    key: ItemKey,
    updates: readonly Update[],
    conditions: readonly Condition[] = [],
    beside?: ItemToPut,
  ): Promise<WriteResult> {
    checkWrite(key, { kind: 'update', updates, conditions });
    if (beside !== undefined) checkBeside(beside);
    const request = {
      kind: 'update',
      key: copyKey(key),
      updates: updates.map((update) => this.#copyUpdate(update)),
      conditions: conditions.map((condition) => this.#copyCondition(condition)),
      beside: beside && { key: copyKey(beside.key), item: encodeItem(beside.attributes) },
    } as const;
    return this.#write(request, {});
  }

  async delete(key: ItemKey, conditions: readonly Condition[] = []): Promise<WriteResult> {
    checkWrite(key, { kind: 'delete', conditions });
    const copies = conditions.map((condition) => this.#copyCondition(condition));
    return this.#write({ kind: 'delete', key: copyKey(key), conditions: copies }, {});
  }

  async query(range: ItemRange): Promise<ItemPage> {
    checkItemRange(range);
    return this.#request<'page', ItemPage>({ kind: 'query', range: { ...range } }, (result, bytes) => {
      let itemsBytes = 0;
      const items = result.items.map(({ sk, start, end }) => {
        const attributes = decodeItem(bytes.slice(start, end));
        itemsBytes += itemBytes({ pk: range.pk, sk }, attributes);
        return { sk, attributes };
      });
      return { items, more: result.more, units: readUnits(itemsBytes) };
    });
  }

  /** A step is a transaction of its own, with its own sync: if it fails, no other call fails with it. */
  async removeExpired(nowMs: number, limit: number): Promise<RemovedItems> {
    checkRemoval(nowMs, limit);
    return this.#request<'removed', RemovedItems>(
      { kind: 'remove_expired', end: expiredBefore(nowMs), limit },
      ({ removed, more }) => ({ removed, more }),
    );
  }

  /**
   * Waits for the calls that have begun, then checkpoints and releases the lock. Later calls fail with `shutting_down`. May
   * be called again; every call waits for the end.
   */
  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      if (this.#ended !== undefined) return resolve();
      this.#worker.once('exit', () => resolve());
      this.#worker.ref();
      this.#flush();
      this.#send('close');
    });
    return this.#closing;
  }

  #write(request: ItemRequest, known: Attributes): Promise<WriteResult> {
    return this.#request<'applied' | 'refused', WriteResult>(request, (result, bytes) => {
      const attributes = decodeSpan(result.item, bytes);
      if (result.kind === 'refused') return { ok: false, attributes, units: result.units };
      return { ok: true, attributes: attributes ?? known, units: result.units };
    });
  }

  #request<Kind extends ItemResult['kind'], Answer>(
    request: ItemRequest,
    answer: (result: Settled<Kind>, bytes: Uint8Array) => Answer,
  ): Promise<Answer> {
    return new Promise<Answer>((resolve, reject) => {
      if (this.#closing !== undefined) throw new EventLogError('shutting_down', 'The item store is closed.');
      if (this.#ended !== undefined) throw withOutcome(this.#ended, 'not_applied');
      // One message carries the requests of a whole turn, including those of callers that a result has just woken.
      if (this.#burst.length === 0) setImmediate(() => this.#flush());
      if (this.#waiting.length === 0) this.#port.ref();
      this.#burst.push(request);
      this.#waiting.push({
        reads: request.kind === 'get' || request.kind === 'query',
        resolve: (result, bytes) => {
          try {
            if (result.kind === 'failed') reject(errorOf(result.failure));
            else resolve(answer(result as Settled<Kind>, bytes));
          } catch (error) {
            reject(error);
          }
        },
        reject,
      });
    });
  }

  #copyCondition(condition: Condition): Condition {
    return condition.if === 'lacks' ? { ...condition, value: this.#bytes.copy(condition.value) } : { ...condition };
  }

  #copyUpdate(update: Update): Update {
    switch (update.do) {
      case 'set':
        return { ...update, value: this.#copyValue(update.value) };
      case 'append':
        return { ...update, values: update.values.map((value) => this.#bytes.copy(value)) };
      default:
        return { ...update };
    }
  }

  #copyValue(value: AttributeValue): AttributeValue {
    if (typeof value === 'string') return value;
    // A negative zero becomes zero, as in every encoding of an item.
    if (typeof value === 'number') return value + 0;
    return value instanceof Uint8Array ? this.#bytes.copy(value) : value.map((element) => this.#bytes.copy(element));
  }

  #flush(): void {
    if (this.#burst.length === 0) return;
    const requests = this.#burst;
    this.#burst = [];
    if (this.#ended !== undefined) return;
    const buffers = this.#bytes.take();
    for (const request of requests) {
      const put = request.kind === 'update' ? request.beside : request;
      if (put !== undefined && 'item' in put) buffers.push(put.item.buffer);
    }
    this.#send({ requests }, buffers);
  }

  #send(message: ToWorker, buffers: ArrayBuffer[] = []): void {
    this.#port.postMessage(message, buffers);
  }

  #receive(message: FromWorker): void {
    if (message.kind === 'closed') this.#port.close();
    if (message.kind !== 'results') return;
    this.#syncs = message.syncs;
    const answered = this.#waiting.splice(0, message.results.length);
    if (this.#waiting.length === 0) this.#port.unref();
    for (const [i, waiting] of answered.entries()) waiting.resolve(message.results[i]!, message.bytes);
  }

  #end(message: string, cause?: unknown): void {
    this.#ended ??= new EventLogError('storage_unavailable', message, { cause });
    for (const waiting of this.#waiting.splice(0)) {
      waiting.reject(withOutcome(this.#ended, waiting.reads ? 'not_applied' : 'unknown'));
    }
    this.#port.close();
  }
}

async function firstMessage(worker: Worker, port: MessagePort): Promise<OpeningMessage> {
  const listening = new AbortController();
  const { signal } = listening;
  try {
    const [message] = await Promise.race([
      once(port, 'message', { signal }),
      once(worker, 'exit', { signal }).then(() => {
        throw new EventLogError('internal', "The item store's thread did not start.", { outcome: 'not_applied' });
      }),
    ]);
    return message;
  } catch (error) {
    port.close();
    throw error;
  } finally {
    listening.abort();
  }
}

function errorOf(failure: Failure): EventLogError {
  const { code, message, ...options } = failure;
  return new EventLogError(code, message, options);
}

function withOutcome(error: EventLogError, outcome: 'not_applied' | 'unknown'): EventLogError {
  return new EventLogError(error.code, error.message, { cause: error.cause, outcome });
}

function copyKey(key: ItemKey): ItemKey {
  return { pk: key.pk, sk: key.sk };
}

/** A copy, so that an item that is kept does not keep all others of its answer. */
function decodeSpan(span: ItemSpan | undefined, bytes: Uint8Array): Attributes | undefined {
  return span && decodeItem(bytes.slice(span.start, span.end));
}
