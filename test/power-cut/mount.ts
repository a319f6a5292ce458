import { basename, dirname, join } from 'node:path';
import type { FileSystem, FolderEntry, OpenFile } from '../../shared/storage/file/file-system.ts';
import type { Chance } from '../simulation/world/chance.ts';
import type { EventLoop } from '../simulation/world/event-loop.ts';
import { type Disk, File, Folder, type Node } from './disk.ts';

/** How often calls fail, do less than they are asked, or take long. */
export interface DiskFaults {
  readonly shortWriteRate: number;
  readonly noSpaceRate: number;
  /** Of syncs and links. */
  readonly ioErrorRate: number;
  /** Other calls take up to a millisecond. */
  readonly syncMsMax: number;
}

export const NO_FAULTS: DiskFaults = { shortWriteRate: 0, noSpaceRate: 0, ioErrorRate: 0, syncMsMax: 1 };

/**
 * The disk as one process sees it. A call takes effect at some moment after it is made, and is answered at some later one;
 * between any two such moments the process may end. A sync takes its time between two of them.
 */
export class Mount implements FileSystem {
  faults: DiskFaults;
  /** Effects and answers so far: where a run can be cut off. */
  steps = 0;
  private readonly disk: Disk;
  private readonly loop: EventLoop;
  private readonly chance: Chance;

  constructor(disk: Disk, loop: EventLoop, chance: Chance, faults: DiskFaults) {
    this.disk = disk;
    this.loop = loop;
    this.chance = chance;
    this.faults = faults;
  }

  open(path: string, flags: 'r' | 'wx'): Promise<OpenFile> {
    return this.call(() => {
      if (flags === 'r') return new Handle(this, this.find(path));
      const file = new File();
      this.add(path, file);
      return new Handle(this, file);
    });
  }

  link(existingPath: string, path: string): Promise<void> {
    return this.call(() => {
      const done = (): void => this.add(path, this.find(existingPath));
      this.failing(this.faults.ioErrorRate, 'EIO', done);
      done();
    });
  }

  rename(from: string, to: string): Promise<void> {
    return this.call(() => {
      const node = this.find(from);
      this.folderOf(to).set(basename(to), node);
      this.folderOf(from).set(basename(from), undefined);
    });
  }

  mkdir(path: string): Promise<string | undefined> {
    return this.call(() => {
      let first: string | undefined;
      let at = '/';
      for (const name of path.split('/').filter((part) => part !== '')) {
        const folder = this.find(at);
        if (!(folder instanceof Folder)) throw failure('ENOTDIR', path);
        at = join(at, name);
        if (folder.names.has(name)) continue;
        folder.set(name, new Folder());
        first ??= at;
      }
      if (!(this.find(path) instanceof Folder)) throw failure('EEXIST', path);
      return first;
    });
  }

  readdir(path: string): Promise<string[]>;
  readdir(path: string, options: { readonly withFileTypes: true }): Promise<FolderEntry[]>;
  readdir(path: string, options?: { readonly withFileTypes: true }): Promise<string[] | FolderEntry[]> {
    return this.call(() => {
      const folder = this.find(path);
      if (!(folder instanceof Folder)) throw failure('ENOTDIR', path);
      if (options === undefined) return [...folder.names.keys()];
      return [...folder.names].map(([name, node]) => ({ name, isDirectory: () => node instanceof Folder }));
    });
  }

  readFile(path: string): Promise<Uint8Array> {
    return this.call(() => {
      const file = this.find(path);
      if (file instanceof Folder) throw failure('EISDIR', path);
      return file.content.slice();
    });
  }

  rm(path: string): Promise<void> {
    return this.call(() => {
      if (this.exists(path)) this.folderOf(path).set(basename(path), undefined);
    });
  }

  stat(path: string): Promise<{ isDirectory(): boolean }> {
    return this.call(() => {
      const node = this.find(path);
      return { isDirectory: () => node instanceof Folder };
    });
  }

  call<T>(effect: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.later(() => {
        try {
          const result = effect();
          this.later(() => resolve(result));
        } catch (error) {
          this.later(() => reject(error));
        }
      });
    });
  }

  sync(node: Node): Promise<void> {
    return new Promise((resolve, reject) => {
      this.later(() => {
        const end = node.sync();
        this.later(
          () => {
            try {
              this.failing(this.faults.ioErrorRate, 'EIO', () => {
                if (node instanceof File) node.givenUp = true;
              });
              end();
              this.later(resolve);
            } catch (error) {
              this.later(() => reject(error));
            }
          },
          this.faults.syncMsMax * this.chance.next() ** 3,
        );
      });
    });
  }

  /** Throws an error at a rate, half of the times after `partly`. */
  failing(rate: number, code: string, partly: () => void): void {
    if (rate === 0 || !this.chance.chance(rate)) return;
    if (this.chance.chance(0.5)) partly();
    throw failure(code, '');
  }

  /** How many of so many bytes a write takes. */
  taken(bytes: number): number {
    return this.chance.chance(this.faults.shortWriteRate) ? this.chance.below(bytes) + 1 : bytes;
  }

  private later(run: () => void, msMax = 1): void {
    this.loop.at(this.chance.next() * msMax, () => {
      this.steps++;
      run();
    });
  }

  private add(path: string, node: Node): void {
    if (this.exists(path)) throw failure('EEXIST', path);
    this.folderOf(path).set(basename(path), node);
  }

  private exists(path: string): boolean {
    return this.folderOf(path).names.has(basename(path));
  }

  private folderOf(path: string): Folder {
    const folder = this.find(dirname(path));
    if (!(folder instanceof Folder)) throw failure('ENOTDIR', path);
    return folder;
  }

  private find(path: string): Node {
    let node: Node = this.disk.root;
    for (const name of path.split('/').filter((part) => part !== '')) {
      if (!(node instanceof Folder)) throw failure('ENOTDIR', path);
      const next: Node | undefined = node.names.get(name);
      if (next === undefined) throw failure('ENOENT', path);
      node = next;
    }
    return node;
  }
}

class Handle implements OpenFile {
  private readonly mount: Mount;
  private readonly node: Node;

  constructor(mount: Mount, node: Node) {
    this.mount = mount;
    this.node = node;
  }

  writev(chunks: readonly Uint8Array[]): Promise<{ bytesWritten: number }> {
    return this.mount.call(() => {
      const bytes = new Uint8Array(Buffer.concat(chunks));
      const taken = this.mount.taken(bytes.length);
      const write = (): void => this.file().append(bytes.subarray(0, taken));
      this.mount.failing(this.mount.faults.noSpaceRate, 'ENOSPC', write);
      write();
      return { bytesWritten: taken };
    });
  }

  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }> {
    return this.mount.call(() => {
      const bytes = this.file().content.subarray(position, position + this.mount.taken(length));
      buffer.set(bytes, offset);
      return { bytesRead: bytes.length };
    });
  }

  stat(): Promise<{ size: number }> {
    return this.mount.call(() => ({ size: this.node instanceof File ? this.node.content.length : 4_096 }));
  }

  datasync(): Promise<void> {
    return this.mount.sync(this.file());
  }

  sync(): Promise<void> {
    return this.mount.sync(this.node);
  }

  close(): Promise<void> {
    return this.mount.call(() => undefined);
  }

  private file(): File {
    if (this.node instanceof Folder) throw failure('EISDIR', '');
    return this.node;
  }
}

function failure(code: string, path: string): Error {
  return Object.assign(new Error(`${code} ${path}`), { code });
}
