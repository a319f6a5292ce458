/** Writing files that must survive a loss of power. */
import { randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';
import type { FileSystem, OpenFile } from './file-system.ts';
import { FolderSyncs } from './folder-syncs.ts';

/** Under Linux's IOV_MAX. */
const CHUNKS_PER_WRITE_MAX = 512;

/** Writes chunks at the end of the file that it is made with. */
export type Write = (chunks: readonly Uint8Array[]) => Promise<void>;

/** Makes a new file. What `fill` has written is durable on return; the name is not, until the folder is synced. */
export async function writeFile(
  fs: FileSystem,
  path: string,
  fill: (write: Write) => Promise<void>,
  mode: number,
): Promise<void> {
  const file = await fs.open(path, 'wx', mode);
  try {
    await fill((chunks) => writeAll(file, chunks));
    await file.datasync();
  } finally {
    await file.close();
  }
}

/** Gives `path` this content, or leaves it as it was: also when power is lost. Durable on return. */
export async function replaceFile(
  fs: FileSystem,
  tmpFolder: string,
  path: string,
  content: Uint8Array,
  mode: number,
): Promise<void> {
  const tmp = join(tmpFolder, `file-${randomBytes(8).toString('hex')}`);
  try {
    await writeFile(fs, tmp, (write) => write([content]), mode);
    await fs.rename(tmp, path);
  } catch (error) {
    await fs.rm(tmp, { force: true }).catch(() => undefined);
    throw error;
  }
  await new FolderSyncs(fs).sync(dirname(path));
}

async function writeAll(file: OpenFile, chunks: readonly Uint8Array[]): Promise<void> {
  let rest = chunks.filter((chunk) => chunk.byteLength > 0);
  while (rest.length > 0) {
    const { bytesWritten } = await file.writev(rest.slice(0, CHUNKS_PER_WRITE_MAX));
    rest = skipBytes(rest, bytesWritten);
  }
}

/** A write may stop short, as on a disk that fills up. The next write then continues, or fails with the reason. */
function skipBytes(chunks: Uint8Array[], bytes: number): Uint8Array[] {
  let left = bytes;
  let first = 0;
  while (first < chunks.length && chunks[first]!.byteLength <= left) left -= chunks[first++]!.byteLength;
  const rest = chunks.slice(first);
  if (left > 0) rest[0] = rest[0]!.subarray(left);
  return rest;
}
