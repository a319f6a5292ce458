/**
 * The SQLite database that holds the items: opened, locked and recognised. For the worker: every call here blocks.
 *
 * The lock on the data folder is SQLite's own lock on this file, taken for good when it is opened; the operating system
 * lets go of it when the process dies, however it dies.
 * POSIX drops all of a process's locks on a file as soon as the process closes any descriptor of it, so nothing but SQLite may
 * open this file, not even to look at its header.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { chmodSync, closeSync, existsSync, fsyncSync, linkSync, openSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { EventLogError } from '../../log/errors.ts';

/** Persisted: "TLRC" as four bytes of ASCII, which tells this database from any other. */
const APPLICATION_ID = 0x544c5243;
/** Persisted: the format of the database, raised by every change that an older Tailrace could not read. */
const FORMAT_VERSION = 1;

/**
 * Inline batches reach 64 KiB. Measured: with a rowid table, whose payload may fill a page, puts and updates of 300 bytes
 * to 4 KB are two to four times as fast as WITHOUT ROWID, which moves all beyond a quarter of a page to other pages.
 */
const SCHEMA = `
  CREATE TABLE items (
    pk TEXT NOT NULL,
    sk TEXT NOT NULL,
    attributes BLOB NOT NULL,
    PRIMARY KEY (pk, sk)
  ) STRICT
`;
const PAGE_BYTES = 8192;
/** Together well under a second, for which the one who is refused waits. */
const LOCK_TRIES = 5;
const LOCK_WAIT_MS_MAX = 50;
const CACHE_KIB = 32 * 1024;
/** A write-ahead log that a burst has made larger than this is cut back after its checkpoint. */
const WAL_KEPT_BYTES = 64 * 1024 * 1024;

const SQLITE_BUSY = 5;
export const SQLITE_CORRUPT = 11;
export const SQLITE_FULL = 13;
export const SQLITE_NOTADB = 26;

/**
 * Opens and locks the database, making it if there is none. Takes the same time whatever it holds.
 * Throws `data_folder_unusable`, with `reason` in its details, and then has changed nothing.
 */
export function openDatabase(path: string, tmpFolder: string): DatabaseSync {
  try {
    // In this order: a log that is seen before its database is missed is nobody's who is just making one.
    const hasLog = existsSync(`${path}-wal`);
    if (!existsSync(path)) {
      if (hasLog)
        throw unusable('corrupt', `${path} is missing, but not its write-ahead log. Restore it from a backup.`);
      createDatabase(path, tmpFolder);
    }
    refuseForeign(path);
    return lockWithRetries(path);
  } catch (error) {
    throw error instanceof EventLogError ? error : openError(path, error);
  }
}

/** A database comes to be whole or not at all: a crash while it is made leaves a file in `tmpFolder`. */
function createDatabase(path: string, tmpFolder: string): void {
  const tmp = join(tmpFolder, `items-${randomBytes(12).toString('hex')}.sqlite`);
  try {
    const database = new DatabaseSync(tmp);
    database.exec(`
      PRAGMA page_size = ${PAGE_BYTES};
      PRAGMA synchronous = FULL;
      BEGIN;
      PRAGMA application_id = ${APPLICATION_ID};
      PRAGMA user_version = ${FORMAT_VERSION};
      ${SCHEMA};
      COMMIT;
    `);
    database.close();
    chmodSync(tmp, 0o600);
    linkSync(tmp, path);
    syncFolder(dirname(path));
  } catch (error) {
    // Another process has made one meanwhile, and may even have swept our file away; whose it is, the lock will tell.
    if (!existsSync(path)) throw error;
  } finally {
    rmSync(tmp, { force: true });
  }
}

/**
 * Looks at the header before anything is locked or written. `immutable` keeps SQLite from touching any file, the write-ahead
 * log of a newer version included; a version is therefore always set in the database file itself.
 */
function refuseForeign(path: string): void {
  const url = pathToFileURL(path);
  url.searchParams.set('immutable', '1');
  let header: Header;
  try {
    const database = new DatabaseSync(url, { readOnly: true });
    try {
      header = readHeader(database);
    } finally {
      database.close();
    }
  } catch (error) {
    // Without the lock the file may be read in the middle of a checkpoint; opening it for good decides.
    if (isSqliteError(error)) return;
    throw error;
  }
  checkHeader(path, header);
}

/** Of several that open the same database at the same moment, each may be in the way of the others; so they try again. */
function lockWithRetries(path: string): DatabaseSync {
  for (let tries = 1; ; tries++) {
    try {
      return lockDatabase(path);
    } catch (error) {
      if (sqliteCode(error) !== SQLITE_BUSY || tries === LOCK_TRIES) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10 + randomInt(LOCK_WAIT_MS_MAX));
    }
  }
}

function lockDatabase(path: string): DatabaseSync {
  const database = new DatabaseSync(path);
  try {
    // EXCLUSIVE must be set before the first access: then there is no shared-memory file either.
    database.exec(`
      PRAGMA busy_timeout = 0;
      PRAGMA locking_mode = EXCLUSIVE;
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      PRAGMA cache_size = -${CACHE_KIB};
      PRAGMA journal_size_limit = ${WAL_KEPT_BYTES};
      BEGIN IMMEDIATE;
      COMMIT;
    `);
    checkHeader(path, readHeader(database));
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

interface Header {
  readonly applicationId: number;
  readonly version: number;
}

function readHeader(database: DatabaseSync): Header {
  const read = (name: string): number => Number(database.prepare(`PRAGMA ${name}`).get()?.[name]);
  return { applicationId: read('application_id'), version: read('user_version') };
}

function checkHeader(path: string, header: Header): void {
  if (header.applicationId !== APPLICATION_ID) {
    throw unusable('foreign', `${path} is a database, but not one that Tailrace made. Choose another data folder.`);
  }
  if (header.version !== FORMAT_VERSION) {
    throw unusable(
      'version',
      `${path} has format version ${header.version}; this Tailrace supports version ${FORMAT_VERSION}. ` +
        'Nothing was changed. Run a release that supports it, or choose another data folder.',
      { foundVersion: header.version, supportedVersion: FORMAT_VERSION },
    );
  }
}

function openError(path: string, error: unknown): EventLogError {
  const primary = sqliteCode(error);
  if (primary === SQLITE_BUSY) return unusable('in_use', `${path} is in use.`);
  if (primary === SQLITE_CORRUPT || primary === SQLITE_NOTADB) {
    return unusable('corrupt', `${path} is not a readable database. Restore it from a backup.`, {}, error);
  }
  if (primary === SQLITE_FULL) return new EventLogError('storage_full', `No space is left for ${path}.`);
  return unusable('not_writable', `${path} can't be opened for writing: ${messageOf(error)}.`, {}, error);
}

export type UnusableReason = 'in_use' | 'version' | 'foreign' | 'corrupt' | 'not_writable' | 'not_a_folder';

export function unusable(
  reason: UnusableReason,
  message: string,
  details: Readonly<Record<string, string | number>> = {},
  cause?: unknown,
): EventLogError {
  return new EventLogError('data_folder_unusable', message, { details: { reason, ...details }, cause });
}

/** SQLite's primary result code, if `error` is one of SQLite. */
export function sqliteCode(error: unknown): number | undefined {
  return isSqliteError(error) ? error.errcode & 0xff : undefined;
}

function isSqliteError(error: unknown): error is Error & { readonly errcode: number } {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number';
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function syncFolder(folder: string): void {
  const descriptor = openSync(folder, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
