/**
 * The calls by which the file stores reach the disk. `node:fs/promises` has them all; tests pass a disk that loses power.
 * SQLite is not among its users: it has its own way to the disk.
 */

export interface FileSystem {
  open(path: string, flags: 'r' | 'wx', mode?: number): Promise<OpenFile>;
  /** Fails with `EEXIST` if `path` is taken. */
  link(existingPath: string, path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Returns the first folder that it made, if any. */
  mkdir(path: string, options: { readonly recursive: true; readonly mode: number }): Promise<string | undefined>;
  readdir(path: string): Promise<string[]>;
  readdir(path: string, options: { readonly withFileTypes: true }): Promise<FolderEntry[]>;
  readFile(path: string): Promise<Uint8Array>;
  rm(path: string, options: { readonly force: true }): Promise<void>;
  stat(path: string): Promise<{ isDirectory(): boolean }>;
}

export interface FolderEntry {
  readonly name: string;
  isDirectory(): boolean;
}

export interface OpenFile {
  /** May write less than it is given. */
  writev(chunks: readonly Uint8Array[]): Promise<{ readonly bytesWritten: number }>;
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }>;
  stat(): Promise<{ readonly size: number }>;
  /** Makes the content and the size of a file durable, but not its name. */
  datasync(): Promise<void>;
  /** For a folder: makes durable which names it has, but not its own name. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export function isCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}
