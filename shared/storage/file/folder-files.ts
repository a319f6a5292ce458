/** The small files and the folders of a data folder, all but its stores. */
import { randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';
import type { EventLogError } from '../../log/errors.ts';
import { type UnusableReason, unusable } from './database.ts';
import { type FileSystem, isCode } from './file-system.ts';
import { FolderSyncs } from './folder-syncs.ts';
import { storageError } from './object-store.ts';
import { replaceFile } from './write-file.ts';

const HOLDER = 'holder.json';
const SECRET_BYTES = 32;
const UTF8 = new TextEncoder();

/**
 * Makes the folder and every missing folder above it, and checks that it can be written.
 * @throws EventLogError `data_folder_unusable` if the folder can't be made or written.
 */
export async function makeFolder(fs: FileSystem, folder: string, tmpFolder: string): Promise<void> {
  try {
    await fs.mkdir(folder, { recursive: true, mode: 0o700 });
    await syncFoldersAbove(fs, folder);
    await fs.mkdir(tmpFolder, { recursive: true, mode: 0o700 });
    const probe = join(tmpFolder, `probe-${randomBytes(8).toString('hex')}`);
    await (await fs.open(probe, 'wx', 0o600)).close();
    await fs.rm(probe, { force: true });
  } catch (error) {
    if (isCode(error, 'ENOSPC', 'EDQUOT') && (await isFolder(fs, tmpFolder))) return;
    if (isCode(error, 'EEXIST', 'ENOTDIR')) {
      throw refused('not_a_folder', folder, 'it is a file, not a folder', 'Choose another path.', error);
    }
    // On a read-only disk a recursive mkdir fails with ENOENT.
    if (isCode(error, 'EROFS', 'EACCES', 'EPERM', 'ENOENT')) {
      const remedy = 'Give this user the right to write there, or choose another path.';
      throw refused('not_writable', folder, "it can't be written", remedy, error);
    }
    throw storageError(error, 'not_applied');
  }
}

/**
 * Makes the names of all folders on the path durable. An earlier process may have made any of them and ended before it synced
 * the one above, and nothing tells which. A folder that this user can't open or sync was made by somebody else.
 */
async function syncFoldersAbove(fs: FileSystem, folder: string): Promise<void> {
  const syncs = new FolderSyncs(fs);
  for (let path = folder; path !== dirname(path); path = dirname(path)) {
    try {
      await syncs.sync(dirname(path));
    } catch (error) {
      if (!isCode(error, 'EACCES', 'EPERM', 'EROFS', 'EINVAL')) throw error;
    }
  }
}

async function isFolder(fs: FileSystem, path: string): Promise<boolean> {
  return (await fs.stat(path).catch(() => undefined))?.isDirectory() ?? false;
}

/** The process that the folder's holder file names, if it names one. */
export async function holderPid(fs: FileSystem, folder: string): Promise<number | undefined> {
  try {
    const holder: unknown = JSON.parse(new TextDecoder().decode(await fs.readFile(join(folder, HOLDER))));
    if (typeof holder !== 'object' || holder === null || !('pid' in holder)) return undefined;
    return typeof holder.pid === 'number' ? holder.pid : undefined;
  } catch {
    return undefined;
  }
}

/** The key under which URLs of objects are signed. Made when the folder is opened for the first time. */
export async function readSecret(fs: FileSystem, folder: string, tmpFolder: string): Promise<Uint8Array> {
  const path = join(folder, 'secret');
  try {
    const secret = await fs.readFile(path);
    if (secret.byteLength === SECRET_BYTES) return secret;
  } catch (error) {
    if (!isCode(error, 'ENOENT')) throw error;
  }
  const secret = randomBytes(SECRET_BYTES);
  await replaceFile(fs, tmpFolder, path, secret, 0o600);
  return secret;
}

/** Names this process to others that find the folder in use. */
export async function writeHolder(fs: FileSystem, folder: string, tmpFolder: string): Promise<void> {
  const path = join(folder, HOLDER);
  const text = JSON.stringify({ pid: process.pid, since: new Date().toISOString() });
  try {
    await replaceFile(fs, tmpFolder, path, UTF8.encode(`${text}\n`), 0o644);
  } catch (error) {
    // A folder on a full disk still opens, so that it can be read. It then names no holder.
    if (storageError(error, 'not_applied').code !== 'storage_full') throw error;
    await fs.rm(path, { force: true });
  }
}

export async function removeHolder(fs: FileSystem, folder: string): Promise<void> {
  await fs.rm(join(folder, HOLDER), { force: true }).catch(() => undefined);
}

function refused(reason: UnusableReason, folder: string, why: string, remedy: string, cause: unknown): EventLogError {
  return unusable(reason, `The data folder ${folder} can't be used: ${why}. ${remedy}`, { folder }, cause);
}
