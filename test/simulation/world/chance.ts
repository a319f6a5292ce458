import type { Random } from '../../../shared/storage/ports.ts';

/** A whole number in [0, 2^32) that depends on all arguments and on nothing else (the finalizer of MurmurHash3). */
export function hashOf(a: number, b: number, c = 0, d = 0): number {
  let hash = scramble(a ^ 0x9e3779b9);
  hash = scramble(hash ^ b);
  hash = scramble(hash ^ c);
  return scramble(hash ^ d);
}

function scramble(value: number): number {
  let hash = (value + 0x6d2b79f5) | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/**
 * A stream of chance. Every part of a run draws from a stream of its own, named by numbers, so that leaving out one part
 * does not change what the others draw: this is what lets a failing run be made smaller.
 */
export class Chance implements Random {
  private readonly name: number;
  private drawn = 0;

  constructor(seed: number, stream: number, part = 0) {
    this.name = hashOf(seed, stream, part);
  }

  /** In [0, 1). */
  next(): number {
    return hashOf(this.name, this.drawn++) / 0x1_0000_0000;
  }

  /** A whole number in [0, end). */
  below(end: number): number {
    return Math.floor(this.next() * end);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let i = 0, word = 0; i < length; i++) {
      word = i % 4 === 0 ? hashOf(this.name, this.drawn++) : word >>> 8;
      bytes[i] = word;
    }
    return bytes;
  }
}
