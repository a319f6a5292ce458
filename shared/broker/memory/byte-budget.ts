/**
 * Limits how many bytes some work holds in memory at once. Work waits for its turn in the order in which it came. Work that
 * needs more than the whole budget runs alone.
 */
export class ByteBudget {
  readonly #bytesMax: number;
  readonly #waiting: { readonly bytes: number; readonly start: () => void }[] = [];
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Runs the work as soon as there is room for its bytes. */
  async use<Result>(bytes: number, work: () => Promise<Result>): Promise<Result> {
    await this.take(bytes);
    try {
      return await work();
    } finally {
      this.give(bytes);
    }
  }

  /** Resolves when there is room for these bytes. Who takes them must give them back. */
  take(bytes: number): Promise<void> {
    return new Promise((start) => {
      this.#waiting.push({ bytes, start });
      this.#startWaiting();
    });
  }

  give(bytes: number): void {
    this.#bytes -= bytes;
    this.#startWaiting();
  }

  #startWaiting(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (this.#bytes > 0 && this.#bytes + next.bytes > this.#bytesMax) return;
      this.#waiting.shift();
      this.#bytes += next.bytes;
      next.start();
    }
  }
}
