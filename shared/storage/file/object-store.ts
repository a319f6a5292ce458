import { randomBytes } from 'node:crypto';
import { type FileHandle, link, mkdir, open, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { EventLogError, type Outcome } from '../../log/errors.ts';
import { checkByteRange, checkObjectKey, checkPresignedRange } from '../object-checks.ts';
import type { ByteRange, ObjectStore, SignedUrl } from '../ports.ts';
import { FolderSyncs } from './folder-syncs.ts';
import type { UrlSigner } from './url-signer.ts';

/** Bounds the open files; the thread pool is far narrower. */
const CONCURRENCY_MAX = 64;
/** How many folders are remembered as made and synced. */
const KNOWN_FOLDERS_MAX = 10_000;
/** Under Linux's IOV_MAX. */
const CHUNKS_PER_WRITE_MAX = 512;

export interface FileObjectStoreOptions {
  /** Holds `objects/` and `tmp/`, on one file system that knows hard links. */
  readonly folder: string;
  /** Without one nothing can be presigned. */
  readonly signer?: UrlSigner;
}

/**
 * An `ObjectStore` of one file per object, `<folder>/objects/<key>`. The folder must belong to this store alone.
 *
 * A put writes and syncs a file of its own in `tmp`, links it to its name, which fails if the name is taken, and syncs the
 * folder. It is answered once all of that is on disk. Puts into one folder at the same time share the folder's sync.
 * The chunks of a put must not change before it is answered. A get opens, reads and closes one file.
 *
 * Failures: `storage_full`; `data_folder_unusable` where the folder may not be written; otherwise `storage_unavailable`,
 * with the outcome `unknown` once the object may have become visible. An idle store holds nothing open.
 */
export class FileObjectStore implements ObjectStore {
  readonly #objects: string;
  readonly #tmp: string;
  readonly #signer: UrlSigner | undefined;
  readonly #folderSyncs = new FolderSyncs();
  readonly #folders = new Map<string, Promise<void>>();
  readonly #slots = new Slots(CONCURRENCY_MAX);
  readonly #tmpPrefix = randomBytes(8).toString('hex');
  #tmpCount = 0;
  #closed = false;

  /** Makes the folders where they are missing, and removes what a crash has left in `tmp`. */
  static async open(options: FileObjectStoreOptions): Promise<FileObjectStore> {
    const store = new FileObjectStore(options);
    try {
      await mkdir(store.#objects, { recursive: true, mode: 0o700 });
      await mkdir(store.#tmp, { recursive: true, mode: 0o700 });
      for (const name of await readdir(store.#tmp)) await rm(join(store.#tmp, name), { force: true });
      await store.#folderSyncs.sync(options.folder);
    } catch (error) {
      throw storageError(error, 'not_applied');
    }
    return store;
  }

  private constructor(options: FileObjectStoreOptions) {
    this.#objects = join(options.folder, 'objects');
    this.#tmp = join(options.folder, 'tmp');
    this.#signer = options.signer;
  }

  /** How many syncs of folders the puts have cost so far. Each put costs one sync of its file besides. */
  get syncs(): number {
    return this.#folderSyncs.count;
  }

  async put(key: string, chunks: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    checkObjectKey(key);
    return this.#run(async () => {
      const path = join(this.#objects, key);
      const folder = dirname(path);
      const tmp = join(this.#tmp, `${this.#tmpPrefix}-${this.#tmpCount++}`);
      let outcome: Outcome = 'not_applied';
      try {
        const made = this.#makeFolder(folder);
        made.catch(() => undefined);
        await writeFile(tmp, chunks);
        await made;
        outcome = 'unknown';
        const result = await linkUnlessTaken(tmp, path);
        // Also where the object exists already: the put that made it may not have come to its sync.
        await Promise.all([this.#folderSyncs.sync(folder), removeTmp(tmp)]);
        return result;
      } catch (error) {
        await removeTmp(tmp);
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
        const file = await open(join(this.#objects, key), 'r');
        try {
          return await readRange(file, range);
        } finally {
          await file.close();
        }
      } catch (error) {
        // A key that goes through an object, or names a folder, names no object.
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

  /** Answers what was asked before. Whatever is asked afterwards is rejected with `shutting_down`. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#slots.idle();
  }

  async #run<Answer>(operation: () => Promise<Answer>): Promise<Answer> {
    if (this.#closed) throw closed();
    return this.#slots.run(operation);
  }

  /** Once per folder and process, so that a folder which an earlier process made and never synced is made good too. */
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
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const parents: string[] = [];
    for (let path = folder; path !== this.#objects; path = dirname(path)) parents.push(dirname(path));
    await Promise.all(parents.map((parent) => this.#folderSyncs.sync(parent)));
  }
}

async function writeFile(path: string, chunks: readonly Uint8Array[]): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await writeAll(file, chunks);
    await file.datasync();
  } finally {
    await file.close();
  }
}

async function writeAll(file: FileHandle, chunks: readonly Uint8Array[]): Promise<void> {
  let rest = chunks.filter((chunk) => chunk.byteLength > 0);
  while (rest.length > 0) {
    const { bytesWritten } = await file.writev(rest.slice(0, CHUNKS_PER_WRITE_MAX));
    rest = skipBytes(rest, bytesWritten);
  }
}

/** A write may stop short, as when the disk fills up; what is left is then written again, and says why. */
function skipBytes(chunks: Uint8Array[], bytes: number): Uint8Array[] {
  let left = bytes;
  let first = 0;
  while (first < chunks.length && chunks[first]!.byteLength <= left) left -= chunks[first++]!.byteLength;
  const rest = chunks.slice(first);
  if (left > 0) rest[0] = rest[0]!.subarray(left);
  return rest;
}

async function linkUnlessTaken(tmp: string, path: string): Promise<'created' | 'exists'> {
  try {
    await link(tmp, path);
    return 'created';
  } catch (error) {
    if (isCode(error, 'EEXIST')) return 'exists';
    // A link is made or not; where there is no room or no leave for it, it is not.
    if (!isCode(error, 'EIO')) throw storageError(error, 'not_applied');
    throw error;
  }
}

/** What can't be removed now is removed when the store is opened again. */
async function removeTmp(path: string): Promise<void> {
  await rm(path, { force: true }).catch(() => undefined);
}

async function readRange(file: FileHandle, range: ByteRange): Promise<Uint8Array> {
  const { size } = await file.stat();
  const length = Math.max(0, Math.min(range.end, size) - range.start);
  const bytes = new Uint8Array(length);
  let position = 0;
  while (position < length) {
    const { bytesRead } = await file.read(bytes, position, length - position, range.start + position);
    if (bytesRead === 0) throw new EventLogError('corrupt_data', 'An object has become shorter while it was read.');
    position += bytesRead;
  }
  return bytes;
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

export function isCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}

function closed(): EventLogError {
  return new EventLogError('shutting_down', 'The object store is closed.');
}

/** Runs so many operations at once; the others wait in the order in which they came. */
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
      // A slot passes to the next in line without becoming free, so that nobody overtakes it.
      const next = this.#queue.shift();
      if (next !== undefined) next();
      else if (++this.#free === this.#max) for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  async idle(): Promise<void> {
    if (this.#free < this.#max) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }
}
