/** The first buffer of a burst. Most bursts need no other. */
const BUFFER_BYTES = 4_096;

/**
 * Copies of the bytes that a burst of requests names, side by side. A copy is needed, because a burst is sent after its callers
 * have gone on; and one buffer crosses to another thread much faster than many.
 */
export class BurstBytes {
  #buffers: ArrayBuffer[] = [];
  #used = 0;

  copy(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
    let buffer = this.#buffers.at(-1);
    if (buffer === undefined || this.#used + bytes.length > buffer.byteLength) {
      buffer = new ArrayBuffer(Math.max(BUFFER_BYTES, bytes.length));
      this.#buffers.push(buffer);
      this.#used = 0;
    }
    const copy = new Uint8Array(buffer, this.#used, bytes.length);
    copy.set(bytes);
    this.#used += bytes.length;
    return copy;
  }

  /** Returns the buffers of all copies, and begins anew. */
  take(): ArrayBuffer[] {
    const buffers = this.#buffers;
    this.#buffers = [];
    this.#used = 0;
    return buffers;
  }
}
