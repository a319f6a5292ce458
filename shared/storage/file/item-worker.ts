/**
 * The thread that owns the database of a `SqliteItemStore`. SQLite may block it for as long as the disk does.
 *
 * The thread runs requests in drains. A drain is every request that waits, up to a bound, in order, inside one transaction.
 * So all operations that arrive during one sync share the next one. No result is sent before the commit: a read may have
 * seen a write of its own drain, and nobody may learn of that write before it is durable.
 */
import type { DatabaseSync } from 'node:sqlite';
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { EventLogError } from '../../log/errors.ts';
import type { ItemKey, ItemRange } from '../ports.ts';
import type { Write } from '../rules/item-checks.ts';
import { itemBytes, QUERY_PAGE_BYTES_MAX, writeUnits } from '../rules/item-size.ts';
import { checkBesideIsNew, decideWrite, expiryOf } from '../rules/item-writes.ts';
import { utf8Bytes } from '../utf8.ts';
import {
  messageOf,
  openDatabase,
  readDurability,
  SQLITE_CORRUPT,
  SQLITE_FULL,
  SQLITE_NOTADB,
  sqliteCode,
} from './database.ts';
import { decodeItem, encodeItem } from './item-codec.ts';
import type {
  Failure,
  FromWorker,
  ItemRequest,
  ItemResult,
  ItemSpan,
  ToWorker,
  WorkerOptions,
} from './item-protocol.ts';

/** Bounds on one transaction, and therefore on how long its first request waits. */
const DRAIN_REQUESTS_MAX = 1_000;
const DRAIN_BYTES_MAX = 16 * 1024 * 1024;
/** A bound on the expired items of one step. SQLite reads each page of an item to free it. */
const REMOVED_BYTES_MAX = 1024 * 1024;

const { port, options } = workerData as { readonly port: MessagePort; readonly options: WorkerOptions };

function main(): void {
  let database: DatabaseSync;
  try {
    database = openDatabase(options.path, options.tmpFolder);
  } catch (error) {
    // A thread that ends can overtake its last message. The other side closes the port instead, which ends this thread.
    port.ref();
    reply({ kind: 'open_failed', failure: failureOf(error) });
    return;
  }
  const drains = new Drains(database);
  port.on('message', (message: ToWorker) => {
    let received: ToWorker | undefined = message;
    while (received !== undefined) {
      if (received === 'close') {
        drains.close();
        reply({ kind: 'closed' });
        return;
      }
      drains.add(received.requests);
      if (drains.isFull) drains.run();
      received = receiveMessageOnPort(port)?.message;
    }
    drains.run();
  });
  reply({ kind: 'opened', durability: readDurability(database) });
}

function reply(message: FromWorker): void {
  port.postMessage(message, message.kind === 'results' ? [message.bytes.buffer] : []);
}

