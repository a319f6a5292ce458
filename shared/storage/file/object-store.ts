import { randomBytes } from 'node:crypto';
import * as nodeFileSystem from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { EventLogError, type Outcome } from '../../log/errors.ts';
import type {
  ByteRange,
  ConcatResult,
  ListOptions,
  ObjectPage,
  ObjectSource,
  ObjectStore,
  SignedUrl,
} from '../ports.ts';
import {
  checkByteRange,
  checkList,
  checkObjectKey,
  checkPresignedRange,
  checkSources,
  missingSource,
} from '../rules/object-checks.ts';
import { type FileSystem, isCode, type OpenFile } from './file-system.ts';
import { FolderSyncs } from './folder-syncs.ts';
import type { UrlSigner } from './url-signer.ts';
import { SlowWrites, type SlowWritesOptions, type Write, writeFile } from './write-file.ts';

/** Bounds the open files. Node's thread pool is much smaller. */
const CONCURRENCY_MAX = 64;
/** This many folders are remembered as made and synced. */
const KNOWN_FOLDERS_MAX = 10_000;
/** A concat holds this much of its sources in memory. */
const COPY_BYTES = 1024 * 1024;
/** A range up to this size is read without a look at the size of its file. */
const SIZE_UNSEEN_BYTES_MAX = 4 * 1024 * 1024;

export interface FileObjectStoreOptions {
  /** The folder that holds `objects/` and `tmp/`, on one file system that supports hard links. */
  readonly folder: string;
  /** Signs URLs. Without it, `presign` fails. */
  readonly signer?: UrlSigner;
  /** Node's own unless given. */
  readonly fileSystem?: FileSystem;
  /** Writes the objects of jobs slowly, so that appends need not wait for the disk. Without it, no object is. */
  readonly slowly?: SlowObjects;
}

export interface SlowObjects extends SlowWritesOptions {
  /** The keys of the objects that are written slowly begin with this. */
  readonly prefix: string;
}

/**
 * An `ObjectStore` of one file per object, `<folder>/objects/<key>`. No other store may use the folder.
 *
 * A put has four steps. It writes a new file in `tmp` and syncs it. It makes the object's folder, if it is missing, and
 * syncs every folder above it. It links the file to its name, which fails if the name is taken. It syncs the folder.
 * The put returns after the last step. Puts into one folder at the same time share the folder's sync.
 * A concat is a put that copies its sources into the new file, a chunk at a time.
 * With `slowly`, large objects of jobs are written in small pieces, each with a sync of its own and a rest.
 * A get opens, reads and closes one file. A delete removes the name and syncs the folder, which stays even if it is empty.
 *
 * Failures: `storage_full`; `data_folder_unusable` if the folder can't be written; otherwise `storage_unavailable`, with the
 * outcome `unknown` once the object may be visible. An idle store holds no files open.
 */
export class FileObjectStore implements ObjectStore {
  readonly #fs: FileSystem;
  readonly #objects: string;
  readonly #tmp: string;
  readonly #signer: UrlSigner | undefined;
  readonly #slowPrefix: string | undefined;
  readonly #slowWrites: SlowWrites | undefined;
  readonly #folderSyncs: FolderSyncs;
  readonly #folders = new Map<string, Promise<void>>();
  readonly #slots = new Slots(CONCURRENCY_MAX);
  readonly #tmpPrefix = randomBytes(8).toString('hex');
  #tmpCount = 0;
  #closed = false;

