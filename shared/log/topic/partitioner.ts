/**
 * Chooses a record's partition as Kafka's default partitioner does, so that both agree on every key:
 * murmur2 of the key, its sign bit dropped, modulo the partitions (`org.apache.kafka.common.utils.Utils#murmur2`,
 * `BuiltInPartitioner#partitionForKey`). Records without a key all go to the request's sticky partition.
 */
export function partitionForKey(key: Uint8Array, partitions: number): number {
  return (murmur2(key) & 0x7fff_ffff) % partitions;
}

const SEED = 0x9747b28c;
const MULTIPLIER = 0x5bd1e995;

/** MurmurHash2, 32 bits, with Kafka's seed; signed. */
export function murmur2(bytes: Uint8Array): number {
  const length = bytes.length;
  let hash = SEED ^ length;
  let at = 0;
  for (; at + 4 <= length; at += 4) {
    let word = byte(bytes, at) | (byte(bytes, at + 1) << 8) | (byte(bytes, at + 2) << 16) | (byte(bytes, at + 3) << 24);
    word = Math.imul(word, MULTIPLIER);
    word ^= word >>> 24;
    word = Math.imul(word, MULTIPLIER);
    hash = Math.imul(hash, MULTIPLIER) ^ word;
  }
  const rest = length - at;
  if (rest > 0) {
    if (rest === 3) hash ^= byte(bytes, at + 2) << 16;
    if (rest >= 2) hash ^= byte(bytes, at + 1) << 8;
    hash = Math.imul(hash ^ byte(bytes, at), MULTIPLIER);
  }
  hash ^= hash >>> 13;
  hash = Math.imul(hash, MULTIPLIER);
  return hash ^ (hash >>> 15);
}

function byte(bytes: Uint8Array, at: number): number {
  return bytes[at] as number;
}