class Drains {
  readonly #database: DatabaseSync;
  readonly #statements: Statements;
  #waiting: ItemRequest[] = [];
  #waitingBytes = 0;
  #syncs = 0;

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#statements = prepareStatements(database);
  }

  get isFull(): boolean {
    return this.#waiting.length >= DRAIN_REQUESTS_MAX || this.#waitingBytes >= DRAIN_BYTES_MAX;
  }

  add(requests: readonly ItemRequest[]): void {
    for (const request of requests) {
      // One message may hold more than a drain takes.
      if (this.isFull) this.run();
      // A transaction of its own: damage in an expired item must not fail the appends of each drain that removes it.
      const isAlone = request.kind === 'remove_expired';
      if (isAlone) this.run();
      this.#waiting.push(request);
      if (isAlone) this.run();
      this.#waitingBytes += bytesToPut(request);
    }
  }

  /** Runs all waiting requests as one transaction, and sends their results. */
  run(): void {
    const requests = this.#waiting;
    if (requests.length === 0) return;
    this.#waiting = [];
    this.#waitingBytes = 0;
    const output = new Output();
    let results: ItemResult[];
    try {
      results = this.#runTogether(requests, output);
    } catch (error) {
      output.clear();
      const failure = failureOf(error);
      results = requests.map((request) => {
        return isRead(request) ? this.#runAlone(request, output) : { kind: 'failed', failure };
      });
    }
    reply({ kind: 'results', results, bytes: output.take(), syncs: this.#syncs });
  }

  close(): void {
    this.run();
    // Closing merges the write-ahead log into the database file. If that fails, as on a full disk, the log stays, and the
    // next opening continues from there.
    this.#database.close();
  }

  /** @throws EventLogError if the transaction failed: nothing of it was applied, or the outcome is `unknown`. */
  #runTogether(requests: readonly ItemRequest[], output: Output): ItemResult[] {
    if (requests.every(isRead)) return requests.map((request) => this.#runAlone(request, output));
    let committing = false;
    try {
      this.#database.exec('BEGIN IMMEDIATE');
      const results = requests.map((request) => this.#perform(request, output));
      committing = true;
      this.#database.exec('COMMIT');
      if (results.some(hasChanged)) this.#syncs++;
      return results;
    } catch (error) {
      this.#rollBack();
      throw storageError(error, committing);
    }
  }

  #runAlone(request: ItemRequest, output: Output): ItemResult {
    try {
      return this.#perform(request, output);
    } catch (error) {
      return { kind: 'failed', failure: failureOf(storageError(error, false)) };
    }
  }

  #rollBack(): void {
    try {
      this.#database.exec('ROLLBACK');
    } catch {
      // SQLite has rolled back by itself, as it does after some errors.
    }
  }

  /** @throws only errors of SQLite, after which the transaction can't continue. */
  #perform(request: ItemRequest, output: Output): ItemResult {
    try {
      switch (request.kind) {
        case 'get':
          return { kind: 'read', item: output.add(this.#read(request.key)) };
        case 'query':
          return this.#query(request.range, output);
        case 'remove_expired':
          return this.#removeExpired(request.end, request.limit);
        default:
          return this.#write(request, output);
      }
    } catch (error) {
      if (sqliteCode(error) !== undefined) throw error;
      return { kind: 'failed', failure: failureOf(error) };
    }
  }

  #read(key: ItemKey): Uint8Array | undefined {
    return this.#statements.get.get(key.pk, key.sk)?.attributes as Uint8Array | undefined;
  }

  #write(request: WriteRequest, output: Output): ItemResult {
    const { key } = request;
    const before = this.#read(key);
    const decision = decideWrite(key, before && decodeItem(before), writeOf(request));
    if (decision.kind === 'refused') return { kind: 'refused', item: output.add(before), units: decision.units };
    if (decision.after === undefined) {
      this.#statements.delete.run(key.pk, key.sk);
      return { kind: 'applied', item: undefined, units: decision.units };
    }
    const units = decision.units + this.#putBeside(request);
    const after = request.kind === 'put' ? request.item : encodeItem(decision.after);
    this.#statements.put.run(key.pk, key.sk, after, expiryOf(decision.after) ?? null);
    const item = request.kind === 'put' ? undefined : output.add(after);
    return { kind: 'applied', item, units };
  }

  #putBeside(request: WriteRequest): number {
    if (request.kind !== 'update' || request.beside === undefined) return 0;
    const { key, item } = request.beside;
    const found = this.#read(key);
    const before = found && decodeItem(found);
    const attributes = decodeItem(item);
    checkBesideIsNew(attributes, before);
    this.#statements.put.run(key.pk, key.sk, item, expiryOf(attributes) ?? null);
    return writeUnits(itemBytes(key, before), itemBytes(key, attributes));
  }

  #removeExpired(end: number, limit: number): ItemResult {
    // One row more than the limit shows whether there are others.
    const expired = this.#statements.expired.all(end, limit + 1);
    let removed = 0;
    let bytes = 0;
    for (const row of expired) {
      bytes += row.bytes as number;
      if (removed === limit || (removed > 0 && bytes > REMOVED_BYTES_MAX)) break;
      this.#statements.remove.run(row.rowid as number);
      removed++;
    }
    return { kind: 'removed', removed, more: expired.length > removed };
  }

  #query(range: ItemRange, output: Output): ItemResult {
    const statement = range.descending ? this.#statements.queryDescending : this.#statements.query;
    const [bounds, values] = boundsOf(range);
    // One row more than the limit shows whether there are others.
    const rows = statement[bounds].iterate(range.pk, ...values, Math.min(range.limit, Number.MAX_SAFE_INTEGER - 1) + 1);
    const items: (ItemSpan & { readonly sk: string })[] = [];
    let bytes = 0;
    for (const row of rows) {
      const sk = row.sk as string;
      const item = row.attributes as Uint8Array;
      // The encoded length is within a few bytes of the item's size as DynamoDB counts it.
      bytes += item.byteLength + utf8Bytes(range.pk) + utf8Bytes(sk);
      if (items.length === range.limit || (items.length > 0 && bytes > QUERY_PAGE_BYTES_MAX)) {
        return { kind: 'page', items, more: true };
      }
      items.push({ sk, ...output.add(item) });
    }
    return { kind: 'page', items, more: false };
  }
}

