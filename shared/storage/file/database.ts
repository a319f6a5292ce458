/**
 * Opens, locks and recognises the SQLite database that holds the items. Only the worker calls it: every call here blocks.
 *
 * The lock on the data folder is SQLite's own lock on this file. It is taken when the file is opened and kept. The operating
 * system releases it when the process ends in any way. POSIX drops all of a process's locks on a file as soon as the process
 * closes any descriptor of the file. Therefore nothing but SQLite may open this file, not even to read its header.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { chmodSync, closeSync, existsSync, fsyncSync, linkSync, openSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { EventLogError } from '../../log/errors.ts';

/** Persisted: "TLRC" as four bytes of ASCII, which distinguishes this database from any other. */
const APPLICATION_ID = 0x544c5243;
/** Persisted: the format of the database. Every change that an older Tailrace can't read raises it. */
const FORMAT_VERSION = 3;

/**
 * Inline batches reach 256 KiB. Measured: with a rowid table, whose payload may fill a page, puts and updates of 300 bytes
 * to 4 KB are two to four times as fast as WITHOUT ROWID, which moves all beyond a quarter of a page to other pages.
 *
 * `expires_at` repeats the item's `EXPIRES_AT`, if that is a number. The index holds only the items that expire, so a write
 * of any other item costs no second page.
 */
const SCHEMA = `
  CREATE TABLE items (
    pk TEXT NOT NULL,
    sk TEXT NOT NULL,
    attributes BLOB NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (pk, sk)
  ) STRICT;
  CREATE INDEX items_by_expiry ON items (expires_at) WHERE expires_at IS NOT NULL;
`;
const PAGE_BYTES = 8192;
/** Together these are well under a second. A process that is refused waits this long. */
const LOCK_TRIES = 5;
const LOCK_WAIT_MS_MAX = 50;
const CACHE_KIB = 16 * 1024;
/** If a burst makes the write-ahead log larger than this, SQLite truncates it after the checkpoint. */
const WAL_KEPT_BYTES = 64 * 1024 * 1024;

const SQLITE_BUSY = 5;
export const SQLITE_CORRUPT = 11;
export const SQLITE_FULL = 13;
export const SQLITE_NOTADB = 26;

/**
 * Opens and locks the database, and makes it if it is missing. The time does not depend on what the database holds.
 * @throws EventLogError `data_folder_unusable`, with a `reason` in its details. Nothing has changed then.
 */
export function openDatabase(path: string, tmpFolder: string): DatabaseSync {
  try {
    // In this order: a process that is making a database right now has no log before it has the database.
    const hasLog = existsSync(`${path}-wal`);
    if (!existsSync(path)) {
      if (hasLog)
        throw unusable('corrupt', `${path} is missing, but its write-ahead log exists. Restore both from a backup.`);
      createDatabase(path, tmpFolder);
    }
    refuseForeign(path);
    return lockWithRetries(path);
  } catch (error) {
    throw error instanceof EventLogError ? error : openError(path, error);
  }
}

/** The database appears under its name complete, or not at all. A crash in between leaves a file in `tmpFolder`. */
function createDatabase(path: string, tmpFolder: string): void {
  const tmp = join(tmpFolder, `items-${randomBytes(12).toString('hex')}.sqlite`);
  try {
    const database = new DatabaseSync(tmp);
    database.exec(`
      PRAGMA page_size = ${PAGE_BYTES};
      PRAGMA synchronous = FULL;
      PRAGMA fullfsync = ON;
      BEGIN;
      PRAGMA application_id = ${APPLICATION_ID};
      PRAGMA user_version = ${FORMAT_VERSION};
      ${SCHEMA}
      COMMIT;
    `);
    database.close();
    chmodSync(tmp, 0o600);
    linkSync(tmp, path);
    syncFolder(dirname(path));
  } catch (error) {
    // Another process has made the database meanwhile, and may have swept this file from tmp. The lock decides who has it.
    if (!existsSync(path)) throw error;
  } finally {
    rmSync(tmp, { force: true });
  }
}

/**
 * Reads the header before anything is locked or written. `immutable` keeps SQLite from touching any file, including the
 * write-ahead log of a newer version. Therefore a version must always be set in the database file itself.
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
    // Without the lock, this may read the file in the middle of a checkpoint. The locked opening decides.
    if (isSqliteError(error)) return;
    throw error;
  }
  checkHeader(path, header);
}

/** Processes that open the same database at the same moment can block each other, so each tries again. */
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
    // FULL syncs the write-ahead log at every commit, and fullfsync makes that reach the disk itself on macOS.
    database.exec(`
      PRAGMA busy_timeout = 0;
      PRAGMA locking_mode = EXCLUSIVE;
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      PRAGMA fullfsync = ON;
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

/** What the durability of a commit depends on, as SQLite has it. */
export interface Durability {
  readonly journalMode: string;
  /** 0 is OFF, 1 NORMAL, 2 FULL, 3 EXTRA. */
  readonly synchronous: number;
  readonly fullFsync: boolean;
  readonly lockingMode: string;
}

export function readDurability(database: DatabaseSync): Durability {
  const read = (name: string) => database.prepare(`PRAGMA ${name}`).get()?.[name];
  return {
    journalMode: String(read('journal_mode')),
    synchronous: Number(read('synchronous')),
    fullFsync: read('fullfsync') === 1,
    lockingMode: String(read('locking_mode')),
  };
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
