/**
 * The folder that holds an embedded log:
 *
 *     items.sqlite, items.sqlite-wal   the items; SQLite's lock on the database is the lock on the folder
 *     objects/<key>                    one file for each object
 *     tmp/                             files that are being written; emptied when the folder is opened
 *     secret                           32 random bytes, the key that signs URLs of objects
 *     holder.json                      the process that has the folder open, for error messages; not a lock
 */
import * as nodeFileSystem from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { EventLogError } from '../../log/errors.ts';
import type { ItemStore } from '../ports.ts';
import { unusable } from './database.ts';
import type { FileSystem } from './file-system.ts';
import { holderPid, makeFolder, readSecret, removeHolder, writeHolder } from './folder-files.ts';
import type { WorkerOptions } from './item-protocol.ts';
import { SqliteItemStore } from './item-store.ts';
import { FileObjectStore, type SlowObjects, storageError } from './object-store.ts';
import { createUrlSigner, type UrlSigner, type UrlVerifier } from './url-signer.ts';

export interface DataFolderOptions {
  /** The address under which the objects are served. Called for each URL. Without it, `presign` fails. */
  readonly baseUrl?: () => string;
  /** Which objects are written slowly, so that appends need not wait for the disk. Without it, none is. */
  readonly slowly?: SlowObjects;
}

export interface DataFolder<Items = SqliteItemStore> {
  readonly objects: FileObjectStore;
  readonly items: Items;
  /** Verifies the URLs that `objects` has signed, including those of an earlier run. */
  readonly signer: UrlSigner & UrlVerifier;
  /**
   * Waits for the calls that have begun, merges the write-ahead log into the database file, and releases the folder. Later
   * calls of both stores fail with `shutting_down`. May be called again; every call waits for the end.
   */
  close(): Promise<void>;
}

/**
 * Opens a data folder, and makes it if it is missing, with access for its owner only. No other process can open the folder
 * until `close`, or until this process ends in any way. The time to open does not depend on what the folder holds. A folder
 * on a full disk opens too, so that it can be read.
 *
 * @throws EventLogError `data_folder_unusable`, with a `reason` in its details, if another process has the folder open (the
 * error names it), or if the folder has another format version, can't be written, or is no data folder. Such a folder is
 * not changed.
 */
export function openDataFolder(path: string, options: DataFolderOptions = {}): Promise<DataFolder> {
  return openDataFolderOn({ fileSystem: nodeFileSystem, openItems: SqliteItemStore.open }, path, options);
}

/** What a data folder is built of: SQLite reaches the disk by itself, everything else by the file system. */
export interface DataFolderComponents<Items> {
  readonly fileSystem: FileSystem;
  openItems(options: WorkerOptions): Promise<Items>;
}

export async function openDataFolderOn<Items extends ItemStore & { close(): Promise<void> }>(
  { fileSystem, openItems }: DataFolderComponents<Items>,
  path: string,
  options: DataFolderOptions = {},
): Promise<DataFolder<Items>> {
  const folder = resolve(path);
  const tmpFolder = join(folder, 'tmp');
  await makeFolder(fileSystem, folder, tmpFolder);
  const items = await lockItems(fileSystem, folder, () => openItems({ path: join(folder, 'items.sqlite'), tmpFolder }));
  try {
    const secret = await readSecret(fileSystem, folder, tmpFolder);
    const signer = createUrlSigner({ secret, baseUrl: options.baseUrl ?? noBaseUrl });
    const { slowly } = options;
    const objects = await FileObjectStore.open({ folder, signer, fileSystem, ...(slowly && { slowly }) });
    await writeHolder(fileSystem, folder, tmpFolder);
    let closing: Promise<void> | undefined;
    const close = async (): Promise<void> => {
      await objects.close();
      // Before the lock is released: afterwards the file may be another process's.
      await removeHolder(fileSystem, folder);
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

/** Opens the items, and with them takes the lock on the folder. Says who has it otherwise. */
async function lockItems<Items>(fileSystem: FileSystem, folder: string, open: () => Promise<Items>): Promise<Items> {
  try {
    return await open();
  } catch (error) {
    if (!(error instanceof EventLogError) || error.details.reason !== 'in_use') throw error;
    const pid = await holderPid(fileSystem, folder);
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

function noBaseUrl(): string {
  throw new EventLogError('internal', 'This data folder was opened without a base URL.', { outcome: 'not_applied' });
}
