/** One answer takes at most this share of what is left. */
const SHARE = 4;
/** From this share of the whole on, clients that take nothing must go. */
const SCARCE_SHARE = 2;

/**
 * The bytes of all answers that clients have not taken yet. Each answer with records may be as large as a share of what is
 * left: the more clients are slow, the less each gets at a time. Nobody waits for others.
 */
export class AnswerBytes {
  readonly #bytesMax: number;
  #held = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** How many bytes of records the next answer may have, at least 1: one batch is always given. */
  get room(): number {
    return Math.max(1, Math.floor((this.#bytesMax - this.#held) / SHARE));
  }

  get isScarce(): boolean {
    return this.#held > this.#bytesMax / SCARCE_SHARE;
  }

  hold(bytes: number): void {
    this.#held += bytes;
  }

  release(bytes: number): void {
    this.#held -= bytes;
  }
}