  /** Makes the folders if they are missing, and removes what a crash has left in `tmp`. */
  static async open(options: FileObjectStoreOptions): Promise<FileObjectStore> {
    const store = new FileObjectStore(options);
    try {
      const fs = store.#fs;
      await fs.mkdir(store.#objects, { recursive: true, mode: 0o700 });
      await fs.mkdir(store.#tmp, { recursive: true, mode: 0o700 });
      for (const name of await fs.readdir(store.#tmp)) await fs.rm(join(store.#tmp, name), { force: true });
      await store.#folderSyncs.sync(options.folder);
    } catch (error) {
      throw storageError(error, 'not_applied');
    }
    return store;
  }

  private constructor(options: FileObjectStoreOptions) {
    this.#fs = options.fileSystem ?? nodeFileSystem;
    this.#folderSyncs = new FolderSyncs(this.#fs);
    this.#objects = join(options.folder, 'objects');
    this.#tmp = join(options.folder, 'tmp');
    this.#signer = options.signer;
    this.#slowPrefix = options.slowly?.prefix;
    this.#slowWrites = options.slowly && new SlowWrites(options.slowly);
  }

  /** How many syncs of folders the puts have cost so far. Each put also costs one sync of its file. */
  get syncs(): number {
    return this.#folderSyncs.count;
  }

  async put(key: string, chunks: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    checkObjectKey(key);
    return this.#create(key, (write) => write(chunks));
  }

  async concat(key: string, sources: readonly ObjectSource[], end: readonly Uint8Array[]): Promise<ConcatResult> {
    checkObjectKey(key);
    checkSources(sources);
    const bytesRead = sources.reduce((total, { range }) => total + range.end - range.start, 0);
    const bytesWritten = end.reduce((total, chunk) => total + chunk.length, bytesRead);
    const result = await this.#create(key, async (write) => {
      for (const source of sources) await this.#copy(source, write);
      await write(end);
    });
    return { result, puts: 1, gets: sources.length, bytesRead, bytesWritten };
  }

  async #copy(source: ObjectSource, write: Write): Promise<void> {
    try {
      const file = await this.#fs.open(join(this.#objects, source.key), 'r');
      try {
        const { range } = source;
        for (let start = range.start; start < range.end; start += COPY_BYTES) {
          const end = Math.min(range.end, start + COPY_BYTES);
          const bytes = await readRange(file, { start, end });
          if (bytes.length < end - start) throw missingSource(source);
          await write([bytes]);
        }
      } finally {
        await file.close();
      }
    } catch (error) {
      throw isCode(error, 'ENOENT', 'ENOTDIR', 'EISDIR') ? missingSource(source) : error;
    }
  }

  /** Makes the object of what `fill` writes. */
  #create(key: string, fill: (write: Write) => Promise<void>): Promise<'created' | 'exists'> {
    return this.#run(async () => {
      const path = join(this.#objects, key);
      const folder = dirname(path);
      const tmp = join(this.#tmp, `${this.#tmpPrefix}-${this.#tmpCount++}`);
      let outcome: Outcome = 'not_applied';
      try {
        const made = this.#makeFolder(folder);
        made.catch(() => undefined);
        const isSlow = this.#slowPrefix !== undefined && key.startsWith(this.#slowPrefix);
        await writeFile(this.#fs, tmp, fill, 0o600, isSlow ? this.#slowWrites : undefined);
        await made;
        outcome = 'unknown';
        const result = await this.#linkUnlessTaken(tmp, path);
        // Also if the object exists: the put that made it may not have synced the folder yet.
        await Promise.all([this.#folderSyncs.sync(folder), this.#removeTmp(tmp)]);
        return result;
      } catch (error) {
        await this.#removeTmp(tmp);
        const cause = error instanceof EventLogError ? error.cause : error;
        if (isCode(cause, 'ENOENT')) this.#folders.delete(folder);
        throw storageError(error, outcome);
      }
    });
  }

  async get(key: string, range: ByteRange): Promise<Uint8Array | undefined> {
    checkObjectKey(key);
    checkByteRange(range);
    return this.#run(async () => {
      try {
        const file = await this.#fs.open(join(this.#objects, key), 'r');
        try {
          return await readRange(file, range);
        } finally {
          await file.close();
        }
      } catch (error) {
        // A key that leads through an object, or to a folder, names no object.
        if (isCode(error, 'ENOENT', 'ENOTDIR', 'EISDIR')) return undefined;
        throw storageError(error, 'not_applied');
      }
    });
  }

  async presign(key: string, range: ByteRange, expiresAtMs: number): Promise<SignedUrl> {
    checkObjectKey(key);
    checkPresignedRange(range);
    if (this.#closed) throw closed();
    if (this.#signer === undefined) {
      throw new EventLogError('internal', 'This object store was made without a signer.', { outcome: 'not_applied' });
    }
    return this.#signer.sign(key, range, expiresAtMs);
  }

  async delete(key: string): Promise<void> {
    checkObjectKey(key);
    return this.#run(async () => {
      const path = join(this.#objects, key);
      try {
        await this.#removeName(path);
        // Also if there was no object: the delete that removed it may not have synced the folder yet.
        await this.#folderSyncs.sync(dirname(path));
      } catch (error) {
        // Where there is no folder there is no object.
        if (!isCode(error, 'ENOENT', 'ENOTDIR')) throw storageError(error, 'unknown');
      }
    });
  }

  async list(prefix: string, options: ListOptions): Promise<ObjectPage> {
    checkList(prefix, options);
    const { after = '', limit } = options;
    return this.#run(async () => {
      try {
        // One more tells whether there are more.
        const keys = await listKeys(this.#fs, this.#objects, { prefix, after, count: limit + 1 });
        return { keys: keys.slice(0, limit), more: keys.length > limit };
      } catch (error) {
        throw storageError(error, 'not_applied');
      }
    });
  }

