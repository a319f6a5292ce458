/** Tells reads of this process that wait at the end of partitions, at once when this process appends there. */
export class AppendSignals {
  readonly #listeners = new Map<string, Set<AppendListener>>();

  /** A listener to no partition yet. The caller must close it. */
  listen(): AppendListener {
    return new AppendListener(this.#listeners);
  }

  isAwaited(topicId: string, partition: number): boolean {
    return this.#listeners.has(keyOf(topicId, partition));
  }

  appended(topicId: string, partition: number): void {
    for (const listener of this.#listeners.get(keyOf(topicId, partition)) ?? []) listener.hear();
  }
}

/**
 * Hears appends to some partitions, also those between two waits. To miss none: `reset`, then look, then wait for `heard`.
 */
export class AppendListener {
  readonly #listeners: Map<string, Set<AppendListener>>;
  readonly #keys = new Set<string>();
  #heard: Promise<void>;
  #resolveHeard: () => void;
  #isClosed = false;

  constructor(listeners: Map<string, Set<AppendListener>>) {
    this.#listeners = listeners;
    ({ promise: this.#heard, resolve: this.#resolveHeard } = Promise.withResolvers<void>());
  }

  /** Resolves at the first append since the last `reset`. */
  get heard(): Promise<void> {
    return this.#heard;
  }

  /** Listens to this partition too. Changes nothing if it does already, or is closed. */
  add(topicId: string, partition: number): void {
    const key = keyOf(topicId, partition);
    if (this.#isClosed || this.#keys.has(key)) return;
    this.#keys.add(key);
    const others = this.#listeners.get(key);
    if (others === undefined) this.#listeners.set(key, new Set([this]));
    else others.add(this);
  }

  /** Forgets what was heard so far. */
  reset(): void {
    ({ promise: this.#heard, resolve: this.#resolveHeard } = Promise.withResolvers<void>());
  }

  hear(): void {
    this.#resolveHeard();
  }

  close(): void {
    this.#isClosed = true;
    for (const key of this.#keys) {
      const listeners = this.#listeners.get(key);
      listeners?.delete(this);
      if (listeners?.size === 0) this.#listeners.delete(key);
    }
    this.#keys.clear();
  }
}

function keyOf(topicId: string, partition: number): string {
  return `${topicId}/${partition}`;
}
