import { hash } from 'node:crypto';
import { EventLogError } from '../../errors.ts';

const HASH_WORDS = 4;
/** 16 bytes of hash and 8 bytes of offset. */
export const OFFSET_MAP_SLOT_BYTES = 24;
const LOAD_FACTOR_DEFAULT = 0.9;
const EMPTY = -1;

/**
 * The last offset of each key, in memory of a fixed size, as Kafka's cleaner has it (`SkimpyOffsetMap`). A key is known by
 * the first 16 bytes of its SHA-256; Kafka takes MD5, for which anyone can make two keys of the same hash. Two different
 * keys that hash alike would be one key, and compaction would drop the earlier record of the two. Among n keys that
 * happens with a probability of about n² / 2^129: 10^-21 for a billion keys.
 */
export class OffsetMap {
  /** The number of keys that the map can take. */
  readonly capacity: number;
  private readonly slots: number;
  private readonly hashes: Uint32Array;
  private readonly offsets: Float64Array;
  private used = 0;

  /** @throws EventLogError `internal` if not one key fits: compaction could never go on */
  constructor(bytesMax: number, loadFactor: number = LOAD_FACTOR_DEFAULT) {
    this.slots = Math.floor(bytesMax / OFFSET_MAP_SLOT_BYTES);
    // A search ends at an empty slot, so one must always be left.
    this.capacity = Math.min(Math.floor(this.slots * loadFactor), this.slots - 1);
    if (!(this.capacity >= 1))
      throw new EventLogError('internal', `An offset map of ${bytesMax} bytes has no room for a key.`);
    this.hashes = new Uint32Array(this.slots * HASH_WORDS);
    this.offsets = new Float64Array(this.slots).fill(EMPTY);
  }

  get size(): number {
    return this.used;
  }

  /**
   * Remembers the offset if it is the largest of the key so far. Returns false if the map is full and does not know the
   * key: then only the records before this one can be compacted with it.
   */
  put(key: Uint8Array, offset: number): boolean {
    const words = hashOf(key);
    const slot = this.find(words);
    const known = this.offsets[slot] as number;
    if (known === EMPTY) {
      if (this.used === this.capacity) return false;
      this.used++;
      this.hashes.set(words, slot * HASH_WORDS);
    }
    if (offset > known) this.offsets[slot] = offset;
    return true;
  }

  /** Returns the largest offset that was put for the key; `undefined` if there is none. */
  latestOffset(key: Uint8Array): number | undefined {
    const offset = this.offsets[this.find(hashOf(key))] as number;
    return offset === EMPTY ? undefined : offset;
  }

  /** Forgets all keys, for a further pass in the same memory. */
  clear(): void {
    this.offsets.fill(EMPTY);
    this.used = 0;
  }

  /** The slot of the hash, or the empty slot where it belongs. */
  private find(words: Uint32Array): number {
    let slot = (words[0] as number) % this.slots;
    while (this.offsets[slot] !== EMPTY && !this.holds(slot, words)) slot = slot + 1 === this.slots ? 0 : slot + 1;
    return slot;
  }

  private holds(slot: number, words: Uint32Array): boolean {
    const at = slot * HASH_WORDS;
    for (let i = 0; i < HASH_WORDS; i++) if (this.hashes[at + i] !== words[i]) return false;
    return true;
  }
}

function hashOf(key: Uint8Array): Uint32Array {
  const digest = hash('sha256', key, 'buffer');
  // The bytes in the order of this machine: hashes never leave its memory.
  return new Uint32Array(digest.buffer.slice(digest.byteOffset, digest.byteOffset + HASH_WORDS * 4));
}