  /** Waits for the calls that have begun. Every later call fails with `shutting_down`. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#slots.idle();
  }

  async #run<Answer>(operation: () => Promise<Answer>): Promise<Answer> {
    if (this.#closed) throw closed();
    return this.#slots.run(operation);
  }

  /** Once per folder and process: an earlier process may have made the folder and ended before it synced it. */
  #makeFolder(folder: string): Promise<void> {
    const known = this.#folders.get(folder);
    if (known !== undefined) return known;
    const made = this.#makeAndSyncFolder(folder);
    made.catch(() => this.#folders.delete(folder));
    this.#folders.set(folder, made);
    if (this.#folders.size > KNOWN_FOLDERS_MAX) this.#folders.delete(this.#folders.keys().next().value!);
    return made;
  }

  async #makeAndSyncFolder(folder: string): Promise<void> {
    await this.#fs.mkdir(folder, { recursive: true, mode: 0o700 });
    const parents: string[] = [];
    for (let path = folder; path !== this.#objects; path = dirname(path)) parents.push(dirname(path));
    await Promise.all(parents.map((parent) => this.#folderSyncs.sync(parent)));
  }

  async #linkUnlessTaken(tmp: string, path: string): Promise<'created' | 'exists'> {
    try {
      await this.#fs.link(tmp, path);
      return 'created';
    } catch (error) {
      if (isCode(error, 'EEXIST')) return 'exists';
      // A link that fails for lack of space or of permission was not made. After an I/O error it may have been.
      if (!isCode(error, 'EIO')) throw storageError(error, 'not_applied');
      throw error;
    }
  }

  async #removeName(path: string): Promise<void> {
    try {
      await this.#fs.rm(path, { force: true });
    } catch (error) {
      // A key that names a folder names no object.
      if (isCode(error, 'ERR_FS_EISDIR', 'EISDIR')) return;
      // A removal that fails for lack of permission was not made. After an I/O error it may have been.
      throw isCode(error, 'EROFS', 'EACCES', 'EPERM') ? storageError(error, 'not_applied') : error;
    }
  }

  /** A file that can't be removed now is removed when the store is opened again. */
  async #removeTmp(path: string): Promise<void> {
    await this.#fs.rm(path, { force: true }).catch(() => undefined);
  }
}

/** The bytes of a range that the file has. Less than was asked for if the file ends before. */
async function readRange(file: OpenFile, range: ByteRange): Promise<Uint8Array> {
  let length = range.end - range.start;
  // Each call wakes another thread, and nearly every range is within its file.
  if (length > SIZE_UNSEEN_BYTES_MAX) length = Math.max(0, Math.min(range.end, (await file.stat()).size) - range.start);
  // Not filled with zeros first.
  const bytes = new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
  let position = 0;
  while (position < length) {
    const { bytesRead } = await file.read(bytes, position, length - position, range.start + position);
    if (bytesRead === 0) return bytes.slice(0, position);
    position += bytesRead;
  }
  return bytes;
}

/**
 * The paths below `objects` that begin with `prefix` and come after `after`, in order, at most `count`. Reads only the folders
 * that can have some of them. Holds the names of one folder on each level, and no more.
 */
async function listKeys(
  fs: FileSystem,
  objects: string,
  { prefix, after, count }: { readonly prefix: string; readonly after: string; readonly count: number },
): Promise<string[]> {
  const keys: string[] = [];
  const walk = async (folder: string): Promise<void> => {
    for (const path of await pathsIn(fs, objects, folder)) {
      if (keys.length === count) return;
      if (!path.startsWith(prefix)) continue;
      if (!path.endsWith('/')) {
        if (path > after) keys.push(path);
      } else if (path > after || after.startsWith(path)) {
        await walk(path);
      }
    }
  };
  await walk(prefix.slice(0, prefix.lastIndexOf('/') + 1));
  return keys;
}

/** In the order of the keys that they begin: a slash ends the name of a folder, so that `a-b` comes before `a/`. */
async function pathsIn(fs: FileSystem, objects: string, folder: string): Promise<string[]> {
  try {
    const entries = await fs.readdir(join(objects, folder), { withFileTypes: true });
    return entries.map((entry) => `${folder}${entry.name}${entry.isDirectory() ? '/' : ''}`).sort();
  } catch (error) {
    if (isCode(error, 'ENOENT', 'ENOTDIR')) return [];
    throw error;
  }
}

export function storageError(error: unknown, outcome: Outcome): EventLogError {
  if (error instanceof EventLogError) return error;
  const options = { cause: error, outcome } as const;
  if (isCode(error, 'ENOSPC', 'EDQUOT', 'EFBIG')) {
    return new EventLogError('storage_full', 'No space is left for objects.', options);
  }
  if (isCode(error, 'EROFS', 'EACCES', 'EPERM')) {
    return new EventLogError('data_folder_unusable', 'The data folder may not be written.', options);
  }
  const message = error instanceof Error ? error.message : String(error);
  return new EventLogError('storage_unavailable', `The file system failed: ${message}.`, options);
}

function closed(): EventLogError {
  return new EventLogError('shutting_down', 'The object store is closed.');
}

/** Runs at most `max` operations at once. The others wait in the order in which they came. */
class Slots {
  #free: number;
  readonly #max: number;
  readonly #queue: (() => void)[] = [];
  readonly #idle: (() => void)[] = [];

  constructor(max: number) {
    this.#free = max;
    this.#max = max;
  }

  async run<Answer>(operation: () => Promise<Answer>): Promise<Answer> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#queue.push(resolve));
    try {
      return await operation();
    } finally {
      // A slot passes to the next operation without becoming free, so that no later one overtakes it.
      const next = this.#queue.shift();
      if (next !== undefined) next();
      else if (++this.#free === this.#max) for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  async idle(): Promise<void> {
    if (this.#free < this.#max) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }
}