type Bounds = 'all' | 'from' | 'to' | 'between';

function boundsOf(range: ItemRange): [Bounds, string[]] {
  if (range.from !== undefined && range.to !== undefined) return ['between', [range.from, range.to]];
  if (range.from !== undefined) return ['from', [range.from]];
  if (range.to !== undefined) return ['to', [range.to]];
  return ['all', []];
}

type Statements = ReturnType<typeof prepareStatements>;

function prepareStatements(database: DatabaseSync) {
  const query = (order: 'ASC' | 'DESC') => {
    const prepare = (bounds: string) =>
      database.prepare(`SELECT sk, attributes FROM items WHERE pk = ? ${bounds} ORDER BY sk ${order} LIMIT ?`);
    return {
      all: prepare(''),
      from: prepare('AND sk >= ?'),
      to: prepare('AND sk < ?'),
      between: prepare('AND sk >= ? AND sk < ?'),
    };
  };
  return {
    get: database.prepare('SELECT attributes FROM items WHERE pk = ? AND sk = ?'),
    put: database.prepare(
      `INSERT INTO items VALUES (?, ?, ?, ?) ON CONFLICT (pk, sk)
       DO UPDATE SET attributes = excluded.attributes, expires_at = excluded.expires_at`,
    ),
    delete: database.prepare('DELETE FROM items WHERE pk = ? AND sk = ?'),
    // SQLite knows the length of a blob without reading it.
    expired: database.prepare(
      'SELECT rowid, length(attributes) AS bytes FROM items WHERE expires_at < ? ORDER BY expires_at LIMIT ?',
    ),
    remove: database.prepare('DELETE FROM items WHERE rowid = ?'),
    query: query('ASC'),
    queryDescending: query('DESC'),
  };
}

function bytesToPut(request: ItemRequest): number {
  if (request.kind === 'put') return request.item.byteLength;
  return request.kind === 'update' ? (request.beside?.item.byteLength ?? 0) : 0;
}

function isRead(request: ItemRequest): boolean {
  return request.kind === 'get' || request.kind === 'query';
}

function hasChanged(result: ItemResult): boolean {
  return result.kind === 'applied' || (result.kind === 'removed' && result.removed > 0);
}

type WriteRequest = Extract<ItemRequest, { kind: 'put' | 'update' | 'delete' }>;

function writeOf(request: WriteRequest): Write {
  if (request.kind !== 'put') return request;
  return { kind: 'put', attributes: decodeItem(request.item), conditions: request.conditions };
}

/** Collects the items of a reply back to back, so that one buffer crosses the threads. */
class Output {
  #items: Uint8Array[] = [];
  #bytes = 0;

  add(item: Uint8Array): ItemSpan;
  add(item: Uint8Array | undefined): ItemSpan | undefined;
  add(item: Uint8Array | undefined): ItemSpan | undefined {
    if (item === undefined) return undefined;
    const start = this.#bytes;
    this.#items.push(item);
    this.#bytes += item.byteLength;
    return { start, end: this.#bytes };
  }

  clear(): void {
    this.#items = [];
    this.#bytes = 0;
  }

  take(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(Buffer.allocUnsafeSlow(this.#bytes).buffer);
    let position = 0;
    for (const item of this.#items) {
      bytes.set(item, position);
      position += item.byteLength;
    }
    this.clear();
    return bytes;
  }
}

/**
 * What a failed transaction means for its writes. SQLite writes the commit frame last, so a full disk fails before it and
 * leaves nothing. A commit that fails in another way, such as a failed sync, may still be found by a recovery.
 */
function storageError(error: unknown, committing: boolean): EventLogError {
  const outcome = committing ? 'unknown' : 'not_applied';
  const primary = sqliteCode(error);
  switch (primary) {
    case undefined:
      return new EventLogError('internal', `The item store failed: ${messageOf(error)}.`, { outcome });
    case SQLITE_FULL:
      return new EventLogError('storage_full', 'No space is left for items.');
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return new EventLogError('corrupt_data', `The item database is damaged: ${messageOf(error)}.`, { outcome });
    default:
      return new EventLogError('storage_unavailable', `The item database failed: ${messageOf(error)}.`, {
        outcome,
        details: { sqliteCode: primary },
      });
  }
}

function failureOf(error: unknown): Failure {
  const { code, message, retry, outcome, details } =
    error instanceof EventLogError
      ? error
      : new EventLogError('internal', `The item store failed: ${messageOf(error)}.`);
  return { code, message, retry, outcome, details };
}

// Last, since the classes above exist only from here on.
main();
