/**
 * The bytes of all requests in work. Who needs more than are left waits, in the order in which they came; a request that is
 * larger than all of them runs when no other does.
 */
export class RequestBytes {
  readonly #bytesMax: number;
  readonly #waiting: { readonly bytes: number; readonly start: () => void }[] = [];
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  async take(bytes: number): Promise<void> {
    await new Promise<void>((start) => {
      this.#waiting.push({ bytes, start });
      this.#startWaiting();
    });
  }

  give(bytes: number): void {
    if (bytes === 0) return;
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
