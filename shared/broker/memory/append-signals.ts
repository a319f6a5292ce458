/** Wakes reads of this process that wait at the end of a partition, at once when this process appends to it. */
export class AppendSignals {
  private readonly waiting = new Map<string, Set<() => void>>();

  /** Resolves at the next append to any of the partitions, or when `signal` is aborted. */
  wait(topicId: string, partitions: readonly number[], signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const keys = partitions.map((partition) => keyOf(topicId, partition));
      const wake = (): void => {
        for (const key of keys) this.forget(key, wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      if (signal.aborted) return resolve();
      for (const key of keys) {
        const wakers = this.waiting.get(key);
        if (wakers === undefined) this.waiting.set(key, new Set([wake]));
        else wakers.add(wake);
      }
      signal.addEventListener('abort', wake);
    });
  }

  isAwaited(topicId: string, partition: number): boolean {
    return this.waiting.has(keyOf(topicId, partition));
  }

  appended(topicId: string, partition: number): void {
    for (const wake of [...(this.waiting.get(keyOf(topicId, partition)) ?? [])]) wake();
  }

  private forget(key: string, wake: () => void): void {
    const wakers = this.waiting.get(key);
    wakers?.delete(wake);
    if (wakers?.size === 0) this.waiting.delete(key);
  }
}

function keyOf(topicId: string, partition: number): string {
  return `${topicId}/${partition}`;
}
