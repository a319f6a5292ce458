import { open } from 'node:fs/promises';

interface FolderSync {
  readonly running: Promise<void>;
  next: Promise<void> | undefined;
}

/** Syncs folders, so that the names in them survive a loss of power. */
export class FolderSyncs {
  readonly #folders = new Map<string, FolderSync>();
  #count = 0;

  /** How many syncs were made. */
  get count(): number {
    return this.#count;
  }

  /**
   * Makes durable all names that the folder has when this is called. A sync that is running already may have missed them;
   * all who come meanwhile share the one after it.
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
      // Those who wait start the next sync themselves and put it in this place.
      if (current.next === undefined) this.#folders.delete(folder);
    };
    running.then(forget, forget);
    return running;
  }

  async #run(folder: string): Promise<void> {
    this.#count++;
    const handle = await open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
}
