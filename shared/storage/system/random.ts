/** The operating system's random bytes, fetched in blocks because most calls ask for only a few. */
import { randomFillSync } from 'node:crypto';
import type { Random } from '../ports.ts';

const BLOCK_BYTES = 4_096;

class SystemRandom implements Random {
  #block = new Uint8Array(0);
  #used = 0;

  bytes(length: number): Uint8Array {
    if (this.#block.length - this.#used < length) {
      this.#block = randomFillSync(new Uint8Array(Math.max(BLOCK_BYTES, length)));
      this.#used = 0;
    }
    const start = this.#used;
    this.#used += length;
    return this.#block.slice(start, this.#used);
  }
}

export const systemRandom: Random = new SystemRandom();
