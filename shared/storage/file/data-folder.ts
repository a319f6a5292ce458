/**
 * The folder that holds an embedded log:
 *
 *     items.sqlite, items.sqlite-wal   the items; SQLite's lock on it is the lock on the folder
 *     objects/<key>                    one file per object
 *     tmp/                             what is being written; emptied when the folder is opened
 *     secret                           32 random bytes under which URLs of objects are signed
 *     holder.json                      who has the folder open, for the message to others; no lock
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { EventLogError } from '../../log/errors.ts';
import { type UnusableReason, unusable } from './database.ts';
import { FolderSyncs } from './folder-syncs.ts';
import { SqliteItemStore } from './item-store.ts';
import { FileObjectStore, isCode, storageError } from './object-store.ts';
import { createUrlSigner, type UrlSigner, type UrlVerifier } from './url-signer.ts';

const SECRET_BYTES = 32;

export interface DataFolderOptions {
  /** Where the objects are served, asked whenever a URL is signed. Without it nothing can be presigned. */
  readonly baseUrl?: () => string;
}

export interface DataFolder {
  readonly objects: FileObjectStore;
  readonly items: SqliteItemStore;
  /** Verifies the URLs that `objects` has signed, those of an earlier run included. */
  readonly signer: UrlSigner & UrlVerifier;
  /**
   * Answers what was asked before, writes all back to one database file, and lets go of the folder. Both stores then
   * reject with `shutting_down`. May be called again; every call waits for the end.
   */
  close(): Promise<void>;
}

/**
 * Opens a data folder, making it if there is none (for its owner alone), and keeps all others out until `close` or the end
 * of the process, however it ends. Its time doesn't depend on what the folder holds. A folder on a full disk opens too, to be
 * read.
 *
 * Throws `data_folder_unusable`, with a `reason` in its details, for a folder that another opening holds (its process is
 * named), that has another format version, that can't be written, or that is no data folder. Such a folder is left as it was.
 */
export async function openDataFolder(path: string, options: DataFolderOptions = {}): Promise<DataFolder> {
  const folder = resolve(path);
  const tmpFolder = join(folder, 'tmp');
  await makeFolder(folder, tmpFolder);
  const items = await openItems(folder, tmpFolder);
  try {
    const baseUrl = options.baseUrl ?? noBaseUrl;
    const secret = await readSecret(folder, tmpFolder);
    const signer = createUrlSigner({ secret, baseUrl });
    const objects = await FileObjectStore.open({ folder, signer });
    const holder = join(folder, 'holder.json');
    await writeHolder(tmpFolder, holder);
    let closing: Promise<void> | undefined;
    const close = async (): Promise<void> => {
      await objects.close();
      // While the lock is still ours: afterwards the file may be another's.
      await rm(holder, { force: true }).catch(() => undefined);
      await items.close();
    };
    return {
      objects,
      items,
      signer,
      close: () => {
        closing ??= close();
        return closing;
      },
    };
  } catch (error) {
    await items.close();
    throw storageError(error, 'not_applied');
  }
}

async function writeHolder(tmpFolder: string, path: string): Promise<void> {
  const text = JSON.stringify({ pid: process.pid, since: new Date().toISOString() });
  try {
    await replaceFile(tmpFolder, path, `${text}\n`, 0o644);
  } catch (error) {
    // On a full disk the folder opens all the same, so that what it holds can be read; only nobody is named then.
    if (storageError(error, 'not_applied').code !== 'storage_full') throw error;
    await rm(path, { force: true });
  }
}

/** Makes the folder and everything above it that is missing, and finds out whether it can be written. */
async function makeFolder(folder: string, tmpFolder: string): Promise<void> {
  try {
    const first = await mkdir(folder, { recursive: true, mode: 0o700 });
    const syncs = new FolderSyncs();
    if (first !== undefined) {
      for (let path = folder; path.length >= first.length; path = dirname(path)) await syncs.sync(dirname(path));
    }
    await mkdir(tmpFolder, { recursive: true, mode: 0o700 });
    const probe = join(tmpFolder, `probe-${randomBytes(8).toString('hex')}`);
    await (await open(probe, 'wx', 0o600)).close();
    await rm(probe, { force: true });
  } catch (error) {
    if (isCode(error, 'ENOSPC', 'EDQUOT') && (await isFolder(tmpFolder))) return;
    if (isCode(error, 'EEXIST', 'ENOTDIR')) {
      throw refused('not_a_folder', folder, 'it is a file, not a folder', 'Choose another path.', error);
    }
    // On a read-only disk a recursive mkdir says ENOENT.
    if (isCode(error, 'EROFS', 'EACCES', 'EPERM', 'ENOENT')) {
      const remedy = 'Give this user the right to write there, or choose another path.';
      throw refused('not_writable', folder, 'it can not be written', remedy, error);
    }
    throw storageError(error, 'not_applied');
  }
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}

async function openItems(folder: string, tmpFolder: string): Promise<SqliteItemStore> {
  try {
    return await SqliteItemStore.open({ path: join(folder, 'items.sqlite'), tmpFolder });
  } catch (error) {
    if (!(error instanceof EventLogError) || error.details.reason !== 'in_use') throw error;
    const pid = await holderPid(folder);
    const holder =
      pid === undefined ? 'another process' : pid === process.pid ? `this process (${pid})` : `process ${pid}`;
    throw unusable(
      'in_use',
      `The data folder ${folder} is in use by ${holder}. Stop it first, or choose another data folder.`,
      { folder, ...(pid === undefined ? {} : { pid }) },
      error,
    );
  }
}

async function holderPid(folder: string): Promise<number | undefined> {
  try {
    const holder: unknown = JSON.parse(await readFile(join(folder, 'holder.json'), 'utf8'));
    if (typeof holder !== 'object' || holder === null || !('pid' in holder)) return undefined;
    return typeof holder.pid === 'number' ? holder.pid : undefined;
  } catch {
    return undefined;
  }
}

async function readSecret(folder: string, tmpFolder: string): Promise<Uint8Array> {
  const path = join(folder, 'secret');
  try {
    const secret = await readFile(path);
    if (secret.byteLength === SECRET_BYTES) return secret;
  } catch (error) {
    if (!isCode(error, 'ENOENT')) throw error;
  }
  const secret = randomBytes(SECRET_BYTES);
  await replaceFile(tmpFolder, path, secret, 0o600);
  return secret;
}

/** Whole or not at all, also when power is lost. */
async function replaceFile(tmpFolder: string, path: string, content: Uint8Array | string, mode: number): Promise<void> {
  const tmp = join(tmpFolder, `file-${randomBytes(8).toString('hex')}`);
  try {
    const file = await open(tmp, 'wx', mode);
    try {
      await file.writeFile(content);
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(tmp, path);
  } catch (error) {
    await rm(tmp, { force: true }).catch(() => undefined);
    throw error;
  }
  await new FolderSyncs().sync(dirname(path));
}

function refused(reason: UnusableReason, folder: string, why: string, remedy: string, cause: unknown): EventLogError {
  return unusable(reason, `The data folder ${folder} can't be used: ${why}. ${remedy}`, { folder }, cause);
}

function noBaseUrl(): string {
  throw new EventLogError('internal', 'This data folder was opened without a base URL.', { outcome: 'not_applied' });
}
