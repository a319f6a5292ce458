/** Writing files that must survive a loss of power. */
import { randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';
import type { Clock } from '../ports.ts';
import type { FileSystem, OpenFile } from './file-system.ts';
import { FolderSyncs } from './folder-syncs.ts';

/** Under Linux's IOV_MAX. */
const CHUNKS_PER_WRITE_MAX = 512;

/** What is written to a file in one go if it is written slowly. */
const SLOW_PIECE_BYTES = 256 * 1024;
/** After a piece the disk is left to others for this many times as long as the piece took. */
const RESTS_PER_PIECE = 3;
/** A disk that is busy for long must not stop the writing. */
const REST_MS_MAX = 50;

/** Writes chunks at the end of the file that it is made with. */
export type Write = (chunks: readonly Uint8Array[]) => Promise<void>;

/** Makes a new file. What `fill` has written is durable on return; the name is not, until the folder is synced. */
export async function writeFile(
  fs: FileSystem,
  path: string,
  fill: (write: Write) => Promise<void>,
  mode: number,
  slowWrites?: SlowWrites,
): Promise<void> {
  const file = await fs.open(path, 'wx', mode);
  try {
    await fill(slowWrites?.to(file) ?? ((chunks) => writeAll(file, chunks)));
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
  for (const { buffers } of piecesOf(chunks, Number.POSITIVE_INFINITY)) await writePiece(file, buffers);
}

export interface SlowWritesOptions {
  readonly clock: Clock;
  /** Once this signal is aborted, everything is written without rests. */
  readonly hurry: AbortSignal;
}

/**
 * Writes large files slowly. A disk takes the bytes of a file in one go, and every other sync waits for them: for tens of
 * milliseconds if there are 64 MiB. So each piece is synced by itself, and then the disk is left to others for a while. All
 * files that are written so take turns. The last piece of a file is left to the sync that every file gets.
 */
export class SlowWrites {
  readonly #options: SlowWritesOptions;
  #turn: Promise<void> = Promise.resolve();

  constructor(options: SlowWritesOptions) {
    this.#options = options;
  }

  to(file: OpenFile): Write {
    let unsynced = 0;
    return async (chunks) => {
      for (const { buffers, bytes } of piecesOf(chunks, SLOW_PIECE_BYTES)) {
        if (unsynced >= SLOW_PIECE_BYTES) {
          await this.#takeTurn(file);
          unsynced = 0;
        }
        await writePiece(file, buffers);
        unsynced += bytes;
      }
    };
  }

  #takeTurn(file: OpenFile): Promise<void> {
    const turn = this.#turn.then(() => this.#syncAndRest(file));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #syncAndRest(piece: OpenFile): Promise<void> {
    const { clock, hurry } = this.#options;
    if (hurry.aborted) return;
    const beganMs = clock.nowMs();
    await piece.datasync();
    const tookMs = Math.max(1, clock.nowMs() - beganMs);
    await clock.sleep(Math.min(REST_MS_MAX, tookMs * RESTS_PER_PIECE), hurry);
  }
}

interface Piece {
  readonly buffers: Uint8Array[];
  readonly bytes: number;
}

/** Divides chunks into pieces of up to `bytesMax` bytes, none of them empty, each small enough for one write. */
function* piecesOf(chunks: readonly Uint8Array[], bytesMax: number): Generator<Piece> {
  let buffers: Uint8Array[] = [];
  let bytes = 0;
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.byteLength; ) {
      const part = chunk.subarray(at, at + bytesMax - bytes);
      buffers.push(part);
      bytes += part.byteLength;
      at += part.byteLength;
      if (bytes < bytesMax && buffers.length < CHUNKS_PER_WRITE_MAX) continue;
      yield { buffers, bytes };
      buffers = [];
      bytes = 0;
    }
  }
  if (bytes > 0) yield { buffers, bytes };
}

async function writePiece(file: OpenFile, buffers: Uint8Array[]): Promise<void> {
  for (let rest = buffers; rest.length > 0; ) {
    const { bytesWritten } = await file.writev(rest);
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
