import type { RecordBatchHeader } from '../batch/record-batch.ts';

/**
 * The set hash of a segment is the sum, modulo 2^64, of a hash of each of its batches. A sum does not depend on the order,
 * and the hashes of neighbours add up. So a job compares what it read with what it wrote without holding either.
 *
 * The hash of one batch must be well mixed: if it were linear, a wrong offset in one batch could make up for a wrong offset
 * in another. The mixing is that of MurmurHash3_x86_128 (Austin Appleby, public domain) with two of its four lanes: each
 * word is multiplied, rotated and multiplied again, the lanes are added to each other, and each ends with the finalizer
 * `fmix32`. It needs only 32-bit multiplications, because it runs for every batch and BigInt is slow. It is no protection
 * against somebody who seeks a collision: it finds lost, doubled, moved and damaged batches.
 *
 * Set hashes are persisted in segment lists, so the function never changes.
 */
export function batchHash(
  header: Pick<RecordBatchHeader, 'lastOffsetDelta' | 'bytes' | 'crc'>,
  baseOffset: number,
): bigint {
  let a = 0;
  let b = 0;
  const mix = (word: number): void => {
    a ^= Math.imul(rotate(Math.imul(word, 0x239b961b), 15), 0xab0e9789 | 0);
    a = Math.imul(rotate(a, 19) + b, 5) + 0x561ccd1b;
    b ^= Math.imul(rotate(Math.imul(word, 0x38b34ae5), 17), 0xa1e38b93 | 0);
    b = Math.imul(rotate(b, 17) + a, 5) + 0x0bcaa747;
  };
  mix(Math.floor(baseOffset / 0x1_0000_0000));
  mix(baseOffset | 0);
  mix(header.lastOffsetDelta);
  mix(header.bytes);
  mix(header.crc | 0);
  a = (a + b) | 0;
  b = (b + a) | 0;
  a = finish(a);
  b = finish(b);
  a = (a + b) | 0;
  b = (b + a) | 0;
  return (BigInt(a >>> 0) << 32n) | BigInt(b >>> 0);
}

/** The set hash of two sets of batches together. */
export function addHashes(a: bigint, b: bigint): bigint {
  return BigInt.asUintN(64, a + b);
}

/** The part of a set hash that the index of a segment holds for a block: its low 32 bits. These add up modulo 2^32. */
export function blockHash(setHash: bigint): number {
  return Number(BigInt.asUintN(32, setHash));
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

/** `fmix32` of MurmurHash3: each bit of the input changes each bit of the output with a probability of about one half. */
function finish(word: number): number {
  let mixed = word ^ (word >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
