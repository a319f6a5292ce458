import type { FileSystem } from './file-system.ts';

interface FolderSync {
  readonly running: Promise<void>;
  next: Promise<void> | undefined;
}

/** Syncs folders, so that the names in them survive a loss of power. */
export class FolderSyncs {
  readonly #fs: FileSystem;
  readonly #folders = new Map<string, FolderSync>();
  #count = 0;

  constructor(fs: FileSystem) {
    this.#fs = fs;
  }

  /** How many syncs were made. */
  get count(): number {
    return this.#count;
  }

  /**
   * Makes durable all names that the folder has when this is called. A sync that is already running may have missed some of
   * them, so the call waits for the next one. All calls that come during one sync share the next.
   */
  sync(folder: string): Promise<void> {
    const current = this.#folders.get(folder);
    if (current === undefined) return this.#start(folder);
    current.next ??= current.running.then(
      () => this.#start(folder),
      () => this.#start(folder),
    );
    return current.next;
  }

  #start(folder: string): Promise<void> {
    const running = this.#run(folder);
    const current: FolderSync = { running, next: undefined };
    this.#folders.set(folder, current);
    const forget = () => {
      // Calls that wait start the next sync themselves, and it takes this place.
      if (current.next === undefined) this.#folders.delete(folder);
    };
    running.then(forget, forget);
    return running;
  }

  async #run(folder: string): Promise<void> {
    this.#count++;
    const handle = await this.#fs.open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
}
