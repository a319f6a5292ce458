import { ByteWriter } from '../bytes.ts';

/**
 * Once keys: short exact byte strings that a commit leaves in the head's list `once`, and whose absence it demands.
 * What a writer knows is true as of the sequence it observed; whatever came later is still in the tail, so whatever
 * would contradict it shows as a key. Persisted; the first byte tells the kind.
 */
const KIND_BATCH = 1;
const KIND_FENCE = 2;
const KIND_IDEMPOTENCY_KEY = 3;
const KIND_FIRST_BATCH = 4;

/** One batch of an idempotent producer: left and demanded absent by every try to append it, under whatever batch id. */
export function batchOnceKey(
  slot: number,
  producerId: number,
  producerEpoch: number,
  baseSequence: number,
): Uint8Array {
  const writer = new ByteWriter(24);
  writer.uint8(KIND_BATCH);
  writer.varuint(slot);
  writer.varuint(producerId);
  writer.varuint(producerEpoch);
  writer.varuint(baseSequence);
  return writer.finish().slice();
}

/**
 * A producer's first batch in a slot that holds nothing of it, which may have any sequence: left and demanded absent, so
 * that of two such batches the one that comes second is decided anew.
 */
export function firstBatchOnceKey(slot: number, producerId: number): Uint8Array {
  const writer = new ByteWriter(16);
  writer.uint8(KIND_FIRST_BATCH);
  writer.varuint(slot);
  writer.varuint(producerId);
  return writer.finish().slice();
}

/** An append under an idempotency key; `use` names this use of the key. */
export function idempotencyOnceKey(use: Uint8Array): Uint8Array {
  const key = new Uint8Array(use.length + 1);
  key[0] = KIND_IDEMPOTENCY_KEY;
  key.set(use, 1);
  return key;
}

/**
 * Fences, of a producer in one slot. The first batch of a newer epoch must shut out every older one there, yet a condition
 * can only ask for exact keys. Other slots are left alone: Kafka's clients raise the epoch by themselves after a lost
 * batch, and let their other partitions finish under the old one.
 *
 * So epochs (15 bits) are cut into three digits of 5 bits, and a fence below E leaves, at each digit, a key for every
 * smaller digit under the same higher ones: at most 93 keys, and one where epochs go up by one. An epoch lies below E
 * exactly if one of its own three keys is among them.
 */
const DIGIT = 32;
const DIGITS = 3;

/** What a batch of this epoch demands absent. */
export function fenceKeysOf(slot: number, producerId: number, epoch: number): Uint8Array[] {
  const keys: Uint8Array[] = [];
  for (let level = 0; level < DIGITS; level++)
    keys.push(fenceKey(slot, producerId, level, Math.floor(epoch / DIGIT ** level)));
  return keys;
}

/** What the slot's first batch of epoch `below` leaves; `from` is the oldest epoch that can still write there. */
export function fenceKeysBelow(slot: number, producerId: number, from: number, below: number): Uint8Array[] {
  const keys: Uint8Array[] = [];
  for (let level = 0; level < DIGITS; level++) {
    const end = Math.floor(below / DIGIT ** level);
    const start = Math.max(Math.floor(from / DIGIT ** level), end - (end % DIGIT));
    for (let prefix = start; prefix < end; prefix++) keys.push(fenceKey(slot, producerId, level, prefix));
  }
  return keys;
}

function fenceKey(slot: number, producerId: number, level: number, prefix: number): Uint8Array {
  const writer = new ByteWriter(16);
  writer.uint8(KIND_FENCE);
  writer.varuint(slot);
  writer.varuint(producerId);
  writer.uint8(level);
  writer.varuint(prefix);
  return writer.finish().slice();
}
